"""Bids of remote bidders: every check, its fate, and the price that comes out in the ledger currency."""

import json
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.market import PRICE_MAX_NANO
from exchange.openrtb import BadAnswer, Screened, codes, decode_response
from exchange.openrtb.response import BidResponse
from exchange.openrtb.screen import (
    BIDS_MAX,
    RESPONSE_MAX_BYTES,
    bare_domain,
    bid_count,
    floor_nano,
    insecure,
    screen,
    terms,
)
from tests.openrtb_samples import NATIVE, good, imp, request

RATES = {"EUR": 1_000_000, "USD": 920_000, "JPY": 6_000}
VAST = '<?xml version="1.0"?><VAST version="4.2"></VAST>'


def answer(bids: list[dict[str, Any]] | None = None, **over: Any) -> dict[str, Any]:
    """A good answer to `request()`; the bids are changes to a good bid."""
    base = {"id": "b1", "impid": "1", "price": 1.5, "adm": "<div>ad</div>", "adomain": ["ford.example"]}
    made = [
        {key: v for key, v in {**base, "id": f"b{n + 1}", **bid}.items() if v is not ...}
        for n, bid in enumerate(bids or [{}])
    ]
    return {"id": "r1", "cur": "USD", "seatbid": [{"seat": "s1", "bid": made}], **over}


def screened(body: Any, reply: dict[str, Any], **kw: Any) -> list[Screened]:
    """Decode both sides and screen."""
    return screen(terms(good(body), RATES), decode_response(json.dumps(reply).encode()), "dsp", **kw)


def fate(body: Any, bid: dict[str, Any], **over: Any) -> int:
    """The fate of one bid."""
    return screened(body, answer([bid], **over))[0].fate


def test_a_sound_bid() -> None:
    """What comes out: the bid, who it is for, the price rounded down into the ledger currency."""
    (got,) = screened(request(), answer([{"price": 1.2, "dealid": ""}]))
    assert (got.fate, got.seat, got.advertiser, got.impix) == (codes.WON, "s1", "ford.example", 0)
    assert (got.net_nano, got.currency, got.rate_ppm, got.deal) == (1_104_000, "USD", 920_000, None)
    (got,) = screened(
        request(), answer([{"adomain": []}], seatbid=[{"bid": answer([{"adomain": []}])["seatbid"][0]["bid"]}])
    )
    assert (got.seat, got.advertiser) == ("dsp", "seat:dsp")


def banner(**over: Any) -> dict[str, Any]:
    """A request whose imp has a banner changed by `over`."""
    return imp(banner={"w": 300, "h": 250, **over})


DEAL = {"id": "d1", "bidfloor": 2.0, "wseat": ["s1", "s2"], "wadomain": ["ford.example", "vw.example"]}
PMP = {"deals": [DEAL, {"id": "d2"}]}
ONLY = {"private_auction": 1, "deals": [{"id": "d2"}]}
VIDEO = {"mimes": ["video/mp4"], "battr": [7]}
FATES: list[tuple[Any, dict[str, Any], int]] = [
    (request(), {"id": ""}, codes.INVALID_RESPONSE),
    (request(), {"id": ...}, codes.INVALID_RESPONSE),
    (request(), {"id": "x" * 513}, codes.INVALID_RESPONSE),
    (request(), {"impid": "2"}, codes.INVALID_RESPONSE),
    (request(), {"impid": ...}, codes.INVALID_RESPONSE),
    (request(), {"price": ...}, codes.MISSING_PRICE),
    (request(), {"price": None}, codes.MISSING_PRICE),
    (request(), {"price": "dear"}, codes.MISSING_PRICE),
    (request(), {"price": "NaN"}, codes.MISSING_PRICE),
    (request(), {"price": 0}, codes.INVALID_RESPONSE),
    (request(), {"price": -1}, codes.INVALID_RESPONSE),
    (request(), {"price": "1.5"}, codes.WON),
    (request(), {"price": 1e-9}, codes.BELOW_FLOOR),
    (request(), {"price": 2_000_000}, codes.OVER_LIMIT),
    (request(), {"price": 1e300}, codes.OVER_LIMIT),
    (request(badv=["Ford.example"]), {}, codes.ADVERTISER_BLOCKED),
    (request(badv=["www.ford.example"]), {"adomain": ["ok.example", "shop.FORD.example"]}, codes.ADVERTISER_BLOCKED),
    (request(badv=["ford.example"]), {"adomain": ["https://www.ford.example/cars?a"]}, codes.ADVERTISER_BLOCKED),
    (request(badv=["ford.example"]), {"adomain": ["notford.example"]}, codes.WON),
    (request(badv=["shop.ford.example"]), {}, codes.WON),
    (request(badv=[".", "example"]), {"adomain": []}, codes.WON),
    (request(bcat=["IAB7-39"]), {"cat": ["IAB1", "IAB7-39"]}, codes.CATEGORY_BLOCKED),
    (request(bcat=["IAB7"]), {"cat": ["IAB7-39"]}, codes.CATEGORY_BLOCKED),
    (request(bcat=["IAB7-39"]), {"cat": ["IAB7", "IAB7-3"]}, codes.WON),
    (request(bapp=["com.game"]), {"bundle": "com.game"}, codes.APP_BLOCKED),
    (request(bapp=["com.game"]), {}, codes.WON),
    (request(wseat=["s2"]), {}, codes.SEAT_BLOCKED),
    (request(wseat=["s1"]), {}, codes.WON),
    (request(bseat=["s1"]), {}, codes.SEAT_BLOCKED),
    (request(wseat=["s1"], bseat=["s1"]), {}, codes.SEAT_BLOCKED),
    (request(), {"dealid": "d1"}, codes.INVALID_DEAL),
    (imp(pmp=PMP), {"dealid": "d9"}, codes.INVALID_DEAL),
    (imp(pmp=PMP), {"dealid": "d1", "price": 3}, codes.WON),
    (imp(pmp=PMP), {"dealid": "d1", "price": 1.99}, codes.BELOW_DEAL_FLOOR),
    (imp(pmp=PMP), {"dealid": "d1", "price": 3, "adomain": ["bmw.example"]}, codes.INVALID_ADVERTISER),
    (imp(pmp=PMP), {"dealid": "d1", "price": 3, "adomain": []}, codes.INVALID_ADVERTISER),
    (imp(pmp={"deals": [{**DEAL, "wseat": ["s2"]}]}), {"dealid": "d1", "price": 3}, codes.SEAT_BLOCKED),
    (imp(pmp={"deals": [{**DEAL, "bidfloorcur": "XXX"}]}), {"dealid": "d1", "price": 3}, codes.WRONG_CURRENCY),
    (imp(pmp=PMP), {}, codes.WON),
    (imp(pmp=ONLY), {}, codes.INVALID_DEAL),
    (imp(pmp=ONLY), {"dealid": "d2"}, codes.WON),
    (banner(battr=[4]), {"attr": [3, 4]}, codes.ATTRIBUTE_BLOCKED),
    (banner(battr=[4]), {"attr": [3]}, codes.WON),
    (imp(video=VIDEO), {"attr": [7], "mtype": 1}, codes.WON),
    (imp(video=VIDEO), {"attr": [7], "mtype": 2}, codes.ATTRIBUTE_BLOCKED),
    (imp(video=VIDEO), {"attr": [7], "adm": ..., "nurl": "http://x"}, codes.ATTRIBUTE_BLOCKED),
    (request(), {"adm": ...}, codes.MISSING_MARKUP),
    (request(), {"adm": "", "nurl": "http://dsp.example/win"}, codes.WON),
    (request(), {"mtype": 2}, codes.CREATIVE_FORMAT),
    (request(), {"mtype": 9}, codes.CREATIVE_FORMAT),
    (request(), {"adm": VAST}, codes.CREATIVE_FORMAT),
    (request(), {"adm": ' {"native": {}}'}, codes.CREATIVE_FORMAT),
    (request(), {"adm": {"native": {}}}, codes.CREATIVE_FORMAT),
    (imp(banner=..., video=VIDEO), {"adm": VAST}, codes.WON),
    (imp(banner=..., video=VIDEO), {}, codes.CREATIVE_FORMAT),
    (imp(banner=..., video=VIDEO), {"adm": "https://ads.example/vast.xml"}, codes.WON),
    (imp(banner=..., audio={"mimes": ["audio/mp4"]}), {"adm": VAST, "w": 1, "h": 1}, codes.WON),
    (imp(banner=..., native={"request": json.dumps(NATIVE)}), {"adm": {"native": {}}, "mtype": 4}, codes.WON),
    (banner(), {"w": 300, "h": 250}, codes.WON),
    (banner(), {"w": 728, "h": 90}, codes.CREATIVE_SIZE),
    (banner(), {"w": 728}, codes.WON),
    (imp(banner={}), {"w": 728, "h": 90}, codes.WON),
    (imp(banner={"format": [{"h": 90}]}), {"w": 728, "h": 90}, codes.WON),
    (banner(format=[{"w": 728, "h": 90}]), {"w": 728, "h": 90}, codes.WON),
    (imp(banner={"format": [{"wratio": 16, "hratio": 9, "wmin": 160}]}), {"w": 320, "h": 180}, codes.WON),
    (imp(banner={"format": [{"wratio": 16, "hratio": 9, "wmin": 160}]}), {"w": 80, "h": 45}, codes.CREATIVE_SIZE),
    (imp(banner={"wmin": 300, "wmax": 400, "hmax": 100}), {"w": 350, "h": 50}, codes.WON),
    (imp(banner={"wmin": 300, "wmax": 400, "hmax": 100}), {"w": 350, "h": 250}, codes.CREATIVE_SIZE),
    (imp(video=VIDEO), {"w": 728, "h": 90, "adm": VAST}, codes.WON),
    (imp(secure=1), {"adm": '<img src="http://x/a.png">'}, codes.NOT_SECURE),
    (imp(secure=1), {"adm": '<img src="https://x/a.png">'}, codes.WON),
    (imp(secure=0), {"adm": '<img src="http://x/a.png">'}, codes.WON),
]


@pytest.mark.parametrize(("body", "bid", "expected"), FATES, ids=range(len(FATES)))
def test_fate(body: Any, bid: dict[str, Any], expected: int) -> None:
    """Each rule gives its own fate, and a near miss of the rule may compete."""
    assert codes.FATES[fate(body, bid)] == codes.FATES[expected]


def test_answer_as_a_whole() -> None:
    """The answer's id and currency decide for all its bids; the id may be missing, USD is the default."""
    assert fate(request(), {}, id="other") == codes.INVALID_AUCTION
    assert fate(request(), {}, id="") == codes.WON
    assert fate(request(), {}, cur="XXX") == codes.WRONG_CURRENCY
    assert screened(request(), answer([{"price": 2}], cur=""))[0].net_nano == 1_840_000
    assert screened(request(cur=["eur", "USD"]), answer([{"price": 2}], cur="eur"))[0].net_nano == 2_000_000
    assert fate(request(cur=["EUR"]), {}) == codes.WRONG_CURRENCY
    body = request(wseat=["dsp"])
    assert screened(body, answer(seatbid=[{"bid": answer()["seatbid"][0]["bid"]}]))[0].fate == codes.SEAT_BLOCKED


def test_several_bids() -> None:
    """Order is kept, one bad bid costs no other, a bid id counts once, groups of several are not served."""
    bids = [{}, {"price": -1}, {"id": "b1"}, {"impid": "9"}, {"price": 0.7}]
    got = screened(request(), answer(bids))
    assert [s.fate for s in got] == [0, codes.INVALID_RESPONSE, codes.INVALID_RESPONSE, codes.INVALID_RESPONSE, 0]
    assert [s.impix for s in got] == [0, 0, 0, -1, 0]
    grouped = answer([{}, {}])
    grouped["seatbid"][0]["group"] = 1
    assert [s.fate for s in screened(request(), grouped)] == [codes.INVALID_RESPONSE] * 2
    grouped["seatbid"][0]["bid"].pop()
    assert [s.fate for s in screened(request(), grouped)] == [codes.WON]
    two = request(imp=[{"id": "a", "banner": {}}, {"id": "b", "video": VIDEO}])
    assert [s.impix for s in screened(two, answer([{"impid": "b", "adm": VAST}, {"impid": "a"}]))] == [1, 0]


def test_bids_beyond_the_limit_are_not_looked_at() -> None:
    """At most BIDS_MAX bids of an answer come back; how many there were can be asked."""
    reply = answer([{}] * 100)
    assert len(screened(request(), reply)) == BIDS_MAX
    assert len(screened(request(), reply, bids_max=3)) == 3
    assert bid_count(decode_response(json.dumps(reply).encode())) == 100


def test_no_bids() -> None:
    """Every way to say no bid is understood, and is not an error."""
    for body in (
        b"",
        b"{}",
        b'{"id":"r1","seatbid":[]}',
        b'{"id":"r1","nbr":2}',
        b'{"id":"r1","seatbid":[{"bid":[]}]}',
    ):
        assert screen(terms(good(request()), RATES), decode_response(body), "dsp") == []
    assert decode_response(b'{"nbr":"8"}').nbr == 8
    assert decode_response(b'{"seatbid":null,"nbr":null}') == BidResponse()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "expected a JSON object"),
        (b'{"seatbid":5}', "seatbid: expected a list"),
        (b'{"seatbid":[{"bid":[7]}]}', r"seatbid\[0\].bid\[0\]: expected an object"),
        (b'{"seatbid":[{"bid":[{"price":1e400}]}]}', "out of range"),
        (b'{"id":"\xff"}', "not JSON"),
        (b"[" * 100_000, "nested"),
        (b'{"id":"' + b"x" * RESPONSE_MAX_BYTES + b'"}', "longer than"),
    ],
    ids=range(8),
)
def test_garbled_answers(body: bytes, why: str) -> None:
    """What is not a bid response is refused with a reason, whatever it is."""
    with pytest.raises(BadAnswer, match=why):
        decode_response(body)


def test_wrong_types_cost_one_value() -> None:
    """A value of a wrong type is converted, or is as if not given; the rest of the bid stands."""
    bid = {"id": 1, "impid": 1, "price": "2.5", "w": "300", "h": 250.0, "attr": "4", "adomain": "a.example", "exp": {}}
    got = decode_response(json.dumps(answer(seatbid=[{"seat": 9, "bid": [bid]}])).encode()).seatbid[0]
    one = got.bid[0]
    assert (got.seat, one.id, one.impid, one.price, one.w, one.h) == ("9", "1", "1", 2.5, 300, 250)
    assert (one.attr, one.adomain, one.exp) == ((4,), ("a.example",), 0)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.floats(allow_nan=False, width=64), st.sampled_from(["EUR", "USD", "JPY"]))
def test_price_never_rounds_up(price: float, currency: str) -> None:
    """The net price is the largest whole nano not above the bid (in the bid's own CPM decimals), exactly."""
    reply = decode_response(json.dumps(answer(cur=currency)).encode())
    reply.seatbid[0].bid[0].price = price
    (got,) = screen(terms(good(request()), RATES), reply, "dsp")
    if got.fate == codes.WON:
        nano = Fraction(repr(price)) * 10**6  # the decimal that was written
        assert got.net_nano == math.floor(Fraction(math.floor(nano)) * RATES[currency] / 10**6)
        assert 0 < got.net_nano <= PRICE_MAX_NANO
    else:
        assert price <= 0 or not math.isfinite(price) or price > 1e6 or price * RATES[currency] < 1.01e6
        assert got.fate in (codes.INVALID_RESPONSE, codes.BELOW_FLOOR, codes.OVER_LIMIT)


def test_floors_round_up() -> None:
    """A floor in a foreign currency is never lowered by conversion; without a rate there is no floor to compare."""
    assert floor_nano(0.85, "EUR", RATES) == 850_000
    assert floor_nano(0.000001, "JPY", RATES) == 1
    assert floor_nano(1.0, "", RATES) == floor_nano(1.0, "usd", RATES) == 920_000
    assert floor_nano(1.0, "XXX", RATES) is None


@pytest.mark.parametrize(
    ("adm", "expected"),
    [
        ('<script src="http://x/a.js"></script>', True),
        ("<SCRIPT SRC=HTTP://x/a.js></script>", True),
        ('{"img":{"url":"http:\\/\\/x\\/a.png"}}', True),
        ("<VAST><MediaFile><![CDATA[http://x/a.mp4]]></MediaFile></VAST>", True),
        ("<div style=\"background:url('http://x/a.png')\">", True),
        ('<a href="http://x"><img src="http://x/a.png"></a>', True),
        ('<a class="b" href="http://x"><img src="https://x/a.png"></a>', False),
        ('<svg xmlns="http://www.w3.org/2000/svg">', False),
        ('<VAST xmlns:xsi="http://www.w3.org/x" xsi:schemaLocation="vast http://x/v.xsd">', False),
        ("<ClickThrough><![CDATA[http://shop.example/]]></ClickThrough>", False),
        ('{"native":{"link":{"url":"http://shop.example/"}}}', False),
        ("no links at all", False),
    ],
)
def test_insecure(adm: str, expected: bool) -> None:
    """What is loaded over http: counts; links and names do not."""
    assert insecure(adm) is expected


def test_bare_domain() -> None:
    """Domains are compared without case, scheme, path, port and www."""
    for text in ("Ford.COM", "www.ford.com", "https://www.ford.com/a?b", "//ford.com/", "ford.com:443", " ford.com. "):
        assert bare_domain(text) == "ford.com"
    assert bare_domain("") == bare_domain("https://") == bare_domain(".") == ""
