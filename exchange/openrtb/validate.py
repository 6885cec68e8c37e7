"""From the bytes of a bid request to a BidRequest that can be auctioned, or the whole list of what is wrong.

Fast path: one strict typed decode in C, then the rules that span fields. Only what that refuses is looked at
again, slowly and leniently (`coerce.py`): either the request is good after all, or the sender is told every
problem at once, each with its path. Whatever the bytes are, the only exception is BadRequest.
Source: OpenRTB 2.6-202606, sections 3.2 and 7; docs/openrtb.md lists the choices that the text leaves open.
"""

import json
import math
from typing import Any, Final

import msgspec

from exchange.openrtb import native
from exchange.openrtb.codes import MEDIA
from exchange.openrtb.coerce import PROBLEMS_MAX, Problem, Reader, encodable, shown
from exchange.openrtb.kinds import SEGMENTS_MAX, TEXT_MAX
from exchange.openrtb.model import BidRequest, Imp

LENIENT_MAX_BYTES: Final = 1 << 20  # longer bodies must be right at once: the slow path takes its time
_DECODE: Final = msgspec.json.Decoder(BidRequest).decode
_MEDIA_EXPECTED: Final = "expected at least one of banner, video, audio, native"

# How often a field was dropped because nobody could understand it, by path pattern ("device.geo.utcoffset").
# Bounded: the patterns are those of the model's fields.
dropped: Final[dict[str, int]] = {}


class BadRequest(ValueError):
    """A bid request that cannot be auctioned: every problem found (at most 64), and its id where it has one."""

    def __init__(self, errors: list[Problem], id: str | None = None) -> None:
        """Keep the problems and the id; the message is the first problem."""
        super().__init__(f"{errors[0].path or '$'}: {errors[0].reason}" if errors else "bad request")
        self.errors = errors
        self.id = id


def decode(body: bytes, imps_max: int = 64) -> BidRequest:
    """Return the bid request in `body`; imps keep their order. Raises BadRequest, and nothing else."""
    reason = "breaks a rule that spans fields"
    try:
        if body.isascii() or body.decode() is not None:
            request = _DECODE(body)
            if _sound(request, imps_max):
                return request
    except (ValueError, RecursionError) as error:
        reason = str(error)  # the slow path finds all of it, or that it was a trifle
    if len(body) > LENIENT_MAX_BYTES:
        path = reason.rpartition(" - at `$.")[2].rstrip("`") if " - at `$." in reason else "$"
        raise BadRequest([Problem(path, None, reason.partition(" - at ")[0])])
    return decode_lenient(body, imps_max)


def decode_lenient(body: bytes, imps_max: int = 64) -> BidRequest:
    """Do what `decode` does without its fast path: on bodies that one accepts, both give equal requests."""
    tree = _tree(body)
    name = _id(tree)
    if not isinstance(tree, dict):
        raise BadRequest([Problem("$", shown(tree), "expected a JSON object, a bid request")])
    reader = Reader()
    imps = tree.get("imp")
    if isinstance(imps, list) and len(imps) > imps_max:
        reader.problem("imp", f"{len(imps)} entries", f"expected at most {imps_max} imps")
        tree["imp"] = imps[:imps_max]
    request: BidRequest = reader.object(tree, BidRequest)
    request.imp = list(request.imp)
    known = {problem.path for problem in reader.problems}
    for problem in conflicts(request, imps_max):
        if not known & {problem.path, *(f"{problem.path}.{media}" for media in MEDIA.values())}:
            reader.problem(problem.path, problem.value, problem.reason)
    if reader.problems:
        raise BadRequest(reader.problems, name)
    for pattern in reader.dropped:
        dropped[pattern] = dropped.get(pattern, 0) + 1
    _cut_segments(request)
    return request


def _tree(body: bytes) -> Any:
    """Decode any JSON; raises BadRequest with the position, or the field, of what is not JSON."""
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise BadRequest([Problem("$", None, "nested too deeply")]) from None
    except ValueError as error:
        reason = str(error)
    try:
        # the standard decoder is laxer (NaN, 1e400, long integers, lone surrogates): then the field can be named
        tree = json.loads(body.decode(), parse_constant=lambda _: math.nan, parse_int=_whole)
    except RecursionError:
        raise BadRequest([Problem("$", None, "nested too deeply")]) from None
    except UnicodeDecodeError as error:
        raise BadRequest([Problem("$", None, f"not UTF-8: {error.reason} (byte {error.start})")]) from None
    except ValueError:
        text = shown(body[:200].decode("utf-8", "replace"))
        raise BadRequest([Problem("$", text, f"not JSON: {reason}")]) from None
    problems = _not_json(tree)
    if problems:
        raise BadRequest(problems, _id(tree))
    return tree


def _whole(digits: str) -> float:
    """Read an integer of any length; beyond 300 digits as infinity, which no field accepts."""
    return int(digits) if len(digits) <= 300 else math.inf


def _not_json(tree: Any) -> list[Problem]:
    """Return every NaN, infinity and lone surrogate, wherever it stands, up to PROBLEMS_MAX."""
    found: list[Problem] = []
    stack: list[tuple[str, Any]] = [("", tree)]
    while stack and len(found) < PROBLEMS_MAX:
        path, value = stack.pop()
        if isinstance(value, dict):
            found += [Problem(path, shown(k), "the name holds a lone surrogate") for k in value if not encodable(k)]
            stack.extend((f"{path}.{key}" if path else key, item) for key, item in value.items() if encodable(key))
        elif isinstance(value, list):
            stack.extend((f"{path}[{ix}]", item) for ix, item in enumerate(value))
        elif isinstance(value, float) and math.isnan(value):
            found.append(Problem(path, "NaN", "expected a number: JSON has no NaN and no Infinity"))
        elif isinstance(value, str) and not encodable(value):
            found.append(Problem(path, shown(value), "expected text that UTF-8 can carry: a surrogate stands alone"))
    return found


def _id(tree: Any) -> str | None:
    """Return the request's id if it can be quoted back."""
    name = tree.get("id") if isinstance(tree, dict) else None
    if isinstance(name, int) and not isinstance(name, bool) and abs(name) < 2**63:
        return str(name)
    if isinstance(name, str) and 0 < len(name) <= TEXT_MAX and encodable(name):
        return name
    return None


# ---- rules that span fields -----------------------------------------------------------------------------


def _sound(request: BidRequest, imps_max: int) -> bool:
    """Say whether no rule that spans fields is broken: the hot form of `conflicts`."""
    imps = request.imp
    if len(imps) > 1 and (len(imps) > imps_max or len({imp.id for imp in imps}) < len(imps)):
        return False
    if (request.site is not None) + (request.app is not None) + (request.dooh is not None) > 1:
        return False
    for imp in imps:
        if imp.native is not None:
            if native.problems(imp.native.request, ""):
                return False
        elif imp.banner is None and imp.video is None and imp.audio is None:
            return False
        if imp.pmp is not None:
            deals = imp.pmp.deals
            if len(deals) > 1 and len({deal.id for deal in deals}) < len(deals):
                return False
    _cut_segments(request)
    return True


def conflicts(request: BidRequest, imps_max: int = 64) -> list[Problem]:
    """Return every broken rule that spans fields: places, unique ids, media types, native requests."""
    found: list[Problem] = []
    places = [name for name in ("site", "app", "dooh") if getattr(request, name) is not None]
    if len(places) > 1:
        found += [Problem(p, None, f"expected at most one of site, app, dooh; got {', '.join(places)}") for p in places]
    imps = request.imp
    if len(imps) > imps_max:
        found.append(Problem("imp", f"{len(imps)} entries", f"expected at most {imps_max} imps"))
    first: dict[str, int] = {}
    for ix, imp in enumerate(imps):
        if imp.id and imp.id in first:
            found.append(Problem(f"imp[{ix}].id", shown(imp.id), f"the same as imp[{first[imp.id]}].id"))
        first.setdefault(imp.id, ix)
        found += _imp_conflicts(imp, f"imp[{ix}]")
    return found


def _imp_conflicts(imp: Imp, path: str) -> list[Problem]:
    """Return the broken rules within one imp."""
    found: list[Problem] = []
    if imp.native is not None and imp.native.request:
        found += native.problems(imp.native.request, f"{path}.native.request")
    if imp.banner is None and imp.video is None and imp.audio is None and imp.native is None:
        found.append(Problem(path, None, _MEDIA_EXPECTED))
    first: dict[str, int] = {}
    for ix, deal in enumerate(imp.pmp.deals if imp.pmp is not None else ()):
        if deal.id and deal.id in first:
            where = f"{path}.pmp.deals[{ix}].id"
            found.append(Problem(where, shown(deal.id), f"the same as {path}.pmp.deals[{first[deal.id]}].id"))
        first.setdefault(deal.id, ix)
    return found


def _cut_segments(request: BidRequest) -> None:
    """Keep the first SEGMENTS_MAX segments of the person; count the rest as dropped."""
    if request.user is None:
        return
    left = SEGMENTS_MAX
    for data in request.user.data:
        left -= len(data.segment)
        if left < 0:
            keep = max(len(data.segment) + left, 0)
            dropped["user.data[].segment[]"] = dropped.get("user.data[].segment[]", 0) + len(data.segment) - keep
            data.segment = data.segment[:keep]
            left = 0
