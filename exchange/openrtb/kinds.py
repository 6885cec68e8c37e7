"""The kinds of value in a bid request: ranges and lengths as types, and how sternly each is read (see model.py)."""

from typing import Annotated, Final

from msgspec import Meta

INT_MAX: Final = 2**31 - 1  # of every count, size, flag and code: no OpenRTB integer needs more
CPM_MAX: Final = 1_000_000.0  # market.PRICE_MAX_NANO as a CPM
TEXT_MAX: Final = 512  # characters of ids, domains, names, segments
LONG_MAX: Final = 8_192  # characters of URLs and user agents
CONSENT_MAX: Final = 16_384
LIST_MAX: Final = 4_096  # entries of badv, bcat, bapp, wseat, bseat
SEGMENTS_MAX: Final = 1_024  # segments read per request; the rest is ignored

MUST: Final = Meta(extra={"must": True})
EXACT: Final = Meta(extra={"must": True, "exact": True})
AS_JSON: Final = Meta(extra={"must": True, "json": True})  # an object here is taken as its JSON text
Count = Annotated[int, Meta(ge=0, le=INT_MAX)]
NeedCount = Annotated[Count, MUST]
Pixels = Annotated[int, Meta(ge=0, le=65_535), MUST]  # of a slot: two of them make one number inside
Signed = Annotated[int, Meta(ge=-INT_MAX, le=INT_MAX)]
Flag = Annotated[int, Meta(ge=0, le=1), MUST]
Cpm = Annotated[float, Meta(ge=0, le=CPM_MAX), MUST]
Amount = Annotated[float, Meta(ge=0, le=1e12)]
Id = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX), MUST]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]
Word = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]  # in a list: empty ones are dropped
LongText = Annotated[str, Meta(max_length=LONG_MAX)]
Consent = Annotated[str, Meta(max_length=CONSENT_MAX), EXACT]
Code = Annotated[str, Meta(max_length=8), MUST]  # a currency; empty = USD
Words = Annotated[tuple[Word, ...], Meta(max_length=LIST_MAX), MUST]  # a list whose loss would harm somebody
FewWords = Annotated[tuple[Word, ...], Meta(max_length=LIST_MAX)]
Counts = Annotated[tuple[Count, ...], Meta(max_length=LIST_MAX)]
NeedCounts = Annotated[tuple[Count, ...], Meta(max_length=LIST_MAX), MUST]
Mimes = Annotated[tuple[Word, ...], Meta(min_length=1, max_length=LIST_MAX), MUST]
