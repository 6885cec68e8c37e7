"""Parity: the real HTTP server, the simulation and the replay give the same winners, prices, money and knobs, exactly.

The server's clock is driven by the requests (test_clock), and its impressions, clicks and conversions come over the
signed links in the order in which the simulation delivers its own.
"""

import asyncio
import heapq
import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import uvloop

from exchange import market as mk
from exchange.auction.venue import Venue
from exchange.books.reconcile import reconcile
from exchange.config import Config, parse_config
from exchange.live import Live
from exchange.openrtb import codes
from exchange.population import Population
from exchange.rent.ledger import Ledger
from exchange.rent.names import salt
from exchange.simulate.replay import compare
from exchange.simulate.run import Simulation
from tests.bidder import Bidder, erratic
from tests.markets import eight_rules

WIN_FIELDS = [n for n in mk.WIN_ROW.names if n not in ("seq", "publisher", "domain", "creative", "campaign", "seat")]


class Client:
    """A keep-alive HTTP client that asks one thing at a time."""

    async def connect(self, address: str) -> "Client":
        host, port = address.split(":")
        self.reader, self.writer = await asyncio.open_connection(host, int(port))
        return self

    async def call(self, method: str, target: str, body: bytes = b"", more: str = "") -> tuple[int, bytes]:
        self.writer.write(
            f"{method} {target} HTTP/1.1\r\nHost: t\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return int(head.split(b" ", 2)[1]), await self.reader.readexactly(length)


def slot_of(bid: dict[str, Any]) -> int:
    return int(bid.get("ext", {}).get("rentier", {}).get("slot", 0))


REFUND = 5  # behind the five links


async def drive(live: Live, visits: int) -> int:
    """Send the population's visits and deliver what they cause, as the simulation's loop does. Returns 200s."""
    population = Population(live.config, salt(live.folder))
    client = await Client().connect(live.address)
    due: list[tuple[int, int, int, str]] = []  # time, order among equals, visit, link
    settings = live.config.population
    view, click, conversion = settings.view_delay_ms, settings.click_delay_ms, settings.conversion_delay_ms
    delays_ns = [ms * 1_000_000 for ms in (view, click, conversion, conversion, 2 * conversion)]
    refunds = itertools.count()

    async def deliver(now_ns: int) -> None:
        while due and due[0][0] <= now_ns:
            when_ns, what, _, token = heapq.heappop(due)
            link = live.line.links.read(token)
            award = live.venue.arrays["awards"][link.serial & (live.config.server.awards_max - 1)]
            before = int(award["status"])
            truth = (link.auction_id, int(award["imp_ix"]), int(award["slot"]), int(award["hold_nano"]))
            number = int(award["refunds"]) + 1
            if what == REFUND:
                amount = Decimal(population.returned(*truth, number)).scaleb(-9)
                event = f'{{"token": "{token}", "event": "refund", "amount": {amount:f}, "number": {number}}}'
                body, key = f'{{"events": [{event}]}}'.encode(), f"Authorization: Bearer {live.post_key}\r\n"
                status, answer = await client.call("POST", f"/events?now_ns={when_ns}", body, key)
                assert status == 200 and b'"kind":"refund"' in answer, (answer, event)
            else:
                status, _ = await client.call("GET", f"/{'ictou'[what]}?t={token}&now_ns={when_ns}")
                assert status == (302 if what == 1 else 200)
            number = int(award["refunds"]) + 1
            billed = before == mk.HELD and award["status"] == mk.BILLED
            if (billed or what == REFUND) and population.returned(*truth, number):
                due_ns = when_ns + settings.refund_delay_ms * 1_000_000
                heapq.heappush(due, (due_ns, REFUND, next(refunds), token))

    answered = 0
    for t in range(visits):
        visit = population.at(t)
        now_ns = int(visit["now_ns"])
        await deliver(now_ns)
        status, body = await client.call("POST", "/openrtb2/auction", population.request(visit, test_clock=True))
        assert status in (200, 204)
        if status == 204:
            continue
        answered += 1
        response = msgspec.json.decode(body)
        bids = [bid for seat in response["seatbid"] for bid in seat["bid"]]
        for bid in sorted(bids, key=lambda bid: (int(bid["impid"]), slot_of(bid))):
            token = bid["burl"].partition("/i?t=")[2]
            imp_ix, slot = int(bid["impid"]) - 1, slot_of(bid)
            seen, clicked = population.truth(visit, imp_ix, slot)
            then = (population.converts(visit, imp_ix, slot), *population.agrees(visit, imp_ix, slot))
            for what, happens in enumerate((seen, clicked, *(clicked and it for it in then))):
                if happens:
                    heapq.heappush(due, (now_ns + delays_ns[what], what, (2 * t + imp_ix) * 16 + slot, token))
    end_ns = int(live.venue.record["now_ns"][0]) + max(live.config.server.hold_s * mk.NANO, *delays_ns[:3])
    await deliver(end_ns + 2 * max(conversion, settings.refund_delay_ms) * 1_000_000)
    return answered


async def serve_visits(config: Config, visits: int) -> tuple[Live, int]:
    live = Live(config)
    await live.start()
    answered = await drive(live, visits)
    live.line.tick(int(live.venue.record["now_ns"][0]) + config.server.hold_s * mk.NANO)
    await live.stop()
    return live, answered


def contacts_of(venue: Venue) -> dict[tuple[int, int], tuple[int, ...]]:
    """Every remembered contact by (person, advertiser), wherever it lies in the table."""
    columns = int(venue.record["n_advertisers"][0])
    people, contacts = venue.arrays["people"], venue.arrays["contacts"]
    found = {}
    for slot in np.flatnonzero(people):
        for column in range(columns):
            contact = contacts[slot * columns + column]
            if contact != np.zeros((), mk.CONTACT):
                found[int(people[slot]), column] = contact.tolist()
    return found


def with_auction(text: str, auction: str) -> str:
    """A config with more lines in its [auction]."""
    return text.replace("increment_cpm = 0.01\n", f"increment_cpm = 0.01\n{auction}")


def run_both(
    tmp_path: Path, visits: int, auction: str = "", population: str = ""
) -> tuple[Live, Simulation, Ledger, Ledger]:
    people = tmp_path / "people.csv"
    people.write_text("user_id,segments\n" + "".join(f"p{i},gaming|loyal\n" for i in range(0, 1500, 7)))
    listed = tmp_path / "customers.csv"
    listed.write_text("user_id\n" + "".join(f"p{i}\n" for i in range(0, 1500, 3)))
    known = f'people = "{people}"\n'
    text = eight_rules(
        str(tmp_path / "live"), server="test_clock = true", extra=known + 'journal = "full"', listed=listed
    )
    text = text.replace("[population]\n", f"[population]\n{population}")
    live, answered = uvloop.run(serve_visits(parse_config(with_auction(text, auction)), visits))
    assert answered > visits * 0.2
    text = eight_rules(str(tmp_path / "sim"), extra=known + 'journal = "bids"', listed=listed)
    text = text.replace("[population]\n", f"[population]\n{population}")
    config = parse_config(with_auction(text, auction))
    simulation = Simulation(config, None, salt=salt(tmp_path / "live"))
    simulation.run(visits)
    run = simulation.finish()
    assert run.ledger is not None
    return live, simulation, Ledger(tmp_path / "live"), run.ledger


def assert_equal_worlds(live: Live, simulation: Simulation, served: Ledger, simulated: Ledger) -> None:
    """Winners, prices, splits, money, contacts, knobs: all equal; names may have other numbers."""
    assert served.wins.size == simulated.wins.size > 0
    for field in WIN_FIELDS:
        assert np.array_equal(served.wins[field], simulated.wins[field]), field
    for kind in ("campaign", "seat", "publisher", "domain", "creative"):
        ours = [served.names.text(kind, int(i)) for i in served.wins[kind]]
        theirs = [simulated.names.text(kind, int(i)) for i in simulated.wins[kind]]
        assert ours == theirs, kind
    for field in ("auction_id", "value_nano", "gross_nano", "net_nano", "fate", "imp_ix"):
        assert np.array_equal(served.bids[field], simulated.bids[field]), field
    names = ("auction_id", "serial", "kind", "ts_ns", "paid_nano", "cum_rent_nano", "contact_n", "person_key", "number")
    for field in names:
        assert np.array_equal(served.events[field], simulated.events[field]), field
    ours, theirs = live.venue.campaigns, simulation.venue.campaigns
    for field in ours.dtype.names:
        assert np.array_equal(ours[field], theirs[field]), field
    assert contacts_of(live.venue) == contacts_of(simulation.venue)


def test_server_equals_simulation_equals_replay(tmp_path: Path) -> None:
    live, simulation, served, simulated = run_both(tmp_path, 10_000)
    assert_equal_worlds(live, simulation, served, simulated)
    campaigns = live.venue.campaigns[:8]
    assert (campaigns["available"] < campaigns["budget"] // 50).any(), "no budget ran out: the test is too easy"
    kinds = set(served.events["kind"].tolist())
    assert kinds == {
        mk.KIND_IMPRESSION, mk.KIND_VIEW, mk.KIND_CLICK, mk.KIND_BILLED_CLICK, mk.KIND_CONVERSION, mk.KIND_RELEASE,
        mk.KIND_UNPAID,
    }  # fmt: skip
    assert codes.HOLDOUT in served.bids["fate"]
    assert len(set(served.wins["campaign"].tolist())) >= 7
    again = compare(live.config, tmp_path / "live")
    assert again.differences == []
    assert again.inputs > 10_000


def test_positions_and_reserves_are_the_same_served_and_simulated(tmp_path: Path) -> None:
    """GSP over three positions with a seat's and an audience's reserve; clicks thin out with the position."""
    auction = """format = "gsp"
slots = [1.0, 0.5, 0.1]
[[auction.reserve]]
seat = "adv1"
floor_cpm = 1.4
[[auction.reserve]]
target = "seg one of [sports] and country in [FR]"
values = { uniform = [0.0, 1.8] }
"""
    live, simulation, served, simulated = run_both(tmp_path, 4_000, auction)
    assert_equal_worlds(live, simulation, served, simulated)
    assert set(served.wins["slot"].tolist()) == {0, 1, 2}
    of_slot = [served.wins["slot"] == slot for slot in range(3)]
    clicks = served.events[served.events["kind"] == mk.KIND_CLICK]["slot"]
    shares = [int((clicks == slot).sum()) / int(of_slot[slot].sum()) for slot in range(3)]
    assert shares[0] > 1.3 * shares[1] > 2 * shares[2]
    assert (served.auctions["floor_nano"] >= 900_000).any()
    assert compare(live.config, tmp_path / "live").differences == []
    assert reconcile(served).differences == []


def test_opt_ins_and_refunds_are_the_same_served_simulated_and_replayed(tmp_path: Path) -> None:
    """By link and by POST /events live; a refund comes long after, some in two parts."""
    later = "opt_in_share = 0.6\nopt_out_share = 0.5\nrefund_share = 0.3\nrefund_delay_ms = 1_000_000\n"
    live, simulation, served, simulated = run_both(tmp_path, 3_000, population=later)
    assert_equal_worlds(live, simulation, served, simulated)
    kinds = served.events["kind"].tolist()
    assert min(kinds.count(kind) for kind in (mk.KIND_OPT_IN, mk.KIND_OPT_OUT, mk.KIND_REFUND)) > 10
    assert set(served.events["number"].tolist()) == {0, 1, 2}
    assert compare(live.config, tmp_path / "live").differences == []


@pytest.mark.torture
def test_parity_over_many_auctions(tmp_path: Path) -> None:
    assert_equal_worlds(*run_both(tmp_path, 60_000))


async def serve_with_bidders(tmp_path: Path, visits: int) -> Config:
    bidders = [await Bidder(f"dsp{i}", erratic(i)).start() for i in range(3)]
    text = eight_rules(str(tmp_path / "live"), extra='journal = "full"', server="timeout_ms = 60")
    for i, bidder in enumerate(bidders):
        target = "country in [FR, DE, GB]" if i else ""
        text += f'\n[[endpoint]]\nname = "dsp{i}"\nurl = "{bidder.url}/bid"\ntarget = "{target}"\n'
    config = parse_config(text)
    live = Live(config)
    await live.start()
    population = Population(config, salt(live.folder))
    clients = [await Client().connect(live.address) for _ in range(8)]

    async def traffic(client: Client, first: int) -> None:
        for t in range(first, visits, len(clients)):
            status, body = await client.call("POST", "/openrtb2/auction", population.request(population.at(t)))
            assert status in (200, 204)
            for seat in msgspec.json.decode(body)["seatbid"] if status == 200 else ():
                for bid in seat["bid"]:
                    token = bid["burl"].partition("/i?t=")[2]
                    if t % 5:
                        assert (await client.call("GET", f"/i?t={token}"))[0] == 200
                    if t % 7 == 0:
                        assert (await client.call("GET", f"/c?t={token}"))[0] in (204, 302)

    await asyncio.gather(*(traffic(client, k) for k, client in enumerate(clients)))
    await live.stop()
    for bidder in bidders:
        await bidder.stop()
    return config


def test_a_live_run_with_remote_bidders_replays_to_the_same_rows(tmp_path: Path) -> None:
    config = uvloop.run(serve_with_bidders(tmp_path, 600))
    ledger = Ledger(tmp_path / "live")
    fates = set(ledger.bids["fate"][ledger.bids["endpoint"] >= 0].tolist())
    assert {codes.WON, codes.OUTBID, codes.TIMEOUT, codes.BAD_ANSWER, codes.NO_BID, codes.MISSING_MARKUP} <= fates
    assert (ledger.wins["campaign"] < 0).any() and (ledger.wins["campaign"] >= 0).any()
    again = compare(config, tmp_path / "live")
    assert again.differences == []
    assert reconcile(ledger).differences == []
