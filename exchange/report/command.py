"""The command `rentier report`: which report, of which ledger, split how, shown as what."""

import difflib
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from exchange.books.part import KEYS
from exchange.rent.damage import opened
from exchange.rent.manifest import is_ledger
from exchange.report import csv, html, screen
from exchange.report.asking import Books
from exchange.report.only import OnlyError, cells_of, check_names, parse_only, selected
from exchange.report.options import OPTIONS
from exchange.report.shape import UNITS, Argument, Report
from exchange.report.small import SMALL_CELL, hidden_cells, suppress
from exchange.report.words import LANGUAGES, Words

REPORTS: Final = ("summary", "waterfall", "price_list", "user_month", "rerent_curve", "own_resale", "attribution",
                  "lost", "own_vs_rent", "ad_load")  # fmt: skip


class ReportError(ValueError):
    """What was asked for cannot be shown; one line."""


def module(name: str) -> ModuleType:
    """The module of a report. Raises ReportError with the nearest name for one that does not exist."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1, 0.5)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise ReportError(f"no report {name!r}{hint} (there are: {', '.join(names())})")
    return importlib.import_module(f"exchange.report.{name}")


def names() -> list[str]:
    """The names of all reports."""
    here = Path(__file__).parent
    return [name for name in REPORTS if (here / f"{name}.py").exists()]


def listed(lang: str = "en") -> str:
    """Every report with its question and what it may be split by. Raises ReportError for an unknown language."""
    check(lang)
    words = Words(lang)
    lines = []
    for name in names():
        found = module(name)
        lines.append(f"{name:<14}{words.say(found.QUESTION)}")
        if found.BY:
            lines.append(f"{'':<14}--by {','.join(found.BY)}")
        lines += [f"{'':<14}--{a.name.replace('_', '-')} {words.say(a.help)}" for a in arguments(name)]
    return "\n".join(lines)


def arguments(name: str) -> tuple[Argument, ...]:
    """The options that only this report has."""
    return OPTIONS.get(name, ())


def parse_by(name: str, by: str) -> tuple[str, ...]:
    """The dimensions of `--by a,b`. Raises ReportError for one that this report has not."""
    known = module(name).BY
    found = tuple(dict.fromkeys(part.strip() for part in by.split(",") if part.strip()))
    for dimension in found:
        if dimension not in known:
            near = difflib.get_close_matches(dimension, known, 1, 0.5)
            hint = f", did you mean {near[0]!r}?" if near else ""
            expected = f"expected some of {', '.join(known)}" if known else f"{name} cannot be split"
            raise ReportError(f"--by {dimension}: {expected}{hint}")
    return found


def build(name: str, books: Books | None, by: str = "", given: Mapping[str, float | str] | None = None) -> Report:
    """A report of a ledger. Raises ReportError for an unknown name, a dimension or an option it has not."""
    found = module(name)
    own = {argument.name: argument for argument in arguments(name)}
    values: dict[str, float | Path] = {}
    for key, value in (given or {}).items():
        flag = f"--{key.replace('_', '-')}"
        if key not in own:
            raise ReportError(f"{flag}: {name} has no such option")
        if isinstance(value, str):
            values[key] = Path(value)
            continue
        if not own[key].low <= value <= own[key].high:
            raise ReportError(f"{flag} {value:g}: expected {own[key].low:g} to {own[key].high:g}")
        values[key] = value
    if books is None and not getattr(found, "ALONE", False):
        raise ReportError(f"{name}: expected the folder of a ledger")
    if books is not None:
        _check_only(name, found, books)
    try:
        report: Report = found.build(books, parse_by(name, by), **values)
    except ValueError as error:  # a formula that these numbers do not fit
        raise ReportError(f"{name}: {error}") from None
    if books is None or not books.only:
        return report
    return replace(report, only=dict(books.only), cells=cells_of(books, books.only, report))


def _check_only(name: str, found: ModuleType, books: Books) -> None:
    """Raises ReportError where a report cannot be restricted in that way, and for a name that the ledger has not."""
    for key in books.only:
        if key not in getattr(found, "ONLY", KEYS):
            raise ReportError(f"--only {key}: {name} {found.WHY_ONLY}")
    try:
        check_names(books, books.only)
    except OnlyError as error:
        raise ReportError(str(error)) from None


def answer(
    words: list[str],
    kind: str = "screen",
    by: str = "",
    lang: str = "en",
    small_cell: int = SMALL_CELL,
    given: Mapping[str, float | str] | None = None,
    only: Sequence[str] = (),
) -> str:
    """What the command line asks for: `words` are [NAME] LEDGER, NAME alone where it needs no ledger, or LEDGER.

    only: `key=name`, what it is restricted to.

    Raises ReportError for what does not exist, and LedgerError for a ledger that cannot be read.
    """
    check(lang, small_cell)
    if len(words) > 2:
        raise ReportError(f"{' '.join(words)}: expected [NAME] LEDGER")
    name, folder = words[0] if len(words) == 2 or _named(words) else "summary", words[-1] if words else ""
    module(name)
    try:
        names_by_key = parse_only(only)
    except OnlyError as error:
        raise ReportError(str(error)) from None
    books = None
    if len(words) == 2 or not _named(words):
        if not folder:
            raise ReportError("expected the folder of a ledger, or --list")
        if Path(folder).is_dir() and not is_ledger(Path(folder)):
            raise ReportError(f"{folder}: no *.seg files: expected the folder of a ledger")
        books = Books(opened(Path(folder)), names_by_key)
    elif names_by_key:
        raise ReportError(f"--only {only[0]}: {name} without a ledger has nothing to restrict")
    try:
        return shown(build(name, books, by, given), kind, lang, small_cell)
    finally:
        if books is not None:
            books.close()


def _named(words: list[str]) -> bool:
    """Whether one word is the name of a report and not a folder."""
    return len(words) == 1 and words[0] in names() and not Path(words[0]).is_dir()


def check(lang: str, small_cell: int = SMALL_CELL) -> None:
    """Raises ReportError for a language or a size that does not exist."""
    if lang not in LANGUAGES:
        raise ReportError(f"--lang {lang}: expected {' or '.join(LANGUAGES)}")
    if small_cell < 0:
        raise ReportError(f"--small-cell {small_cell}: expected 0 or more people")


def shown(report: Report, kind: str = "screen", lang: str = "en", small_cell: int = SMALL_CELL) -> str:
    """A report as text of a kind: screen, json, csv or html; all but the screen suppress small cells."""
    check(lang, small_cell)
    if kind == "screen":
        return screen.render(report, lang)
    if small_cell:
        for table in report.cells[:1]:
            if hidden_cells(table, small_cell) & selected(report.only, table):
                raise ReportError(
                    f"--only {' --only '.join(f'{key}={name}' for key, names in report.only.items() for name in names)}"
                    f": fewer than {small_cell} people, or as many as would give such away: not exported (the screen "
                    "shows it, and --small-cell 0)"
                )
    report = suppress(report, small_cell)
    if kind == "json":
        return msgspec.json.encode(as_data(report, lang)).decode() + "\n"
    return csv.render(report, lang) if kind == "csv" else html.render(report, lang)


def as_data(report: Report, lang: str = "en") -> dict[str, Any]:
    """A report for machines: figures and tables by key, numbers as they are, units in words, money in the currency."""
    words = Words(lang, report.currency)

    def unit(name: str) -> str:
        return "0-1" if UNITS[name].form == "share" else words.unit(name)

    return {
        "report": report.name, "title": words.titled(report), "question": words.say(report.question),
        "ledger": report.ledger, "currency": report.currency, "since": report.since, "until": report.until,
        "rows": report.rows, **({"only": report.only} if report.only else {}),
        "answers": [
            {"question": words.say(a.question), "sentences": [words.tell(text) for text in a.sentences]}
            for a in report.answers
        ],
        "figures": {
            f.key: {"value": f.value, "rows": f.rows,
                    "unit": unit("people" if f.people is not None and isinstance(f.value, str) else f.unit),
                    "title": words.say(f.title),
                    "definition": words.say(f.definition), "formula": f.formula}
            | ({} if f.low is None else {"low": f.low, "high": f.high})
            for f in report.figures
        },
        "tables": {
            t.key: {"title": words.say(t.title), "note": words.say(t.note),
                    "columns": {c.key: {"title": words.say(c.head), "unit": unit(c.unit),
                                        "definition": words.say(c.definition)} for c in t.columns},
                    "rows": [dict(zip((c.key for c in t.columns), row, strict=True)) for row in t.rows]}
            for t in report.tables
        },
        "charts": {
            c.key: {"title": words.say(c.title), "x": words.say(c.x.title), "x_unit": unit(c.x.unit),
                    "y": words.say(c.y.title), "y_unit": unit(c.y.unit), "series": c.series, "marks": c.marks}
            for c in report.charts
        },
        "notes": [words.tell(note) for note in report.notes],
    }  # fmt: skip
