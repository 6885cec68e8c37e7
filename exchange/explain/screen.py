"""The screen of `rentier explain`: the facts of one request, step by step, at most 100 columns wide."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from exchange.explain.facts import Explained, ImpFacts, NotAsked, Sale

WIDTH: Final = 100  # columns
LISTED: Final = 40  # campaigns of one kind on the screen; JSON has them all
REASONS_LISTED: Final = 3  # of one campaign on the screen; `--campaign` and JSON have them all
Row = Sequence[str]


def render(facts: Explained) -> str:
    """The facts as text, at most 100 columns wide."""
    more = f", the first of {facts.more + 1} in it" if facts.more else ""
    lines = [f"request {facts.id or '(no id)'} of {facts.file}{more}; config {facts.config}", ""]
    if facts.errors:
        lines += [f"1 validation: refused, 400 with {len(facts.errors)} errors"]
        lines += [f"  {e.path}: {e.reason}, got {e.value!r}" for e in facts.errors]
        return _text(lines)
    lines += ["1 validation: accepted", "", "2 what it became", *_became(facts), ""]
    for k, imp in enumerate(facts.imps):
        lines += _one(facts, k, imp) if facts.campaign and facts.quoted else _imp(facts, k, imp)
    if not facts.quoted:
        lines.append("no auction: none of the currencies in cur has a rate in the config")
    lines.append(f"answer: {facts.status}{_TEST if facts.test else ''}")
    return _text(lines)


_TEST: Final = " (test = 1: live, the same answer, but nothing is charged, learnt or written)"


def _became(facts: Explained) -> list[str]:
    """Step 2: person, place, terms, endpoints."""
    who, place = facts.who, facts.place
    assert who is not None and place is not None
    known = "known, named by" if who.known else "unknown, because of"
    lines = [
        f"  person    {known} {who.why}",
        f"  segments  {_list(who.segments)} in the request; {_list(who.stored)} in the people store",
        f"  own list  {_list(who.own)}",
        f"  place     country {place.country or '-'}, device {place.device or '-'}, domain {place.domain or '-'}, "
        f"publisher {place.publisher or '-'}, hour {place.hour}",
        f"  terms     {facts.format}, time {facts.time}, prices quoted in {facts.quoted or '-'}",
    ]
    for imp in facts.imps:
        lines.append(
            f"  imp {imp.id}: {', '.join(imp.media) or 'nothing'} {' '.join(imp.sizes)}, the seller's floor "
            f"{imp.seller_floor}; floor in the auction {_cpm(imp.floor_nano)} {facts.currency} CPM"
        )
        for reserve in imp.reserves:
            whose = f"bids of seat {reserve.seat}" if reserve.seat else "everybody's bids"
            where = f", where {reserve.target}" if reserve.target else ""
            lines.append(f"    reserve {_cpm(reserve.floor_nano)} CPM for {whose}{where}")
    for endpoint in facts.endpoints:
        fate = "would be asked, is not called here" if endpoint.eligible else f"not asked, {endpoint.why}"
        lines.append(f"  endpoint {endpoint.name}: {fate}")
    return lines


def _imp(facts: Explained, k: int, imp: ImpFacts) -> list[str]:
    """Steps 3 to 6 for one imp."""
    n, money = len(imp.asked) + len(imp.not_asked), facts.currency
    lines = [f"imp {imp.id} ({k + 1} of {len(facts.imps)})", ""]
    if not facts.quoted:
        return []
    lines.append(f"3 who may bid: {len(imp.asked)} of {n} campaigns")
    lines += _table(("  campaign", "not asked, because of"), [(f"  {x.campaign}", _why(x)) for x in imp.not_asked])
    lines += ["", f"4 the bids, {money} CPM: gross = what the buyer pays, net = what competes"]
    lines += _table(
        ("  campaign", "rule", "value", "gross", "net", "fate"),
        [
            (f"  {b.campaign}", b.rule, _cpm(b.value_nano), _cpm(b.gross_nano), _cpm(b.net_nano),
             f"{b.name} ({b.fate}): {b.meaning}")
            for b in imp.bids
        ],
        right=(2, 3, 4),
    ) or ["  nobody was asked"]  # fmt: skip
    lines.append("")
    if imp.sale is None:
        return [*lines, "5 the price: not sold", ""]
    for sale in (imp.sale, *imp.lower):
        lines += _sold(facts, sale, len(imp.lower) > 0)
    return lines


def _why(each: NotAsked) -> str:
    """The first reasons of a campaign, and how many more there are."""
    more = len(each.reasons) - REASONS_LISTED
    return "; ".join(each.reasons[:REASONS_LISTED]) + (f"; and {more} more" if more > 0 else "")


def _one(facts: Explained, k: int, imp: ImpFacts) -> list[str]:
    """What became of one campaign at one imp: every reason why it is not asked, or its bid and the price."""
    lines = [f"imp {imp.id} ({k + 1} of {len(facts.imps)})", ""]
    for each in imp.not_asked:
        lines += [f"3 {facts.campaign} is not asked, because of", *(f"  {reason}" for reason in each.reasons), ""]
    for bid in imp.bids:
        lines += [
            f"3 {facts.campaign} is asked",
            "",
            f"4 its bid, {facts.currency} CPM: value {_cpm(bid.value_nano)}, gross {_cpm(bid.gross_nano)}, "
            f"net {_cpm(bid.net_nano)}: {bid.name} ({bid.fate}), {bid.meaning}",
            "",
        ]
    for sale in (imp.sale, *imp.lower):
        if sale is not None and sale.campaign == facts.campaign:
            lines += _sold(facts, sale, len(imp.lower) > 0)
    return lines


def _sold(facts: Explained, sale: Sale, several: bool) -> list[str]:
    """Steps 5 and 6 for one position."""
    own = ", to its own customer" if sale.own else ""
    place = f", position {sale.slot + 1}" if several else ""
    unit = "CPM" if sale.bill == "impression" else f"per 1,000 {sale.bill}s"
    if sale.lost:
        lines = [f"5 the price: {sale.campaign} has lost, and pays", f"  {_sum(sale)}"]
    else:
        lines = [f"5 the price: sold to {sale.campaign} (creative {sale.creative}){own}{place}", f"  {_sum(sale)}"]
        if sale.bill != "impression":
            lines[-1] += f", per 1,000 {sale.bill}s"
        if facts.quoted != facts.currency:
            lines.append(f"  quoted: {sale.quoted_cpm:g} {facts.quoted} CPM, rounded down")
    lines += ["", f"6 the split, fees sell = {sale.fees.sell}, buy = {sale.fees.buy}"]
    if not sale.buyer_total_nano:
        return [*lines, "  nothing to share: the price is 0", ""]
    lines += _table(
        ("  party", f"{facts.currency} {unit}", "of the buyer's total"),
        [(f"  {p.name}", _cpm(p.nano), f"{p.share:.2%}") for p in sale.parties if p.nano]
        + [("  buyer's total", _cpm(sale.buyer_total_nano), "100.00%")],
        right=(1, 2),
    )
    return [*lines, ""]


def _sum(sale: Sale) -> str:
    """The clearing sum in words and numbers."""
    if sale.pays_bid:
        return f"{sale.format.replace('_', ' ')}: its own net bid, {_cpm(sale.bid_nano)}"
    if sale.format == "posted_price":
        return f"posted price: the floor, {_cpm(sale.clearing_nano)}; a draw among those who accept it"
    if not sale.second_nano:
        return f"no runner-up: the floor, {_cpm(sale.clearing_nano)}"
    if sale.format in ("vcg", "myerson"):
        why = {"vcg": "what its presence costs those behind it", "myerson": "the least that would still have won"}
        return f"{why[sale.format]}: {_cpm(sale.clearing_nano)}, runner-up in its terms {_cpm(sale.second_nano)}"
    soft = f", soft floor {_cpm(sale.soft_floor_nano)}" if sale.format == "soft_floor" else ""
    return (
        f"max(floor {_cpm(sale.floor_nano)}{soft}, runner-up {_cpm(sale.second_nano)} + increment "
        f"{_cpm(sale.increment_nano)}), at most the winner's net {_cpm(sale.bid_nano)} = {_cpm(sale.clearing_nano)}"
    )


def _cpm(nano: int) -> str:
    """Nano per impression as CPM, exact."""
    text = f"{nano // 1_000_000}.{nano % 1_000_000:06d}"
    return text[:-2] if text.endswith("00") else text


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _table(head: Row, rows: Sequence[Row], right: Sequence[int] = ()) -> list[str]:
    """Lines of a table, the last column wrapped under itself; nothing without rows."""
    if not rows:
        return []
    shown = rows[:LISTED]
    widths = [max(len(row[k]) for row in (head, *shown)) for k in range(len(head) - 1)]
    widths[0] = min(widths[0], 40)
    lines = []
    for row in (head, *shown):
        cells = [
            (cell[: w - 3] + "..." if len(cell) > w else cell).rjust(w) if k in right else
            (cell[: w - 3] + "..." if len(cell) > w else cell).ljust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=False))
        ]  # fmt: skip
        start = "  ".join(cells) + "  "
        last = row[-1].rjust(len(head[-1])) if len(head) - 1 in right else row[-1]
        wrapped = textwrap.wrap(
            start + last, WIDTH, subsequent_indent=" " * len(start), drop_whitespace=False, break_on_hyphens=False
        )
        lines += [line.rstrip() for line in wrapped if line.strip()]
    if len(rows) > LISTED:
        lines.append(f"  ... and {len(rows) - LISTED} more (see --json)")
    return lines


def _text(lines: Iterable[str]) -> str:
    """Join lines, breaking those that are too long."""
    done: list[str] = []
    for line in lines:
        done += [line] if len(line) <= WIDTH else textwrap.wrap(line, WIDTH, subsequent_indent=" " * 12)
    return "\n".join(done).rstrip()
