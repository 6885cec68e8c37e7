"""Double entry, derived from the rows: a billing debits the advertiser and credits the ten parties, a refund reverses.

Nothing here is a second book. A billing row posts what it says it paid, its win says who receives it; a refund row
gives back what it says, each party by its share of what is left (`waterfall.mirror`). Amounts are nano.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Final

import numpy as np
from msgspec import Struct
from numba import njit
from numpy.typing import NDArray

from exchange import market as m
from exchange.books.breakdown import shown
from exchange.books.keys import Index, Ints, Rows, ranks, total
from exchange.rent.blocks import LedgerError
from exchange.rent.ledger import Ledger
from exchange.rent.waterfall import mirror_many

N_PARTIES: Final = len(m.PARTIES)
ACCOUNTS: Final = ("advertiser", *m.PARTIES)
KEYS: Final = ("advertiser", "publisher", "campaign", "segment", "day", "week", "month", "party")
NANO: Final = 1e9


class Postings:
    """The billings and refunds of a ledger in the order of its rows, as columns.

    `at`: index of each among the events; `win`: of its win, -1 = none; `refund`: which are refunds; `amounts`: nano,
    above 0, what the advertiser pays or gets back.
    """

    def __init__(self, ledger: Ledger, win: Ints | None = None) -> None:
        """win: the win of each event, where the caller knows it already."""
        self.wins, self.events = ledger.wins, ledger.events
        kind = self.events["kind"]
        self.at: Ints = np.flatnonzero(np.isin(kind, (*m.BILLING, m.KIND_REFUND)))
        found = Index(self.wins, by_slot=True).find(self.events) if win is None else win
        self.win: Ints = found[self.at]
        self.refund: NDArray[np.bool_] = kind[self.at] == m.KIND_REFUND
        paid = self.events["paid_nano"][self.at]
        self.amounts: Ints = np.where(self.refund, -paid, paid)

    def __len__(self) -> int:
        return int(self.at.size)

    @cached_property
    def refund_parties(self) -> Ints:
        """What each party gives back: int64[refunds, 10]."""
        out = np.zeros((int(self.refund.sum()), N_PARTIES), np.int64)
        win, amounts = self.win[self.refund], self.amounts[self.refund]
        known = win >= 0
        awards, of = ranks(win[known])
        shares = np.zeros((int(known.sum()), N_PARTIES), np.int64)
        if awards.size:
            mirror_many(np.maximum(party_columns(self.wins)[awards], 0), of, amounts[known], shares)
        out[known] = shares
        return out

    def parties(self) -> Ints:
        """What each party receives (billings) or gives back (refunds): int64[n, 10], 80 bytes a row."""
        out = np.zeros((len(self), N_PARTIES), np.int64)
        billed = ~self.refund & (self.win >= 0)
        out[billed] = party_columns(self.wins)[self.win[billed]]
        out[self.refund] = self.refund_parties
        return out

    def sums(self, group: Ints, n: int) -> tuple[Ints, Ints]:
        """Debits and credits int64[n, 11] per group (0 to n - 1) and account (ACCOUNTS)."""
        debit, credit = np.zeros((n, N_PARTIES + 1), np.int64), np.zeros((n, N_PARTIES + 1), np.int64)
        if len(self):
            parties = party_columns(self.wins)
            _post(group, self.win, self.refund, self.amounts, parties, self.refund_parties, debit, credit)
        return debit, credit


def party_columns(wins: Rows) -> Ints:
    """The ten party amounts of wins as int64[n, 10], without a copy: they stand side by side in a row."""
    fields = wins.dtype.fields
    assert fields is not None
    first = fields[f"{m.PARTIES[0]}_nano"][1]
    view: Ints = np.ndarray((len(wins), N_PARTIES), np.int64, wins, first, (wins.strides[0], 8))
    return view


@njit(cache=True, nogil=True)
def _post(group, win, refund, amounts, parties, given_back, debit, credit):  # type: ignore[no-untyped-def]
    """Add every posting to its group's accounts."""
    refunds = 0
    for i in range(group.size):
        g = group[i]
        if refund[i]:
            credit[g, 0] += amounts[i]
            for k in range(given_back.shape[1]):
                debit[g, k + 1] += given_back[refunds, k]
            refunds += 1
        else:
            debit[g, 0] += amounts[i]
            if win[i] >= 0:
                for k in range(parties.shape[1]):
                    credit[g, k + 1] += parties[win[i], k]


# ---- the trial balance -----------------------------------------------------------------------------------------


class Line(Struct):
    """One line of a trial balance: its keys, what its accounts were debited and credited, and the difference."""

    keys: list[str]
    debit_nano: int
    credit_nano: int
    balance_nano: int  # debit - credit; 0 but where `party` is among the keys
    postings: int  # billings and refunds behind it


class Balance(Struct):
    """A trial balance: one line per partition, the sums, and whether they agree."""

    by: list[str]
    currency: str
    lines: list[Line]
    debit_nano: int
    credit_nano: int
    billings: int
    refunds: int
    balanced: bool


def balance(ledger: Ledger, by: tuple[str, ...] = ("party",), postings: Postings | None = None) -> Balance:
    """Sum debits and credits by any of KEYS. Raises LedgerError for a key that is none, or stands twice.

    Without `party` each line holds all accounts of its partition, and debit = credit on every line; with it a line is
    one account, and only the sums agree.
    """
    for key in by:
        if key not in KEYS or by.count(key) > 1:
            raise LedgerError(f"--by {','.join(by)}: expected one or more of {', '.join(KEYS)}, each once")
    found = postings or Postings(ledger)
    columns = [(_column(ledger, found, key), _text(ledger, key)) for key in by if key != "party"]
    group, n = np.zeros(len(found), np.int64), 1
    for values, _ in columns:
        distinct, of = ranks(values)
        group, n = group * max(distinct.size, 1) + of, n * max(distinct.size, 1)
        values_now, group = ranks(group)
        n = int(values_now.size)
    first = np.full(n, -1, np.int64)
    first[group[::-1]] = np.arange(len(found))[::-1]
    debit, credit = found.sums(group, n)
    counts = np.bincount(group, minlength=n)
    lines = []
    for g in range(n if len(found) else 0):
        texts = [text(values[first[g]]) for values, text in columns]
        if "party" not in by:
            lines.append(_line(texts, total(debit[g]), total(credit[g]), int(counts[g])))
            continue
        place = by.index("party")
        for k, account in enumerate(ACCOUNTS):
            if debit[g, k] or credit[g, k]:
                keys = [*texts[:place], account, *texts[place:]]
                lines.append(_line(keys, int(debit[g, k]), int(credit[g, k]), int(counts[g])))
    refunds = int(found.refund.sum())
    return Balance(
        by=list(by),
        currency=ledger.meta.get("currency", ""),
        lines=lines,
        debit_nano=total(debit),
        credit_nano=total(credit),
        billings=len(found) - refunds,
        refunds=refunds,
        balanced=bool((debit.sum(axis=1) == credit.sum(axis=1)).all()),
    )


def _line(keys: list[str], debit: int, credit: int, postings: int) -> Line:
    return Line(keys, debit, credit, debit - credit, postings)


def _column(ledger: Ledger, postings: Postings, key: str) -> Rows:
    """The values of a partition for each posting, as integers; -1 where the win is not there."""
    if key in ("day", "week", "month"):
        days = ledger.events["ts_ns"][postings.at] // (86_400 * m.NANO)
        if key == "month":
            days = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        found: Ints = days - (days + 3) % 7 if key == "week" else days  # Monday: 1970-01-01 was a Thursday
        return found
    win = postings.win
    if not len(ledger.wins):
        return np.full(win.size, -1, np.int64)
    return np.where(win >= 0, ledger.wins[key][win].astype(np.int64), -1)


def _text(ledger: Ledger, key: str) -> Callable[[int], str]:
    """How a value of a partition is written."""
    if key in ("day", "week"):
        return lambda value: str(np.datetime64(int(value), "D"))
    if key == "month":
        return lambda value: str(np.datetime64(int(value), "M"))
    nobody = {"segment": "no segment", "campaign": "remote"}.get(key, f"{key} unknown")
    return lambda value: shown(ledger, key, int(value)) or (f"{key} {value}" if value > 0 else nobody)


def render(found: Balance) -> str:
    """The trial balance as a table; amounts in currency, to the nano where the columns do not agree."""
    unit = found.currency or "currency"
    rows = [[*line.keys, *(_money(n) for n in (line.debit_nano, line.credit_nano, line.balance_nano)),
             f"{line.postings:,}"] for line in found.lines]  # fmt: skip
    rows.sort(key=lambda row: [ACCOUNTS.index(t) if t in ACCOUNTS and by == "party" else t
                               for t, by in zip(row, found.by, strict=False)])  # fmt: skip
    last = ["sum", *[""] * (len(found.by) - 1), _money(found.debit_nano), _money(found.credit_nano),
            _money(found.debit_nano - found.credit_nano), f"{found.billings + found.refunds:,}"]  # fmt: skip
    head = [*found.by, "debit", "credit", "balance", "postings"]
    widths = [max(len(row[k]) for row in (head, *rows, last)) for k in range(len(head))]
    n = len(found.by)

    def put(row: list[str]) -> str:
        cells = [c.ljust(w) if k < n else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "  ".join(cells).rstrip()

    rule = "-" * len(put(head))
    says = "debits and credits agree" if found.balanced else "DEBITS AND CREDITS DIFFER: see rentier reconcile"
    foot = f"{found.billings:,} billings, {found.refunds:,} refunds; amounts in {unit}; {says}"
    return "\n".join([put(head), rule, *map(put, rows), rule, put(last), foot]) + "\n"


def _money(nano: int) -> str:
    """Nano as plain currency with all its nine decimals: a balance that is off by one shows it."""
    whole, part = divmod(abs(nano), m.NANO)
    return f"{'-' if nano < 0 else ''}{whole:,}.{part:09}"
