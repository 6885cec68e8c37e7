"""Reports of a part of a ledger: what the rows of that part alone say, and what an export of it keeps to itself."""

import copy
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exchange import market as m
from exchange import simulate
from exchange.__main__ import main
from exchange.config import load_config
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.seal import seal
from exchange.report import command
from exchange.report.asking import Books
from exchange.report.command import ReportError
from exchange.report.shape import Report
from exchange.report.small import OTHERS, SMALL_CELL
from exchange.report.words import catalogue, texts_of
from tests import naive_figures
from tests import naive_reports as naive

PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "an advertiser": {"advertiser": ("brand2",)},
    "two": {"advertiser": ("brand1", "brand3")},
    "a publisher": {"publisher": ("pub2",)},
    "a segment, and none": {"segment": ("seg1", "no segment")},
    "a week": {"week": ("2026-01-12",)},
    "all keys": {"advertiser": ("brand1", "brand2"), "publisher": ("pub1", "pub3"), "segment": ("seg2",)},
    "nobody": {"advertiser": ("unknown",)},
}
OF_WINS = ("summary", "waterfall", "price_list", "user_month")
ALL = (*OF_WINS, "rerent_curve", "own_resale", "attribution", "lost", "own_vs_rent")


@pytest.fixture(scope="module")
def whole() -> Ledger:
    """A ledger with refunds, unknown people, billed clicks, losers who pay, many weeks."""
    return naive.varied(500, seed=4, people=300)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """The demo's market with its bids, its own lists and a book of conversions."""
    folder = tmp_path_factory.mktemp("only") / "ledger"
    config = load_config("configs/demo.toml")
    config.population.ctr = 0.05
    simulate(config, 6_000, ledger="bids", folder=folder)
    return Ledger(folder)


def part_of(ledger: Ledger, only: dict[str, tuple[str, ...]], renumbered: bool = False) -> Ledger:
    """A ledger in which only the wins of a part stand, with their events; renumbered: contacts count within it."""
    keep = [all(row[key] in names for key, names in only.items()) for row in naive.lives(ledger)]
    found = Ledger.in_memory(Journal(None), ledger.names, ledger.meta)
    wins = ledger.wins[np.array(keep, bool)]
    events = ledger.events[np.isin(ledger.events["serial"], wins["serial"])].copy()
    if renumbered:
        who = {int(w["serial"]): (int(w["advertiser"]), int(w["person_key"])) for w in wins}
        contacts: dict[tuple[int, int], int] = {}
        for event in events:
            pair = who[int(event["serial"])]
            if int(event["kind"]) in m.BILLING and pair[1]:
                event["contact_n"] = contacts[pair] = contacts.get(pair, 0) + 1
    vars(found).update(wins=wins, events=events, auctions=ledger.auctions, bids=ledger.bids)
    return found


def values(report: Report) -> dict[str, Any]:
    return {figure.key: figure.value for figure in report.figures}


def near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, (int, float)) else value


@pytest.mark.parametrize("part", list(PARTS))
@pytest.mark.parametrize("name", OF_WINS)
def test_figures_are_those_of_the_rows_filtered_first(name: str, part: str, whole: Ledger) -> None:
    """A naive count over the rows that are left; what is nobody's has no value."""
    only = PARTS[part]
    expected = getattr(naive, name)(part_of(whole, only, renumbered=True))
    assert part == "nobody" or expected.get("spend", 1) != getattr(naive, name)(whole).get("spend", 0)
    books = Books(whole, only)
    report = command.build(name, books)
    for key, value in values(report).items():
        if key in ("auctions", "fill", "bids"):
            continue
        assert value == near(expected[key]), key
    if name == "summary":
        told = values(report)
        assert (told["auctions"] is None) == bool({"advertiser", "segment"} & only.keys()) == (told["fill"] is None)
        assert (told["bids"] is None) == ("segment" in only)
    books.close()


def test_offers_and_bids_are_those_of_the_part(demo: Ledger) -> None:
    """Spaces of a publisher, bids of an advertiser, of both where both are asked for."""
    brands, publishers = naive_figures.names(demo, "advertiser"), naive_figures.names(demo, "publisher")
    brand, publisher = brands[1], publishers[2]
    where = {(int(a["auction_id"]), int(a["imp_ix"])): publishers[int(a["publisher"])] for a in demo.auctions}
    offers = [b for b in demo.bids if int(b["fate"]) not in (command.module("lost").NO_OFFER)]
    mine = [b for b in offers if brands.get(int(b["advertiser"])) == brand]
    here = [b for b in mine if where[int(b["auction_id"]), int(b["imp_ix"])] == publisher]
    assert len(offers) > len(mine) > len(here) > 0
    for only, bids in (({"advertiser": (brand,)}, mine), ({"advertiser": (brand,), "publisher": (publisher,)}, here)):
        assert values(command.build("summary", Books(demo, only)))["bids"] == len(bids)
        lost = values(command.build("lost", Books(demo, only)))["lost"]
        assert lost == sum(int(b["fate"]) != 0 for b in bids)
    offered = values(command.build("summary", Books(demo, {"publisher": (publisher,)})))
    assert offered["auctions"] == sum(p == publisher for p in where.values())
    assert offered["fill"] == near(
        sum(int(a["sold"]) for a in demo.auctions if publishers[int(a["publisher"])] == publisher) / offered["auctions"]
    )


@pytest.mark.parametrize("name", ALL)
def test_the_parts_of_an_advertiser_are_its_rows_of_the_whole(name: str, demo: Ledger) -> None:
    """By advertiser, every table of the whole has the rows that the restricted report has, and no others' are in it."""
    module = command.module(name)
    brands = sorted(naive_figures.names(demo, "advertiser").values())
    by = "advertiser" if "advertiser" in module.BY else ""
    all_of = command.build(name, Books(demo), by)
    mine = command.build(name, Books(demo, {"advertiser": (brands[0],)}), by)
    compared = 0
    for table in mine.tables:
        if table.columns[0].key != "advertiser":
            continue
        other = next(t for t in all_of.tables if t.key == table.key)
        assert {row[0] for row in table.rows} == {brands[0]}
        expected = [row for row in other.rows if row[0] == brands[0]]
        assert [list(map(near, row)) for row in expected] == table.rows
        compared += 1
    assert compared
    for kind in ("screen", "json", "csv", "html"):
        text = command.shown(mine, kind, small_cell=0)
        assert brands[0] in text and not any(brand in text for brand in brands[1:]), kind


def test_the_holdout_stays_whole(demo: Ledger) -> None:
    """Who is held out of an advertiser's ads, and what the others bought, does not depend on the restriction."""
    brands = sorted(naive_figures.names(demo, "advertiser").values())
    groups = naive_figures.groups(demo)
    for brand in brands:
        report = command.build("attribution", Books(demo, {"advertiser": (brand,)}))
        rows = next(t for t in report.tables if t.key == "groups").rows
        held = sum(held for held, _ in groups[brand].values())
        assert [row[:2] + row[3:4] for row in rows] in ([], [[brand, len(groups[brand]) - held, held]])


def test_contacts_keep_their_number(whole: Ledger) -> None:
    """Of one publisher, a third contact is a third one even if the first two were elsewhere."""
    only = {"publisher": ("pub1",)}
    expected = naive_figures.nth(part_of(whole, only))
    table = next(t for t in command.build("rerent_curve", Books(whole, only)).tables if t.key == "nth")
    assert {str(row[0]): row[1] for row in table.rows if int(str(row[0]).split()[0]) <= 10} == {
        str(n): contacts for n, (contacts, _, _) in sorted(expected.items()) if n <= 10
    }
    assert min(expected) == 1 or len(expected) > 1


def test_sealed_and_live_rows_give_the_same(demo: Ledger, tmp_path: Path) -> None:
    """The walk restricts columns of sealed files as it does rows of the journal."""
    import shutil

    assert demo.path is not None
    shutil.copytree(demo.path, tmp_path / "l")
    seal(tmp_path / "l", everything=True)
    only = {"advertiser": (naive_figures.names(demo, "advertiser")[2],)}
    for name in ALL:
        live, sealed = (command.build(name, Books(Ledger(p), only)) for p in (demo.path, tmp_path / "l"))
        assert values(live) == {key: near(value) for key, value in values(sealed).items()}, name


# ---- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "told"), [
    (["summary", "--only", "advertiser=Volante Car"], "did you mean 'Volante Cars'?"),
    (["summary", "--only", "publisher=nobody at all"], "the ledger has no such publisher"),
    (["summary", "--only", "week=2026-01-06"], "did you mean '2026-01-05'?"),
    (["summary", "--only", "advertise=x"], "did you mean advertiser=...?"),
    (["summary", "--only", "advertiser"], "expected KEY=NAME with KEY one of advertiser, publisher, segment, week"),
    (["lost", "--only", "segment=suv"], "a bid that lost rented no segment"),
    (["attribution", "--only", "week=2026-01-05"], "expected advertiser"),
])  # fmt: skip
def test_one_line_says_what_is_wrong(
    words: list[str], told: str, demo: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, nothing printed."""
    assert main(["report", words[0], str(demo.path), *words[1:]]) == 2
    out, err = capsys.readouterr()
    assert out == "" and told in err and len(err.splitlines()) == 1


def test_without_a_ledger_there_is_nothing_to_restrict(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "ad_load", "--only", "advertiser=x"]) == 2
    assert "ad_load without a ledger has nothing to restrict" in capsys.readouterr().err


# ---- what it says of itself --------------------------------------------------------------------------------------


def test_every_form_says_what_it_is_restricted_to(demo: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """Title, JSON's `only`, the end of a CSV; in both languages; several names and keys."""
    words = ["--only", "advertiser=Volante Cars", "--only", "advertiser=Halle Markets", "--only", "segment=no segment"]
    found = {}
    for lang in ("en", "fr"):
        for kind in ("--json", "--csv", "--html", ""):
            assert main(["report", "price_list", str(demo.path), *words, "--lang", lang, "--small-cell", "0",
                         *([kind] if kind else [])]) == 0  # fmt: skip
            found[lang, kind] = " ".join(capsys.readouterr().out.split())
    for kind in ("--json", "--csv", "--html", ""):
        assert "only advertiser Volante Cars or Halle Markets, segment no segment" in found["en", kind], kind
        assert "seulement annonceur Volante Cars ou Halle Markets, segment aucun segment" in found["fr", kind], kind
    assert json.loads(found["en", "--json"])["only"] == {
        "advertiser": ["Volante Cars", "Halle Markets"], "segment": ["no segment"]
    }  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_the_notes_are_translated(name: str, demo: Ledger) -> None:
    french = catalogue("fr")
    keys = getattr(command.module(name), "ONLY", ("advertiser", "publisher"))
    only = {key: names for key, names in (("advertiser", ("Volante Cars",)), ("publisher", ("news.example",)))
            if key in keys}  # fmt: skip
    known = naive_figures.names(demo, "publisher").values()
    only = {key: names if key == "advertiser" else (sorted(known)[0],) for key, names in only.items()}
    report = command.build(name, Books(demo, only))
    assert not sorted(text for text in texts_of(report) if text not in french)


# ---- small groups ------------------------------------------------------------------------------------------------


def test_an_export_never_tells_what_that_of_the_whole_hides(whole: Ledger) -> None:
    """A group hidden in the table of the whole is not exported alone: neither a small one nor one that hides it."""
    key = "advertiser,publisher"
    whole_table = json.loads(command.shown(command.build("summary", Books(whole), key), "json"))["tables"]["split"]
    hidden = [row for row in whole_table["rows"] if row["people"] in (f"<{SMALL_CELL}", OTHERS) and row["publisher"]]
    shown = [row for row in whole_table["rows"] if isinstance(row["people"], int) and row["people"] >= SMALL_CELL]
    joined = [row for row in hidden if row["people"] == OTHERS]
    assert hidden and joined
    for row in [*hidden[:6], *joined[:3]]:
        only = {"advertiser": (row["advertiser"],), "publisher": (row["publisher"],)}
        report = command.build("summary", Books(whole, only))
        for kind in ("json", "csv", "html"):
            with pytest.raises(ReportError, match="fewer than 10 people"):
                command.shown(report, kind)
        assert command.shown(report) and command.shown(report, "json", small_cell=0)
    for row in shown[:2]:
        only = {"advertiser": (row["advertiser"],), "publisher": (row["publisher"],)}
        found = command.build("summary", Books(whole, only))
        assert values(found)["spend"] == near(row["spend"]) and command.shown(found, "json")


def test_a_table_of_a_part_hides_what_the_whole_hides(whole: Ledger) -> None:
    """Rows of a restricted table are masked where those of the whole are."""
    checked = 0
    table = json.loads(command.shown(command.build("summary", Books(whole), "advertiser,segment"), "json"))["tables"]
    hidden = {(r["advertiser"], r["segment"]) for r in table["split"]["rows"] if not isinstance(r["people"], int)}
    for brand in ("brand1", "brand2", "brand3", "brand4"):
        report = command.build("summary", Books(whole, {"advertiser": (brand,)}), "segment")
        try:
            rows = json.loads(command.shown(report, "json"))["tables"]["split"]["rows"]
        except ReportError:
            continue
        shown = {(brand, row["segment"]) for row in rows if isinstance(row["people"], int)}
        assert not shown & hidden
        checked += bool(shown)
    assert checked and hidden


# ---- CSV that a spreadsheet opens --------------------------------------------------------------------------------


def test_texts_of_a_csv_are_no_formulas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`rentier sql --csv` and `ledger export --format csv` guard them as reports do; numbers below 0 stay numbers."""
    config = load_config("configs/demo.toml")
    config = copy.deepcopy(config)
    config.advertiser[0].name = "=cmd|' /C calc'!A0"
    simulate(config, 300, ledger="wins", folder=tmp_path / "ledger")
    query = "select distinct advertiser, -1 as less, '+1' as plus, 'a=b' as plain from wins where advertiser like '=%'"
    assert main(["sql", str(tmp_path / "ledger"), query, "--csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[1] == ["'=cmd|' /C calc'!A0", "-1", "'+1", "a=b"]
    assert main(["sql", str(tmp_path / "ledger"), query, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["advertiser"] == "=cmd|' /C calc'!A0"
    assert main(["ledger", "export", str(tmp_path / "ledger"), str(tmp_path / "out"), "--format", "csv"]) == 0
    with (tmp_path / "out" / "wins.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert {row["advertiser"] for row in found} >= {"'=cmd|' /C calc'!A0", "Halle Markets"}
    assert not any(cell.startswith(("=", "+", "@")) for row in found for cell in row.values())
    assert command.answer([str(tmp_path / "ledger")], "csv", small_cell=0).count("'=cmd|") >= 1


def test_the_docs_tell_of_it() -> None:
    """The option stands on the page, and the page's example is that of the help."""
    text = (Path(__file__).parents[1] / "docs" / "reports.md").read_text()
    assert "`--only KEY=NAME`" in text and "## Of one advertiser" in text
