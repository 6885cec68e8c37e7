"""The border inward, the tolerant side: what is converted, dropped or ignored, and that no input does anything else."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.openrtb import BadRequest, bad_request_body, decode, validate
from exchange.openrtb.coerce import Reader, shown
from exchange.openrtb.corpus import read_requests, requests_in
from exchange.openrtb.kinds import SEGMENTS_MAX
from exchange.openrtb.model import BidRequest
from exchange.openrtb.validate import decode_lenient
from tests.openrtb_samples import NATIVE, good, imp, request

# ---- what is converted, dropped, tolerated ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "read", "expected"),
    [
        (request(id=5), lambda r: r.id, "5"),
        (imp(id=7), lambda r: r.imp[0].id, "7"),
        (imp(banner={"w": "320", "h": "50.0"}), lambda r: (r.imp[0].banner.w, r.imp[0].banner.h), (320, 50)),
        (imp(banner={"w": 320.0, "h": None}), lambda r: (r.imp[0].banner.w, r.imp[0].banner.h), (320, 0)),
        (imp(secure=True, bidfloor="0.85"), lambda r: (r.imp[0].secure, r.imp[0].bidfloor), (1, 0.85)),
        (imp(secure="", instl="", pmp=None), lambda r: (r.imp[0].secure, r.imp[0].pmp), (0, None)),
        (imp(banner={"battr": 3}), lambda r: r.imp[0].banner.battr, (3,)),
        (imp(pmp=[], video=""), lambda r: (r.imp[0].pmp, r.imp[0].video), (None, None)),
        (imp(native={"request": NATIVE}), lambda r: json.loads(r.imp[0].native.request), NATIVE),
        (imp(native={"request": '{"native":{"assets":[{"data":{"type":"2"}}]}}'}), lambda r: len(r.imp), 1),
        (request(at="", tmax="99"), lambda r: (r.at, r.tmax), (0, 99)),
        (request(at=2.0, test=0.0), lambda r: (r.at, r.test), (2, 0)),
        (request(cur="EUR"), lambda r: r.cur, ("EUR",)),
        (request(cur=[""], badv=["", "a.example", None]), lambda r: (r.cur, r.badv), ((), ("a.example",))),
        (request(wseat=[1, "2"]), lambda r: r.wseat, ("1", "2")),
        (request(site={}), lambda r: r.site.domain, ""),
        (request(site=...), lambda r: r.site, None),
        (request(user={"ext": {"eids": [{"uids": [{"id": 9}]}]}}), lambda r: r.user.ext.eids[0].uids[0].id, "9"),
        (request(regs={"gdpr": "1"}), lambda r: r.regs.gdpr, 1),
        (request(regs={}), lambda r: r.regs.gdpr is None, True),
        (request(ext={"rentier": {"now_ns": 123}}), lambda r: r.ext.rentier.now_ns, 123),
        (b'{"id":"1","imp":[{"id":"1","banner":{"w":300,"h":250}}],"x":1e400}', lambda r: r.id, "1"),
    ],
    ids=range(22),
)  # fmt: skip
def test_converted(body: Any, read: Any, expected: Any) -> None:
    """Values of a wrong type that can only mean one thing are taken for it."""
    assert read(good(body)) == expected


def test_dropped_fields_are_counted() -> None:
    """What the auction does not need and nobody can understand is dropped, and counted by its pattern."""
    before = dict(validate.dropped)
    device = {"geo": {"utcoffset": "noon", "country": "FRA"}, "devicetype": [1], "pxratio": "two"}
    got = good(request(device=device, site={"cat": [{}, "IAB1"], "page": "x" * 9000}))
    assert got.device is not None and got.device.geo is not None and got.site is not None
    assert (got.device.geo.utcoffset, got.device.geo.country, got.device.devicetype) == (0, "FRA", 0)
    assert (got.site.cat, got.site.page) == (("IAB1",), "")
    grown = {key for key, n in validate.dropped.items() if n == before.get(key, 0) + 1}
    assert grown == {"device.geo.utcoffset", "device.devicetype", "device.pxratio", "site.cat[]", "site.page"}


@pytest.mark.parametrize("lenient", [False, True])
def test_segments_are_cut(lenient: bool) -> None:
    """Only the first SEGMENTS_MAX segments are read, on either path, and the rest is counted."""
    data = [{"segment": [{"id": f"{d}-{n}"} for n in range(700)]} for d in range(3)]
    before = validate.dropped.get("user.data[].segment[]", 0)
    got = (decode_lenient if lenient else decode)(json.dumps(request(user={"data": data})).encode())
    assert got.user is not None
    assert [len(d.segment) for d in got.user.data] == [700, SEGMENTS_MAX - 700, 0]
    assert validate.dropped["user.data[].segment[]"] == before + 2100 - SEGMENTS_MAX


def test_unknown_fields_and_codes_are_tolerated() -> None:
    """OpenRTB demands it: unknown names, types on unknown names, and codes off today's lists."""
    body = imp(banner={"w": 1, "h": 1, "btype": [99], "newfield": {"a": [1]}}, rwdd=7)
    assert good({**body, "at": 501, "whatever": [{}], "regs": {"gpp": 5}}).at == 501


def test_imps_max_is_the_callers() -> None:
    """The limit of imps is a parameter, and holds on both paths."""
    body = json.dumps(request(imp=[{"id": str(n), "banner": {}} for n in range(3)])).encode()
    assert len(decode(body, imps_max=3).imp) == 3
    for read in (decode, decode_lenient):
        with pytest.raises(BadRequest, match="at most 2 imps"):
            read(body, imps_max=2)


# ---- nothing else ever happens ----------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6)
    | st.sampled_from(["", "1", "-1", "1e5", "x" * 600, "\ud800", "0x10", "1_0", "NaN"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "w", "banner", "x"]), inner),
    max_leaves=6,
)  # fmt: skip
RICH = request(
    imp=[
        {
            "id": "1", "banner": {"w": 1, "h": 1, "format": [{"w": 1, "h": 1}], "battr": [1]}, "exp": 1,
            "video": {"mimes": ["video/mp4"], "w": 1}, "native": {"request": json.dumps(NATIVE)},
            "pmp": {"private_auction": 1, "deals": [{"id": "d", "bidfloor": 1, "wseat": ["s"]}]}, "bidfloor": 1,
        }
    ],
    badv=["a.example"], wseat=["s"], cur=["USD"], regs={"coppa": 0, "ext": {"gdpr": 0}},
    device={"w": 1, "geo": {"country": "FRA", "utcoffset": 60}}, ext={"rentier": {"now_ns": 5}},
)  # fmt: skip


def places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [at, *(place for key, item in inner for place in places(item, (*at, key)))]


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(places(RICH)[1:]), JSON), min_size=1, max_size=3))
def test_any_value_anywhere(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Any JSON in any place: a request comes back that both paths agree on, or a BadRequest that can be written."""
    tree = json.loads(json.dumps(RICH))
    for place, value in changes:
        spot = tree
        for key in place[:-1]:
            inside = isinstance(spot, dict) and key in spot or isinstance(spot, list) and isinstance(key, int) and spot
            spot = spot[key] if inside else {}
        if isinstance(spot, dict) or isinstance(spot, list) and spot and isinstance(place[-1], int):
            spot[place[-1]] = value
    body = json.dumps(tree).encode()
    try:
        got = decode(body)
    except BadRequest as error:
        reply = json.loads(bad_request_body(error))
        assert all(set(problem) == {"path", "value", "reason"} for problem in reply["ext"]["errors"])
        with pytest.raises(BadRequest):
            decode_lenient(body)
    else:
        assert got == decode_lenient(body)
        assert msgspec.json.encode(got)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.integers(0, 600), st.binary(max_size=3), st.integers(0, 4))
def test_any_bytes(at: int, junk: bytes, cut: int) -> None:
    """A request with bytes cut out, put in or cut off: decoded, or BadRequest with a reply that can be written."""
    body = json.dumps(RICH).encode()
    body = body[:at] + junk + body[at + cut :] if cut < 4 else body[:at]
    try:
        assert decode(body).id is not None
    except BadRequest as error:
        assert json.loads(bad_request_body(error))["ext"]["errors"]


def test_shown_values_are_short_and_writable() -> None:
    """What is quoted back is at most 80 characters and always JSON."""
    for value in ("x" * 999, "\ud800", {"a": ["y" * 99]}, 10**40, float("nan"), [float("inf")], {"a": "\ud800"}):
        text = shown(value)
        assert len(str(text)) <= 80
        assert json.loads(msgspec.json.encode(text)) == text
    assert [shown(v) for v in (None, True, -5, 0.5)] == [None, True, -5, 0.5]


# ---- requests in files ------------------------------------------------------------------------------------


def test_requests_in_files(tmp_path: Path) -> None:
    """Plain, wrapped, in a row, in a list, broken; responses and lone objects are passed over."""
    plain = json.dumps(request())
    assert requests_in(plain.encode()) == [plain.encode()]
    assert requests_in(f"{plain}\n{plain}{plain}".encode()) == [plain.encode()] * 3
    assert [json.loads(b) for b in requests_in(json.dumps([request(), request()]).encode())] == [request()] * 2
    for wrapped in ({"mockBidRequest": request()}, {"incomingRequest": {"ortbRequest": request()}}):
        assert json.loads(requests_in(json.dumps(wrapped).encode())[0]) == request()
    assert requests_in(b'{"mockBidRequest": "malformed"}') == [b'"malformed"']
    for broken in (b'{"id":', b"\xff", b'{"id":"1"} x', b"[" * 100_000):
        assert requests_in(broken) == [broken]
    for other in ({"id": "1", "seatbid": []}, {"nbr": 2}, {"page": "x"}, {"user": {}}, {"id": "1", "mimes": []}):
        assert requests_in(json.dumps(other).encode()) == []
    for lost in ({"id": "1"}, {"protobuf": "x"}, {"id": "1", "site": {}}, {"site": {}, "at": 2}, {"imp": []}):
        assert len(requests_in(json.dumps(lost).encode())) == 1
    assert requests_in(b" \n") == []
    (tmp_path / "two.json").write_text(plain + plain)
    assert [label for label, _ in read_requests(tmp_path / "two.json")] == ["two.json#1", "two.json#2"]


def test_reader_names_what_it_expected() -> None:
    """Expectations are put in words, from the types alone."""
    reader = Reader()
    reader.object({"id": "1", "imp": [{"id": "1"}], "cur": {"a": 1}}, BidRequest)
    assert reader.problems[0].reason == "expected a list, each text of 1 to 512 characters"


@pytest.mark.parametrize("digits", [30, 320, 5_000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_integers_of_any_length_are_refused_not_raised(digits: int, sign: str) -> None:
    number = f"{sign}1{'0' * digits}"
    for field in ('"bidfloor":%s', '"banner":{"w":%s}', '"secure":%s', '"exp":%s,"bidfloor":-1'):
        body = f'{{"id":"r","imp":[{{"id":"1","banner":{{}},{field % number}}}]}}'.encode()
        with pytest.raises(BadRequest) as caught:
            decode(body)
        assert caught.value.errors[0].path.startswith("imp[0].")
        bad_request_body(caught.value)
