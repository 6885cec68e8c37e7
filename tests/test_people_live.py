"""People in the running exchange: store, lists and rules, through the line, a server, restarts and replay."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from exchange import market as mk
from exchange.__main__ import main
from exchange.auction.changes import Change
from exchange.audience import lists
from exchange.books.reconcile import reconcile
from exchange.config import Config, ConfigError, parse_config
from exchange.line import Line
from exchange.links import Links
from exchange.live import Live
from exchange.opening import open_venue
from exchange.people.command import _when as date_of
from exchange.rent.ledger import Ledger
from exchange.rent.names import read_meta, salt
from exchange.simulate.replay import compare
from exchange.simulate.run import Simulation
from tests.markets import eight_rules
from tests.test_live import NOW_NS, body_of
from tests.test_parity import Client, assert_equal_worlds, serve_visits

SECOND = mk.NANO
BOX = '[[advertiser.campaign.creative]]\nid = "b"\nw = 300\nh = 250\nimage = "https://halle.example/b.png"\n'
CAMPAIGNS = (("rest", "", 1.0), ("winback", "seg one of [suv]", 3.0), ("own", "own", 5.0))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def market(people: str = "", server: str = "", campaigns: Any = CAMPAIGNS, own_list: str = "") -> Config:
    """One advertiser who pays most for its own people, then for segments; written down for the commands too."""
    text = '[exchange]\nledger = "L"\njournal = "full"\n'
    text += f'[server]\naddress = "127.0.0.1:0"\n{server}\n[people]\n{people}\n'
    text += f'[[advertiser]]\nname = "Halle"\nown_list = "{own_list}"\n'
    for name, target, value in campaigns:
        text += f'[[advertiser.campaign]]\nname = "{name}"\ntarget = "{target}"\nvalue_cpm = {value}\n{BOX}'
    Path("c.toml").write_text(text)
    return parse_config(text, folder=str(Path.cwd()))


def line_of(config: Config, lists_known: bool = True) -> Line:
    venue, key = open_venue(config, lists_known)
    return Line(venue, key, Links(key, "http://x"))


def wrote(name: str, *rows: str) -> str:
    """A file in the folder."""
    Path(name).write_text("".join(f"{row}\n" for row in rows))
    return name


def run(*words: str) -> None:
    """A command that succeeds."""
    assert main([*words, "--config", "c.toml"]) == 0


def user(ident: str, *segments: str, **fields: Any) -> dict[str, Any]:
    """The fields of a request by a person, who is in these segments, as it says."""
    said = {"data": [{"segment": [{"id": segment} for segment in segments]}]} if segments else {}
    return {"user": {"id": ident, **said}, **fields}


def seller(body: bytes) -> str | None:
    return msgspec.json.decode(body)["seatbid"][0]["bid"][0]["cid"] if body else None


def ask(line: Line, fields: dict[str, Any], now_ns: int = NOW_NS) -> str | None:
    """Which campaign buys."""
    return seller(line.close(line.open(body_of(**fields), now_ns), (), now_ns).body)


Asked = Callable[..., Awaitable[str | None]]


def serve(config: Config, test: Callable[[Live, Client, Asked], Awaitable[None]]) -> Live:
    """A real server on loopback, from its start to its stop."""

    async def served() -> Live:
        live = Live(config)
        await live.start()
        client = await Client().connect(live.address)

        async def asked(*who: str, **fields: Any) -> str | None:
            return seller((await client.call("POST", "/openrtb2/auction", body_of(**user(*who, **fields))))[1])

        try:
            await test(live, client, asked)
        finally:
            await live.stop()
        return live

    return uvloop.run(served())


# ---- the store -------------------------------------------------------------------------------------------------


def test_a_person_of_the_store_is_matched_and_nobody_anonymous(folder: Path) -> None:
    """u1 is in the store and on the list; whoever must stay anonymous is neither, whatever id the request has."""
    config = market(people="remember = true")
    run("people", "import", wrote("p.csv", "u1,suv", "u2,van"))
    line = line_of(config)
    assert [ask(line, user(who)) for who in ("u1", "u2", "u3")] == ["winback", "rest", "rest"]
    assert ask(line, user("u2", "suv", test=1)) == "winback" and ask(line, user("u2")) == "rest", (
        "a test leaves nothing"
    )
    anonymous: tuple[dict[str, Any], ...] = (
        {"device": {"lmt": 1}},
        {"device": {"dnt": 1}},
        {"regs": {"coppa": 1}},
        {"regs": {"ext": {"gdpr": 1}}},
    )
    for fields in anonymous:
        assert ask(line, user("u1", **fields)) == "rest", fields
        assert ask(line, user("u3", "suv", **fields)) in ("winback", "rest") and ask(line, user("u3")) == "rest", fields
    assert ask(line, user("u1", "van")) == "winback", "what is stored counts beside what is said"
    line.venue.close()
    ledger = Ledger(folder / "L")
    assert (ledger.auctions["person_key"] == 0).sum() == 2 * len(anonymous)
    assert compare(config, folder / "L").differences == []


def test_the_store_served_is_the_people_file_simulated(folder: Path) -> None:
    """The same people imported into the ledger, and read from `[exchange] people` by a simulation."""
    people = wrote("people.csv", *(f"p{i},gaming|loyal" for i in range(0, 1500, 7)))
    text = eight_rules(str(folder / "live"), server="test_clock = true", extra='journal = "full"')
    config = parse_config(text)
    assert main(["people", "import", people, "--ledger", "live"]) == 0
    live, _ = uvloop.run(serve_visits(config, 2_000))
    known = parse_config(eight_rules(str(folder / "sim"), extra=f'people = "{folder / people}"\njournal = "bids"'))
    without = parse_config(eight_rules(str(folder / "none"), extra='journal = "bids"'))
    simulated = []
    for each in (known, without):
        simulation = Simulation(each, None, salt=salt(folder / "live"))
        simulation.run(2_000)
        ledger = simulation.finish().ledger
        assert ledger is not None
        simulated.append((simulation, ledger))
    assert_equal_worlds(live, simulated[0][0], Ledger(folder / "live"), simulated[0][1])
    assert simulated[0][1].wins.size > simulated[1][1].wins.size, "the store sold nothing: the test is too easy"
    assert compare(config, folder / "live").differences == []


def test_what_requests_say_is_remembered_over_a_restart_and_replayed(folder: Path) -> None:
    config = market(people="remember = true")

    async def first(live: Live, client: Client, asked: Asked) -> None:
        assert await asked("u1") == "rest"
        assert await asked("u1", "suv", "zzz") == "winback"
        assert await asked("u1") == "winback" and await asked("u2") == "rest"

    async def second(live: Live, client: Client, asked: Asked) -> None:
        assert await asked("u1") == "winback" and await asked("u2") == "rest"
        assert await asked("u2", "suv") == "winback" and await asked("u2") == "winback"
        assert live.venue.store is not None and len(live.venue.store) == 2

    serve(config, first)
    assert (folder / "L" / "people.learnt").is_file()
    again = compare(config, folder / "L")
    assert again.differences == [] and again.rows["auctions"] == 4
    serve(config, second)
    again = compare(config, folder / "L")
    assert again.differences == [] and again.rows["auctions"] == 8

    async def third(live: Live, client: Client, asked: Asked) -> None:
        assert await asked("u3", "suv") == "winback" and await asked("u3") == "rest" and await asked("u1") == "winback"

    serve(market(), third)  # without `remember` nothing is added; what was learnt before still counts


def test_segments_by_rule_are_found_when_the_exchange_starts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One was shown an ad long ago, one just now: only the first is lapsed. A replay says why it cannot be exact."""
    campaigns = (("rest", "", 1.0), ("lapsed", "seg one of [lapsed]", 4.0))
    config = market("rules_at_start = true", "test_clock = true", campaigns)
    rule = '[[segment]]\nname = "lapsed"\nadvertiser = "Halle"\nrule = "contacts >= 1 and last_contact_days >= 30"\n'
    text = Path("c.toml").read_text() + rule
    Path("c.toml").write_text(text)
    config = parse_config(text, folder=str(folder))

    async def shown(live: Live, client: Client, asked: Asked) -> None:
        for who, now_ns in (("u1", NOW_NS), ("u2", time.time_ns()), ("u3", 0)):
            fields = user(who, ext={"rentier": {"now_ns": now_ns}} if now_ns else {})
            _, body = await client.call("POST", "/openrtb2/auction", body_of(**fields))
            assert seller(body) == "rest"
            token = msgspec.json.decode(body)["seatbid"][0]["bid"][0]["burl"].partition("/i?t=")[2]
            if now_ns:
                await client.call("GET", f"/i?t={token}&now_ns={now_ns}")

    async def later(live: Live, client: Client, asked: Asked) -> None:
        assert [await asked(who) for who in ("u1", "u2", "u3")] == ["lapsed", "rest", "rest"]

    serve(config, shown)
    assert compare(config, folder / "L").differences == []
    serve(config, later)
    assert read_meta(folder / "L")["people_versions"] == [1, 2]
    found = compare(config, folder / "L")
    assert (
        found.differences
        and found.note == f"{folder / 'L' / 'people.store'} has version 2, the ledger was written with 1, 2"
    )
    capsys.readouterr()
    assert main(["replay", "L", "--config", "c.toml"]) == 1
    assert (
        capsys.readouterr().out.splitlines()[-1] == "  L/people.store has version 2, the ledger was written with 1, 2"
    )


def test_a_disk_that_refuses_the_store_loses_no_journal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = market()
    line = line_of(config)
    assert ask(line, user("u1")) == "rest"

    def full() -> None:
        raise OSError("no room")

    monkeypatch.setattr(line.venue.known, "save", full)
    with pytest.raises(OSError, match="no room"):
        line.venue.close()
    assert Ledger(folder / "L").auctions.size == 1
    line_of(config).venue.close()  # nothing is held by the one before


# ---- lists -----------------------------------------------------------------------------------------------------


def imported(valid_from_ns: int, *people: str) -> None:
    """A version of Halle's list."""
    run("list", "import", "Halle", wrote("ids.csv", "user_id", *people), "--valid-from", date_of(valid_from_ns))


def test_a_version_is_in_force_from_its_time_on_and_not_before(folder: Path) -> None:
    config = market(own_list=wrote("always.csv", "a"))
    for at, people in ((0, ("u1", "a")), (10 * SECOND, ("u2",)), (20 * SECOND, ("u1", "u2"))):
        imported(NOW_NS + at, *people)
    line = line_of(config, lists_known=False)
    line.change(Change("lists", keys={"Halle": 3}), NOW_NS - 2)
    times = (-1, 0, 10 * SECOND - 1, 10 * SECOND, 20 * SECOND - 1, 20 * SECOND)
    bought = [[ask(line, user(who), NOW_NS + at) for who in ("u1", "u2", "a")] for at in times]
    none, first, second, both = ("rest", "rest"), ("own", "rest"), ("rest", "own"), ("own", "own")
    assert bought == [[*pair, "own"] for pair in (none, first, first, second, second, both)]
    line.venue.close()
    ledger = Ledger(folder / "L")
    assert reconcile(ledger).differences == [] and compare(config, folder / "L").differences == []


def test_a_sale_sees_the_list_of_the_time_it_is_held_at(folder: Path) -> None:
    """The clock never goes back: what came before a tick and is sold after it is sold at the tick's time."""
    config = market()
    imported(NOW_NS, "u1")
    imported(later_ns := NOW_NS + 10 * SECOND, "u2")
    line = line_of(config)
    waiting = line.open(body_of(**user("u2")), NOW_NS)
    assert ask(line, user("u2"), NOW_NS) == "rest"
    line.tick(later_ns)
    assert seller(line.close(waiting, (), NOW_NS + SECOND).body) == "own" and ask(line, user("u1"), NOW_NS) == "rest"
    line.venue.close()
    assert Ledger(folder / "L").auctions["ts_ns"].tolist() == [NOW_NS, later_ns, later_ns]


def test_a_list_imported_while_serving_comes_into_force_and_is_replayed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a restart; the second version at its very time. A second run begins with both; replay repeats both."""
    monkeypatch.setattr("exchange.live.TICK_S", 0.02)
    config = market()
    valid_from: list[int] = []

    async def known(live: Live, snapshot: int) -> None:
        for _ in range(3_000):
            if int(live.venue.record["snapshot_version"][0]) >= snapshot:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the list was not found")

    async def first(live: Live, client: Client, asked: Asked) -> None:
        assert await asked("u1") == "rest"
        await asyncio.to_thread(run, "list", "import", "Halle", wrote("ids.csv", "u1"))
        await known(live, 2)
        assert (await asked("u1"), await asked("u2")) == ("own", "rest")
        valid_from.append((time.time_ns() // 1000 + 3_000_000) * 1000)  # dates have microseconds
        await asyncio.to_thread(imported, valid_from[0], "u2")
        await known(live, 3)
        while time.time_ns() < valid_from[0] + SECOND // 5:
            await asked("u1")
            await asked("u2")
            await asyncio.sleep(0.005)
        assert live.counters.handler_faults == 0 and live.counters.changes == 2

    async def second(live: Live, client: Client, asked: Asked) -> None:
        assert int(live.venue.record["snapshot_version"][0]) == 2
        assert (await asked("u1"), await asked("u2")) == ("rest", "own")

    serve(config, first)
    ledger = Ledger(folder / "L")
    whose = {int(lists.keys_of(v)[0]): v.version for v in lists.versions(folder / "L", salt(folder / "L"))}
    own = ledger.wins["flags"] & mk.FLAG_OWN != 0
    rows = list(zip(ledger.wins["ts_ns"], ledger.wins["person_key"], own, strict=True))[3:]
    assert {(ts >= valid_from[0], whose[int(key)]) for ts, key, _ in rows} == {(a, b) for a in (0, 1) for b in (1, 2)}
    for ts, key, mine in rows:
        assert mine == (whose[int(key)] == (2 if ts >= valid_from[0] else 1))
    assert compare(config, folder / "L").differences == []
    serve(config, second)
    assert compare(config, folder / "L").differences == []


def test_a_damaged_list_stops_no_sale_and_no_other_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchange.live.TICK_S", 3600.0)
    config = market()

    async def test(live: Live, client: Client, asked: Asked) -> None:
        imported(NOW_NS, "u1")
        (path,) = (folder / "L" / "lists").glob("*.list")
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(ConfigError, match=r"lists: .*000001\.list: .*damaged, import it again") as refused:
            live._lists()
        assert "\n" not in str(refused.value)
        assert await asked("u1") == "rest"
        run("list", "import", "Halle", wrote("ids.csv", "u1"))
        assert await asked("u1") == "rest", "not known yet"
        live._lists()
        assert await asked("u1") == "own"

    live = serve(config, test)
    assert compare(live.config, folder / "L").differences == []
    (path,) = (folder / "L" / "lists").glob("*.000002.list")
    path.write_bytes(path.read_bytes()[:-1])
    live = Live(config)
    with pytest.raises(ConfigError, match=r"000002\.list: .*damaged"):
        uvloop.run(_starts(live))


async def _starts(live: Live) -> None:
    try:
        await live.start()
    finally:
        await live.stop()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change("lists"), "expected a ledger, no campaign, and keys"),
        (Change("lists", "Halle/own", {"Halle": 1}), "expected a ledger, no campaign, and keys"),
        (Change("lists", keys={"Halle": 0}), "lists: Halle = 0: expected the number of a version, at least 1"),
        (Change("lists", keys={"Halle": True}), "lists: Halle = True: expected the number of a version"),
        (Change("lists", keys={"Halle": 2}), "list of Halle: version 2: expected one of .*lists"),
        (Change("lists", keys={"Hall": 1}), "list of Hall: version 1: expected one of .*lists"),
    ],
)
def test_lists_that_cannot_be_known_are_refused(change: Change, said: str, folder: Path) -> None:
    config = market()
    imported(NOW_NS, "u1")
    line = line_of(config, lists_known=False)
    before = line.venue.record.tobytes()
    with pytest.raises(ConfigError, match=said):
        line.change(change, NOW_NS)
    assert line.venue.record.tobytes() == before and ask(line, user("u1")) == "rest"
    line.venue.close()


@pytest.mark.parametrize("option", ["--emails", "--hashed"])
def test_a_hashed_e_mail_matches_whoever_the_request_names_by_that_hash(option: str, folder: Path) -> None:
    config, digest = market(), sha256(b"anna@example.org").hexdigest()
    row = " Anna@Example.org " if option == "--emails" else digest.upper()
    run("list", "import", "Halle", wrote("e.csv", row), option, "--valid-from", date_of(NOW_NS))
    line = line_of(config)
    eid = {"eids": [{"source": "id.example", "uids": [{"id": digest}]}]}
    named: dict[str, dict[str, Any]] = {
        "own": {"id": digest},
        "own ": {"buyeruid": digest},
        "own  ": eid,
        "own   ": {"ext": eid},
        "rest": {"id": digest.upper()},
        "rest ": {"id": "anna@example.org"},
        "rest  ": {"id": "somebody", **eid},
    }
    for expected, fields in named.items():
        assert ask(line, {"user": fields}) == expected.strip(), fields
    line.venue.close()
