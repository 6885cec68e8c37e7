"""The running exchange when something goes wrong: nothing leaks, nothing is sold twice, nothing is forgotten."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from exchange import market as mk
from exchange.books.reconcile import reconcile
from exchange.config import ConfigError, parse_config
from exchange.line import Given
from exchange.live import PIXEL, Live
from exchange.opening import open_venue
from exchange.openrtb import codes
from exchange.rent.journal import JournalError
from exchange.rent.ledger import Ledger
from tests.bidder import Bidder
from tests.test_parity import Client

NOW_NS = 1_767_605_400 * mk.NANO
CAMPAIGN = """
[[advertiser]]
name = "acme"
domains = ["www.acme.example"]
[[advertiser.campaign]]
name = "always"
value_cpm = 2.0
budget = {budget}
rule = "{rule}"
[[advertiser.campaign.creative]]
id = "mpu"
w = 300
h = 250
image = "{image}"
landing = "https://acme.example/"
"""


def text_of(
    tmp_path: Path, server: str = "", auction: str = "", endpoints: str = "", extra: str = "", **campaign: Any
) -> str:
    filled = {"budget": 100.0, "rule": "truthful", "image": "https://acme.example/mpu.png"} | campaign
    return f"""
[exchange]
ledger = "{tmp_path / "ledger"}"
{extra}
[server]
address = "127.0.0.1:0"
{server}
[auction]
{auction}
{CAMPAIGN.format(**filled)}
{endpoints}
"""


def body_of(**fields: Any) -> bytes:
    imp = {"id": "1", "banner": {"w": 300, "h": 250}, **fields.pop("imp", {})}
    return msgspec.json.encode({"id": "r", "imp": [imp], "user": {"id": "u"}, **fields})


def with_live(text: str, test: Callable[[Live, Client], Awaitable[None]]) -> Live:
    async def run() -> Live:
        live = Live(parse_config(text))
        await live.start()
        client = await Client().connect(live.address)
        await test(live, client)
        await live.stop()
        return live

    return uvloop.run(run())


def bid(price: float, ident: str = "b", seat: str = "s", **fields: Any) -> Given:
    given = {"id": ident, "impid": "1", "price": price, "adm": "<b>x</b>", "adomain": [f"{ident}.example"], **fields}
    return Given(0, 0, msgspec.json.encode({"id": "r", "cur": "EUR", "seatbid": [{"seat": seat, "bid": [given]}]}))


ENDPOINT = '[[endpoint]]\nname = "dsp"\nurl = "http://127.0.0.1:9/bid"\n'


def test_junk_in_the_imp_list_costs_no_place_in_flight(tmp_path: Path) -> None:
    async def test(live: Live, client: Client) -> None:
        bidder = await Bidder("dsp", lambda self, request: self.bid(request, 3.0)).start()
        live.fanout.remotes[0].pool.port = bidder.port
        junk = b'{"id":"r","imp":["",{"id":"1","banner":{"w":300,"h":250}},[]]}'
        for _ in range(5):
            assert (await client.call("POST", "/openrtb2/auction", junk))[0] == 200
        assert live.in_flight == 0 and live.counters.handler_faults == 0
        assert (await client.call("POST", "/openrtb2/auction", body_of()))[0] == 200
        await bidder.stop()

    with_live(text_of(tmp_path, "in_flight_max = 2", "floor_cpm = 0.5", ENDPOINT), test)


def test_bids_of_a_failed_auction_are_not_sold_in_the_next(tmp_path: Path) -> None:
    async def test(live: Live, client: Client) -> None:
        line, trade = live.line, live.venue.trade

        def fail(now_ns: int, n_imps: int) -> None:
            raise JournalError("no room")

        live.venue.trade = fail  # type: ignore[method-assign]
        with pytest.raises(JournalError):
            line.close(line.open(body_of(), NOW_NS), [bid(9.0)], NOW_NS)
        live.venue.trade = trade  # type: ignore[method-assign]
        answered = line.close(line.open(body_of(), NOW_NS), (), NOW_NS)
        assert msgspec.json.decode(answered.body)["seatbid"][0]["seat"] == "acme"

    with_live(text_of(tmp_path, endpoints=ENDPOINT), test)


def test_head_settles_nothing_and_post_is_refused(tmp_path: Path) -> None:
    async def test(live: Live, client: Client) -> None:
        _, body = await client.call("POST", "/openrtb2/auction", body_of())
        token = msgspec.json.decode(body)["seatbid"][0]["bid"][0]["burl"].partition("/i?t=")[2]
        for path in ("i", "c", "t"):
            client.writer.write(f"HEAD /{path}?t={token} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 204"))
            assert (await client.call("POST", f"/{path}?t={token}", b"x"))[0] == 405
        assert int(live.venue.record["n_impressions"][0]) == int(live.venue.record["n_clicks"][0]) == 0
        assert (await client.call("GET", f"/i?t={token}"))[0] == 200
        assert int(live.venue.record["n_impressions"][0]) == 1
        for _ in range(2):
            assert await client.call("GET", f"/t?t={token}") == (200, PIXEL)
        assert int(live.venue.record["n_conversions"][0]) == 1
        assert (await client.call("GET", f"/t?t={token[:-2]}xx"))[0] == 400

    with_live(text_of(tmp_path), test)


def test_one_bidder_cannot_use_up_the_names_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchange.line.NAMES_PER_ENDPOINT", 6)

    async def test(live: Live, client: Client) -> None:
        line, names = live.line, live.venue.names
        before = names.total
        for n in range(20):
            line.close(line.open(body_of(test=1), NOW_NS), [bid(1.0, f"t{n}", f"test{n}")], NOW_NS)
        assert names.total == before, "test requests leave no names"
        for n in range(20):
            line.close(line.open(body_of(), NOW_NS), [bid(1.0, f"b{n}", f"seat{n}")], NOW_NS)
        assert names.total == before + 6
        two = [bid(9.0, "x", "nobody1"), Given(1, 0, bid(5.0, "y", "nobody2").body)]
        opened = line.open(body_of(), NOW_NS)
        price = msgspec.json.decode(line.close(opened, two, NOW_NS).body)["seatbid"][0]["bid"][0]["price"]
        assert price == 5.0, "bids of seats without a name still set each other's price"

    with_live(text_of(tmp_path, endpoints=ENDPOINT + ENDPOINT.replace("dsp", "dsp2")), test)


def test_a_deal_is_not_sold_below_its_floor(tmp_path: Path) -> None:
    async def test(live: Live, client: Client) -> None:
        pmp = {"private_auction": 1, "deals": [{"id": "d", "bidfloor": 5.0, "bidfloorcur": "EUR"}]}
        body = body_of(imp={"bidfloor": 1.0, "bidfloorcur": "EUR", "pmp": pmp})
        opened = live.line.open(body, NOW_NS)
        sold = msgspec.json.decode(live.line.close(opened, [bid(9.0, dealid="d")], NOW_NS).body)
        assert sold["seatbid"][0]["bid"][0]["price"] == 5.0

    live = with_live(text_of(tmp_path, endpoints=ENDPOINT), test)
    assert reconcile(Ledger(live.folder)).differences == []


def test_an_http_creative_is_not_sold_on_a_secure_page(tmp_path: Path) -> None:
    async def test(live: Live, client: Client) -> None:
        assert (await client.call("POST", "/openrtb2/auction", body_of(imp={"secure": 1})))[0] == 204
        assert (await client.call("POST", "/openrtb2/auction", body_of(imp={"secure": 0})))[0] == 200

    with_live(text_of(tmp_path, image="http://acme.example/mpu.png"), test)


def test_the_brand_is_known_by_its_domain_with_and_without_www(tmp_path: Path) -> None:
    async def test(live: Live, client: Client) -> None:
        line = live.line
        line.close(line.open(body_of(), NOW_NS), [bid(9.0, adomain=["acme.example"])], NOW_NS)

    live = with_live(text_of(tmp_path, endpoints=ENDPOINT), test)
    ledger = Ledger(live.folder)
    assert ledger.names.text("advertiser", int(ledger.wins["advertiser"][0])) == "acme"
    assert ledger.wins["campaign"][0] == -1


def test_a_periodic_job_survives_its_failure(tmp_path: Path) -> None:
    calls: list[float] = []

    async def test(live: Live, client: Client) -> None:
        flush = live.venue.flush

        def failing() -> None:
            calls.append(time.monotonic())
            if len(calls) == 1:
                raise JournalError("no room, once")
            flush()

        live.venue.flush = failing  # type: ignore[method-assign]
        live.loop.set_exception_handler(lambda loop, context: None)
        await asyncio.sleep(0.5)
        assert live.counters.handler_faults == 1

    with_live(text_of(tmp_path, "flush_ms = 20"), test)
    assert len(calls) > 3


def test_a_rule_cannot_write_its_own_money(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text(
        '"""Greedy."""\n\n\nclass Greedy:\n    defaults = {}\n\n    @staticmethod\n    def price(value, imp, me):\n'
        "        me.available = 10**15\n        me.budget = 10**15\n        return value * 100\n\n"
        "    @staticmethod\n    def learn(value, imp, me, result):\n        me.spent = 0\n        me.held = 0\n"
    )

    async def test(live: Live, client: Client) -> None:
        for n in range(100):
            live.line.close(live.line.open(body_of(id=f"r{n}"), NOW_NS), (), NOW_NS)
        money = live.venue.money()["acme/always"]
        assert money["spent"] + money["held"] + money["available"] == money["budget"] == 50_000_000
        assert money["available"] >= 0

    text = text_of(tmp_path, auction="floor_cpm = 5.0", budget=0.05, rule=f"{tmp_path / 'greedy.py'}:Greedy")
    live = with_live(text, test)
    assert reconcile(Ledger(live.folder)).differences == []


def test_a_ledger_is_not_reopened_with_less_memory(tmp_path: Path) -> None:
    venue, _ = open_venue(parse_config(text_of(tmp_path, "awards_max = 4096\npeople_max = 4096")))
    venue.close()
    for smaller in ("awards_max = 2048\npeople_max = 4096", "awards_max = 4096\npeople_max = 2048"):
        with pytest.raises(ConfigError, match=r"max = 2048: .* was written with 4096"):
            open_venue(parse_config(text_of(tmp_path, smaller)))


def test_holds_of_a_longer_hold_s_do_not_outlast_new_ones(tmp_path: Path) -> None:
    def sale(hold_s: int, now_ns: int) -> Any:
        text = text_of(tmp_path, f"hold_s = {hold_s}\ntest_clock = true")

        async def test(live: Live, client: Client) -> None:
            live.line.close(live.line.open(body_of(), now_ns), (), now_ns)

        return with_live(text, test)

    sale(3_600, NOW_NS)
    live = sale(10, NOW_NS + mk.NANO)
    again, _ = open_venue(live.config)
    assert int(again.record["n_held"][0]) == 2
    again.tick(NOW_NS + 30 * mk.NANO)
    assert int(again.record["n_held"][0]) == 0
    again.close()


def test_an_unknown_fate_of_a_call_has_its_row(tmp_path: Path) -> None:
    async def test(live: Live, client: Client) -> None:
        status, _ = await client.call("POST", "/openrtb2/auction", body_of())
        assert status == 200  # nobody listens on the endpoint's port; the local campaign sells

    live = with_live(text_of(tmp_path, endpoints=ENDPOINT), test)
    rows = Ledger(live.folder).bids
    assert rows["fate"][rows["endpoint"] == 0].tolist() == [codes.UNREACHABLE]


def test_floors_round_up_and_prices_are_quoted_back_down(tmp_path: Path) -> None:
    """0.333333 USD at 0.92 is 306,666.36 nano EUR: 306,667 as a floor, and quoted back never more than was asked."""

    async def test(live: Live, client: Client) -> None:
        body = body_of(imp={"bidfloor": 0.333333, "bidfloorcur": "USD"}, cur=["USD"], wseat=["s"])
        given = {
            "id": "b",
            "impid": "1",
            "price": 9,
            "adm": "${AUCTION_PRICE}",
            "nurl": "http://127.0.0.1:9/${AUCTION_PRICE}",
        }
        answer = msgspec.json.encode({"id": "r", "cur": "USD", "seatbid": [{"seat": "s", "bid": [given]}]})
        answered = live.line.close(live.line.open(body, NOW_NS), [Given(0, 0, answer)], NOW_NS)
        sold = msgspec.json.decode(answered.body)["seatbid"][0]["bid"][0]
        assert sold["price"] == 0.333333 and sold["adm"].startswith("0.333333<img")
        assert answered.notices == [(0, "http://127.0.0.1:9/0.333333")]

    text = text_of(tmp_path, endpoints=ENDPOINT) + "[rates]\nUSD = 0.92\n"
    wins = Ledger(with_live(text, test).folder).wins
    assert wins["floor_nano"].tolist() == wins["clearing_nano"].tolist() == [306_667]
