"""The reports rerent_curve, own_resale, lost, own_vs_rent and ad_load, against the rows of a ledger one by one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exchange.__main__ import main
from exchange.config import load_config
from exchange.rent.ledger import Ledger
from exchange.report import command
from exchange.report import formulas as fm
from exchange.report.asking import Books
from exchange.report.lost import RAISES
from exchange.report.rerent_curve import Cells, fit
from exchange.report.shape import Report, Table
from exchange.simulate.run import simulate
from tests import naive_figures as naive
from tests import naive_reports, report_docs


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """The demo's market: several rules, own customers, caps, a holdout, awards billed by click and conversion."""
    folder = tmp_path_factory.mktemp("figures") / "ledger"
    config = load_config("configs/demo.toml")
    config.population.ctr = 0.05
    simulate(config, 12_000, ledger="bids", folder=folder)
    return Ledger(folder)


@pytest.fixture(scope="module")
def books(ledger: Ledger) -> Books:
    return Books(ledger)


def values(report: Report) -> dict[str, Any]:
    return {figure.key: figure.value for figure in report.figures}


def rows(report: Report, key: str) -> list[dict[str, Any]]:
    table: Table = next(table for table in report.tables if table.key == key)
    return [dict(zip((column.key for column in table.columns), row, strict=True)) for row in table.rows]


# ---- the n-th contact ------------------------------------------------------


def test_the_curve_is_that_of_the_rows(ledger: Ledger, books: Books) -> None:
    mine = naive.nth(ledger)
    report = command.build("rerent_curve", books)
    found = {row["n"]: row for row in rows(report, "nth")}
    assert len(mine) > 3
    for n, (contacts, nano, clicks) in mine.items():
        if n > 10:
            continue
        row = found[str(n)]
        assert (row["contacts"], row["clicks"]) == (contacts, clicks)
        assert row["spend"] == pytest.approx(nano / 1e9, rel=1e-12)
        assert row["low"] <= row["response"] == clicks / contacts <= row["high"]
    assert sum(row["contacts"] for row in found.values()) == sum(contacts for contacts, _, _ in mine.values())
    figures = values(report)
    contact_n = ledger.events["contact_n"][ledger.events["contact_n"] > 0]
    assert figures["rerental"] == pytest.approx(1 - float((contact_n == 1).sum()) / contact_n.size)
    price = sum(nano for _, nano, _ in mine.values()) / sum(contacts for contacts, _, _ in mine.values()) / 1e9
    assert figures["price"] == pytest.approx(price)
    given = values(command.build("rerent_curve", books, given={"worth": price / figures["first"] / 2}))
    assert given["cap"] == 0 and given["over"] == pytest.approx(sum(nano for _, nano, _ in mine.values()) / 1e9)
    split = command.build("rerent_curve", books, "advertiser")
    assert sum(row["contacts"] for row in rows(split, "by_advertiser")) == sum(c for c, _, _ in mine.values())


@pytest.mark.parametrize(("first", "fade"), [(0.05, 0.7), (0.02, 1.0), (0.3, 0.4)])
def test_the_fit_finds_what_was_drawn(first: float, fade: float) -> None:
    """And its likelihood is the highest near it; the truth is inside the intervals 95 % of the time."""
    rng = np.random.default_rng(3)
    n = np.arange(1, 31)
    contacts = np.maximum(1, 40_000 // n**2)
    inside = 0
    for _ in range(200):
        clicks = rng.poisson(contacts * first * fade ** (n - 1))
        cells = Cells(n.tolist(), contacts.tolist(), [0] * 30, clicks.tolist(), 0, 0.0)
        found = fit(cells)
        assert found is not None
        inside += found.fade_range.low <= fade <= found.fade_range.high

        def likelihood(q: float, g: float, seen: Any = clicks) -> float:
            rate = contacts * q * g ** (n - 1)
            return float((seen * np.log(rate) - rate).sum())

        best = likelihood(found.first, found.fade)
        for q, g in ((1.01, 1.0), (0.99, 1.0), (1.0, 1.01), (1.0, 0.99)):
            assert likelihood(found.first * q, found.fade * g) < best
    assert inside >= 180
    assert fit(Cells([1, 2], [100, 50], [0, 0], [7, 0], 0, 0.0)) is None


def test_a_fading_curve_says_where_to_stop() -> None:
    cells = Cells([1, 2, 3, 4, 5], [10_000] * 5, [4_000_000 * 10_000] * 5, [1000, 500, 250, 125, 62], 10**12, 500.0)
    found = fit(cells)
    assert (
        found is not None and found.fade == pytest.approx(0.5, abs=0.01) and found.first == pytest.approx(0.1, abs=0.01)
    )
    assert cells.price == pytest.approx(0.004) and cells.worth == pytest.approx(2.0)
    assert fm.optimal_cap(cells.price, 0.2, found.first, found.fade) == 3


# ---- own customers ------------------------------------------------------


def test_own_resale_is_that_of_the_rows(ledger: Ledger, books: Books) -> None:
    all_, own = naive.spend(ledger), naive.spend(ledger, True)
    report = command.build("own_resale", books)
    figures = values(report)
    assert sum(own.values()) > 0
    assert figures["own_share"] == pytest.approx(sum(own.values()) / sum(all_.values()))
    assert figures["own_spend"] == pytest.approx(sum(own.values()) / 1e9)
    table = {row["advertiser"]: row for row in rows(report, "by_advertiser")}
    for brand, nano in all_.items():
        assert table[brand]["spend"] == pytest.approx(nano / 1e9)
        assert table[brand]["own_spend"] == pytest.approx(own[brand] / 1e9)
    seen = sum(row["own_seen"] for row in table.values())
    assert figures["own_cpm"] == pytest.approx(sum(own.values()) / 1e6 / seen)
    expected = sum(row["own_seen"] * row["cpm"] for row in table.values() if row["own_seen"]) / 1000
    assert figures["premium_same"] == pytest.approx(sum(own.values()) / 1e9 / expected)
    halves = rows(report, "caused")
    assert {row["whom"] for row in halves} == {"own customers", "others"}
    brands = {row["advertiser"] for row in halves}
    for brand in brands:
        both = [row for row in halves if row["advertiser"] == brand]
        assert sum(row["spend"] for row in both) == pytest.approx(all_[brand] / 1e9)


# ---- lost ------------------------------------------------------


def test_lost_is_that_of_the_rows(ledger: Ledger, books: Books) -> None:
    mine = naive.losses(ledger)
    report = command.build("lost", books)
    figures = values(report)
    factors = sorted(loss["factor"] for loss in mine)
    assert figures["priced"] == len(mine) > 1_000
    assert figures["median"] == pytest.approx(float(np.median(factors)), rel=1e-9)
    assert figures["need"] == pytest.approx(sum(loss["gross"] for loss in mine) / len(mine) / 1e6, rel=1e-6)
    valued = [loss for loss in mine if loss["value"] > 0]
    assert figures["worth"] == pytest.approx(sum(x["value"] >= x["gross"] for x in valued) / len(valued), abs=1e-3)
    for row, step in zip(rows(report, "raises"), RAISES, strict=True):
        assert row["won"] == sum(factor <= 1 + step for factor in factors)
    split = command.build("lost", books, "advertiser,week")
    assert sum(row["lost"] for row in rows(split, "by_advertiser_week")) == figures["lost"]


# ---- own against rent ------------------------------------------------------


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["report", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_own_vs_rent_without_a_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    """E51 from the command line, and other numbers of the same formula."""
    words = ["own_vs_rent", "--customers", "20000", "--contacts", "20", "--cpm", "4", "--opt-in", "0.90"]
    found = asked(capsys, *words)["figures"]
    assert found["months"]["value"] == pytest.approx(15.150825, abs=1e-5) and found["month"]["value"] == 16
    assert found["most"]["value"] == pytest.approx(2.955030, abs=1e-6)
    assert found["rent"]["value"] == pytest.approx(0.08)
    year = 20000 * (fm.saving(0.08, 0.01, fm.survival_of_year(0.75), 12) - 0.9)
    assert found["total"]["value"] == pytest.approx(year)
    other = asked(capsys, *words, "--survival", "0.9", "--owned-cost", "0.02", "--discount", "0.08")["figures"]
    expected = fm.break_even(0.08, 0.02, 0.9, 0.9, 0.08)
    assert expected.why == "too dear" and other["months"]["value"] is None
    assert other["most"]["value"] == pytest.approx(expected.most)
    for_ever = asked(capsys, *words, "--survival", "1")["figures"]
    assert for_ever["most"]["value"] is None and for_ever["months"]["value"] == pytest.approx(0.9 / 0.07)
    for wrong, said in ((["--survival", "1.2"], "--survival 1.2: expected 0 to 1"), (["--by", "week"], "--by")):
        assert main(["report", *words, *wrong]) == 2
        assert said in capsys.readouterr().err
    assert main(["report", "own_vs_rent", "--cpm", "4"]) == 2
    assert "expected the folder of a ledger, or --contacts and --cpm" in capsys.readouterr().err


def test_own_vs_rent_of_a_ledger(ledger: Ledger, books: Books) -> None:
    """The rent is the ledger's own: spend on known people over customer-months."""
    events = ledger.events
    known = (events["person_key"] != 0) & (events["paid_nano"] != 0)
    month = events["ts_ns"].astype("datetime64[ns]").astype("datetime64[M]").astype(int)
    customer_months = set(zip(events["advertiser"][known], events["person_key"][known], month[known], strict=True))
    rent = float(events["paid_nano"][known].sum()) / 1e9 / len(customer_months)
    given = {"owned_cost": rent / 5, "opt_in": 3 * rent}
    figures = values(command.build("own_vs_rent", books, given=given))
    assert figures["rent"] == pytest.approx(rent)
    expected = fm.break_even(rent, rent / 5, fm.survival_of_year(0.75), 3 * rent)
    assert (figures["months"], figures["month"]) == (pytest.approx(expected.months), expected.month)
    split = rows(command.build("own_vs_rent", books, "advertiser", given), "by_advertiser")
    assert len(split) >= 5
    for row in split:
        assert row["rent"] == pytest.approx(row["contacts"] * row["cpm"] / 1000)
    assert "opt-in" in command.shown(command.build("own_vs_rent", books))


def test_ad_load_without_a_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    """E53 from the command line, and other numbers."""
    found = asked(capsys, "ad_load", "--utility", "0", "--dislike", "1")["figures"]
    assert found["weariness"]["value"] == pytest.approx(1.278465, abs=1e-6)
    assert found["comes"]["value"] == pytest.approx(0.217812, abs=1e-6)
    other = asked(capsys, "ad_load", "--utility", "2", "--dislike", "0.25")["figures"]
    assert other["load"]["value"] == pytest.approx(fm.ad_load(2.0, 0.25).load)


# ---- all of them ------------------------------------------------------

MINE = ("attribution", "own_resale", "rerent_curve", "lost", "own_vs_rent")


@pytest.mark.parametrize("name", MINE)
def test_every_form_of_every_report(name: str, ledger: Ledger, books: Books, tmp_path: Path) -> None:
    """Screen, JSON, CSV, HTML, both languages, every split; no key of a person in any; an empty ledger, too."""
    keys = {str(int(key)) for key in ledger.wins["person_key"] if key}
    for by in ("", *command.module(name).BY):
        report = command.build(name, books, by)
        for lang in ("en", "fr"):
            for kind in ("screen", "json", "csv", "html"):
                text = command.shown(report, kind, lang, 0)
                assert len(text) > 200 and not any(key in text for key in list(keys)[:200])
                if kind == "screen":
                    assert max(map(len, text.splitlines())) <= 100
    config = load_config("configs/demo.toml")
    config.population.floor_cpm = 900_000.0  # nobody can pay
    simulate(config, 50, ledger="bids", folder=tmp_path / "nothing")
    nothing = Books(Ledger(tmp_path / "nothing"))
    for by in ("", *command.module(name).BY):
        assert command.shown(command.build(name, nothing, by))


@pytest.mark.parametrize("name", [*MINE, "ad_load"])
def test_the_docs_have_every_figure_of_these(name: str) -> None:
    """Title, unit, definition and formula as the report itself says them, under the report's heading."""
    text = (Path(__file__).parents[1] / "docs" / "reports.md").read_text()
    part = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert report_docs.section(name, Books(naive_reports.varied())).strip() in part
