"""The request of a native slot: a JSON text inside the JSON, checked on its own.

Source: OpenRTB Dynamic Native Ads API 1.2, section 4. Codes from 500 on are the exchange's own and always
allowed. The outer `{"native": {...}}` of versions 1.0 and 1.1 is accepted; so are assets without an id, as
sellers send them.
"""

import json
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from exchange.openrtb.coerce import Problem, Reader, shown
from exchange.openrtb.kinds import Count, Counts, Mimes, NeedCount

OWN_CODES: Final = 500  # this and above are agreed between the parties
_SUBTYPES: Final = {1: range(10, 20), 2: range(20, 30), 3: range(30, 40)}  # contextsubtype by context
_IS_CODE: Final = {
    "context": range(1, 4),
    "plcmttype": range(1, 5),
    "data.type": range(1, 13),
    "event": range(1, 5),
    "method": range(1, 3),
}


class Title(Struct, gc=False):
    """A title asset (4.3); `len` in characters."""

    len: Annotated[int, Meta(ge=1, le=2**31 - 1, extra={"must": True})]


class Image(Struct, gc=False):
    """An image asset (4.4), px."""

    type: Count = 0
    w: Count = 0
    h: Count = 0
    wmin: Count = 0
    hmin: Count = 0


class Clip(Struct, gc=False):
    """A video asset (4.5), seconds."""

    mimes: Mimes
    minduration: NeedCount
    maxduration: NeedCount
    protocols: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=4096, extra={"must": True})]


class Fact(Struct, gc=False):
    """A data asset (4.6): rating, price, sponsor and so on; `len` in characters."""

    type: NeedCount
    len: Count = 0


class Asset(Struct, gc=False):
    """One asset (4.2): at most one of title, img, video, data."""

    id: NeedCount | None = None
    required: Count = 0
    title: Title | None = None
    img: Image | None = None
    video: Clip | None = None
    data: Fact | None = None


class EventTracker(Struct, gc=False):
    """What may be tracked, and how (4.7)."""

    event: NeedCount
    methods: Annotated[tuple[NeedCount, ...], Meta(min_length=1, max_length=4096, extra={"must": True})]


class NativeRequest(Struct, gc=False):
    """A native request (4.1); 0 = not given."""

    assets: Annotated[tuple[Asset, ...], Meta(min_length=1, max_length=4096)]
    context: NeedCount = 0
    contextsubtype: NeedCount = 0
    plcmttype: NeedCount = 0
    plcmtcnt: Count = 0
    seq: Count = 0
    eventtrackers: Annotated[tuple[EventTracker, ...], Meta(max_length=4096)] = ()
    privacy: Count = 0
    btype: Counts = ()


_DECODE: Final = msgspec.json.Decoder(NativeRequest).decode


def problems(text: str, path: str) -> list[Problem]:
    """Return what is wrong with the native request `text`, paths below `path`; an empty list = nothing."""
    try:
        request = _DECODE(text)
    except (ValueError, RecursionError):
        return _problems_lenient(text, path)
    return _conflicts(request, path)


def _problems_lenient(text: str, path: str) -> list[Problem]:
    """Find what is wrong, or that it was a trifle, in a text that the strict decoder refuses."""
    try:
        tree = json.loads(text)
    except RecursionError:
        return [Problem(path, None, "nested too deeply")]
    except ValueError as error:
        return [Problem(path, shown(text), f"not JSON: {error}")]
    if isinstance(tree, dict) and isinstance(tree.get("native"), dict):
        tree, path = tree["native"], f"{path}.native"
    if not isinstance(tree, dict):
        return [Problem(path, shown(tree), "expected the text of a JSON object, a native request")]
    reader = Reader()
    request = reader.object(tree, NativeRequest, path)
    return reader.problems + [
        problem
        for problem in _conflicts(request, path)
        if not any(known.path.startswith(problem.path) for known in reader.problems)
    ]


def _conflicts(request: NativeRequest, path: str) -> list[Problem]:
    """Return codes off their list and rules that span fields."""
    found: list[Problem] = []

    def code(value: int, table: str, where: str) -> None:
        if value < OWN_CODES and value not in _IS_CODE[table]:
            known = _IS_CODE[table]
            reason = f"expected {known[0]} to {known[-1]}, or {OWN_CODES} and above"
            found.append(Problem(f"{path}.{where}", value, reason))

    if request.context:
        code(request.context, "context", "context")
    if request.plcmttype:
        code(request.plcmttype, "plcmttype", "plcmttype")
    sub = request.contextsubtype
    if sub and sub < OWN_CODES and request.context < OWN_CODES:
        allowed: Any = _SUBTYPES.get(request.context, range(10, 40))
        if sub not in allowed:
            reason = f"expected {allowed[0]} to {allowed[-1]} with context {request.context}, or {OWN_CODES} and above"
            found.append(Problem(f"{path}.contextsubtype", sub, reason))
    first: dict[int, int] = {}
    for ix, asset in enumerate(request.assets or ()):
        where = f"assets[{ix}]"
        if asset.id is not None and asset.id in first:
            found.append(Problem(f"{path}.{where}.id", asset.id, f"the same as assets[{first[asset.id]}].id"))
        if asset.id is not None:
            first.setdefault(asset.id, ix)
        given = [name for name in ("title", "img", "video", "data") if getattr(asset, name) is not None]
        if len(given) > 1:
            reason = f"expected at most one of title, img, video, data; got {', '.join(given)}"
            found.append(Problem(f"{path}.{where}", None, reason))
        if asset.data is not None:
            code(asset.data.type, "data.type", f"{where}.data.type")
    for ix, tracker in enumerate(request.eventtrackers):
        code(tracker.event, "event", f"eventtrackers[{ix}].event")
        for at, method in enumerate(tracker.methods):
            code(method, "method", f"eventtrackers[{ix}].methods[{at}]")
    return found
