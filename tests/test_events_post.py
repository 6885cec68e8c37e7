"""`POST /events` and the links of an award over real HTTP: who may post, what is refused, what each event becomes."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import events, metrics
from exchange import market as mk
from exchange.config import parse_config
from exchange.links import Links
from exchange.live import PIXEL, Live
from exchange.market import life
from exchange.opening import open_venue
from exchange.rent.ledger import Ledger
from exchange.rent.names import salt
from exchange.simulate.replay import compare
from tests.test_live import ENDPOINT, bid, body_of, text_of
from tests.test_parity import Client

quick = settings(derandomize=True, deadline=None, max_examples=200)
KEY = bytes(range(32))
LINKS = Links(KEY, "https://rent.example")
TOKEN = LINKS.token(7, 3, 0, 0, 1, 1)  # its links expired in 1970
START_NS = 1_767_605_400 * mk.NANO
WORD = {kind: name for name, kind in events.EVENTS.items()}
Answer = tuple[int, Any]


class Server:
    """A client of a running exchange that buys, follows links and posts."""

    def __init__(self, live: Live, client: Client) -> None:
        self.live, self.client = live, client
        self.now_ns = START_NS

    async def win(self) -> str:
        """Sell an imp. Returns the award's token."""
        body = body_of(ext={"rentier": {"now_ns": self.now_ns}})
        _, answer = await self.client.call("POST", "/openrtb2/auction", body)
        return str(msgspec.json.decode(answer)["seatbid"][0]["bid"][0]["burl"].partition("/i?t=")[2])

    async def follow(self, path: str, token: str) -> int:
        """Call a link."""
        return (await self.client.call("GET", f"/{path}?t={token}&now_ns={self.now_ns}"))[0]

    async def post(self, *given: Any, key: str | None = None, body: bytes | None = None) -> Answer:
        """Post events. Returns (status, decoded answer)."""
        body = msgspec.json.encode({"events": given}) if body is None else body
        key = self.live.post_key if key is None else key
        head = f"POST /events?now_ns={self.now_ns} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {key}\r\n"
        self.client.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        told = (await self.client.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(told.partition(b"content-length:")[2].split(b"\r\n")[0])
        answer = await self.client.reader.readexactly(length)
        return int(told.split(b" ", 2)[1]), msgspec.json.decode(answer) if answer.startswith(b"{") else None

    async def one(self, token: str, event: str, **fields: Any) -> dict[str, str]:
        """Post one event. Returns its outcome."""
        status, answer = await self.post({"token": token, "event": event, **fields})
        assert status == 200, answer
        return dict(answer["outcomes"][0])


def served(text: str, test: Callable[[Server], Awaitable[None]]) -> Live:
    async def run() -> Live:
        live = Live(parse_config(text))
        await live.start()
        await test(Server(live, await Client().connect(live.address)))
        await live.stop()
        return live

    return uvloop.run(run())


def clocked(tmp_path: Path, **campaign: Any) -> str:
    """One campaign; time is what requests say it is, and everything is journaled."""
    server = "test_clock = true\nhold_s = 60\nawards_max = 1024"
    return text_of(tmp_path, server, "floor_cpm = 2.0", extra='journal = "full"', **campaign)


# ---- odd orders over HTTP -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bill", sorted({mk.BILLS[odd.bill] for odd in life.ODD}))
def test_every_odd_order_has_its_answer_over_http(tmp_path: Path, bill: str) -> None:
    """What the table says of each odd order of one way of billing; replayed, every row comes again."""
    mine = [odd for odd in life.ODD if mk.BILLS[odd.bill] == bill]

    async def test(server: Server) -> None:
        for odd in mine:
            token = await server.win()
            award = server.live.line.links.read(token)
            total = int(server.live.venue.arrays["awards"][award.serial]["hold_nano"])
            assert total % life.HOLD == 0
            expected, _ = life.follow(odd.bill, odd.arrivals)
            for (kind, percent, number), answer in zip(odd.arrivals, expected, strict=True):
                server.now_ns += mk.NANO
                if kind == mk.KIND_RELEASE:
                    server.now_ns += 60 * mk.NANO
                    continue
                fields: dict[str, Any] = {}
                if kind == mk.KIND_REFUND:
                    fields = {"number": number} | ({"amount": percent * total / life.HOLD / 1e9} if percent else {})
                found = await server.one(token, WORD[kind], **fields)
                word = found.get("refusal") or found["outcome"]
                assert word == events.outcome(answer), odd.name
                assert found.get("kind") == mk.KINDS.get(answer), odd.name

    terms = 'rule = "truthful"\n'
    billed = f'{terms}bill = "{bill}"\npctr = 0.5\npcvr = 0.5\n'
    live = served(clocked(tmp_path).replace(terms, billed), test)
    ledger = Ledger(tmp_path / "ledger")
    assert sum(live.counters.posted.values()) > 0 and ledger.events.size > 0
    again = compare(live.config, tmp_path / "ledger")
    assert again.differences == [] and again.inputs > len(mine)


def test_all_kinds_by_link_and_by_post_and_the_metrics_count_them(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        token = await server.win()
        assert await server.one(token, "refund") == {
            "outcome": "refused", "refusal": "not_billed", "reason": "nothing is paid yet",
        }  # fmt: skip
        assert [await server.follow(path, token) for path in "itou"] == [200] * 4
        for path in "ou":
            assert (await server.client.call("GET", f"/{path}?t={token}&now_ns={server.now_ns}"))[1] == PIXEL
        status, answer = await server.post(
            {"token": token, "event": "opt_in"},
            {"token": token, "event": "click"},
            {"token": token, "event": "refund", "amount": 0.0004},
            {"token": token, "event": "refund", "amount": 0.0004},
            {"token": token, "event": "refund", "amount": 5},
            {"token": token, "event": "refund", "number": 2},
        )
        assert status == 200
        assert [o.get("refusal") or o["outcome"] for o in answer["outcomes"]] == [
            "repeat", "recorded", "recorded", "repeat", "repeat", "recorded",
        ]  # fmt: skip
        money = server.live.venue.money()["acme/always"]
        assert money["spent"] == 0 and money["available"] == money["budget"]
        server.now_ns += 100 * 86_400 * mk.NANO  # the links have expired
        assert await server.follow("o", token) == 410
        assert (await server.one(token, "refund", number=3))["refusal"] == "nothing_left"
        for _ in range(1_024):
            await server.win()
        assert (await server.one(token, "refund", number=3))["outcome"] == "unknown"
        scrape = (await server.client.call("GET", "/metrics"))[1].decode()
        for outcome, n in (("recorded", 3), ("repeat", 3), ("not_billed", 1), ("nothing_left", 1), ("unknown", 1)):
            assert f'rentier_posted_events_total{{outcome="{outcome}"}} {n}.0' in scrape, outcome
        for kind, n in (("opt in", 1), ("opt out", 1), ("refund", 2)):
            assert f'rentier_events_total{{kind="{kind}"}} {n}.0' in scrape
        assert "rentier_revenue_refunded_total 0.002\n" in scrape

    live = served(clocked(tmp_path), test)
    rows = Ledger(tmp_path / "ledger").events
    assert rows["paid_nano"][rows["kind"] == mk.KIND_REFUND].tolist() == [-400_000, -1_600_000]
    assert compare(live.config, tmp_path / "ledger").differences == []


def test_markup_and_remote_markup_get_the_links_and_the_token(tmp_path: Path) -> None:
    markup = "<i>${OPT_IN_URL:XML} ${OPT_OUT_URL} ${AWARD_TOKEN:URL}</i>"
    own = clocked(tmp_path).replace('image = "https://acme.example/mpu.png"', f"html = '{markup}'")

    async def test(server: Server) -> None:
        base = f"http://{server.live.address}"
        for answers in ((), [bid(9.0, adm=markup)]):
            opened = server.live.line.open(body_of(), server.now_ns)
            answered = server.live.line.close(opened, answers, server.now_ns)
            sold = msgspec.json.decode(answered.body)["seatbid"][0]["bid"][0]
            token = sold["burl"].partition("/i?t=")[2]
            assert f"<i>{base}/o?t={token} {base}/u?t={token} {token}</i>" in sold["adm"]
            assert await server.follow("u", token) == 200

    live = served(own + ENDPOINT, test)
    assert int(live.venue.record["n_opt_outs"][0]) == 2


def test_the_words_of_the_metrics_are_those_of_the_table() -> None:
    answers = {events.outcome(answer) for answer in (*mk.KINDS, *life.ANSWERS)}
    assert answers == set(metrics.POST_OUTCOMES)


# ---- who may post, and what ---------------------------------------------------------------------------------------


def test_only_the_key_of_the_ledger_may_post(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        token = await server.win()
        given = {"token": token, "event": "impression"}
        for key in ("", "x", server.live.post_key[:-1], server.live.post_key + "0", events.key_of(KEY)):
            status, answer = await server.post(given, key=key)
            assert status == 401 and answer["errors"][0]["path"] == "Authorization"
        status, _ = await server.client.call("POST", "/events", msgspec.json.encode({"events": [given]}))
        assert status == 401
        assert (await server.client.call("GET", "/events"))[0] == 405
        assert int(server.live.venue.record["n_impressions"][0]) == 0
        assert (await server.post(given))[0] == 200
        assert int(server.live.venue.record["n_impressions"][0]) == 1
        assert server.live.counters.posts_refused == {"unauthorized": 6, "invalid": 0}

    served(clocked(tmp_path), test)


def test_one_bad_event_and_none_is_carried_out(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        token = await server.win()
        good = {"token": token, "event": "impression"}
        status, answer = await server.post(good, good, {"token": token, "event": "refnd"})
        assert status == 400
        assert answer == {"errors": [{
            "path": "events[2].event", "value": "refnd",
            "reason": "expected one of impression, click, conversion, opt_in, opt_out, refund",
        }]}  # fmt: skip
        other = Links(bytes(32), "").token(1, 0, 0, 0, 0, 2**31)
        for bad in (
            {**good, "token": other},
            {**good, "token": token[:-2]},
            {**good, "amount": 1},
            5,
            {**good, "x": 1},
        ):
            assert (await server.post(good, bad))[0] == 400
        too_many = b'{"events":[' + b",".join([b"0"] * 1_001) + b"]}"
        assert (await server.post(body=too_many))[1]["errors"][0]["value"] == "1001 events"
        assert (await server.post(body=b" " * 70_000))[0] == 413
        assert int(server.live.venue.record["n_impressions"][0]) == 0

    live = served(clocked(tmp_path), test)
    assert live.counters.posts_refused["invalid"] == 7
    assert not Ledger(tmp_path / "ledger").events.size


BAD = [
    (b"", "$", "expected JSON"),
    (b"[]", "$", 'expected {"events": [...]}'),
    (b'{"events": []}', "events", "expected 1 to 1,000"),
    (b'{"events": {}}', "$", 'expected {"events": [...]}'),
    (b'{"events": [], "more": 1}', "$", 'expected {"events": [...]}'),
    (b"[" * 10_000, "$", "expected JSON"),
    (b'{"events": [1e99999999999999999999]}', "$", "expected JSON"),
    ("%T", "events[0].event", "expected one of"),
    ('%T, "event": ["refund"]', "events[0].event", "expected one of"),
    ('%T, "event": "refund", "amuont": 1', "events[0].amuont", "expected one of token, event, amount, number"),
    ('%T, "event": "click", "number": 1', "events[0].number", "expected only where event is refund"),
    *(
        (f'%T, "event": "refund", "amount": {bad}', "events[0].amount", "expected a number above 0, at most")
        for bad in (
            "0",
            "-1",
            "0.0",
            '"1"',
            "true",
            "[]",
            "1e-10",
            "0.0000000001",
            "1e400",
            "1e999999",
            "10000000000",
            "1e-5000000",
            "1e-999999999",
            "1.00000000000000000000000000000000000001",
        )
    ),
    *(
        (f'%T, "event": "refund", "number": {bad}', "events[0].number", "expected a whole number, 1 to 255")
        for bad in ("0", "256", "1.0", '"1"', "null", "true", "1e400")
    ),
]


@pytest.mark.parametrize(("body", "path", "reason"), BAD, ids=[str(k) for k in range(len(BAD))])
def test_what_cannot_be_used_is_named(body: bytes | str, path: str, reason: str) -> None:
    if isinstance(body, str):
        body = ('{"events": [{' + body.replace("%T", f'"token": "{TOKEN}"') + "}]}").encode()
    with pytest.raises(events.BadEvents) as caught:
        events.read(body, LINKS)
    (problem,) = caught.value.problems
    assert problem.path == path and problem.reason.startswith(reason) and len(problem.value) <= 80


def test_the_first_twenty_problems_are_named() -> None:
    with pytest.raises(events.BadEvents) as caught:
        events.read(b'{"events": [' + b",".join([b"{}"] * 30) + b"]}", LINKS)
    assert [p.path for p in caught.value.problems[:3]] == ["events[0].event", "events[0].token", "events[1].event"]
    assert len(caught.value.problems) == events.PROBLEMS_MAX


@quick
@given(st.integers(1, mk.BUDGET_MAX_NANO), st.integers(1, 255))
def test_an_amount_is_exact_to_the_unit(nano: int, number: int) -> None:
    text = format(Decimal(nano).scaleb(-9), "f")
    body = f'{{"events": [{{"token": "{TOKEN}", "event": "refund", "amount": {text}, "number": {number}}}]}}'
    assert events.read(body.encode(), LINKS) == [(mk.KIND_REFUND, TOKEN, nano, number)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.sampled_from(["events", "token", "refund", TOKEN]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["events", "token", "event", "amount", "number", "x"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@quick
@given(JSON | st.lists(JSON, max_size=3).map(lambda given: {"events": given}))
def test_any_json_is_read_or_refused(given_: Any) -> None:
    try:
        found = events.read(msgspec.json.encode(given_), LINKS)
    except events.BadEvents as error:
        assert error.problems
        return
    assert all(event.kind in WORD and 0 <= event.number <= 255 and event.amount_nano >= 0 for event in found)


def test_the_key_is_kept_apart_from_links() -> None:
    assert events.key_of(KEY) != events.key_of(KEY[::-1]) and len(events.key_of(KEY)) == 64
    assert events.may_post(b"Bearer " + events.key_of(KEY).encode(), events.key_of(KEY))
    assert events.may_post(b"bearer  " + events.key_of(KEY).encode(), events.key_of(KEY))
    for bad in (b"", b"Bearer", b"Basic " + events.key_of(KEY).encode(), events.key_of(KEY).encode(), b"Bearer \xff"):
        assert not events.may_post(bad, events.key_of(KEY))


# ---- from the shell, and after a restart --------------------------------------------------------------------------


def rentier(*args: object) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "exchange", *map(str, args)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=120, check=False)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def test_events_are_posted_from_the_shell(tmp_path: Path) -> None:
    async def shell(*args: object) -> tuple[int, str, str]:
        return await asyncio.get_running_loop().run_in_executor(None, rentier, "events", *args)

    async def test(server: Server) -> None:
        ledger, file, url = tmp_path / "ledger", tmp_path / "e.jsonl", f"http://{server.live.address}"
        assert await shell("key", ledger) == (0, server.live.post_key, "")
        tokens = [await server.win() for _ in range(700)]  # more than one POST
        lines = [msgspec.json.encode({"token": t, "event": "impression"}).decode() for t in tokens]
        file.write_text("\n".join(lines) + "\n")
        assert await shell("post", url, file, "--ledger", ledger) == (0, "posted 700 events: 700 recorded", "")
        key_file = tmp_path / "key"
        key_file.write_text(server.live.post_key + "\n")
        code, out, err = await shell("post", url, file, "--key-file", key_file)
        assert (code, out, err) == (0, "posted 700 events: 700 repeat", "")
        refund = msgspec.json.encode({"token": tokens[0], "event": "refund", "amount": 7.5}).decode()
        file.write_text(refund)
        code, out, err = await shell("post", url, file, "--ledger", ledger)
        assert code == 1 and out == "posted 1 events: 1 too_much" and "e.jsonl:1: too_much: the amount is above" in err
        file.write_text(lines[0] + '\n{"token": 5, "event": "click"}')
        code, _, err = await shell("post", url, file, "--ledger", ledger)
        assert code == 2 and "lines 1 to 2: HTTP 400: events[1].token = 5: expected the token" in err
        key_file.write_text("wrong")
        code, _, err = await shell("post", url, file, "--key-file", key_file)
        assert code == 2 and "HTTP 401" in err

    served(text_of(tmp_path, auction="floor_cpm = 2.0"), test)
    assert rentier("events", "key", tmp_path)[0] == 2
    code, _, err = rentier(
        "events", "post", "http://127.0.0.1:9", tmp_path / "e.jsonl", "--ledger", tmp_path / "ledger"
    )
    assert code == 2 and "http://127.0.0.1:9: " in err and err.endswith("expected a running exchange")


def test_a_refund_is_not_paid_twice_across_a_restart(tmp_path: Path) -> None:
    told: list[Any] = []

    async def first(server: Server) -> None:
        told.append(await server.win())
        await server.follow("i", told[0])
        assert (await server.one(told[0], "refund", amount=0.0005))["outcome"] == "recorded"

    async def second(server: Server) -> None:
        server.now_ns += 10 * mk.NANO
        assert (await server.one(told[0], "refund", amount=0.0005))["outcome"] == "repeat"
        assert (await server.one(told[0], "refund", amount=0.01, number=2))["refusal"] == "too_much"
        assert server.live.venue.money()["acme/always"]["spent"] == 1_500_000

    served(clocked(tmp_path), first)
    served(clocked(tmp_path), second)
    venue, _ = open_venue(parse_config(clocked(tmp_path)))
    assert venue.money()["acme/always"]["spent"] == 1_500_000
    venue.close()
    assert salt(tmp_path / "ledger")
