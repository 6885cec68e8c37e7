"""Substitution macros: ${AUCTION_PRICE} and its kin, in markup and in notice URLs.

Plain text replacement wherever a macro stands; one that has no value becomes nothing; a name that is not in
MACROS is left as it is. A suffix asks for an encoding: ${AUCTION_PRICE:B64}. B64 is the specification's; URL,
XML and JSON are ours, for links and texts that must not break out of their place; an unknown suffix is left
as it is. Source: OpenRTB 2.6-202606, section 4.4.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from html import escape
from typing import Final
from urllib.parse import quote

import msgspec

MACROS: Final[dict[str, str]] = {
    "AUCTION_ID": "id of the bid request",
    "AUCTION_BID_ID": "bidid of the bid response",
    "AUCTION_IMP_ID": "id of the imp",
    "AUCTION_SEAT_ID": "the bidder's seat",
    "AUCTION_AD_ID": "adid of the bid",
    "AUCTION_PRICE": "clearing price, CPM in the bid's currency",
    "AUCTION_CURRENCY": "currency of the price",
    "AUCTION_MBR": "market bid ratio: clearing price / bid",
    "AUCTION_LOSS": "why the bid lost (codes.py), 0 = it won",
    "AUCTION_MIN_TO_WIN": "as OpenRTB 4.4.1 has it: a loser is told the clearing price, or its own floor where "
    "that is higher, the winner the next bid; CPM in the bid's currency",
    "AUCTION_MULTIPLIER": "impressions this one play counts for",
    "AUCTION_IMP_TS": "time of the impression, ms since 1970",
    "AUCTION_DISCOUNT_PCT": "discount in per cent; the exchange gives none, so empty",
    "AUCTION_DISCOUNT_CPM": "discount as CPM; the exchange gives none, so empty",
    "CLICK_URL": "the exchange's click link (ours)",
    "IMPRESSION_URL": "the exchange's impression link (ours)",
    "CONVERSION_URL": "the exchange's conversion link, an image for the page that means success (ours)",
    "OPT_IN_URL": "its opt-in link, an image for the page that confirms that the person may be contacted (ours)",
    "OPT_OUT_URL": "its opt-out link, an image for the page that confirms the opposite (ours)",
    "AWARD_TOKEN": "the token of those links, by which `POST /events` names the award (ours)",
}


def _json_inner(text: str) -> str:
    """Return a text as it stands between the quotes of a JSON string."""
    return msgspec.json.encode(text)[1:-1].decode()


ENCODINGS: Final[dict[str, Callable[[str], str]]] = {
    "B64": lambda text: b64encode(text.encode()).decode(),
    "URL": lambda text: quote(text, safe=""),
    "XML": escape,
    "JSON": _json_inner,
}
_PATTERN: Final = re.compile(rf"\$\{{({'|'.join(MACROS)})(?::({'|'.join(ENCODINGS)}))?\}}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~-]*").fullmatch  # needs no encoding anywhere
Values = Mapping[str, str]


def substitute(text: str, values: Values) -> str:
    """Return `text` with its macros replaced by `values` (name without braces -> text)."""
    if "${" not in text:
        return text
    return _PATTERN.sub(lambda match: _encoded(values.get(match[1], ""), match[2]), text)


def substitute_url(url: str, values: Values) -> str:
    """Return a notice URL with its macros replaced, every value percent-encoded so that none can break the URL."""
    if "${" not in url:
        return url

    def value(match: re.Match[str]) -> str:
        text = _encoded(values.get(match[1], ""), match[2])
        return text if match[2] == "URL" or _PLAIN(text) else quote(text, safe="")

    return _PATTERN.sub(value, url)


def _encoded(text: str, encoding: str | None) -> str:
    """Return a value in the encoding that its macro asks for."""
    return ENCODINGS[encoding](text) if encoding and text else text


class Template:
    """A text cut once at its macros, so that rendering is a join; use it for markup known at load."""

    __slots__ = ("_parts", "_slots", "names")

    def __init__(self, text: str) -> None:
        """Cut `text`; `names` are the macros in it."""
        pieces = _PATTERN.split(text)
        self._parts: list[str] = [""] * (2 * (len(pieces) // 3) + 1)
        self._parts[0::2] = pieces[0::3]
        self._slots: list[tuple[int, str, Callable[[str], str] | None]] = [
            (2 * ix + 1, name, ENCODINGS.get(encoding or ""))
            for ix, (name, encoding) in enumerate(zip(pieces[1::3], pieces[2::3], strict=True))
        ]
        self.names = frozenset(pieces[1::3])

    def render(self, values: Values) -> str:
        """Return the text with `values` in place."""
        parts = self._parts.copy()
        for ix, name, encode in self._slots:
            text = values.get(name, "")
            parts[ix] = text if encode is None or _PLAIN(text) and encode is not ENCODINGS["B64"] else encode(text)
        return "".join(parts)


def price_text(nano: int) -> str:
    """Return nano per impression as a decimal CPM, exact: 910_000 gives "0.91". Raises ValueError below 0."""
    if nano < 0:
        raise ValueError(f"{nano}: a price cannot be negative")
    whole, part = divmod(nano, 1_000_000)
    return f"{whole}.{part:06d}".rstrip("0") if part else str(whole)


def ratio_text(price_nano: int, bid_nano: int) -> str:
    """Return price / bid as a decimal of at most six places, rounded down; "" without a bid."""
    return price_text(price_nano * 1_000_000 // bid_nano) if bid_nano > 0 else ""
