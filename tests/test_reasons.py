"""The sampled reasons: they agree with explain, take turns, change nothing, and reach /metrics and the command."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from exchange import market as mk
from exchange.__main__ import main
from exchange.auction.changes import Change
from exchange.auction.reasons import REASONS, Sampler, sample
from exchange.config import parse_config
from exchange.explain.reasons import Case, Reasons
from exchange.explain.views import views_of
from exchange.line import Line
from exchange.links import Links
from exchange.live import Live
from exchange.metrics import CAMPAIGNS_MAX, SAMPLE_CAMPAIGNS, SAMPLE_EVERY
from exchange.opening import open_venue
from exchange.rent.ledger import Ledger
from tests.test_explain import CREATIVE, NOW_NS, REQUESTS, config_text, request
from tests.test_parity import Client

WORDS = {
    "badv": "advertiser_blocked", "bseat": "advertiser_blocked", "wseat": "advertiser_blocked",
    "bcat": "creative_blocked", "battr": "creative_blocked", "creative": "no_creative_fits",
    "daily budget": "daily_budget",
}  # fmt: skip


def opened_line(folder: Path, text: str, people: str = "") -> Line:
    """A line on a ledger in a folder, whose salt is always the same."""
    (folder / "ledger").mkdir(parents=True, exist_ok=True)
    (folder / "ledger" / "salt").write_bytes(bytes(32))
    (folder / "own.csv").write_text("user_id\nanna\n")
    if people:
        (folder / "known.csv").write_text(people)
        text = f'[exchange]\npeople = "known.csv"\n{text}'
    venue, key = open_venue(parse_config(text, "test", str(folder)))
    return Line(venue, key, Links(key, "http://x.example"))


def categories(reasons: list[str]) -> set[str]:
    """The reasons that explain finds, in the words of the metric."""
    found = set()
    for reason in reasons:
        for part in reason.split(", and ") if not reason.startswith("target") else [reason]:
            word, _, rest = part.partition(":")
            leaf = rest.strip().lstrip("(").removeprefix("not ").split()[0] if word == "target" else ""
            found.add(f"target_{leaf}" if leaf else WORDS.get(word, word))
    return found


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """The config of test_explain and three campaigns more: `or`, relative conditions, paused."""
    text = config_text()
    for name, target in (
        ("either", "country in [BE] and seg one of [suv] or device in [ctv] and seg one of [van]"),
        ("met", "contacts >= 1 or not (country in [FR]) and last_contact_days < 3"),
        ("off", ""),
    ):
        text += f'[[advertiser]]\nname = "{name}"\ndomains = ["{name}.example"]\n[[advertiser.campaign]]\n'
        text += f'name = "c"\nvalue_cpm = 1.0\ntarget = "{target}"\n{CREATIVE}'
    made = opened_line(tmp_path_factory.mktemp("reasons"), text, "anna,van\nben,bus,suv\n")
    made.venue.campaigns["paused"][made.venue.n_campaigns - 1] = 1
    made.venue.targets.alive[:] = 0
    made.venue.record["wake_ns"] = 0
    made.venue.tick(NOW_NS)
    return made


@given(REQUESTS)
@settings(derandomize=True, deadline=None, max_examples=80)
def test_they_agree_with_explain(line: Line, made: dict[str, Any]) -> None:
    """What the compiled sample counts is one of the reasons explain gives, and `asked` where it gives none."""
    imps = [{"id": str(k), **imp} for k, imp in enumerate(made["imp"])]
    opened = line.open(json.dumps({"id": "r", **made, "imp": imps, "cur": ["EUR"], "test": 1}).encode(), NOW_NS)
    line._load(opened)
    rows = np.frombuffer(opened.opportunities, mk.OPPORTUNITY)
    key, venue = int(rows[0]["person_key"]), line.venue
    views = views_of(venue, opened, key, [int(row["floor_nano"]) for row in rows])
    why = Reasons(venue.config, venue)
    for k, view in enumerate(views):
        pmp = opened.request.imp[k].pmp
        private = pmp is not None and pmp.private_auction == 1
        case = Case(opened.request, view, key, NOW_NS, private)
        counts = np.zeros((CAMPAIGNS_MAX, len(REASONS)), np.int64)
        sample(venue.record, counts, k, opened.n_imps)
        assert counts.sum() == venue.n_campaigns <= SAMPLE_CAMPAIGNS
        for c in range(venue.n_campaigns):
            (code,) = np.flatnonzero(counts[c])
            expected = categories(why.of(c, case).reasons) or {"asked"}
            assert REASONS[code] in expected, (venue.campaign_names[c], REASONS[code], expected)


def test_of_several_clauses_the_furthest_is_to_blame(line: Line) -> None:
    """`either`: from BE without the segment the first branch got to seg; a ctv with it fails nothing."""

    def reason(**over: Any) -> str:
        line._load(line.open(json.dumps(request(test=1, **over)).encode(), NOW_NS))
        counts = np.zeros((CAMPAIGNS_MAX, len(REASONS)), np.int64)
        sample(line.venue.record, counts, 0, 1)
        return REASONS[int(np.flatnonzero(counts[line.venue.campaign_names.index("either/c")])[0])]

    belgium, ctv = {"geo": {"country": "BEL"}}, {"devicetype": 3}
    assert reason(device=belgium, user=None) == "target_seg"
    assert reason(device=ctv, user=None) == "target_seg"
    assert reason(device={"devicetype": 4}, user=None) == "target_country"
    assert reason(device=belgium) == "asked"
    assert reason(device=belgium, user=None, imp=[{"id": "1", "banner": {"w": 9, "h": 9}}]) == "no_creative_fits"


def test_what_has_ended_is_not_called_paused(tmp_path: Path) -> None:
    """The sample knows pause from end."""
    line = opened_line(tmp_path, config_text())
    for action, reason in (("pause", "paused"), ("end", "ended")):
        line.change(Change(action, line.venue.campaign_names[0]), NOW_NS)
        line._load(line.open(json.dumps(request(test=1)).encode(), NOW_NS))
        counts = np.zeros((CAMPAIGNS_MAX, len(REASONS)), np.int64)
        sample(line.venue.record, counts, 0, 1)
        assert REASONS[int(np.flatnonzero(counts[0])[0])] == reason


MANY = 90
MARKET = "".join(
    f'[[advertiser]]\nname = "a{k}"\n[[advertiser.campaign]]\nname = "c"\nvalue_cpm = 1.0\n'
    f'target = "{"" if k % 2 else "country in [DE]"}"\n{CREATIVE}'
    for k in range(MANY)
)


def sold(folder: Path, n: int, sampling: bool) -> tuple[Line, Ledger]:
    """A market of MANY campaigns after n requests."""
    line = opened_line(folder, MARKET)
    if not sampling:
        line.sampler.left = 10**9
    for k in range(n):
        body = json.dumps(request(id=f"r{k}", imp=[{"id": "1", "banner": {}}, {"id": "2", "banner": {}}])).encode()
        opened = line.open(body, NOW_NS + k)
        line.close(opened, (), NOW_NS + k)
        line.close(line.open(body.replace(b'"id": "r', b'"test": 1, "id": "t', 1), NOW_NS + k), (), NOW_NS + k)
    line.venue.close()
    return line, Ledger(folder / "ledger")


def test_campaigns_take_turns_and_nothing_else_changes(tmp_path: Path) -> None:
    """Exact counts after seven samples; requests with test = 1 do not count; the rows are those without sampling."""
    n = 7 * SAMPLE_EVERY + 3
    line, ledger = sold(tmp_path / "with", n, True)
    _, plain = sold(tmp_path / "without", n, False)
    for stream in ("auctions", "bids", "wins", "events"):
        assert getattr(ledger, stream).tobytes() == getattr(plain, stream).tobytes()
    found = line.sampler.read()
    assert sum(found.values()) == 7 * SAMPLE_CAMPAIGNS
    looks = [sum(n for (name, _), n in found.items() if name == f"a{k}/c") for k in range(MANY)]
    assert set(looks) == {7 * SAMPLE_CAMPAIGNS // MANY, 7 * SAMPLE_CAMPAIGNS // MANY + 1}
    assert {(int(name[1:-2]) % 2, reason) for name, reason in found} == {(0, "target_country"), (1, "asked")}


def test_only_the_first_campaigns_are_counted(tmp_path: Path) -> None:
    """With more than have series of their own the others are left out."""
    text = MARKET + MARKET.replace('"a', '"b') + MARKET.replace('"a', '"c')
    sampler = Sampler(opened_line(tmp_path, text).venue)
    sampler.venue.arrays["opportunities"]["imp_ix"] = 0
    for taken in range(100):
        sampler.taken = taken
        sampler.look(1)
    names = sampler.venue.campaign_names
    assert len(names) == 3 * MANY and {name for name, _ in sampler.read()} == set(names[:CAMPAIGNS_MAX])


def test_metrics_and_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A running exchange shows them at /metrics; `rentier explain --metrics` makes a table of the URL or of a file."""
    text = (
        f'[exchange]\nledger = "{tmp_path / "ledger"}"\n[server]\naddress = "127.0.0.1:0"\ntest_clock = true\n'
        f'[[advertiser]]\nname = "acme"\n[[advertiser.campaign]]\nname = "here"\nvalue_cpm = 1.0\n{CREATIVE}'
        f'[[advertiser.campaign]]\nname = "there"\nvalue_cpm = 1.0\ntarget = "country in [DE]"\n{CREATIVE}'
    )

    async def scene() -> tuple[str, str]:
        live = Live(parse_config(text, "test", str(tmp_path)))
        await live.start()
        try:
            client = await Client().connect(live.address)
            for k in range(2 * SAMPLE_EVERY):
                await client.call("POST", "/openrtb2/auction", json.dumps(request(id=f"r{k}")).encode())
            loop = asyncio.get_running_loop()
            asked = ["explain", "--metrics", f"http://{live.address}/metrics"]
            code = await loop.run_in_executor(None, main, asked)
            assert code == 0
            table = capsys.readouterr().out
            code = await loop.run_in_executor(None, main, [*asked, "--campaign", "there", "--json"])
            assert code == 0
            return table, capsys.readouterr().out
        finally:
            await live.stop()

    table, there = asyncio.run(scene())
    assert table.splitlines()[1:] == [
        "acme/there          2    0.0%  target_country 100.0%",
        "acme/here           2  100.0%",
    ]
    assert msgspec.json.decode(there) == [
        {"campaign": "acme/there", "looks": 2, "asked": 0.0, "reasons": {"target_country": 1.0}}
    ]


def test_the_command_on_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shares add up, the screen fits, errors are one line."""
    path = tmp_path / "metrics.txt"
    head = "# TYPE rentier_campaign_reasons_total counter\n"
    row = 'rentier_campaign_reasons_total{{campaign="a/{}",reason="{}"}} {}\n'
    rows = [row.format("x" * 60, reason, n + 1) for n, reason in enumerate(REASONS)]
    path.write_text(head + "".join(rows) + row.format("y", "asked", 3) + row.format("y", "cap", 1))
    assert main(["explain", "--metrics", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100 and " more" in lines[1] and lines[2].endswith("4   75.0%  cap 25.0%")
    path.write_text(head)
    assert main(["explain", "--metrics", str(path)]) == 0
    assert "no campaign has been looked at yet" in capsys.readouterr().out
    for text, args, expected in (
        ("", [], "no rentier_campaign_reasons_total in it"),
        ('a{b="c} x\n', [], "not a text of /metrics"),
        (head + row.format("y", "cap", 1), ["--campaign", "z"], "--campaign z: none of"),
    ):
        path.write_text(text)
        assert main(["explain", "--metrics", str(path), *args]) == 2
        error = capsys.readouterr().err
        assert expected in error and error.count("\n") == 1
    assert main(["explain"]) == 2 and "expected a bid request, or --metrics URL" in capsys.readouterr().err
    assert main(["explain", "--metrics", "http://127.0.0.1:9/metrics"]) == 2
    assert "--metrics http://127.0.0.1:9/metrics: " in capsys.readouterr().err
