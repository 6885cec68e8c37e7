"""The words of the reports, in English and French: English texts are the keys, `french/` has the others."""

import importlib
import pkgutil
from functools import cache
from typing import Final

from exchange.report import french
from exchange.report.numbers import in_text, written
from exchange.report.shape import ONES, UNITS, Answer, Cell, Report, Text

LANGUAGES: Final = ("en", "fr")


@cache
def catalogue(lang: str) -> dict[str, str]:
    """English text -> text of a language; empty for English. Raises ValueError where two files disagree."""
    found: dict[str, str] = {}
    if lang == "fr":
        for module in pkgutil.iter_modules(french.__path__):
            for text, other in importlib.import_module(f"{french.__name__}.{module.name}").WORDS.items():
                if found.setdefault(text, other) != other:
                    raise ValueError(f"french/{module.name}.py: {text!r} is {found[text]!r} in another file")
    return found


class Words:
    """One language, and the currency of one report."""

    def __init__(self, lang: str, currency: str = "") -> None:
        self.lang = lang
        self.currency = currency
        self._texts = catalogue(lang)

    def say(self, text: str) -> str:
        """A text in this language; itself where it has no translation (a test finds those)."""
        return self._texts.get(text, text)

    def tell(self, text: Text) -> str:
        """A sentence with its numbers."""
        amounts = {name: in_text(amount, self.lang, self.currency) for name, amount in text.amounts.items()}
        return self.say(text.template).format(**amounts)

    def titled(self, report: Report) -> str:
        """The title of a report, and what it is restricted to."""
        either = f" {self.say('or')} "
        parts = [f"{self.say(key)} {either.join(map(self._name, names))}" for key, names in report.only.items()]
        return self.say(report.title) + (f" ({self.say('only')} {', '.join(parts)})" if parts else "")

    def _name(self, name: str) -> str:
        return self.say(name) if name in ("unknown", "no segment") else name

    def unit(self, unit: str) -> str:
        """What stands behind a number; empty for a bare one."""
        if UNITS[unit].form == "share":
            return ""  # the number has its sign
        return self.say(UNITS[unit].text).format(currency=self.currency).strip()

    def number(self, value: Cell, unit: str, digits: int | None = None) -> str:
        """A number without its unit's words."""
        return written(value, unit, self.lang, digits)

    def measured(self, value: Cell, unit: str, digits: int | None = None) -> str:
        """A number with its unit's words, in the singular where it is one."""
        number = self.number(value, unit, digits)
        words = self.say(ONES[UNITS[unit].text]) if value == 1 and UNITS[unit].text in ONES else self.unit(unit)
        return f"{number} {words}".strip() if isinstance(value, (int, float)) else number


def texts_of(report: Report) -> set[str]:
    """Every English text of ours that a report shows: what a language has to have."""
    found = {report.title, report.question}
    told: list[Text] = [*report.notes]
    for answer in report.answers:
        found.add(answer.question)
        told += _sentences(answer)
    for figure in report.figures:
        found |= {figure.title, figure.definition, UNITS[figure.unit].text}
    for table in report.tables:
        found |= {table.title, table.note}
        for ix, column in enumerate(table.columns):
            found |= {column.head, column.definition, UNITS[column.unit].text}
            if column.key in table.translate:
                found |= {str(row[ix]) for row in table.rows if row[ix] is not None}
    for chart in report.charts:
        found |= {chart.title, chart.x.title, chart.y.title, *(mark.title for mark in chart.marks)}
        found |= {UNITS[chart.x.unit].text, UNITS[chart.y.unit].text}
        told.append(chart.alt)
        found |= {series.name for series in chart.series}
        if chart.translate:
            found |= {point.x for series in chart.series for point in series.points if isinstance(point.x, str)}
    return {text for text in found | {text.template for text in told} if any(c.isalpha() for c in text)}


def _sentences(answer: Answer) -> list[Text]:
    return answer.sentences
