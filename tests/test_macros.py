"""What goes out: macros, markup, responses, requests passed on."""

import base64
import html
import json
import xml.etree.ElementTree as ET
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.config import Creative
from exchange.openrtb import Bid, Markup, SeatBid, bid_response, decode, decode_response, forward, no_bid
from exchange.openrtb.encode import cpm
from exchange.openrtb.macros import MACROS, Template, price_text, ratio_text, substitute, substitute_url
from tests.openrtb_samples import good, request

TEXT = "p=${AUCTION_PRICE}&l=${AUCTION_LOSS}&m=${AUCTION_MIN_TO_WIN}&c=${AUCTION_CURRENCY}"
CLICK, SEEN = "http://x.example/c?t=a&b='\"<>\\", "http://x.example/i?t=a&b='\"<>\\"


# ---- macros -----------------------------------------------------------------------------------------------

# OpenRTB 2.6 section 4.4.1: bids 1.00, 0.90, 0.80 and an invalid one, floor 0.85; (price, least bid to win), nano
FIRST = [(1_000_000, 900_000), (None, 1_000_000), (None, 1_000_000), (None, None)]
SECOND = [(910_000, 900_000), (None, 910_000), (None, 910_000), (None, None)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(FIRST, ["1/0.9", "/1", "/1", "/"]), (SECOND, ["0.91/0.9", "/0.91", "/0.91", "/"])],
)
def test_vectors_of_the_specification(rows: list[tuple[int | None, int | None]], expected: list[str]) -> None:
    """The printed tables: each party is told exactly its texts, and an empty one where the table has none."""
    for (price, least), text in zip(rows, expected, strict=True):
        values = {} if price is None else {"AUCTION_PRICE": price_text(price)}
        if least is not None:
            values["AUCTION_MIN_TO_WIN"] = price_text(least)
        assert substitute("${AUCTION_PRICE}/${AUCTION_MIN_TO_WIN}", values) == text
        assert Template("${AUCTION_PRICE}/${AUCTION_MIN_TO_WIN}").render(values) == text


def test_every_macro() -> None:
    """All names are replaced wherever they stand, B64 on request; unknown names and suffixes are left alone."""
    for name in MACROS:
        assert substitute(f"a${{{name}}}${{{name}}}b", {name: "v"}) == "avvb"
        assert substitute(f"a${{{name}}}b", {}) == "ab"
        assert substitute(f"${{{name}:B64}}", {name: "0.91é"}) == base64.b64encode("0.91é".encode()).decode()
        assert substitute(f"${{{name}:B64}}", {}) == ""
    for text in ("${AUCTION_PRICES}", "${auction_price}", "${AUCTION_PRICE:ROT13}", "$AUCTION_PRICE", "${", "${}"):
        assert substitute(text, {"AUCTION_PRICE": "1"}) == text
        assert Template(text).render({"AUCTION_PRICE": "1"}) == text
    assert substitute("${AUCTION_ID}", {"AUCTION_ID": "${AUCTION_PRICE}", "AUCTION_PRICE": "9"}) == "${AUCTION_PRICE}"


def test_encodings() -> None:
    """URL, XML and JSON keep a hostile value inside its place."""
    value = "a b&\"'<>\\\n/é"
    made = substitute("${AUCTION_ID:URL} ${AUCTION_ID:XML} ${AUCTION_ID:JSON}", {"AUCTION_ID": value})
    assert (
        made
        == f"a%20b%26%22%27%3C%3E%5C%0A%2F%C3%A9 {html.escape(value)} {json.dumps(value, ensure_ascii=False)[1:-1]}"
    )


def test_notice_urls_cannot_be_broken() -> None:
    """Values in a URL are percent-encoded: no header, path or second parameter can be smuggled in."""
    values = {"AUCTION_ID": "a\r\nHost: evil&x=1#", "AUCTION_PRICE": "0.91", "AUCTION_SEAT_ID": "a b"}
    made = substitute_url(
        "http://d/n?i=${AUCTION_ID}&p=${AUCTION_PRICE}&s=${AUCTION_SEAT_ID:URL}&e=${AUCTION_LOSS}", values
    )
    assert made == "http://d/n?i=a%0D%0AHost%3A%20evil%26x%3D1%23&p=0.91&s=a%20b&e="
    assert substitute_url("${AUCTION_PRICE:B64}", values) == "MC45MQ%3D%3D"
    assert substitute_url("http://d/plain", values) == "http://d/plain"


@settings(derandomize=True, deadline=None)
@given(
    st.lists(
        st.sampled_from([*(f"${{{n}}}" for n in MACROS), "${AUCTION_ID:B64}", "${AUCTION_ID:XML}", "x", "${", "é<"])
    )
)
def test_template_is_substitute(pieces: list[str]) -> None:
    """A template renders what substitution gives, for any text."""
    values = {name: f"<{name}&>" for name in MACROS} | {"AUCTION_PRICE": "0.91", "AUCTION_ID": "plain"}
    assert Template("".join(pieces)).render(values) == substitute("".join(pieces), values)


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 10**12))
def test_price_text_is_exact(nano: int) -> None:
    """A price is a plain decimal without noise: the text, read back, is the very price."""
    text = price_text(nano)
    assert Decimal(text) * 10**6 == nano
    assert "e" not in text.lower() and not (text.endswith("0") and "." in text) and not text.endswith(".")


def test_price_texts() -> None:
    """Known texts, and the price that cannot be."""
    assert [price_text(n) for n in (910_000, 0, 1, 4_000_000, 12_345_678)] == [
        "0.91",
        "0",
        "0.000001",
        "4",
        "12.345678",
    ]
    assert [ratio_text(*pair) for pair in ((910_000, 1_000_000), (1, 3), (5, 0))] == ["0.91", "0.333333", ""]
    with pytest.raises(ValueError, match="negative"):
        price_text(-1)


def test_macros_table() -> None:
    """docs/openrtb.md lists every macro with its meaning."""
    text = (Path(__file__).resolve().parents[1] / "docs" / "openrtb.md").read_text()
    rows = [line.strip("| ") for line in text.split("## Macros\n")[1].splitlines() if line.startswith("| `")]
    assert rows == [f"`${{{name}}}` | {meaning}" for name, meaning in MACROS.items()]


# ---- markup -----------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """Collects what a browser would link to and load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str | None] = []
        self.loads: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep href and src."""
        given = dict(attrs)
        if tag == "a":
            self.links.append(given.get("href"))
        if tag == "img":
            self.loads.append(given.get("src"))


def test_banner_markup() -> None:
    """An image stands inside the click link with our pixel after it, whatever characters the URLs hold."""
    image = "https://cdn.example/a.png?x=1&y=\"'<>"
    seen = Links(Markup(Creative(id="c", w=300, h=250, image=image)).render(CLICK, SEEN, {}))
    assert seen.links == [CLICK] and seen.loads == [image, SEEN]


def test_given_markup_keeps_its_own_pixel() -> None:
    """html and adm are used as they are; the pixel is added only where they do not carry the impression link."""
    plain = Markup(Creative(id="c", w=1, h=1, html="<b>${AUCTION_PRICE}</b><a href='${CLICK_URL}'>x</a>"))
    text = plain.render("http://c/1", "http://i/1", {"AUCTION_PRICE": "0.91"})
    assert text.startswith("<b>0.91</b><a href='http://c/1'>x</a><img") and Links(text).loads == ["http://i/1"]
    own = Markup(Creative(id="c", w=1, h=1, html="unused", adm="<img src='${IMPRESSION_URL}'>"))
    assert own.render("http://c/1", "http://i/1", {}) == "<img src='http://i/1'>"


@pytest.mark.parametrize(
    ("kind", "media", "mime"),
    [
        ("video", "https://cdn.example/a.webm?k=1&z=<", "video/webm"),
        ("video", "https://cdn.example/a", "video/mp4"),
        ("audio", "https://cdn.example/a.mp3", "audio/mpeg"),
    ],
)
def test_vast(kind: str, media: str, mime: str) -> None:
    """The document parses as XML and says what VAST 4.2 wants: impression, click, duration, media file."""
    creative = Creative(id='c<"&>', type=kind, w=640, h=360, image=media, duration_s=3675)
    root = ET.fromstring(Markup(creative).render(CLICK, SEEN, {"AUCTION_BID_ID": "7<"}))
    found = {element.tag.partition("}")[2]: element for element in root.iter()}
    assert root.get("version") == "4.2" and found["Ad"].get("adType") == kind
    assert found["Impression"].text == SEEN and found["ClickThrough"].text == CLICK
    assert found["Duration"].text == "01:01:15" and found["AdTitle"].text == 'c<"&>'
    assert found["AdServingId"].text == "7<" and found["UniversalAdId"].text == 'c<"&>'
    assert found["MediaFile"].text == media and found["MediaFile"].get("type") == mime
    assert found["MediaFile"].get("width") == ("640" if kind == "video" else None)


def test_given_vast_gets_our_impression() -> None:
    """Ours comes before the document's own, once; a document that carries the link is left alone."""
    given = '<VAST version="3.0"><Ad><InLine><Impression>http://own/1</Impression><Creatives/></InLine></Ad></VAST>'
    root = ET.fromstring(Markup(Creative(id="c", type="video", adm=given)).render(CLICK, SEEN, {}))
    assert [element.text for element in root.iter("Impression")] == [SEEN, "http://own/1"]
    mine = "<VAST><Impression>${IMPRESSION_URL}</Impression></VAST>"
    assert Markup(Creative(id="c", type="audio", adm=mine)).render("c", "i", {}) == mine.replace(
        "${IMPRESSION_URL}", "i"
    )


def test_native_markup() -> None:
    """Native answers are JSON with the click link and one impression link in each list of trackers."""
    creative = Creative(id="c", type="native", w=100, h=50, image='https://cdn.example/"a".png')
    native = json.loads(Markup(creative).render(CLICK, SEEN, {}))["native"]
    assert native["link"] == {"url": CLICK} and native["imptrackers"] == [SEEN]
    assert native["eventtrackers"] == [{"event": 1, "method": 1, "url": SEEN}]
    assert native["assets"][0]["img"] == {"url": 'https://cdn.example/"a".png', "w": 100, "h": 50}
    inner = '{"link":{"url":"${CLICK_URL:JSON}"},"imptrackers":["http://own.example"]}'
    for adm in (inner, f'{{"native":{inner}}}'):
        tree = json.loads(Markup(Creative(id="c", type="native", adm=adm)).render(CLICK, SEEN, {}))
        tree = tree.get("native", tree)
        assert tree["link"]["url"] == CLICK and tree["imptrackers"] == ["http://own.example", SEEN]


@pytest.mark.parametrize(
    "creative",
    [
        Creative(id="c"),
        Creative(id="c", type="video"),
        Creative(id="c", type="native"),
        Creative(id="c", type="video", adm="<VAST></VAST>"),
        Creative(id="c", type="native", adm="{"),
        Creative(id="c", type="native", adm="[]"),
        Creative(id="c", type="native", adm='{"imptrackers":5}'),
        Creative(id="c", type="hologram", image="x"),
        Creative(id="c", html="\ud800"),
    ],
    ids=range(9),
)
def test_unusable_creatives(creative: Creative) -> None:
    """What cannot be rendered is refused when loaded, by the creative's name."""
    with pytest.raises(ValueError, match="creative 'c'"):
        Markup(creative)


# ---- responses and requests passed on ---------------------------------------------------------------------


def test_bid_response() -> None:
    """Responses read back as they were written, with short decimals; a no-bid has its reason, 0 included."""
    seats = [SeatBid(seat="s", bid=(Bid(id="b", impid="1", price=cpm(910_000), adm="<b>", mtype=1),))]
    body = bid_response("r1", "a7", "EUR", seats)
    assert json.loads(body) == {
        "id": "r1", "bidid": "a7", "cur": "EUR",
        "seatbid": [{"seat": "s", "bid": [{"id": "b", "impid": "1", "price": 0.91, "adm": "<b>", "mtype": 1}]}],
    }  # fmt: skip
    assert decode_response(body).seatbid == tuple(seats)
    assert json.loads(no_bid("r1", 0)) == {"id": "r1", "nbr": 0}


def test_forward_changes_nothing_else() -> None:
    """Only tmax, at and raised floors change; unknown fields, ext and the very digits stay."""
    body = json.dumps(
        request(
            ext={"a": [1, {"b": None}]}, unknown=[1], imp=[{"id": "1", "banner": {"x": 1}}, {"id": "2", "banner": {}}]
        )
    )
    body = body[:-1] + ', "big": 1e400, "digits": 0.10000000000000000000}'
    sent = forward(body.encode(), 87, 2, {1: (0.91, "EUR")})
    assert b"1e400" in sent and b"0.10000000000000000000" in sent
    before, after = json.loads(body), json.loads(sent)
    assert (after.pop("tmax"), after.pop("at")) == (87, 2) and before.pop("tmax") == 120
    assert (after["imp"][1].pop("bidfloor"), after["imp"][1].pop("bidfloorcur")) == (0.91, "EUR")
    assert after == before
    assert json.loads(forward(body.encode(), 5, 1))["imp"] == before["imp"]
    assert decode(sent).imp[1].bidfloor == 0.91 and good(request()).at == 0
