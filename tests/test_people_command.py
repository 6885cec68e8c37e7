"""The commands `rentier people` and `rentier list`, as a user runs them."""

import json
import time
from pathlib import Path

import pytest

from exchange import market as mk
from exchange.__main__ import main
from exchange.audience import lists, table
from exchange.audience.people import person_key
from exchange.audience.vocabulary import Vocabulary
from exchange.people import command
from exchange.rent.journal import Journal
from exchange.rent.names import Names, salt
from tests.ledger_maker import ALL, START_NS, Maker

CONFIG = """
[exchange]
ledger = "L"
[[segment]]
name = "thrice"
advertiser = "Halle"
rule = "contacts >= 3"
[[segment]]
name = "quiet"
rule = "contacts = 0"
[[advertiser]]
name = "Halle"
[[advertiser]]
name = "Bremen"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(CONFIG)
    (tmp_path / "p.csv").write_text("user_id,segments\nu1,a,b\nu2,b\n")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints; its code and, when it fails, that it is one line."""
    found = main(list(words))
    out, err = capsys.readouterr()
    assert found == code, err
    if code:
        assert err.count("\n") == 1 and not out
        return err
    return out


def test_import_show_replace(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = said(capsys, "people", "import", "p.csv", "--config", "c.toml")
    assert first.startswith("2 rows read; 0 people were known\n2 people, 2 segments, 1.5 a person, 34.0 bytes a person")
    (folder / "q.csv").write_text("u1,c\nu3,-b\n")
    facts = json.loads(said(capsys, "people", "import", "q.csv", "--ledger", "L", "--replace", "--json"))
    assert (facts["rows"], facts["people_before"], facts["people"], facts["version"]) == (2, 2, 2, 2)
    shown = json.loads(said(capsys, "people", "show", "--ledger", "L", "--json"))
    assert shown["people_by_segment"] == {"b": 1, "c": 1} and shown["version"] == 2
    assert "           1  b" in said(capsys, "people", "show", "--ledger", "L")
    assert (folder / "L" / "people.store").stat().st_mode & 0o077 == 0


def test_many_segments_are_not_all_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "q.csv").write_text("u1," + "|".join(f"s{i}" for i in range(14)) + "\n")
    said(capsys, "people", "import", "q.csv", "--ledger", "L")
    assert said(capsys, "people", "show", "--ledger", "L").splitlines()[-1] == "           4  more segments"


def test_what_is_refused_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "people", "import", "p.csv", "--ledger", "L")
    store = folder / "L" / "people.store"
    before = store.read_bytes()
    (folder / "bad.csv").write_text("u1,z\nu2\n")
    assert "bad.csv:2: no segment" in said(capsys, "people", "import", "bad.csv", "--ledger", "L", code=2)
    assert "no.csv: cannot be read" in said(capsys, "people", "import", "no.csv", "--ledger", "L", code=2)
    assert "whose people?" in said(capsys, "people", "import", "p.csv", code=2)
    assert "nowhere: no salt in it" in said(capsys, "people", "show", "--ledger", "nowhere", code=2)
    assert "no [[segment]]" in said(capsys, "people", "segments", "--ledger", "L", code=2)
    assert "--at = 'noon'" in said(capsys, "people", "segments", "--config", "c.toml", "--at", "noon", code=2)
    assert store.read_bytes() == before
    store.write_bytes(before[:-1])
    for action in (["import", "p.csv"], ["show"]):
        assert "people.store: " in said(capsys, "people", *action, "--ledger", "L", code=2)
    assert store.read_bytes() == before[:-1]


def test_segments_by_rule_of_a_ledger(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Person 1 is shown Halle's ad four times, person 2 is met only; an import keeps its other segments."""
    ledger = folder / "L"
    maker = Maker(Journal(ledger, 0, ALL, block_rows=64))
    names = Names(ledger)
    assert names.id("advertiser", "Halle") == 1
    names.close()
    key = person_key(salt(ledger), "u1")
    times = []
    for _ in range(4):
        win = maker.step([5_000, 4_000], key)
        assert win is not None
        maker.event(win, mk.KIND_IMPRESSION)
        times.append(maker.now)
    maker.step([], 2)
    maker.journal.close()
    said(capsys, "people", "import", "p.csv", "--config", "c.toml")
    words = ("people", "segments", "--config", "c.toml", "--json")
    facts = json.loads(said(capsys, *words))
    assert facts["people_by_rule"] == {"thrice": 1, "quiet": 1} and facts["people"] == 3
    made = table.read(ledger / table.STORE, salt(ledger))
    row = made.keys.tolist().index(key)
    mine = {made.names[n] for n in made.numbers[made.starts[row] : made.starts[row + 1]]}
    assert mine == {"a", "b", "thrice"}
    for n, ts_ns in enumerate(times):  # never look-ahead: a row counts from just after its time on
        for later, count in ((0, n), (1, n + 1)):
            at_ns = ts_ns + later * 1_000
            at = f"2026-01-01T00:00:{(at_ns - START_NS) / 1e9:09.6f}Z"
            facts = json.loads(said(capsys, *words, "--at", at))
            assert facts["people_by_rule"]["thrice"] == int(count >= 3), (n, later)


def test_lists(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "ids.csv").write_text("user_id\nu1\nu2\nu1\n")
    words = ("list", "import", "Halle", "ids.csv", "--config", "c.toml")
    assert said(capsys, *words).startswith("Halle: version 1, 2 people, valid from 20")
    facts = json.loads(said(capsys, *words, "--valid-from", "2035-01-01T00:00:00Z", "--json"))
    assert facts == {"advertiser": "Halle", "version": 2, "people": 2, "valid_from": "2035-01-01T00:00:00Z"}
    shown = said(capsys, "list", "show", "--config", "c.toml").splitlines()
    assert shown[0] == "Halle" and shown[1].endswith("in force") and shown[2].endswith("to come")
    later = json.loads(said(capsys, "list", "show", "Halle", "--ledger", "L", "--at", "2036-01-01", "--json"))
    assert [v["in_force"] for v in later["versions"]] == [False, True]
    assert said(capsys, "list", "show", "Bremen", "--config", "c.toml").endswith("L: no lists\n")
    key = salt(folder / "L")
    assert set(lists.keys_of(lists.versions(folder / "L", key)[0]).tolist()) == {
        person_key(key, u) for u in ("u1", "u2")
    }


def test_lists_that_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "ids.csv").write_text("u1\n")
    wrong = said(capsys, "list", "import", "Hall", "ids.csv", "--config", "c.toml", code=2)
    assert "ADVERTISER 'Hall': expected one of Halle, Bremen; did you mean 'Halle'?" in wrong
    assert "printable" in said(capsys, "list", "import", "", "ids.csv", "--ledger", "L", code=2)
    for option, expected in (("--hashed", "SHA-256"), ("--emails", "expected an e-mail")):
        told = said(capsys, "list", "import", "Halle", "ids.csv", "--ledger", "L", option, code=2)
        assert f"ids.csv:1: 'u1': expected {'the ' if option == '--hashed' else ''}" in told and expected in told
    for header in ("email", " SHA256"):
        (folder / "mails.csv").write_text(f"{header}\nanna@example.org\n")
        told = said(capsys, "list", "import", "Halle", "mails.csv", "--ledger", "L", code=2)
        assert "mails.csv:1: " in told and "--emails takes e-mails, --hashed takes their SHA-256" in told
    never = said(capsys, "list", "import", "Halle", "ids.csv", "--ledger", "L", "--valid-from", "2999-01-01", code=2)
    assert "--valid-from 2999-01-01: expected before 2116-02-20T23:53:38.427387904Z" in never
    maker = Maker(Journal(folder / "L", 0, ALL, block_rows=4))
    for _ in range(9):
        maker.step([5_000], 1)
    maker.journal.close()
    early = said(capsys, "list", "import", "Halle", "ids.csv", "--ledger", "L", "--valid-from", "2026-01-01", code=2)
    assert "--valid-from 2026-01-01T00:00:00Z: expected later than 2026-01-01T00:00:00.900000000Z" in early
    last = ("list", "import", "Halle", "ids.csv", "--ledger", "L", "--valid-from")
    said(capsys, *last, "2026-01-01T00:00:00.9", code=2)
    said(capsys, *last, "2026-01-01T00:00:00.900001")


def test_a_list_from_now_on_is_valid_behind_the_auctions_held_while_it_was_read(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exchange that serves holds an auction at every moment, also while the import looks for the last one."""
    (folder / "ids.csv").write_text("id,city\nu1,Lille\n")
    (folder / "L").mkdir()

    def held_just_now(_: Path) -> int:
        return time.time_ns() - 1

    monkeypatch.setattr(command, "_last_auction_ns", held_just_now)
    facts = json.loads(said(capsys, "list", "import", "Halle", "ids.csv", "--config", "c.toml", "--json"))
    assert facts["people"] == 1


def test_an_import_takes_away_what_requests_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "people", "import", "p.csv", "--ledger", "L")
    key = salt(folder / "L")
    known = table.Known(folder / "L", key, Vocabulary())
    number = known.vocabulary.id("seg", "told")
    for user in ("u1", "u2"):
        known.remember(person_key(key, user), [number])
    known.save()
    (folder / "q.csv").write_text("u1,-\nu2,new\n")
    said(capsys, "people", "import", "q.csv", "--ledger", "L")
    again = table.Known(folder / "L", key, Vocabulary())
    assert again.store.segments(person_key(key, "u1")) == []
    assert len(again.store.segments(person_key(key, "u2"))) == 3


def test_a_list_of_nobody_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who is not known has no list to show; a file that names nobody clears a list only when told to."""
    (folder / "one.csv").write_text("user_id\nu1\n")
    (folder / "none.csv").write_text("user_id\n\n")
    said(capsys, "list", "import", "Halle", "one.csv", "--config", "c.toml", "--valid-from", "2031-01-01")
    for place, names in (("--config", "Halle, Bremen"), ("--ledger", "Halle")):
        where = (place, "c.toml" if place == "--config" else "L")
        refused = said(capsys, "list", "show", "Hale", *where, code=2)
        assert f"ADVERTISER 'Hale': expected one of {names}; did you mean 'Halle'?" in refused
    words = ("list", "import", "Halle", "none.csv", "--config", "c.toml", "--valid-from", "2032-01-01")
    assert "none.csv: nobody in it: expected at least one person, or --empty" in said(capsys, *words, code=2)
    assert len(lists.versions(folder / "L", salt(folder / "L"))) == 1
    assert "version 2, 0 people" in said(capsys, *words, "--empty")
