"""What the exchange writes: bid responses, refusals, markup of local creatives, requests passed on to bidders.

Markup is cut into pieces when a creative is loaded; rendering joins them around the click link, the impression
link and whatever macros it holds. Sources: OpenRTB 2.6-202606 sections 4.2 and 7.1; VAST 4.2; OpenRTB Dynamic
Native Ads API 1.2 section 5.
"""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

import msgspec

from exchange.config import Creative
from exchange.openrtb.codes import NBR_INVALID_REQUEST
from exchange.openrtb.coerce import encodable
from exchange.openrtb.macros import Template, Values
from exchange.openrtb.response import Bid, BidResponse, SeatBid
from exchange.openrtb.validate import BadRequest

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE_RAW: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_DECODE_RAW_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_PIXEL: Final = '<img src="${IMPRESSION_URL:XML}" width="1" height="1" alt="" style="position:absolute;border:0">'
_MIMES: Final = {
    "mp4": "video/mp4", "webm": "video/webm", "ogv": "video/ogg", "mov": "video/quicktime",
    "m3u8": "application/x-mpegURL", "mp3": "audio/mpeg", "m4a": "audio/mp4", "aac": "audio/aac",
    "ogg": "audio/ogg", "wav": "audio/wav",
}  # fmt: skip


# ---- responses ----------------------------------------------------------------------------------------------


def bid_response(request_id: str, bidid: str, currency: str, seats: Sequence[SeatBid]) -> bytes:
    """Return the JSON of a bid response; prices in `seats` are CPM in `currency`."""
    return _ENCODE(BidResponse(id=request_id, seatbid=tuple(seats), bidid=bidid, cur=currency))


def written_response(request_id: str, bidid: str, currency: str, seats: Mapping[str, Sequence[str]]) -> bytes:
    """Return what `bid_response` does of bids that are JSON already: seat -> its bids. `bidid` needs no escape."""
    parts, between = [f'{{"id":{quoted(request_id)},"seatbid":['], '{"bid":['
    for seat, bids in seats.items():
        for bid in bids:
            parts += (between, bid)
            between = ","
        parts.append(f'],"seat":{quoted(seat)}}}')
        between = ',{"bid":['
    parts.append(f'],"bidid":"{bidid}","cur":{quoted(currency)}}}')
    return "".join(parts).encode()


def quoted(text: str) -> str:
    """Return a text as a JSON string."""
    return _ENCODE(text).decode()


def written(bid: Bid) -> str:
    """Return a bid as JSON."""
    return _ENCODE(bid).decode()


def no_bid(request_id: str, nbr: int) -> bytes:
    """Return the JSON of a no-bid with its reason (OpenRTB list 5.24)."""
    return _ENCODE(BidResponse(id=request_id, nbr=nbr))


def cpm(nano: int) -> float:
    """Return nano per impression as a float CPM that prints short: 910_000 gives 0.91."""
    return nano / 1_000_000


def bad_request_body(error: BadRequest) -> bytes:
    """Return the JSON that tells the sender every problem; `id` is left out where the request had none."""
    body: dict[str, Any] = {} if error.id is None else {"id": error.id}
    body["nbr"] = NBR_INVALID_REQUEST
    body["ext"] = {"errors": error.errors}
    return _ENCODE(body)


def forward(body: bytes, tmax_ms: int, at: int, floors: Mapping[int, tuple[float, str]] | None = None) -> bytes:
    """Return the request `body` for a bidder: our tmax and at, and `floors` (imp index -> CPM, currency).

    Everything else, ext and unknown fields included, goes on as it came. `body` must have passed `decode`.
    """
    request = _DECODE_RAW(body)
    request["tmax"] = msgspec.Raw(b"%d" % tmax_ms)
    request["at"] = msgspec.Raw(b"%d" % at)
    if floors:
        # what is not an object was dropped when the request was read, so it does not count here either
        objects = [raw for raw in _DECODE_RAW_LIST(request["imp"]) if bytes(raw).lstrip()[:1] == b"{"]
        imps = [_DECODE_RAW(raw) for raw in objects]
        for ix, (floor_cpm, currency) in floors.items():
            imps[ix]["bidfloor"] = msgspec.Raw(_ENCODE(floor_cpm))
            imps[ix]["bidfloorcur"] = msgspec.Raw(_ENCODE(currency))
        request["imp"] = msgspec.Raw(_ENCODE(imps))
    return _ENCODE(request)


# ---- markup of local creatives -------------------------------------------------------------------------------


class Markup:
    """The markup of one local creative, cut at its macros when loaded. Raises ValueError when it cannot be used."""

    __slots__ = ("_template",)

    def __init__(self, creative: Creative) -> None:
        """Build the markup by the creative's type; what has no impression link of ours gets one."""
        if not all(encodable(text) for text in (creative.id, creative.image, creative.html, creative.adm)):
            raise ValueError(f"creative {creative.id!r}: a text holds a lone surrogate")
        try:
            text = _BUILDERS[creative.type](creative)
        except KeyError:
            raise ValueError(
                f"creative {creative.id!r}: type {creative.type!r} is not banner, video, audio or native"
            ) from None
        self._template = Template(text)

    @property
    def names(self) -> frozenset[str]:
        """The macros that stand in the markup, both links included."""
        return self._template.names

    def render(self, click_url: str, impression_url: str, macros: Values) -> str:
        """Return the markup with both links and the auction's macros in place."""
        return self._template.render({**macros, "CLICK_URL": click_url, "IMPRESSION_URL": impression_url})


def _banner(creative: Creative) -> str:
    """Return HTML: the given markup, or the image inside the click link, with our pixel."""
    text = creative.adm or creative.html
    if not text:
        if not creative.image:
            raise ValueError(f"creative {creative.id!r}: a banner needs image, html or adm")
        text = (
            f'<a href="${{CLICK_URL:XML}}" target="_blank" rel="noopener"><img src="{escape(creative.image)}" '
            f'width="{creative.w}" height="{creative.h}" alt="" style="border:0"></a>'
        )
    return text if "${IMPRESSION_URL" in text else text + _PIXEL


def _vast(creative: Creative) -> str:
    """Return VAST 4.2: the given document with our Impression, or an inline one around the media file."""
    given = creative.adm or creative.html
    if given:
        if "${IMPRESSION_URL" in given:
            return given
        ours = r'<Impression id="rentier">${IMPRESSION_URL:XML}</Impression>\g<0>'
        text, found = re.subn(r"<(?:Impression|Creatives)\b", ours, given, count=1)
        if not found:
            raise ValueError(f"creative {creative.id!r}: VAST without Impression or Creatives: no place for our link")
        return text
    if not creative.image:
        raise ValueError(f"creative {creative.id!r}: {creative.type} needs image (the media file's URL) or adm")
    name, crid = escape(creative.id), escape(creative.crid or creative.id)
    audio = creative.type == "audio"
    ending = creative.image.partition("?")[0].rpartition(".")[2].lower()
    mime = _MIMES.get(ending, "audio/mpeg" if audio else "video/mp4")
    minutes, seconds = divmod(creative.duration_s, 60)
    duration = f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
    size = "" if audio else f' width="{creative.w}" height="{creative.h}"'
    return (
        '<?xml version="1.0" encoding="UTF-8"?><VAST version="4.2" xmlns="http://www.iab.com/VAST">'
        f'<Ad id="{name}" adType="{"audio" if audio else "video"}"><InLine><AdSystem version="1.0">Rentier</AdSystem>'
        f'<Impression id="rentier">${{IMPRESSION_URL:XML}}</Impression>'
        f"<AdServingId>${{AUCTION_BID_ID:XML}}</AdServingId><AdTitle>{name}</AdTitle><Creatives>"
        f'<Creative id="{name}"><UniversalAdId idRegistry="unknown">{crid}</UniversalAdId>'
        f"<Linear><Duration>{duration}</Duration><MediaFiles>"
        f'<MediaFile delivery="progressive" type="{mime}"{size}>{escape(creative.image)}</MediaFile></MediaFiles>'
        "<VideoClicks><ClickThrough>${CLICK_URL:XML}</ClickThrough></VideoClicks></Linear></Creative></Creatives>"
        "</InLine></Ad></VAST>"
    )


def _native(creative: Creative) -> str:
    """Return a native response: the given JSON with our tracker, or one image with the click link."""
    given = creative.adm or creative.html
    if given and "${IMPRESSION_URL" in given:
        return given
    if given:
        try:
            tree = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"creative {creative.id!r}: native markup is not JSON: {error}") from None
        native = tree.get("native", tree) if isinstance(tree, dict) else None
        if not isinstance(native, dict) or not isinstance(native.get("imptrackers", []), list):
            raise ValueError(f"creative {creative.id!r}: native markup is not a native response")
        native["imptrackers"] = [*native.get("imptrackers", []), "${IMPRESSION_URL:JSON}"]
        return json.dumps(tree, separators=(",", ":"))
    if not creative.image:
        raise ValueError(f"creative {creative.id!r}: native needs image or adm")
    size = {key: value for key, value in (("w", creative.w), ("h", creative.h)) if value}
    native = {
        "ver": "1.2",
        "link": {"url": "${CLICK_URL:JSON}"},
        "assets": [{"id": 1, "required": 1, "img": {"url": creative.image, **size}}],
        # both lists, for older and newer players: the link counts once however often it is called
        "imptrackers": ["${IMPRESSION_URL:JSON}"],
        "eventtrackers": [{"event": 1, "method": 1, "url": "${IMPRESSION_URL:JSON}"}],
    }
    return json.dumps({"native": native}, separators=(",", ":"))


_BUILDERS: Final = {"banner": _banner, "video": _vast, "audio": _vast, "native": _native}
