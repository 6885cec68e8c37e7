"""Few people are in no export: neither in a row, nor by subtraction from a coarser report, nor in charts or words."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import market as mk
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.names import Names
from exchange.rent.waterfall import terms_of
from exchange.report import command, screen
from exchange.report.asking import Books
from exchange.report.attribution import COLUMNS, Account, row_of
from exchange.report.shape import Amount, Answer, Axis, Cell, Chart, Column, Point, Report, Series, Table, Text
from exchange.report.small import OTHERS, joined, sum_row, suppress
from tests.ledger_maker import Maker

CELLS = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from("123")), st.integers(1, 40), max_size=18
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(cells=CELLS, least=st.integers(2, 20))
def test_no_total_of_a_coarser_report_gives_a_small_group_away(
    cells: dict[tuple[str, str, str], int], least: int
) -> None:
    """Wherever rows agree in some keys, those that are masked are none, all, or two with enough people."""
    keys = [Column(name, name, "text", role="key") for name in ("advertiser", "publisher", "week")]
    rows: list[list[Cell]] = [[*key, n, float(n)] for key, n in cells.items()]
    columns = [*keys, Column("people", "people", "people"), Column("spend", "spend", "money", role="sum")]
    after = joined(Table("t", "t", columns, rows, people="people"), least).rows[: len(rows)]
    masked = [row[4] is None for row in after]
    assert all(masked[k] for k, n in enumerate(cells.values()) if n < least)
    for some in [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]:
        groups: dict[tuple[Cell, ...], list[tuple[bool, int]]] = {}
        for row, hidden, n in zip(rows, masked, cells.values(), strict=True):
            groups.setdefault(tuple(row[key] for key in some), []).append((hidden, n))
        for group in groups.values():
            gone = [n for hidden, n in group if hidden]
            assert len(gone) in (0, len(group)) or (len(gone) > 1 and sum(gone) >= least), (some, group)


def test_few_people_are_in_no_row_point_or_sentence() -> None:
    """Rows that no column counts, points of a chart and sentences: what is about a few is not exported."""
    columns = [Column("n", "contact", "text", role="key"), Column("spend", "spend", "money", role="sum")]
    rows: list[list[Cell]] = [["1", 8.0], ["2", 4.0], ["3", 0.125]]
    points = [Point("1", 8.0), Point("2", 4.0), Point("3", 0.125)]
    axes = Axis("n", "text"), Axis("spend", "money")
    charts = [
        Chart("a", "a", "bars", [Series("s", points)], *axes, Text("a"), of="t"),
        Chart(
            "b", "b", "line", [Series("s", [Point(1.0, 8.0, people=30), Point(3.0, 0.125, people=1)])], *axes, Text("b")
        ),
    ]
    told = [Text("{x}", {"x": Amount(0.125, "money")}, people=1), Text("{x}", {"x": Amount(4.0, "money")}, people=20)]
    report = Report(
        "r", "r", "r", 3, tables=[Table("t", "t", columns, rows, counts=[30, 20, 1])], charts=charts,
        answers=[Answer("q", told)],
    )  # fmt: skip
    for kind in ("json", "csv", "html"):
        assert "0.125" not in command.shown(report, kind) and "0.125" in command.shown(report, kind, small_cell=0)
    after = suppress(report)
    assert after.tables[0].rows == [["1", 8.0], ["2", OTHERS], ["3", "<10"], [OTHERS, 4.125]]
    assert [[p.y for p in each.series[0].points] for each in after.charts] == [[8.0], [8.0]]
    assert after.answers[0].sentences[1] == told[1] and "fewer than" in after.answers[0].sentences[0].template


@settings(max_examples=200, derandomize=True, deadline=None)
@given(cells=st.dictionaries(st.sampled_from(["a/1", "a/2", "a/3", "b/1", "b/2", "c/1"]), st.integers(1, 40)))
def test_an_advertisers_total_does_not_give_one_of_its_campaigns_away(cells: dict[str, int]) -> None:
    """A report by advertiser has totals of the one by campaign: of each advertiser no campaign is hidden alone."""
    columns = [Column("campaign", "campaign", "text", role="key"), Column("people", "people", "people"),
               Column("spend", "spend", "money", role="sum")]  # fmt: skip
    rows: list[list[Cell]] = [[name, n, float(n)] for name, n in cells.items()]
    after = joined(Table("t", "t", columns, rows, people="people")).rows[: len(rows)]
    for advertiser in "abc":
        pairs = zip(after, cells.items(), strict=True)
        group = [(row[2] is None, n) for row, (name, n) in pairs if name[0] == advertiser]
        gone = [n for hidden, n in group if hidden]
        assert len(gone) in (0, len(group)) or (len(gone) > 1 and sum(gone) >= 10), group


@settings(max_examples=200, derandomize=True, deadline=None)
@given(cells=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 30)), min_size=1, max_size=8))
def test_cells_about_few_of_the_people_of_a_row_are_left_out(cells: list[tuple[int, int]]) -> None:
    """Own customers among many: fewer than ten of them and their money are in no row, and in no difference."""
    columns = [
        Column("publisher", "publisher", "text", role="key"), Column("spend", "spend", "money", role="sum"),
        Column("people", "people", "people"), Column("own", "own", "customers", few="own"),
        Column("share", "share", "share", "", "ratio", "own_spend", "spend", few="own"),
        Column("own_spend", "spend on own", "money", role="sum", few="own"),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [f"p{ix}", float(n), n, own, own / n, own / 4]
        for ix, (n, own) in enumerate((max(n, own), own) for n, own in cells)
    ]
    table = Table("t", "t", columns, rows, people="people", total=True)
    after = joined(table).rows
    gone = [own for row, (_, own) in zip(after, cells, strict=False) if row[5] is None]
    assert all(row[3:] == [None] * 3 for row in after[: len(rows)] if row[5] is None)
    assert all(row[5] is None for row, (_, own) in zip(after, cells, strict=False) if 0 < own < 10)
    left = [own for row, (_, own) in zip(after, cells, strict=False) if row[5] is not None and own]
    assert not any(0 < own < 10 for own in gone) or not left or (len(gone) > 1 and sum(gone) >= 10)
    told = not gone or sum(gone) >= 10 or not any(gone)
    assert told or all(row[3:] == [None] * 3 for row in after[len(rows) :])  # all there are: not in the others either
    for k in (1, 5) if told else (1,):  # what is left out of the rows stands in the others
        assert sum(float(row[k] or 0) for row in after) == sum(float(row[k] or 0) for row in rows)


def sold_to_few() -> Books:
    """A ledger of two advertisers, the first of whom few people clicked or bought from; bids of few people lost."""
    journal = Journal(None)
    maker = Maker(journal)
    names = Names(None)
    names.id("fees", terms_of(maker.fees))
    for kind in ("advertiser", "publisher"):
        for k in (1, 2):
            names.id(kind, f"{kind} {k}")
    for person in range(1, 61):
        win = maker.step([900, 300] if person % 2 else [300, 900], person, publisher=1 if person < 57 else 2)
        maker.event(win, mk.KIND_IMPRESSION)
        if person < 4:
            maker.event(win, mk.KIND_CLICK)
            maker.event(win, mk.KIND_CONVERSION)
    return Books(Ledger.in_memory(journal, names, {"currency": "EUR"}))


def test_lost_by_publisher_exports_no_group_of_few_people() -> None:
    report = command.build("lost", sold_to_few(), "publisher")
    whole = next(table for table in report.tables if table.key == "by_publisher")
    assert [(row[0], row[1]) for row in whole.rows] == [("publisher 1", 56), ("publisher 2", 4)]
    rows = json.loads(command.shown(report, "json"))["tables"]["by_publisher"]["rows"]
    assert [row["lost"] for row in rows] == [OTHERS, "<10", 60]
    assert [row["priced"] for row in rows] == [None, None, 60]


@pytest.mark.parametrize("kind", ["json", "csv", "html"])
def test_counts_of_few_are_in_no_export_of_the_summary(kind: str) -> None:
    """Three clicked and bought: neither figures, nor rows, others, totals or sentences say so; the screen does."""
    report = command.build("summary", sold_to_few(), "")
    known = {figure.key: figure for figure in report.figures}
    assert [known[key].value for key in ("clicks", "conversions", "new_customers")] == [3, 3, 3]
    after = {figure.key: figure for figure in suppress(report).figures}
    for key in ("clicks", "ecpc", "conversions", "cpa", "new_customers", "cac"):
        assert (after[key].value, after[key].rows) == ("<10", None), key
    table = suppress(report).tables[0]
    at = [[column.key for column in table.columns].index(key) for key in ("clicks", "conversions")]
    assert [[row[ix] for ix in at] for row in table.rows if row[at[0]]] == []
    assert [sum_row(table, table.rows, "total")[ix] for ix in at] == [None, None]
    told = command.shown(report, kind)
    assert "(3 won)" not in told and "(3 won)" in screen.render(report)
    assert kind == "csv" or "(3 won)" in command.shown(report, kind, small_cell=0)  # CSV has no sentences


def test_conversions_of_few_are_in_no_export_of_attribution() -> None:
    account = Account("a", 5.0, 0.0, 0.0, 90, 80, 3, 3, 2, 1, "", None)
    table = Table("advertisers", "t", COLUMNS, [row_of(account)], counts=[80])
    assert table.rows[0][2:5] == [3, 2, 2.5]
    after = joined(table)
    assert [row[2:5] for row in after.rows] == [[None] * 3] * 2 and after.rows[1][1] == 0
    assert sum_row(after, after.rows, "total")[2:5] == [None] * 3
