"""The border inward: what is accepted, what is refused with which field named, and that nothing else happens."""

import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exchange.openrtb import BadRequest, bad_request_body, codes
from exchange.openrtb.coerce import PROBLEMS_MAX, members
from exchange.openrtb.corpus import read_requests
from exchange.openrtb.model import BidRequest
from exchange.openrtb.validate import LENIENT_MAX_BYTES, decode_lenient
from tests.openrtb_samples import NATIVE, accepted, good, imp, paths, refusal, request

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT.parent / "shared" / "openrtb"
DOC = ROOT / "docs" / "openrtb.md"


# ---- the corpus -------------------------------------------------------------------------------------------


def outcomes() -> dict[str, str]:
    """Expected outcome by file, from the corpus' own index."""
    if not CORPUS.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{CORPUS} is missing")
        pytest.skip(f"{CORPUS} is missing: the corpus lies beside the repository")
    rows = [line.strip("|").split("|") for line in (CORPUS / "INDEX.md").read_text().splitlines()]
    return {row[0].strip(): row[3].strip() for row in rows if len(row) >= 4 and "/" in row[0] and ".md" not in row[0]}


# where a refused request of the corpus must be blamed, by file; `native` stands for imp[0].native.request
BLAME = {
    "audio-maxbitrate-negative": "imp[0].audio.maxbitrate",
    "audio-mimes-empty": "imp[0].audio.mimes",
    "audio-sequence-negative": "imp[0].audio.sequence",
    "banner-w-negative": "imp[0].banner.w",
    "deal-no-id": "imp[0].pmp.deals[0].id",
    "device-h-negative": "device.h",
    "device-w-negative": "device.w",
    "format-h-negative": "imp[0].banner.format[0].h",
    "format-wmin-negative": "imp[0].banner.format[0].wmin",
    "imp-empty-array": "imp",
    "imp-id-duplicates": "imp[1].id",
    "malformed-bid-request": "$",
    "only-request-id": "imp",
    "site-app-both": "app",
    "user-ext-consent-int": "user.ext.consent",
    "user-geo-accuracy-negative": "user.geo.accuracy",
    "video-h-negative": "imp[0].video.h",
    "video-mimes-empty": "imp[0].video.mimes",
    "video-w-negative": "imp[0].video.w",
    "asset-data-invalid-type": "native.assets[0].data.type",
    "asset-empty": "native.assets",
    "asset-img-hmin-negative": "native.assets[0].img.hmin",
    "asset-img-wmin-negative": "native.assets[0].img.wmin",
    "asset-title-empty": "native.assets[0].title.len",
    "asset-video-no-maxduration": "native.assets[0].video.maxduration",
    "asset-video-no-minduration": "native.assets[0].video.minduration",
    "asset-video-protocols-empty": "native.assets[0].video.protocols",
    "assets-with-dup-ids": "native.assets[1].id",
    "context-type-content-incompatible-subtype": "native.contextsubtype",
    "context-type-social-incompatible-subtype": "native.contextsubtype",
    "contextsubtype-negative": "native.contextsubtype",
    "empty": "native",
    "eventtracker-event-large": "native.eventtrackers[0].event",
    "eventtracker-methods-large": "native.eventtrackers[0].methods[0]",
    "request-plcmttype-invalid": "native.plcmttype",
    "testdata__response2": "$",
    "testing__openrtb1_req": "imp[0].id",
    "SampleBids__c1xbad": "$",
    "SampleBids__garbage": "$",
    "SampleBids__fyberMobileInApp": "imp[0].video.mimes",
    "SampleBids__nexageNativeContentStreamWithVideo": "imp[0].native.request",
    "SampleBids__siteadx": "imp",
    "12": "id",
    "14": "id",
}
NOT_REQUESTS = {f"iab/{n:02d}.json" for n in (6, 8, 10, 16, 18, 20, 22, 24, 26, 28, 30)}


def test_corpus_outcomes() -> None:
    """Every request of the corpus is accepted or refused as its index says; refusals name the field."""
    n_refused = n_accepted = 0
    for file, outcome in outcomes().items():
        found = [body for _, body in read_requests(CORPUS / file)]
        if outcome in ("valid object", "valid response") or file in NOT_REQUESTS:
            assert found == [], file
            continue
        assert found, file
        name = Path(file).stem
        if name in BLAME:
            blame = BLAME[name].replace("native", "imp[0].native.request", BLAME[name].startswith("native"))
            assert blame in paths(found[0]), file
            n_refused += 1
        elif name == "testing__exchange_parsing_from_file_bid_request":
            assert [accepted(body) for body in found] == [False, True, True]
        else:
            assert outcome.startswith(("valid", "request valid", "policy", "incoming", "4 requests")), file
            for body in found:
                assert good(body).imp, file
                n_accepted += 1
    assert (n_refused, n_accepted) == (len(BLAME), 96)


def test_fast_and_slow_path_agree() -> None:
    """The lenient walk is the naive twin of the typed decoder: on what that accepts, both give equal requests."""
    compared = 0
    for file in outcomes():
        for _, body in read_requests(CORPUS / file):
            try:
                strict = msgspec.json.decode(body, type=BidRequest)
            except (ValueError, RecursionError):
                continue
            if accepted(body):
                assert decode_lenient(body) == strict, file
                compared += 1
    assert compared > 60


# ---- what is refused --------------------------------------------------------------------------------------

REFUSED: list[tuple[str, Any]] = [
    ("id", request(id=...)),
    ("id", request(id="")),
    ("id", request(id=True)),
    ("id", request(id={"a": 1})),
    ("id", request(id="x" * 513)),
    ("imp", request(imp=...)),
    ("imp", request(imp=[])),
    ("imp", request(imp={"id": "1"})),
    ("imp", request(imp="1")),
    ("imp[0]", request(imp=[5])),
    ("imp[1]", request(imp=[{"id": "1", "banner": {}}, None])),
    ("imp", request(imp=[{"id": str(n), "banner": {}} for n in range(65)])),
    ("imp[0].id", imp(id=...)),
    ("imp[2].id", request(imp=[{"id": n, "banner": {}} for n in ("a", "b", "a")])),
    ("imp[0]", imp(banner=...)),
    ("imp[0].banner", imp(banner=5)),
    ("imp[0].banner.h", imp(banner={"w": 1, "h": -1})),
    ("imp[0].banner.w", imp(banner={"w": 1e30})),
    ("imp[0].banner.w", imp(banner={"w": "wide"})),
    ("imp[0].banner.hmin", imp(banner={"hmin": -1})),
    ("imp[0].banner.battr[1]", imp(banner={"battr": [1, -2]})),
    ("imp[0].banner.format", imp(banner={"format": "300x250"})),
    ("imp[0].bidfloor", imp(bidfloor=-0.01)),
    ("imp[0].bidfloor", imp(bidfloor=1e7)),
    ("imp[0].bidfloor", imp(bidfloor="much")),
    ("imp[0].bidfloor", imp(bidfloor=True)),
    ("imp[0].exp", imp(exp=-1)),
    ("imp[0].qty.multiplier", imp(qty={"multiplier": 0})),
    ("imp[0].video.mimes", imp(video={})),
    ("imp[0].video.mimes", imp(video={"mimes": [""]})),
    ("imp[0].video.minbitrate", imp(video={"mimes": ["video/mp4"], "minbitrate": -5})),
    ("imp[0].audio.mimes", imp(audio={"mimes": []})),
    ("imp[0].audio.maxduration", imp(audio={"mimes": ["audio/mp4"], "maxduration": -5})),
    ("imp[0].native.request", imp(native={})),
    ("imp[0].native.request", imp(native={"request": ""})),
    ("imp[0].native.request", imp(native={"request": "{assets}"})),
    ("imp[0].native.request", imp(native={"request": "[1]"})),
    ("imp[0].native.request.assets", imp(native={"request": "{}"})),
    ("imp[0].native.request.native.assets", imp(native={"request": '{"native":{"assets":[]}}'})),
    ("imp[0].native.request.assets[0]", imp(native={"request": '{"assets":[{"title":{"len":9},"img":{}}]}'})),
    ("imp[0].pmp.deals[0].bidfloor", imp(pmp={"deals": [{"id": "d", "bidfloor": -1}]})),
    ("imp[0].pmp.deals[1].id", imp(pmp={"deals": [{"id": "d"}, {"id": "d"}]})),
    ("imp[0].pmp.deals", imp(pmp={"deals": 5})),
    ("site", request(site=5)),
    ("dooh", request(dooh={})),
    ("tmax", request(tmax=-1)),
    ("tmax", request(tmax="soon")),
    ("tmax", request(tmax=99.5)),
    ("at", request(at=-2)),
    ("badv[1]", request(badv=["a.example", {}])),
    ("badv", request(badv={"a": 1})),
    ("badv", request(badv=["a"] * 4097)),
    ("wseat", request(wseat=True)),
    ("device", request(device=5)),
    ("device.h", request(device={"h": -1})),
    ("device.lmt", request(device={"lmt": 2})),
    ("device.geo.accuracy", request(device={"geo": {"accuracy": -1}})),
    ("user.consent", request(user={"consent": 1})),
    ("user.ext.consent", request(user={"ext": {"consent": ["x"]}})),
    ("user.yob", request(user={"yob": -1})),
    ("regs.coppa", request(regs={"coppa": -1})),
    ("regs.ext.gdpr", request(regs={"ext": {"gdpr": 2}})),
    ("ext.rentier.now_ns", request(ext={"rentier": {"now_ns": -1}})),
]


@pytest.mark.parametrize(("path", "body"), REFUSED, ids=[f"{n}-{path}" for n, (path, _) in enumerate(REFUSED)])
def test_refused_with_the_field_named(path: str, body: Any) -> None:
    """A broken rule is blamed on its field, and the reply can be written."""
    error = refusal(body)
    assert path in [problem.path for problem in error.errors]
    reply = json.loads(bad_request_body(error))
    assert reply["nbr"] == 2 and reply["ext"]["errors"][0]["reason"]
    assert reply.get("id") == (body["id"] if isinstance(body.get("id"), str) and 0 < len(body["id"]) <= 512 else None)


def test_every_count_refuses_a_negative_value() -> None:
    """All the non-negative fields of the model, not a list of them: each is tried in its place."""
    tried = []

    def visit(struct: Any, build: Any) -> None:
        for member in members(struct):
            kind = member.kind
            here = build(member.name)
            if kind.name in ("int", "float") and kind.low == 0:
                with pytest.raises(BadRequest):
                    good(here(-1))
                with pytest.raises(BadRequest):
                    good(here("-1"))
                tried.append(member.name)
            elif kind.name == "object":
                visit(kind.struct, _inside(here))
            elif kind.name == "list" and kind.item is not None and kind.item.name == "object" and kind.item.struct:
                if member.name != "imp":
                    visit(kind.item.struct, _inside(lambda v, here=here: here([v])))

    visit(BidRequest, lambda name: lambda v: request(**{name: v}))
    for struct in (m.kind.item.struct for m in members(BidRequest) if m.name == "imp" and m.kind.item):
        visit(struct, lambda name: lambda v: imp(**{name: v}))
    assert len(tried) > 90


def _inside(place: Any) -> Any:
    """Build a field inside an object that stands at `place`; required neighbours are given."""
    needed = {"id": "d", "mimes": ["x/y"], "request": json.dumps(NATIVE)}
    return lambda name: lambda value: place({**needed, name: value})


def test_all_problems_at_once() -> None:
    """One reply lists every problem, each once, in request order; at most PROBLEMS_MAX."""
    body = request(id=5, imp=[{"banner": {"w": -1, "h": "x"}}, {"id": "2"}], tmax="soon", wseat=[{}])
    error = refusal(body)
    assert [p.path for p in error.errors] == [
        "imp[0].id", "imp[0].banner.w", "imp[0].banner.h", "tmax", "wseat[0]", "imp[1]",
    ]  # fmt: skip
    assert error.id == "5"
    assert error.errors[1].value == -1 and "integer >= 0" in error.errors[1].reason
    assert len(refusal(request(badv=[{}] * 4000)).errors) == PROBLEMS_MAX


@pytest.mark.parametrize(
    ("body", "path", "reason"),
    [
        (b"", "$", "not JSON"),
        (b"null", "$", "expected a JSON object"),
        (b"[]", "$", "expected a JSON object"),
        (b'"x"', "$", "expected a JSON object"),
        (b'{"id":"1"', "$", "not JSON"),
        (b'{"id":"1","imp":[],}', "$", r"byte 19"),
        (b'{"id":"1","x":"\\q"}', "$", "escape"),
        (b'{"id":"1","x":"\xff"}', "$", r"not UTF-8.*byte 15"),
        (b'{"id":"1","x":"\xed\xa0\x80"}', "$", "not UTF-8"),
        (b'{"id":"1","imp":[{"id":"1","banner":{}}],"x":"\xff"}', "$", "not UTF-8"),
        (b'{"id":"1","x":["\\ud800"]}', "x[0]", "surrogate"),
        (b'{"id":"1","\\ud800":1}', "", "surrogate"),
        (b'{"id":"1","x":{"y":NaN}}', "x.y", "NaN"),
        (b'{"id":"1","tmax":-Infinity}', "tmax", "NaN"),
        (b'{"id":"1","imp":[{"id":"1","banner":{},"bidfloor":1e400}]}', "imp[0].bidfloor", "expected a number"),
        (b'{"id":"1","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "$", "nested"),
        (b"[" * 100_000, "$", "nested"),
        (b'{"id":"1","x":' + b"9" * 5000 + b"}", "imp", "missing"),
        (b'{"tmax":' + b"9" * 200 + b"}", "tmax", "<= 2147483647"),
        (b'{"tmax":' + b"9" * 5000 + b"}", "tmax", "<= 2147483647"),
        (b"\xef\xbb\xbf{}", "$", "not JSON"),
    ],
    ids=range(21),
)
def test_not_a_request(body: bytes, path: str, reason: str) -> None:
    """Whatever the bytes, BadRequest: with the position where they are not JSON."""
    problems = refusal(body).errors
    assert any(p.path == path and re.search(reason, p.reason) for p in problems), problems
    assert json.loads(bad_request_body(refusal(body)))["nbr"] == 2


def test_long_bodies() -> None:
    """Beyond LENIENT_MAX_BYTES a body must be right at once; then even 10 MB pass."""
    big = request(ext={"pad": "x" * 10_000_000})
    assert good(big).id == "r1"
    assert paths(request(ext=big["ext"], tmax=-1)) == ["tmax"]
    assert paths(request(ext=big["ext"], imp=[{"id": "1", "banner": {}}] * 2)) == ["$"]
    assert paths(b"x" * (LENIENT_MAX_BYTES + 1)) == ["$"]


# ---- docs -------------------------------------------------------------------------------------------------


def table(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of docs/openrtb.md."""
    section = DOC.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip().strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:] if not set(row[0].strip()) <= {"-"}]


def test_policy_table() -> None:
    """Every request in the policy table of the docs is decided as the table says."""
    rows = table("Choices that the specification leaves open")
    assert len(rows) >= 20
    for example, choice, _ in rows:
        body = example.strip("`")
        tree = json.loads(body) if body.startswith("{") else None
        assert tree is not None, body
        whole = imp(**tree["imp"]) if "imp" in tree else request(**tree)
        assert accepted(json.dumps(whole).encode()) == choice.startswith("accept"), body


def test_fates_table() -> None:
    """The docs list every fate with the words of codes.py."""
    assert table("Fates of bids") == [[str(code), f"`{n}`", words] for code, (n, words) in codes.FATES.items()]
