"""Reconcile a ledger: every invariant that its rows must keep, checked on all of them, column by column.

Numbers I1 to I9 are those of docs/ledger.md. Each break becomes a `Difference` that names the row; per invariant and
field the first `FOUND_MAX` are listed, all are counted.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange import market as m
from exchange.openrtb.codes import WON
from exchange.rent.breakdown import of_losers
from exchange.rent.keys import Index, Ints, Pick, Rows, customers, ranks
from exchange.rent.ledger import Ledger

FOUND_MAX: Final = 20
_SEEN: Final = (m.KIND_IMPRESSION, m.KIND_VIEW)
_ONCE: Final = (("impression", _SEEN), ("click", m.CLICKS), ("conversion", m.CONVERSIONS))
_EVENT_KINDS: Final = (*_SEEN, *m.CLICKS, *m.CONVERSIONS, m.KIND_RELEASE, m.KIND_UNPAID)
_BILLED_AS: Final = {  # which kind bills an award, by `bill`; the arrival of the same thing where it does not
    m.BILL_IMPRESSION: (m.KIND_IMPRESSION, m.KIND_VIEW),
    m.BILL_CLICK: (m.KIND_BILLED_CLICK, m.KIND_CLICK),
    m.BILL_CONVERSION: (m.KIND_BILLED_CONVERSION, m.KIND_CONVERSION),
}


class Difference(Struct):
    """A row that breaks an invariant."""

    invariant: str  # I1 ... I9, "seq", "kind", "event"
    stream: str
    seq: int
    auction_id: int
    field: str
    expected: str
    found: str


class Reconciliation(Struct):
    """The outcome: rows checked, differences in all, and the first of each sort."""

    rows: int
    count: int
    differences: list[Difference]
    cut: int  # rows left out: an unfinished step, or a writer at work


def reconcile(ledger: Ledger) -> Reconciliation:
    """Check a ledger. Raises LedgerError when it cannot even be read."""
    rows = sum(seqs.size for seqs in ledger.seqs().values())
    found, books = _Found(), _Books(ledger)
    for check in (_seqs, _kinds, _prices, _sold, _bids, _events, _settlement, _arrivals, _contacts, _terms, _budgets):
        for break_ in check(books):
            found.add(*break_)
    found.differences.sort(key=lambda difference: difference.seq)
    return Reconciliation(rows, found.count, found.differences, sum(ledger.cut.values()))


def render(result: Reconciliation) -> str:
    """One line when all is well; else the count and the first offending row."""
    lines = [f"reconcile: {result.rows} rows, {result.count} differences"]
    if result.differences:
        d = result.differences[0]
        lines.append(
            f"first: {d.invariant} {d.stream} seq {d.seq} auction {d.auction_id}: "
            f"{d.field} is {d.found}, expected {d.expected}"
        )
    if result.cut:
        lines.append(f"{result.cut} rows left out: an unfinished step, or a writer at work")
    return "\n".join(lines) + "\n"


# (invariant, stream, rows, mask of the broken ones, field, expected, found): columns, texts or one number
Break = tuple[str, str, Rows | Pick, NDArray[np.bool_], str, Any, Any]


class _Books:
    """The streams and the joins that several checks need."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.auctions, self.bids, self.wins, self.events = ledger.auctions, ledger.bids, ledger.wins, ledger.events
        self.of_win = Index(self.wins, by_slot=True)
        self.of_auction = Index(self.auctions, by_slot=False)
        self.win = self.of_win.find(self.events)  # the win of each event, -1 = none


class _Found:
    """Collects differences: all counted, the first few of each sort kept."""

    def __init__(self) -> None:
        self.count = 0
        self.differences: list[Difference] = []

    def add(self, invariant: str, stream: str, rows: Rows | Pick, broken: NDArray[np.bool_], field: str,
            expected: Any, found: Any) -> None:  # fmt: skip
        """Keep the rows of a mask as differences."""
        at = np.flatnonzero(broken)
        self.count += at.size
        for k in at[:FOUND_MAX].tolist():
            seq, auction = int(rows["seq"][k]), int(rows["auction_id"][k])
            self.differences.append(
                Difference(invariant, stream, seq, auction, field, _cell(expected, k), _cell(found, k))
            )


def _cell(value: Any, k: int) -> str:
    """Row k of a column, or the text that holds for all."""
    return str(value[k]) if isinstance(value, np.ndarray) else str(value)


# ---- the checks ------------------------------------------------------------------------------------------------


def _seqs(books: _Books) -> Iterator[Break]:
    """Every worker's records are numbered from 1 without a gap."""
    for worker, seqs in books.ledger.seqs().items():
        expected = np.arange(1, seqs.size + 1, dtype=np.uint64)
        broken = seqs != expected
        if broken.any():
            first = int(np.argmax(broken))
            row = np.zeros(1, m.shape(m.HEAD + [("auction_id", "u8")]))
            row["seq"], row["worker"] = seqs[first], worker
            yield "seq", f"all of worker {worker}", row, np.ones(1, bool), "seq", int(expected[first]), int(seqs[first])


def _kinds(books: _Books) -> Iterator[Break]:
    """Every stream holds only its own kinds."""
    for stream, kinds in (
        ("auctions", (m.KIND_AUCTION,)),
        ("bids", (m.KIND_BID,)),
        ("wins", (m.KIND_WIN,)),
        ("events", _EVENT_KINDS),
    ):
        rows = getattr(books.ledger, stream)
        yield "kind", stream, rows, ~np.isin(rows["kind"], kinds), "kind", f"one of {kinds}", rows["kind"]


def _prices(books: _Books) -> Iterator[Break]:
    """I1 both identities, I2 no negative amount, I5 floor <= clearing <= bid and the second price."""
    wins = books.wins
    clearing, total = wins["clearing_nano"], wins["buyer_total_nano"]
    on_top = _sum_of(wins, m.BUY_PARTIES) + clearing
    below = _sum_of(wins, m.SELL_PARTIES)
    yield "I1", "wins", wins, total != on_top, "buyer_total_nano", on_top, total
    yield "I1", "wins", wins, clearing != below, "clearing_nano", below, clearing
    for party in m.PARTIES:
        amount = wins[f"{party}_nano"]
        yield "I2", "wins", wins, amount < 0, f"{party}_nano", "0 or more", amount
    yield "I5", "wins", wins, clearing < wins["floor_nano"], "clearing_nano", "the floor or more", clearing
    yield "I5", "wins", wins, clearing > wins["bid_nano"], "clearing_nano", "the bid or less", clearing
    rule = wins["price_rule"]
    least = np.minimum(wins["second_nano"], wins["bid_nano"])
    by_next = np.isin(rule, (m.SECOND_PRICE, m.GSP, m.MYERSON)) & (clearing < least)
    yield "I5", "wins", wins, by_next, "clearing_nano", least, clearing
    by_bid = np.isin(rule, (m.FIRST_PRICE, m.ALL_PAY)) & (clearing != wins["bid_nano"])
    yield "I5", "wins", wins, by_bid, "clearing_nano", wins["bid_nano"], clearing
    posted = (rule == m.POSTED_PRICE) & (clearing != wins["floor_nano"])
    yield "I5", "wins", wins, posted, "clearing_nano", wins["floor_nano"], clearing


def _sold(books: _Books) -> Iterator[Break]:
    """I6: one win per (auction, imp, slot), and exactly one auction row says it was sold."""
    wins, auctions = books.wins, books.auctions
    of_win, of_auction = books.of_win, books.of_auction
    yield "I6", "wins", wins, _at(of_win.repeats(), wins), "auction_id", "one win per award", "another"
    yield "I6", "auctions", auctions, _at(of_auction.repeats(), auctions), "auction_id", "one row per imp", "another"
    row = of_auction.find(wins)
    sold = (row >= 0) & (auctions["sold"][row] == 1) if len(auctions) else np.zeros(len(wins), bool)
    yield "I6", "wins", wins, ~sold, "auction_id", "an auction row with sold = 1", "none"
    wins_of = np.bincount(row[row >= 0], minlength=len(auctions))
    yield "I6", "auctions", auctions, (auctions["sold"] == 1) & (wins_of == 0), "sold", "a win row", "none"
    if sold.any():
        known = row >= 0
        sums = np.zeros(len(auctions), np.int64)
        np.add.at(sums, row[known], wins["clearing_nano"][known])
        # what a click or a conversion costs is no price per impression: such imps have no sum to compare
        per_event = np.bincount(row[known & (wins["bill"] != m.BILL_IMPRESSION)], minlength=len(auctions)) > 0
        price = auctions["clearing_nano"][row]
        broken = sold & ~per_event[row] & (price != sums[row])
        yield "I6", "wins", wins, broken, "clearing_nano", price, sums[row]


def _bids(books: _Books) -> Iterator[Break]:
    """I6, where bids are kept: as many bids with fate `won` as wins, and the winning bid is that bid.

    The losers that an all-pay auction charges have rows among the wins; they have not won.
    """
    bids, wins, auctions = books.bids, books.wins, books.auctions
    if not len(bids):
        return
    of_auction = books.of_auction
    row = of_auction.find(bids)
    yield "I6", "bids", bids, row < 0, "auction_id", "an auction row", "none"
    kept = np.bincount(row[row >= 0], minlength=len(auctions)) > 0  # an earlier run may have kept no bids
    counted = np.bincount(row[(row >= 0) & (bids["gross_nano"] > 0)], minlength=len(auctions))
    broken = kept & (counted != auctions["n_bids"])
    yield "I6", "auctions", auctions, broken, "n_bids", counted, auctions["n_bids"]
    is_won = bids["fate"] == WON
    n_won = np.bincount(row[is_won & (row >= 0)], minlength=len(auctions))
    losers = of_losers(wins)
    if losers.any():
        wins = wins[~losers]
    at = of_auction.find(wins)
    n_wins = np.bincount(at[at >= 0], minlength=len(auctions))
    broken = (counted > 0) & (n_won != n_wins)
    yield "I6", "auctions", auctions, broken, "bids with fate won", n_wins, n_won
    won = bids[is_won]
    win = Index(wins, by_slot=False).find(won)
    if len(wins):
        broken = (win >= 0) & (np.bincount(np.maximum(win, 0), minlength=len(wins))[win] == 1)
        # in positions, and per click, a bid stands in the rent row as what it comes to there
        alike = ~np.isin(wins["price_rule"], (m.GSP, m.VCG)) & (wins["bill"] == m.BILL_IMPRESSION)
        broken &= alike[win] & (wins["bid_nano"][win] != won["net_nano"])
        yield "I6", "bids", won, broken, "net_nano", wins["bid_nano"][win], won["net_nano"]


def _events(books: _Books) -> Iterator[Break]:
    """Every event belongs to a win, comes after it, and repeats its key facts."""
    wins, events = books.wins, books.events
    win = books.win
    yield "event", "events", events, win < 0, "auction_id", "a win row", "none"
    if not len(wins):
        return
    known = win >= 0
    for field in ("serial", "person_key", "campaign", "advertiser"):
        there = wins[field][win]
        yield "event", "events", events, known & (events[field] != there), field, there, events[field]
    late = wins["seq"][win]
    broken = known & (wins["worker"][win] == events["worker"]) & (events["seq"] < late)
    yield "event", "events", events, broken, "seq", late, events["seq"]


def _settlement(books: _Books) -> Iterator[Break]:
    """I3 and I7: an award is billed or released once, what it posts is the win's total, and a replay adds nothing."""
    wins, events = books.wins, books.events
    win = books.win
    kind, paid = events["kind"], events["paid_nano"]
    billed = np.isin(kind, m.BILLING)
    terminal = np.flatnonzero((win >= 0) & (billed | (kind == m.KIND_RELEASE)))
    first = np.unique(win[terminal], return_index=True)[1]
    again = np.delete(terminal, first)
    yield "I7", "events", events, _at(again, events), "kind", "billed or released once per award", "another"
    total = wins["buyer_total_nano"][win] if len(wins) else np.zeros(len(events), np.int64)
    yield "I3", "events", events, billed & (win >= 0) & (paid != total), "paid_nano", total, paid
    yield "I3", "events", events, ~billed & (paid != 0), "paid_nano", 0, paid
    release = np.full(len(wins), np.iinfo(np.int64).max)
    of = np.flatnonzero((win >= 0) & (kind == m.KIND_RELEASE))
    np.minimum.at(release, win[of], of)
    before = release[win] < np.arange(len(events)) if len(wins) else np.zeros(len(events), bool)
    yield "I7", "events", events, (kind == m.KIND_UNPAID) & ~before, "kind", "a release before", "none"


def _arrivals(books: _Books) -> Iterator[Break]:
    """I7: an award is billed by the event its win states, and each sort of event is recorded once per award."""
    wins, events, win = books.wins, books.events, books.win
    if not len(wins):
        return
    known, kind, bill = win >= 0, events["kind"], wins["bill"][win]
    for number, (billing, not_billing) in _BILLED_AS.items():
        broken = (kind == billing) & (bill != number) | (kind == not_billing) & (bill == number)
        yield "I7", "events", events, known & broken, "kind", f"one of an award billed by {m.BILLS[number]}", kind
    for name, kinds in _ONCE:
        at = np.flatnonzero(known & np.isin(kind, kinds))
        again = np.delete(at, np.unique(win[at], return_index=True)[1])
        yield "I7", "events", events, _at(again, events), "kind", f"one {name} per award", "another"


def _contacts(books: _Books) -> Iterator[Break]:
    """I8 and I9: contact_n runs 1..n per (advertiser, person), and cum_rent sums what was billed, row by row."""
    events = books.events
    billed = np.isin(events["kind"], m.BILLING)
    unknown = billed & (events["person_key"] == 0)
    yield "I8", "events", events, unknown & (events["contact_n"] != 0), "contact_n", 0, events["contact_n"]
    yield "I8", "events", events, ~billed & (events["contact_n"] != 0), "contact_n", 0, events["contact_n"]
    rows = Pick(events, np.flatnonzero(billed & ~unknown))
    pair, n_pairs = customers(rows["advertiser"], ranks(rows["person_key"])[1])
    order, start, cum = _history(pair, rows["paid_nano"])
    number = np.empty(len(rows), np.int64)
    number[order] = np.arange(len(rows)) - start + 1
    rent = np.empty(len(rows), np.int64)
    rent[order] = cum
    yield "I8", "events", rows, rows["contact_n"] != number, "contact_n", number, rows["contact_n"]
    yield "I8", "events", rows, rows["cum_rent_nano"] != rent, "cum_rent_nano", rent, rows["cum_rent_nano"]
    firsts = int(np.count_nonzero(rows["contact_n"] == 1))
    if firsts != n_pairs:
        yield "I9", "events", rows, _at(order[:1], rows), "rows with contact_n = 1", n_pairs, firsts


def _terms(books: _Books) -> Iterator[Break]:
    """I8 on the win rows: contacts and cum_rent are what had been billed before the auction."""
    wins, events = books.wins, books.events
    if len(books.ledger.workers) > 1:
        return  # the order between workers is not recorded
    billed = Pick(events, np.flatnonzero(np.isin(events["kind"], m.BILLING) & (events["person_key"] != 0)))
    rows = Pick(wins, np.flatnonzero(wins["person_key"] != 0))
    both = np.concatenate((billed["seq"], rows["seq"]))
    pair, _ = customers(
        np.concatenate((billed["advertiser"], rows["advertiser"])),
        ranks(np.concatenate((billed["person_key"], rows["person_key"])))[1],
    )
    is_bill = np.concatenate((np.ones(len(billed), bool), np.zeros(len(rows), bool)))
    paid = np.concatenate((billed["paid_nano"], np.zeros(len(rows), np.int64)))
    by_seq = np.argsort(both, kind="stable")
    order, _, cum = _history(pair[by_seq], paid[by_seq])
    _, _, seen = _history(pair[by_seq], is_bill[by_seq].astype(np.int64))
    contacts, rent = np.empty(both.size, np.int64), np.empty(both.size, np.int64)
    contacts[by_seq[order]], rent[by_seq[order]] = seen, cum
    contacts, rent = contacts[len(billed) :], rent[len(billed) :]
    yield "I8", "wins", rows, rows["contacts"] != contacts, "contacts", contacts, rows["contacts"]
    yield "I8", "wins", rows, rows["cum_rent_nano"] != rent, "cum_rent_nano", rent, rows["cum_rent_nano"]


def _budgets(books: _Books) -> Iterator[Break]:
    """I4: at no instant do a campaign's billed money and open holds exceed its budget (`budgets_nano` in meta.json)."""
    budgets = {int(campaign): int(nano) for campaign, nano in books.ledger.meta.get("budgets_nano", {}).items()}
    wins, events = books.wins, books.events
    if not budgets or not len(wins):
        return
    win = books.win
    freed = (win >= 0) & (events["kind"] == m.KIND_RELEASE)
    given_back = -wins["buyer_total_nano"][win[freed]]
    campaign = np.concatenate((wins["campaign"], wins["campaign"][win[freed]]))
    change = np.concatenate((wins["buyer_total_nano"], given_back))
    time = np.concatenate((wins["ts_ns"], events["ts_ns"][freed]))
    seq = np.concatenate((wins["seq"], events["seq"][freed]))
    by_time = np.lexsort((seq, time)) if len(books.ledger.workers) > 1 else np.argsort(seq, kind="stable")
    campaigns, of = ranks(campaign[by_time])
    order, _, used = _history(of, change[by_time])
    limit = np.array([budgets.get(int(c), m.BUDGET_MAX_NANO) for c in campaigns], np.int64)
    used_at = np.empty(change.size, np.int64)
    used_at[by_time[order]] = used
    broken = np.zeros(change.size, bool)
    broken[by_time[order]] = used > limit[of[order]]
    yield "I4", "wins", wins, broken[: len(wins)], "spent + held", "the budget or less", used_at[: len(wins)]


def _history(group: Ints, values: Rows) -> tuple[Ints, Ints, Ints]:
    """Sort rows by group, keeping their order: (order, where the row's group starts, running sum in it)."""
    order = np.argsort(group, kind="stable")
    grouped = group[order]
    change = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1]))) if grouped.size else np.zeros(0, int)
    start = np.repeat(change, np.diff(np.append(change, grouped.size)))
    running = np.cumsum(values[order], dtype=np.int64)
    before = np.concatenate((np.zeros(1, np.int64), running))[start] if grouped.size else running
    return order, start, running - before


def _sum_of(wins: Rows, parties: tuple[str, ...]) -> Ints:
    """Sum of some parties' amounts on each row."""
    out = np.zeros(len(wins), np.int64)
    for party in parties:
        out += wins[f"{party}_nano"]
    return out


def _at(which: Ints, rows: Rows | Pick) -> NDArray[np.bool_]:
    """A mask with the rows `which`."""
    mask = np.zeros(len(rows), bool)
    mask[which] = True
    return mask
