"""A report as one HTML file: nothing outside of it, no script, for a phone, a wide screen and paper."""

from html import escape
from typing import Final

from msgspec.structs import replace

from exchange.report import svg
from exchange.report.numbers import decimals, printable
from exchange.report.screen import cell_text
from exchange.report.shape import UNITS, Cell, Column, Figure, Report, Table
from exchange.report.small import sum_row
from exchange.report.words import Words

LISTED: Final = 100  # rows of a table; the CSV has all
STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#fff;--card:#f6f8fa;--line:#d5dae0;--s0:#0b62c4;
--s1:#c2410c;--s2:#15803d;--s3:#7c3aed;--s4:#a16207;--s5:#be185d}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaef;--soft:#9aa5b1;--paper:#11151a;--card:#1a2027;--line:#333c46;
--s0:#6cb0ff;--s1:#ff9a62;--s2:#5fd38a;--s3:#b99bff;--s4:#e0b94f;--s5:#ff8cc0}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:72rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.2;margin:.3rem 0}h2{font-size:1.15rem;line-height:1.3;margin:2rem 0 .6rem}
h3{font-size:1rem;margin:0}p{margin:.3rem 0}.soft,.note,figcaption,summary{color:var(--soft);font-size:.875rem}
.answers{display:grid;gap:.75rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));margin:1rem 0}
.answers article{background:var(--card);border-left:4px solid var(--s0);border-radius:6px;padding:.7rem 1rem}
.answers p:first-of-type{font-size:1.08rem}
.figures{display:grid;gap:.75rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,10.3rem),1fr));margin:0}
.figures article{border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem}
.figures h3{font-weight:500;font-size:.9rem}.value{font-size:1.35rem;font-weight:600;margin:.1rem 0}
.value small{font-size:.8rem;font-weight:400;color:var(--soft);display:inline-block;line-height:1.2}
details p,details dd{font-size:.875rem}summary{cursor:pointer;padding:.25rem 0}code{font-size:.8rem}
dl{margin:.3rem 0}dt{font-size:.875rem;font-weight:600;margin-top:.4rem}dd{margin:0}
figure{margin:0;max-width:36rem}svg{display:block;width:100%;height:auto;fill:var(--ink);font-size:12px}
svg .end{text-anchor:end}svg .mid{text-anchor:middle}svg .small{font-size:10px;fill:var(--soft)}
svg .grid{stroke:var(--line)}svg .axis{stroke:var(--soft);fill:none}svg .whisker{stroke:var(--ink);fill:none}
svg .mark,svg .diagonal{stroke:var(--soft);stroke-dasharray:4 3;fill:none}
svg .over{paint-order:stroke;stroke:var(--paper);stroke-width:3px}
.s0{fill:var(--s0);background:var(--s0)}.s1{fill:var(--s1);background:var(--s1)}.s2{fill:var(--s2);background:var(--s2)}
.s3{fill:var(--s3);background:var(--s3)}.s4{fill:var(--s4);background:var(--s4)}.s5{fill:var(--s5);background:var(--s5)}
svg .line{fill:none;stroke-width:2;background:none}svg .line.s0{stroke:var(--s0)}svg .line.s1{stroke:var(--s1)}
svg .line.s2{stroke:var(--s2)}svg .line.s3{stroke:var(--s3)}svg .line.s4{stroke:var(--s4)}svg .line.s5{stroke:var(--s5)}
.legend{list-style:none;padding:0;margin:.4rem 0;display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.875rem}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.4em;border-radius:2px}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
th,td{overflow-wrap:break-word;padding:.35rem .35rem;
border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
thead th{vertical-align:bottom;font-weight:600;border-bottom:2px solid var(--soft)}thead small{font-weight:400;
color:var(--soft);display:block}.left{text-align:left;white-space:normal}tbody th{font-weight:500;text-align:left}
tr.sum th,tr.sum td{font-weight:600;border-top:2px solid var(--soft)}
.bar{display:block;height:.35rem;margin-top:.2rem;background:var(--s0);border-radius:2px;margin-left:auto;
print-color-adjust:exact;-webkit-print-color-adjust:exact}
td{white-space:nowrap}
@media screen and (max-width:48rem){td{white-space:normal}table,tbody,tr,td,tbody th{display:block;width:auto}
thead{display:none}
tr{border-bottom:1px solid var(--line);padding:.5rem 0}th,td{border:0;padding:.12rem 0}tbody th{font-weight:600}
td::before{content:attr(data-head);float:left;color:var(--soft);padding-right:.8rem;text-align:left;max-width:62%}
td::after{content:"";display:block;clear:both}td.none{display:none}tr.sum th,tr.sum td{border:0}}
@media print{:root{--ink:#000;--soft:#444;--paper:#fff;--card:#fff;--line:#bbb}body{max-width:none;padding:0;
font-size:9.5pt;line-height:1.35}article,figure,tr{break-inside:avoid}h2,thead{break-after:avoid}
.answers{grid-template-columns:1fr 1fr}figure{max-width:19rem}.figures{grid-template-columns:repeat(4,1fr);gap:.4rem}
.figures article{padding:.35rem .5rem}.figures summary{display:none}.figures p,
.figures code{font-size:7.5pt}.answers{gap:.4rem}.figures p.value{font-size:1.1rem}
dl{columns:2}dt{break-after:avoid}.scroll{overflow:visible}table{font-size:7pt}th,td{padding:.2rem .25rem}
details::details-content{content-visibility:visible;
height:auto}
rect,.legend i{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""


def render(report: Report, lang: str = "en") -> str:
    """The page: answers first, then figures, charts, tables and notes."""
    words = Words(lang, report.currency)
    say = words.say
    title = f"{words.titled(report)}{f' – {report.ledger}' if report.ledger else ''}"
    days = " – ".join(dict.fromkeys(day for day in (report.since, report.until) if day))
    source = " · ".join(t for t in (_safe(report.ledger), days, words.measured(report.rows, "wins")) if t)
    parts = [
        f'<!DOCTYPE html>\n<html lang="{lang}"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f'<link rel="icon" href="data:,"><title>{_safe(title)}</title><style>{STYLE}</style></head><body>',
        f"<header><h1>{_safe(words.titled(report))}</h1><p>{_safe(say(report.question))}</p>",
        f'<p class="soft">{source}</p></header><main>' if report.ledger or days else "</header><main>",
    ]
    if report.answers:
        parts.append('<section class="answers">')
        for answer in report.answers:
            told = "".join(f"<p>{_safe(words.tell(text))}</p>" for text in answer.sentences)
            parts.append(f"<article><h3>{_safe(say(answer.question))}</h3>{told}</article>")
        parts.append("</section>")
    for chart in report.charts:
        drawn = svg.draw(chart, words)
        if drawn:
            parts.append(f"<section><h2>{_safe(say(chart.title))}</h2><figure>{drawn}")
            parts.append(f"<figcaption>{_safe(words.tell(chart.alt))}</figcaption></figure></section>")
    if report.figures:
        parts.append(f'<section><h2>{say("Figures")}</h2><div class="figures">')
        parts += [_figure(figure, words) for figure in report.figures]
        parts.append("</div></section>")
    parts += [_table(table, words) for table in report.tables]
    if report.notes:
        notes = "".join(f'<p class="note">{_safe(words.tell(note))}</p>' for note in report.notes)
        parts.append(f"<footer><h2>{say('Notes')}</h2>{notes}</footer>")
    return "\n".join([*parts, "</main></body></html>", ""])


def _safe(text: str) -> str:
    """Text as HTML; what cannot be printed becomes a question mark."""
    return escape(printable(text), quote=True)


def _figure(figure: Figure, words: Words) -> str:
    """A number with its unit, and behind it definition, formula and rows."""
    say = words.say
    hidden = isinstance(figure.value, str) and figure.people is not None
    value = words.number(None if hidden else figure.value, figure.unit)
    unit = words.unit(figure.unit) if figure.value is not None else ""
    if hidden:
        unit = say("not shown: {n} people").format(n=figure.value)
    interval = ""
    if figure.low is not None and figure.high is not None:
        low, high = (words.number(v, figure.unit) for v in (figure.low, figure.high))
        interval = f'<p class="soft">95 %: {_safe(low)} – {_safe(high)}</p>'
    return (
        f"<article><h3>{_safe(say(figure.title))}</h3>"
        f'<p class="value">{_safe(value)} <small>{_safe(unit)}</small></p>{interval}'
        f"<details><summary>{say('how it is counted')}</summary><p>{_safe(say(figure.definition))}</p>"
        f"<p><code>{_safe(figure.formula)}</code></p>"
        f"<p>{_safe(words.measured(figure.rows, 'rows'))}</p></details></article>"
    )


def _table(table: Table, words: Words) -> str:
    """A table; on a phone each row is a block with the heads beside its numbers."""
    say = words.say
    parts = [f"<section><h2>{_safe(say(table.title))}</h2>"]
    if not table.rows:
        return f'{parts[0]}<p class="soft">{say("nothing to show")}</p></section>'
    total = sum_row(table, table.rows, "total")
    keep = [ix for ix, column in enumerate(table.columns) if not column.aside]
    table = replace(table, columns=[table.columns[ix] for ix in keep],
                    rows=[[row[ix] for ix in keep] for row in table.rows])  # fmt: skip
    rows = table.rows[:LISTED]
    digits, tops = [], []
    for ix, column in enumerate(table.columns):
        cells = [row[ix] for row in rows if not isinstance(row[ix], str)]
        digits.append(decimals(cells, column.unit))
        tops.append(max((float(c) for c in cells if isinstance(c, (int, float))), default=0.0))
    parts.append('<div class="scroll"><table><thead><tr>')
    parts += [f'<th scope="col"{_left(column)}>{_head(column, words)}</th>' for column in table.columns]
    parts.append("</tr></thead><tbody>")
    for row in rows:
        parts.append(f"<tr>{''.join(_cells(table, row, words, digits, tops))}</tr>")
    if table.total and len(table.rows) > 1:
        summed = _cells(table, [total[ix] for ix in keep], words, digits, [0.0] * len(tops))
        parts.append(f'<tr class="sum">{"".join(summed)}</tr>')
    parts.append("</tbody></table></div>")
    if len(table.rows) > LISTED:
        more = say("... and {n} more").format(n=words.number(len(table.rows) - LISTED, "count"))
        parts.append(f'<p class="soft">{_safe(more)}</p>')
    if table.note:
        parts.append(f'<p class="note">{_safe(say(table.note))}</p>')
    defined = [
        f"<dt>{_safe(say(c.head))}</dt><dd>{_safe(say(c.definition))}</dd>" for c in table.columns if c.definition
    ]
    if defined:
        parts.append(f"<details><summary>{say('what the columns say')}</summary><dl>{''.join(defined)}</dl></details>")
    return "".join([*parts, "</section>"])


def _left(column: Column) -> str:
    return ' class="left"' if column.role == "key" or UNITS[column.unit].form == "text" else ""


def _head(column: Column, words: Words) -> str:
    unit = words.unit(column.unit) if UNITS[column.unit].form == "money" else ""
    return _safe(words.say(column.head)) + (f"<small>{_safe(unit)}</small>" if unit else "")


def _cells(table: Table, row: list[Cell], words: Words, digits: list[int], tops: list[float]) -> list[str]:
    """The cells of a row: the first column is its head."""
    found = []
    for ix, (cell, column) in enumerate(zip(row, table.columns, strict=True)):
        text = _safe(cell_text(table, column, cell, words, digits[ix]))
        if ix == 0:
            found.append(f'<th scope="row">{text}</th>')
            continue
        unit = words.unit(column.unit) if UNITS[column.unit].form == "money" else ""
        head = _safe(words.say(column.head) + (f" ({unit})" if unit else ""))
        drawn = ""
        if column.bar and tops[ix] > 0 and isinstance(cell, (int, float)):
            drawn = f'<span class="bar" style="width:{max(0.0, 100 * float(cell) / tops[ix]):.1f}%"></span>'
        kind = ' class="none"' if cell is None or cell == "" else _left(column)
        found.append(f'<td{kind} data-head="{head}">{text}{drawn}</td>')
    return found
