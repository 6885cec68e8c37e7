"""Whole auctions from request to response, written down: tests/golden/*.json are cases and documentation at once.

A case has a config (the tables of a TOML file, as JSON), files beside it, and steps at one-second distance. A request
step says which answers bidders give and what is expected: status, response, the rows of bids and wins, the notices.
An event step follows the impression or click link of the last response. What is expected is a part of what comes:
objects may hold more keys, lists are compared whole, and a list of texts where a text comes names parts of it.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from exchange import market as mk
from exchange.books.reconcile import reconcile
from exchange.config import parse_config
from exchange.line import Given, Line
from exchange.links import Links
from exchange.opening import open_venue
from exchange.openrtb import codes
from exchange.rent.ledger import Ledger

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))
START_NS = 1_767_607_200 * mk.NANO  # 2026-01-05T10:00:00Z
FATE_CODE = {name: code for code, (name, _) in codes.FATES.items()}
KIND = {"impression": mk.KIND_IMPRESSION, "click": mk.KIND_CLICK}


def toml(value: Any) -> str:
    """A JSON value as TOML writes it inside a line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def misfits(expected: Any, found: Any, path: str = "") -> list[str]:
    """Every place where what was found is not what was expected."""
    if isinstance(expected, dict) and isinstance(found, dict):
        missing = [f"{path}.{key}: missing" for key in expected.keys() - found.keys()]
        return missing + [m for key in expected.keys() & found.keys() for m in misfits(
            expected[key], found[key], f"{path}.{key}")]  # fmt: skip
    if isinstance(expected, list) and isinstance(found, str):
        return [f"{path}: no {part!r} in {found!r}" for part in expected if part not in found]
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return [f"{path}: expected {len(expected)} entries, got {len(found)}: {found}"]
        return [m for k, pair in enumerate(zip(expected, found, strict=True)) for m in misfits(*pair, f"{path}[{k}]")]
    return [] if expected == found else [f"{path}: expected {expected!r}, got {found!r}"]


class Case:
    """One golden file while it is played."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.golden = json.loads(path.read_text())
        for name, text in self.golden.get("files", {}).items():
            (folder / name).write_text(text)
        (folder / "ledger").mkdir()
        (folder / "ledger" / "salt").write_bytes(bytes(range(32)))
        text = "\n".join(f"{key} = {toml(value)}" for key, value in self.golden["config"].items())
        self.config = parse_config(text, path.name, str(folder))
        self.venue, key = open_venue(self.config)
        self.line = Line(self.venue, key, Links(key, "https://ads.example"))
        self.folder = folder / "ledger"
        self.found: list[dict[str, Any]] = []
        self.bounds: list[dict[str, int]] = [self.venue.rows_written()]

    def play(self) -> None:
        """Do every step, then read the ledger back."""
        for k, step in enumerate(self.golden["steps"]):
            now_ns = START_NS + k * mk.NANO
            self.found.append(self.event(step, now_ns) if "event" in step else self.request(step, now_ns))
            self.bounds.append(self.venue.rows_written())
        self.money = self.venue.money()
        self.venue.close()
        self.ledger = Ledger(self.folder)
        for k, found in enumerate(self.found):
            for stream, view in (("bids", self.bid), ("wins", self.win)):
                rows = getattr(self.ledger, stream)[self.bounds[k][stream] : self.bounds[k + 1][stream]]
                found[stream] = [view(row) for row in rows]

    def request(self, step: dict[str, Any], now_ns: int) -> dict[str, Any]:
        """A bid request and the answers of the endpoints that were asked."""
        opened = self.line.open(json.dumps(step["request"]).encode(), now_ns)
        names = [endpoint.name for endpoint in self.config.endpoint]
        asked = [names[e] for e in self.line.eligible(opened)]
        told = json.loads(self.line.outgoing(opened, 100))["imp"]
        answers = [
            Given(names.index(a["endpoint"]), FATE_CODE[a.get("fate", "won")], json.dumps(a.get("response")).encode())
            for a in step.get("answers", [])
        ]
        answered = self.line.close(opened, answers, now_ns)
        response = json.loads(answered.body) if answered.body else None
        if response:
            self.last = response["seatbid"][0]["bid"][0]
        notices = [[names[e], url] for e, url in answered.notices]
        return {"status": answered.status, "response": response, "asked": asked, "told": told, "notices": notices}

    def event(self, step: dict[str, Any], now_ns: int) -> dict[str, Any]:
        """An impression or a click through the signed link of the last response."""
        token = self.last["burl"].partition("?t=")[2]
        recorded, landing, notices = self.line.follow(KIND[step["event"]], token, now_ns)
        names = [endpoint.name for endpoint in self.config.endpoint]
        return {
            "recorded": mk.KINDS.get(recorded, "nothing"),
            "landing": landing,
            "notices": [[names[e], url] for e, url in notices],
        }

    def who(self, row: Any) -> str:
        """The bidder of a row: advertiser/campaign, or endpoint:seat."""
        if row["endpoint"] < 0:
            return self.ledger.names.text("campaign", int(row["campaign"]))
        return f"{self.config.endpoint[row['endpoint']].name}:{self.ledger.names.text('seat', int(row['seat']))}"

    def bid(self, row: Any) -> dict[str, Any]:
        """A row of the bids stream in people's units."""
        return {
            "who": self.who(row), "imp": int(row["imp_ix"]), "fate": codes.FATES[int(row["fate"])][0],
            "gross_cpm": int(row["gross_nano"]) / 1e6, "net_cpm": int(row["net_nano"]) / 1e6,
        }  # fmt: skip

    def win(self, row: Any) -> dict[str, Any]:
        """A rent row in people's units."""
        prices = {
            f"{name}_cpm": int(row[f"{name}_nano"]) / 1e6
            for name in ("bid", "second", "floor", "clearing", "buyer_total", "cum_rent")
        }
        parties = {party: int(row[f"{party}_nano"]) / 1e6 for party in mk.PARTIES if row[f"{party}_nano"]}
        return {
            "who": self.who(row), "imp": int(row["imp_ix"]), **prices, "split_cpm": parties,
            "contacts": int(row["contacts"]), "own": bool(row["flags"] & mk.FLAG_OWN),
            "slot": int(row["slot"]), "bill": mk.BILLS[row["bill"]],
        }  # fmt: skip


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden(path: Path, tmp_path: Path) -> None:
    """The case comes out as written, and its ledger reconciles."""
    case = Case(path, tmp_path)
    case.play()
    problems = []
    for k, (step, found) in enumerate(zip(case.golden["steps"], case.found, strict=True)):
        expected = {key: step[key] for key in step if key not in ("request", "answers", "event")}
        assert expected, f"step {k} expects nothing"
        problems += misfits(expected, found, f"step {k}")
    for name, expected in case.golden.get("money", {}).items():
        problems += misfits(expected, {key: n / mk.NANO for key, n in case.money[name].items()}, f"money of {name}")
    assert not problems, "\n".join(problems)
    assert not reconcile(case.ledger).differences


def test_the_cases_are_documented_and_differ() -> None:
    """Every file says what it shows, and names where the rule comes from."""
    assert len(GOLDEN) >= 10
    told = [json.loads(path.read_text()) for path in GOLDEN]
    assert all(len(golden["what"]) > 40 for golden in told)
    assert len({golden["what"] for golden in told}) == len(told)


def test_misfits_finds_what_differs() -> None:
    """The comparison itself: a wrong value, a missing key, a missing part and a short list are each seen."""
    assert misfits({"a": [{"b": 1}], "c": ["x"]}, {"a": [{"b": 1, "d": 2}], "c": "axb"}) == []
    assert misfits({"a": 1}, {"a": 2}) and misfits({"a": 1}, {}) and misfits(["x"], "y") and misfits([1], [1, 2])
