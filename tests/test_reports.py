"""The reports: every figure against a naive count, partitions that add up, small groups, languages, files."""

import csv
import io
import json
import re
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import simulate
from exchange.__main__ import main
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.report import command, screen
from exchange.report.asking import Books
from exchange.report.command import ReportError
from exchange.report.numbers import NARROW, written
from exchange.report.options import OPTIONS
from exchange.report.shape import ONES, UNITS, Amount, Axis, Cell, Chart, Column, Point, Report, Series, Table, Text
from exchange.report.small import OTHERS, SMALL_CELL, joined, sum_row, suppress
from exchange.report.words import Words, catalogue, texts_of
from tests import naive_reports as naive
from tests import report_docs

MINE = ("summary", "waterfall", "price_list", "user_month")
DIMENSIONS = ("advertiser", "campaign", "segment", "publisher", "week", "month")
LEDGERS: dict[str, dict[str, Any]] = {
    "mixed": {},
    "many people": {"steps": 500, "seed": 4, "people": 300},
    "nobody known": {"known": False},
    "no refunds": {"refund": 0.0, "seed": 3},
    "one sale": {"steps": 4, "seed": 6},
}


@pytest.fixture(scope="module", params=list(LEDGERS))
def books(request: pytest.FixtureRequest) -> Books:
    """Books of a ledger with refunds, unknown people, billed clicks and conversions, losers who pay."""
    return Books(naive.varied(**LEDGERS[request.param]))


@pytest.fixture(scope="module")
def mixed() -> Books:
    """Books of one such ledger with enough people that not all groups are small."""
    return Books(naive.varied(**LEDGERS["many people"]))


@pytest.fixture(scope="module")
def empty() -> Books:
    """Books in which nothing stands."""
    return Books(Ledger.in_memory(Journal(None)))


def table(report: Report, key: str) -> Table:
    """One table of a report."""
    found = next(t for t in report.tables if t.key == key)
    assert len({c.key for c in found.columns}) == len(found.columns)
    return found


def column(found: Table, key: str) -> list[Cell]:
    """The cells of one column."""
    at = [c.key for c in found.columns].index(key)
    return [row[at] for row in found.rows]


# ---- figures against a naive count -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", MINE)
def test_every_figure_is_what_a_naive_count_finds(name: str, books: Books) -> None:
    """Same keys, same values, over the journal's rows one at a time."""
    report = command.build(name, books)
    expected = getattr(naive, name)(books.ledger)
    assert {f.key for f in report.figures} == set(expected)
    for figure in report.figures:
        value = expected[figure.key]
        assert figure.value == (None if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)), figure.key


def test_the_ledger_of_the_tests_has_everything_in_it() -> None:
    """Otherwise the comparison above would say little."""
    found = naive.summary(naive.varied())
    for key in ("refunded", "clicks", "conversions", "new_customers", "rented_twice", "own_customers", "released",
                "unpaid", "held"):  # fmt: skip
        assert found[key], key
    rows = naive.lives(naive.varied())
    assert any(r["lost"] for r in rows) and any(r["billed"] and not r["person"] and not r["lost"] for r in rows)
    assert any(r["billed"] and not r["net"] for r in rows) and any(0 < r["net"] < r["paid"] for r in rows)
    assert any(r["billed_month"] and r["billed_month"][1] != int(r["month"][5:]) for r in rows)


@pytest.mark.parametrize("by", [*[(d,) for d in DIMENSIONS], ("advertiser", "publisher"), ("segment", "week")])
def test_the_main_tables_are_what_a_naive_count_finds(by: tuple[str, ...], books: Books) -> None:
    """Each group's money and people."""
    rows = naive.lives(books.ledger)
    found = {
        name: table(command.build(name, books, ",".join(by)), "by_" + "_".join(by) if name == "price_list" else "split")
        for name in MINE
    }
    groups = naive.per(rows, lambda row: tuple(row[d] for d in by))
    assert len(found["summary"].rows) == len(groups)
    for key, group in groups.items():
        known = [r for r in group if r["person"]]
        pairs = naive.per(known, lambda r: (r["advertiser"], r["person"]))
        months = naive.per(known, lambda r: (r["person"], r["billed_month"]))
        customer_months = naive.per(known, lambda r: (r["advertiser"], r["person"], r["billed_month"]))
        expected = {
            "summary": {
                "spend": naive.net(group), "seen": sum(r["seen"] for r in group),
                "people": len({r["person"] for r in known}),
                "rent": naive.over(naive.net(known), len(pairs)), "known": naive.net(known),
                "own_customers": sum(any(r["own"] for r in pair) for pair in pairs.values()),
                "customers": len(pairs), "contacts": len(known), "twice": sum(len(p) > 1 for p in pairs.values()),
                "own_spend": naive.net(r for r in group if r["own"]), "clicks": sum(r["clicked"] for r in group),
                "conversions": sum(r["converted"] for r in group), "wins": sum(not r["lost"] for r in group),
                "cpm": naive.over(naive.net(group), sum(r["seen"] for r in group), 1000),
            },
            "waterfall": {
                key: sum(r["left"][party] for r in group) / 1e9
                for key, party in (("to_publishers", "publisher"), ("hidden", "hidden"))
            } | {"spend": naive.net(group)},
            "price_list": {
                "person_months": len(months), "person_month": naive.over(naive.net(known), len(months)),
                "kilo_customer": naive.over(naive.net(known), len(customer_months), 1000),
                "contact": naive.over(naive.net(known), len(known)), "spend": naive.net(known),
            },
            "user_month": {
                "person_months": len(months), "mean": naive.over(naive.net(known), len(months)),
                "median": naive.quantile([sum(r["net"] for r in month) for month in months.values()], 0.5),
            },
        }  # fmt: skip
        for name, values in expected.items():
            at = [tuple(row[: len(by)]) for row in found[name].rows]
            absent = not known if name in ("price_list", "user_month") else not any(r["billed"] for r in group)
            if key not in at:
                assert absent and name != "summary"
                continue
            for cell, value in values.items():
                got = column(found[name], cell)[at.index(key)]
                assert got == (None if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)), (name, key, cell)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(seed=st.integers(0, 10**6), by=st.lists(st.sampled_from(DIMENSIONS), min_size=1, max_size=3, unique=True))
def test_sums_over_any_partition_are_the_total(seed: int, by: list[str]) -> None:
    """I12: what adds up in a table adds up to the figure of the whole."""
    books = Books(naive.varied(60, seed, people=12))
    totals = {
        "summary": {"spend": "spend", "seen": "seen", "contacts": "contacts", "clicks": "clicks", "wins": "wins"},
        "waterfall": {"spend": "spend"},
        "user_month": {"spend": "spend"},
    }
    for name, columns in totals.items():
        report = command.build(name, books, ",".join(by))
        figures = {f.key: f.value for f in report.figures}
        for key, figure in columns.items():
            total = sum(float(cell or 0) for cell in column(table(report, "split"), key))
            assert total == pytest.approx(figures[figure], abs=1e-12), (name, key)
    cards = command.build("price_list", books, ",".join(by))
    contacts = next(f.value for f in command.build("summary", books).figures if f.key == "contacts")
    assert sum(int(c or 0) for c in column(cards.tables[0], "contacts")) == contacts
    books.close()


def test_the_parties_add_up_to_spend_and_the_curve_ends_at_one(books: Books) -> None:
    """Ten parties, not a nano more; the Lorenz curve rises to everything."""
    report = command.build("waterfall", books)
    spend = next(f.value for f in report.figures if f.key == "spend")
    if spend:
        assert sum(round(1e9 * float(c or 0)) for c in column(table(report, "parties"), "amount")) == round(
            1e9 * float(spend)
        )
    for chart in command.build("user_month", books).charts:
        points = [(float(p.x), p.y) for p in chart.series[0].points]
        assert points[0] == (0, 0) and points[-1] == (1, 1)
        assert all(a[0] < b[0] and a[1] <= b[1] <= b[0] + 1e-12 for a, b in pairwise(points))


# ---- nothing, and nobody ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize("kind", ["screen", "json", "csv", "html"])
@pytest.mark.parametrize("lang", ["en", "fr"])
def test_an_empty_ledger_says_that_there_is_nothing(name: str, kind: str, lang: str, empty: Books) -> None:
    """No division by zero, no made-up nought where a ratio does not exist."""
    report = command.build(name, empty)
    assert report.rows == 0 and command.shown(report, kind, lang)
    told = " ".join(t.template for a in report.answers for t in a.sentences)
    assert "Nothing was paid" in told or "Nobody" in told
    by_key = {f.key: f.value for f in report.figures}
    assert all(by_key.get(key) is None for key in ("cpm", "cac", "rent", "person_month", "toll", "gini", "median"))


# ---- small groups ----------------------------------------------------------------------------------------------

ROWS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1000)), max_size=12)


def of(rows: list[tuple[int, int]]) -> Table:
    """A table of groups: name, people, money, ads, price."""
    columns = [
        Column("name", "name", "text", role="key"),
        Column("people", "people", "people"),
        Column("spend", "spend", "money", role="sum"),
        Column("ads", "ads", "ads", role="sum"),
        Column("cpm", "CPM", "cpm", "", "ratio", "spend", "ads", 1000.0),
    ]
    cells: list[list[Cell]] = [
        [f"g{k}", people, float(spend), people + 1, 1000 * spend / (people + 1)]
        for k, (people, spend) in enumerate(rows)
    ]
    return Table("t", "t", columns, cells, people="people")


@settings(max_examples=200, derandomize=True, deadline=None)
@given(rows=ROWS, least=st.integers(1, 20))
def test_small_groups_join_the_others(rows: list[tuple[int, int]], least: int) -> None:
    """No small group's money is shown or can be taken from the total; sums stay."""
    before, after = of(rows), joined(of(rows), least)
    small = {f"g{k}" for k, (people, _) in enumerate(rows) if 0 < people < least}
    if not small:
        assert after == before
        return
    *groups, others = after.rows
    assert others[0] == OTHERS and len(groups) == len(rows)
    hidden = {str(row[0]) for row in groups if row[2] is None}
    assert small <= hidden and all(row[1:] == [f"<{least}", None, None, None] for row in groups if row[0] in small)
    shown = [row for row in groups if row[2] is not None]
    assert sum(float(row[2] or 0) for row in [*shown, others]) == pytest.approx(sum(spend for _, spend in rows))
    inside = [people for k, (people, _) in enumerate(rows) if f"g{k}" in hidden]
    assert max(inside) >= least or hidden >= {f"g{k}" for k, (people, _) in enumerate(rows) if people}
    assert others[4] == pytest.approx(1000 * float(others[2] or 0) / float(others[3] or 1))


def test_exports_hide_small_groups_and_the_screen_does_not(mixed: Books) -> None:
    """--small-cell 0 shows all; figures about one person are never exported."""
    report = command.build("summary", mixed, "publisher,week")
    people = [int(c or 0) for c in column(table(report, "split"), "people")]
    assert any(0 < n < SMALL_CELL for n in people)
    exported = json.loads(command.shown(report, "json"))
    rows = exported["tables"]["split"]["rows"]
    assert any(row["people"] == f"<{SMALL_CELL}" and row["spend"] is None for row in rows)
    assert not any(isinstance(row["people"], int) and 0 < row["people"] < SMALL_CELL for row in rows)
    assert exported["figures"]["rent_highest"]["value"] == f"<{SMALL_CELL}"
    assert exported["figures"]["rent_highest"]["unit"] == "people"  # "<10 EUR" would be a price
    assert f"rent_highest,cost of the dearest customer,<{SMALL_CELL},people," in command.shown(report, "csv")
    assert f"– <small>not shown: &lt;{SMALL_CELL} people</small>" in command.shown(report, "html")
    everything = json.loads(command.shown(report, "json", small_cell=0))
    assert [row["people"] for row in everything["tables"]["split"]["rows"]] == people
    assert isinstance(everything["figures"]["rent_highest"]["value"], float)
    assert suppress(report, 0) is report and f"<{SMALL_CELL}" not in screen.render(report)


@pytest.mark.parametrize("name", MINE)
def test_no_report_names_a_person(name: str, mixed: Books) -> None:
    """Keys of people stand in no export, whatever the split, even where every group is shown."""
    keys = {str(int(key)) for key in mixed.ledger.wins["person_key"] if key}
    assert len(keys) > 50
    for by in ("", "advertiser", "publisher,week"):
        for kind in ("screen", "json", "csv", "html"):
            text = command.shown(command.build(name, mixed, by), kind, small_cell=0)
            assert not keys & set(re.findall(r"\d{15,}", text.replace(",", "").replace(NARROW, "")))


# ---- languages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", command.names())
def test_nothing_is_left_untranslated(name: str, books: Books, empty: Books) -> None:
    """Every title, definition, head, note, sentence and unit has its French, with the same numbers in it."""
    french = catalogue("fr")
    module = command.module(name)
    reports = [command.build(name, b, by) for b in (books, empty) for by in ("", *module.BY)]
    if len(module.BY) > 1:
        reports.append(command.build(name, books, ",".join(module.BY[:2])))
    texts = set().union(*map(texts_of, reports)) | {argument.help for argument in OPTIONS.get(name, ())}
    assert not sorted(text for text in texts if text not in french)
    for text in texts:
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", french[text])), text


def test_words_of_the_frame_are_translated() -> None:
    """What the renderers say themselves."""
    text = "".join((Path(command.__file__).parent / f"{n}.py").read_text() for n in ("screen", "html", "csv", "svg"))
    said = set(re.findall(r"""\bsay\(["']([^"']+)["']\)""", text))
    assert {"how it is counted", "nothing to show", "Figures", "... and {n} more"} <= said
    assert not said - set(catalogue("fr"))


@pytest.mark.parametrize(
    ("value", "unit", "english", "french"),
    [
        (1234.5, "money", "1,234.50", f"1{NARROW}234,50"),
        (0.012345, "money", "0.0123", "0,0123"),
        (0.99999, "money", "1.00", "1,00"),
        (1234567, "people", "1,234,567", f"1{NARROW}234{NARROW}567"),
        (0.1234, "share", "12.3%", f"12,3{NARROW}%"),
        (0.00123, "share", "0.12%", f"0,12{NARROW}%"),
        (None, "money", "–", "–"),
        (float("nan"), "money", "–", "–"),
        (-0.001, "share", "-0.10%", f"-0,10{NARROW}%"),
        (0.0, "money", "0.00", "0,00"),
    ],
)
def test_numbers_are_written_as_the_language_does(value: Cell, unit: str, english: str, french: str) -> None:
    """Thousands, decimals, per cent, and a dash for what does not exist."""
    assert (written(value, unit), written(value, unit, "fr")) == (english, french)


def test_a_sentence_has_its_numbers() -> None:
    """Money names its currency, a count leaves its noun to the sentence."""
    text = Text("{n} rows were left out: an unfinished step, or a writer at work.", {"n": Amount(1200, "count")})
    assert Words("en").tell(text).startswith("1,200 rows")
    assert Words("fr").tell(text).startswith(f"1{NARROW}200 lignes")
    cost = Text(
        "They took {spend}, {share} of all money.", {"spend": Amount(2.5, "money"), "share": Amount(0.5, "share")}
    )
    assert Words("en", "EUR").tell(cost) == "They took 2.50\u00a0EUR, 50.0% of all money."


# ---- how it is shown -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize("lang", ["en", "fr"])
def test_the_screen_fits(name: str, lang: str, books: Books) -> None:
    """100 columns, with every figure and every answer."""
    report = command.build(name, books, "advertiser,publisher")
    text = command.shown(report, "screen", lang)
    assert max(map(len, text.splitlines())) <= 100
    words = Words(lang, report.currency)
    for figure in report.figures:
        assert words.say(figure.title) in text
    assert all(words.say(answer.question) in text for answer in report.answers)


def test_names_that_cannot_be_printed_are_made_harmless() -> None:
    """A publisher called like markup, an escape or a formula changes nothing on a screen, in a page or a sheet."""
    bad = "=cmd()<script>alert(1)</script>\x1b[2J\n" + "x" * 50
    columns = [Column("publisher", "publisher", "text", role="key"), Column("spend", "spend", "money", role="sum")]
    chart = Chart("c", "t", "bars", [Series("s", [Point(bad, 1.0)])], Axis("a", "text"), Axis("b", "money"),
                  Text("Of {who}.", {"who": Amount(bad, "text")}), translate=False)  # fmt: skip
    report = Report("r", "t", "q", 1, tables=[Table("t", "t", columns, [[bad, 1.0]])], charts=[chart], ledger=bad)
    page, sheet = command.shown(report, "html"), command.shown(report, "csv")
    assert "<script" not in page and "\x1b" not in page
    assert "\x1b" not in screen.render(report) and max(map(len, screen.render(report).splitlines())) <= 100
    assert "'=cmd()" in sheet and not any(row and row[0].startswith("=") for row in csv.reader(io.StringIO(sheet)))


def test_csv_has_every_figure_and_every_row(mixed: Books) -> None:
    """A machine finds key, value, unit, definition, formula, rows; and all groups."""
    report = command.build("waterfall", mixed, "publisher")
    rows = list(csv.reader(io.StringIO(command.shown(report, "csv", small_cell=0))))
    by_key = {row[0]: row for row in rows if row}
    for figure in report.figures:
        row = by_key[figure.key]
        assert float(row[2]) == pytest.approx(figure.value) and row[7:] == [figure.definition, figure.formula]
        assert int(row[6]) == figure.rows
    split = table(report, "split")
    assert all(str(row[0]) in by_key and by_key[str(row[0])][1] == str(row[1]) for row in split.rows)


def test_by_advertiser_customers_add_up_and_in_no_other_way(mixed: Books) -> None:
    """The last line of the table has what the figures of the whole say; by publisher it has no customers."""
    by_advertiser = command.build("summary", mixed)
    figures = {f.key: f.value for f in by_advertiser.figures}
    split = table(by_advertiser, "split")
    total = dict(zip((c.key for c in split.columns), sum_row(split, split.rows, "total"), strict=True))
    for key, figure in (("customers", "customers"), ("twice", "rented_twice"), ("own_customers", "own_customers")):
        assert figures[figure] and total[key] == figures[figure]
    assert total["rent"] == pytest.approx(figures["rent"])
    split = table(command.build("summary", mixed, "publisher"), "split")
    total = dict(zip((c.key for c in split.columns), sum_row(split, split.rows, "total"), strict=True))
    assert total["customers"] is None and total["rent"] is None and total["spend"] == pytest.approx(figures["spend"])


def test_the_summary_says_how_much_of_a_month_it_has(mixed: Books) -> None:
    """Less than a month: the hours are told; a month or more: they are not. Both languages."""

    def told(seed: Books, lang: str = "en") -> str:
        return screen.render(command.build("summary", seed), lang).replace("\n  ", " ")

    first, last = mixed.times()
    assert first and last and last - first >= timedelta(days=28)
    assert "A thousand customers for a month" in told(mixed) and "part of a month" not in told(mixed)
    ledger = simulate("configs/demo.toml", auctions=300, seed=1).ledger
    assert ledger
    short = Books(ledger)
    first, last = short.times()
    assert first and last and last - first < timedelta(days=28)
    assert f"the part of a month that this ledger holds: {first:%Y-%m-%d %H:%M:%S} to " in told(short)
    assert f"la part d'un mois que ce registre contient : de {first:%Y-%m-%d %H:%M:%S} à " in told(short, "fr")


def test_help_names_the_options_of_every_report(capsys: pytest.CaptureFixture[str],
                                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """A per cent sign in an option's words is a per cent sign."""
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as caught:
        main(["report", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0 and all(a.help in told for own in OPTIONS.values() for a in own)


def test_json_of_the_summary_is_for_machines(mixed: Books) -> None:
    """Figures by key with value, unit and rows; tables as rows of keys."""
    data = json.loads(command.shown(command.build("summary", mixed), "json"))
    assert data["currency"] == "EUR" and data["figures"]["spend"]["unit"] == "EUR"
    assert data["figures"]["fill"]["unit"] == "0-1" and 0 < data["figures"]["fill"]["value"] <= 1
    assert set(data["tables"]["split"]["rows"][0]) == {"advertiser", "spend", "seen", "cpm", "people", "customers",
                                                       "rent", "contacts", "twice", "own_customers", "own_share",
                                                       "clicks", "conversions", "wins", "own_spend",
                                                       "known"}  # fmt: skip
    assert len(data["answers"]) == 4 and all(answer["sentences"] for answer in data["answers"])


# ---- what is asked for -----------------------------------------------------------------------------------------


def test_what_does_not_exist_is_one_line_with_the_nearest(mixed: Books) -> None:
    """Names, dimensions, languages, options."""
    for call, expected in (
        (lambda: command.module("sumary"), "no report 'sumary', did you mean 'summary'"),
        (lambda: command.build("summary", mixed, "publishr"), "--by publishr: .*did you mean 'publisher'"),
        (lambda: command.build("summary", mixed, "", {"cpm": 4.0}), "--cpm: summary has no such option"),
        (lambda: command.build("summary", None), "summary: expected the folder of a ledger"),
        (lambda: command.answer([]), "expected the folder of a ledger, or --list"),
        (lambda: command.answer(["a", "b", "c"]), r"a b c: expected \[NAME\] LEDGER"),
        (lambda: command.answer(["x"], lang="de"), "--lang de: expected en or fr"),
        (lambda: command.listed("de"), "--lang de: expected en or fr"),
        (lambda: command.answer(["x"], small_cell=-1), "--small-cell -1: expected 0 or more people"),
    ):
        with pytest.raises(ReportError, match=expected):
            call()


def test_the_list_has_every_report() -> None:
    """Name, question, dimensions."""
    text = command.listed("fr")
    for name in command.names():
        assert re.search(rf"^{name} ", text, re.M)
    assert "Résumé" not in text and "combien a coûté" in text


# ---- docs ------------------------------------------------------------------------------------------------------

DOCS = Path(__file__).parents[1] / "docs" / "reports.md"


@pytest.mark.parametrize("name", MINE)
def test_the_docs_have_every_figure(name: str) -> None:
    """Title, unit, definition and formula as the report itself says them, under the report's heading."""
    text = DOCS.read_text()
    part = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert part, f"docs/reports.md: no heading {name}"
    made = report_docs.section(name, Books(naive.varied()))
    assert made in part[1], "the table differs: python -m tests.report_docs prints it"
    assert command.module(name).QUESTION.split(",")[0].lower() in part[1].replace("\n", " ").lower()


@pytest.mark.parametrize(
    ("lang", "one", "many"), [("en", "1 customer", "2 customers"), ("fr", "1 client", "2 clients")]
)
def test_one_of_a_unit_is_singular(lang: str, one: str, many: str) -> None:
    words = Words(lang)
    assert (words.measured(1, "customers"), words.measured(2, "customers")) == (one, many)
    assert set(ONES) <= {unit.text for unit in UNITS.values()} and set(ONES.values()) <= set(catalogue("fr"))


def test_steps_of_money_are_told_apart() -> None:
    columns = [Column("upto", "cost at most", "money", "", "key"), Column("n", "n", "count", "", "sum")]
    rows: list[list[Cell]] = [[2.0**k / 1e9, 1] for k in range(8, 24)]
    texts = [screen.cell_text(Table("t", "t", columns, rows), columns[0], row[0], Words("en"), 4) for row in rows]
    assert len(set(texts)) == len(rows)
