"""People are forgotten: no row, request, segment or list knows them, every sum stays, and nobody else is touched."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import uvloop

from exchange import market as mk
from exchange.__main__ import main
from exchange.audience import kept, lists, table
from exchange.audience.people import person_key
from exchange.books.postings import balance
from exchange.books.reconcile import reconcile
from exchange.config import Config, parse_config
from exchange.forgetting import _names, forget
from exchange.opening import open_venue
from exchange.rent.blocks import LedgerError
from exchange.rent.journal import Journal, JournalError
from exchange.rent.ledger import Ledger
from exchange.rent.names import salt
from exchange.rent.seal import seal
from exchange.simulate.replay import compare
from tests.markets import eight_rules
from tests.test_parity import serve_visits

VISITS = 1_500


def config_of(folder: Path) -> Config:
    people = folder / "people.csv"
    people.write_text("user_id,segments\n" + "".join(f"p{i},gaming|loyal\n" for i in range(0, 1500, 7)))
    extra = f'people = "{people}"\njournal = "full"\n'
    return parse_config(eight_rules(str(folder / "L"), server="test_clock = true", extra=extra))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger that a server wrote, an import and an own list; part of it sealed."""
    folder = tmp_path_factory.mktemp("served")
    config = config_of(folder)
    uvloop.run(serve_visits(config, VISITS))
    ledger = folder / "L"
    assert seal(ledger, everything=True)
    uvloop.run(serve_visits(config, 100))  # the same people come again, into segments
    people = folder / "more.csv"
    people.write_text("user_id,segments\n" + "".join(f"p{i},vip\n" for i in range(1500)))
    assert main(["people", "import", str(people), "--ledger", str(ledger)]) == 0
    key = salt(ledger)
    for part in (1, 2):
        mine = np.unique(np.array([person_key(key, f"p{i}") for i in range(0, 1500, part)], np.uint64))
        lists.add(ledger, key, "adv1", mine, 2**60 + part)
    (ledger / "conversions.csv").write_text(
        "advertiser,user_id,time\n" + "".join(f"adv1,p{i},0\n" for i in range(1500))
    )
    return folder


@pytest.fixture
def folder(served: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    shutil.copytree(served, tmp_path / "served")
    return tmp_path / "served"


def busiest(ledger: Ledger, key: bytes) -> str:
    """The id of the person with the most wins."""
    keys, counts = np.unique(ledger.wins["person_key"][ledger.wins["person_key"] != 0], return_counts=True)
    most = int(keys[np.argmax(counts)])
    return next(f"p{i}" for i in range(1500) if person_key(key, f"p{i}") == most)


def same_but(before: Any, after: Any, gone: Any, fields: tuple[str, ...]) -> None:
    """Rows of others are what they were; those of the forgotten differ in these fields only, which are 0 now."""
    assert before.size == after.size
    for name in before.dtype.names:
        if name in fields:
            assert (after[name][gone] == 0).all(), name
            assert (after[name][~gone] == before[name][~gone]).all(), name
        else:
            assert (after[name] == before[name]).all(), name


def test_nothing_of_the_person_is_left_and_every_sum_stays(folder: Path) -> None:
    path = folder / "L"
    before, key = Ledger(path), salt(path)
    who = busiest(before, key)
    number = np.uint64(person_key(key, who))
    gone = {name: getattr(before, name)["person_key"] == number for name in ("wins", "auctions", "events")}
    assert gone["wins"].sum() > 3 and (before.wins["contacts"][gone["wins"]] > 0).any()
    money, rows = balance(before), {name: getattr(before, name) for name in gone}
    done = forget(path, [who])
    after = Ledger(path)
    assert (done.people, done.wins, done.auctions) == (1, gone["wins"].sum(), gone["auctions"].sum())
    same_but(rows["wins"], after.wins, gone["wins"], ("person_key", "cum_rent_nano", "contacts", "since_last_s"))
    same_but(rows["auctions"], after.auctions, gone["auctions"], ("person_key",))
    same_but(rows["events"], after.events, gone["events"], ("person_key", "cum_rent_nano", "contact_n"))
    assert balance(after) == money
    assert reconcile(after).differences == []
    assert after.verify() == before.verify()
    assert not any(f'"{who}"'.encode() in record.payload for record in after.inputs())
    assert done.requests == sum(not r.payload for r in after.inputs() if r.kind == mk.KIND_REQUEST) > 3
    assert number not in table.read(path / table.STORE, key).keys and done.segments > 0
    for version in lists.versions(path, key):
        assert number not in kept.read(version.path, lists.MAGIC)[1]["keys"]
    assert f",{who}," not in (path / "conversions.csv").read_text() and done.purchases == 1
    raw = int(number).to_bytes(8, "little")
    assert not any(raw in file.read_bytes() for file in path.rglob("*") if file.is_file())


def test_to_forget_twice_finds_nothing_the_second_time(folder: Path) -> None:
    path = folder / "L"
    who = busiest(Ledger(path), salt(path))
    assert forget(path, [who]).wins > 0
    again = forget(path, [who, "nobody"])
    assert (again.people, again.wins, again.auctions, again.requests, again.segments) == (2, 0, 0, 0, 0)


def test_a_crash_before_the_manifest_leaves_the_ledger_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "L"
    seal(path, everything=True)
    before = Ledger(path).wins
    who = busiest(Ledger(path), salt(path))

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("exchange.forgetting.mf.write", crash)
        with pytest.raises(KeyboardInterrupt):
            forget(path, [who])
    assert (Ledger(path).wins == before).all()
    assert forget(path, [who]).wins > 0
    assert reconcile(Ledger(path)).differences == []


def test_the_exchange_goes_on_afterwards(folder: Path) -> None:
    config, path = config_of(folder), folder / "L"
    who = busiest(Ledger(path), salt(path))
    forget(path, [who])
    venue, _ = open_venue(config)
    venue.close()
    uvloop.run(serve_visits(config, 150))
    assert reconcile(Ledger(path)).differences == []


def test_a_replay_says_why_it_differs(folder: Path) -> None:
    path = folder / "L"
    forget(path, [busiest(Ledger(path), salt(path))])
    found = compare(config_of(folder), path)
    assert found.differences and "requests were forgotten" in found.note


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "L"
    who = busiest(Ledger(path), salt(path))
    ids = folder / "ids.txt"
    ids.write_text(f"{who}\np3\n")
    assert main(["ledger", "forget", str(path), "--file", str(ids)]) == 0
    assert "forgotten: 2 asked for" in capsys.readouterr().out
    assert main(["ledger", "forget", str(path)]) == 2
    assert "PERSON: expected at least one id" in capsys.readouterr().err
    assert main(["ledger", "forget", str(path), "x", "--emails"]) == 2
    assert "expected an e-mail" in capsys.readouterr().err


def test_not_while_somebody_writes_nor_without_a_salt(folder: Path, tmp_path: Path) -> None:
    path = folder / "L"
    journal = Journal(path)
    with pytest.raises(JournalError, match="being written by another process"):
        forget(path, ["p1"])
    journal.close()
    with pytest.raises(LedgerError, match="no salt in it"):
        forget(tmp_path, ["p1"])


@pytest.mark.parametrize("text", [r'"\u00701"', r'["x", {"uid": "\u0070\u0031"}]', '{"p1": 0}', '"p1"'])
def test_an_id_is_found_however_it_is_escaped_and_wherever_it_stands(text: str) -> None:
    imp = '{"id": "1", "banner": {"w": 1, "h": 1}}'
    body = f'{{"id": "r", "imp": [{imp}], "user": {{"id": "x", "ext": {{"a": {text}}}}}}}'
    payload = msgspec.msgpack.encode((1, body.encode(), []))
    key = b"s" * 32
    for who, found in (("p1", True), ("p", False), ("p11", False)):
        assert _names(payload, np.array([person_key(key, who)], np.uint64), {who}, key) is found
