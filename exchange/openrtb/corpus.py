"""Find bid requests in files: plain, wrapped as test fixtures wrap them, one per line, several in a row.

What is plainly not a bid request is passed over: bid responses (`seatbid`, `nbr`), and objects without `imp`
that carry a name only another OpenRTB object has (a lone site, deal, video, user ...). Everything else is
handed out as it stands, also text that is not JSON, so that it can be sent and refused.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

FILE_MAX_BYTES: Final = 1 << 24  # of one file; a longer one is cut, which makes its end unreadable
_WRAPPERS: Final = (("mockBidRequest",), ("incomingRequest", "ortbRequest"))
_RESPONSE: Final = {"seatbid", "nbr"}
# names at the top of OpenRTB objects that are not bid requests
_FRAGMENT: Final = {
    "impid", "price", "mimes", "assets", "deals", "private_auction", "page", "domain", "publisher", "banner", "video",
    "audio", "native", "title", "series", "episode", "uids", "segment", "wratio", "vastxml", "adm", "link",
}  # fmt: skip
# names that make an object without `imp` a bid request that lost its imps
_REQUEST: Final = {
    "id", "tmax", "at", "cur", "wseat", "bseat", "badv", "bcat", "bapp", "regs", "source", "test", "allimps",
}  # fmt: skip
_PARTS: Final = {"site", "app", "dooh", "device", "user"}
_DECODER: Final = json.JSONDecoder()


def read_requests(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (label, bytes) of every bid request in the file at `path`; the label is `name` or `name#n`, n from 1.

    Raises OSError when the file cannot be read.
    """
    with path.open("rb") as file:
        raw = file.read(FILE_MAX_BYTES)
    found = requests_in(raw)
    for ix, body in enumerate(found):
        yield (path.name if len(found) == 1 else f"{path.name}#{ix + 1}"), body


def requests_in(raw: bytes) -> list[bytes]:
    """Return the bytes of every bid request in a text, by the rule above; bytes that are no JSON come whole."""
    try:
        values = _values(raw.decode())
    except (ValueError, RecursionError):
        return [raw]
    found = []
    for text, value in values:
        body = _unwrap(text, value)
        if body is not None:
            found.append(body.encode("utf-8", "surrogatepass"))
    return found


def _values(text: str) -> list[tuple[str, Any]]:
    """Split a text into its JSON values, each with the very text it was read from. Raises ValueError."""
    values: list[tuple[str, Any]] = []
    at = 0
    while True:
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        if at == len(text):
            return values
        value, end = _DECODER.raw_decode(text, at)
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            values.extend((json.dumps(item), item) for item in value)
        else:
            values.append((text[at:end], value))
        at = end


def _unwrap(text: str, value: Any) -> str | None:
    """Return the text of the bid request in one JSON value, or None when it holds none."""
    if not isinstance(value, dict):
        return text
    for keys in _WRAPPERS:
        inner: Any = value
        for key in keys:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if inner is not None:
            return json.dumps(inner)
    if "imp" in value and not _RESPONSE & value.keys():
        return text
    if _RESPONSE & value.keys() or _FRAGMENT & value.keys():
        return None
    if _PARTS & value.keys() and not _REQUEST & value.keys():
        return None
    return text
