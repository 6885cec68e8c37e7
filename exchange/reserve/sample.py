"""What a ledger says about values: its second-price auctions, and the bids that a reserve would meet.

Only second-price auctions tell: there a bid that is too high or too low costs the bidder, so bids are values, and
stay what they are when the floor rises. What a bid is not: censored. A bidder that sees a floor need not bid below
it, so of the bids an auction logs those that reached its floor are a sample of values *above that floor* (truncated
to the left), whatever became of the others. Without the `bids` stream the top bid of a sold auction is still a value
above the second one: given the second highest of independent values, the highest has their distribution above it.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exchange import market as mk
from exchange.audience.target import quoted
from exchange.books.keys import Index, Ints, Rows
from exchange.openrtb import codes
from exchange.openrtb.countries import unpacked
from exchange.rent.ledger import Ledger

Floats = NDArray[np.float64]
COMPETED: Final = (codes.WON, codes.OUTBID)
SILENT_SHARE: Final = 1e-3  # of asked campaigns that may make no bid in a ledger that still counts as complete
SPENT_SHARE: Final = 0.95  # of a budget: who wins that much has had bids cut to the money left
UNTRUE_SHARE: Final = 0.05  # of local bids that may differ from the campaign's valuation without a remark
BY: Final = ("publisher", "domain", "size", "country", "media", "device", "hour")


@dataclass
class Sample:
    """Second-price auctions, int64 nano per impression, and the bids to fit, CPM.

    An auction earns `clearing` at any reserve up to `kept`, the reserve itself from there up to `top`, nothing above.
    """

    floor: Ints
    kept: Ints  # the second bid, or the winner's floor: what the price already stands on; 0 = unsold
    top: Ints  # the best bid that reached the floor; 0 = unsold
    clearing: Ints
    all_top: Ints  # the best and second-best seat, bids below the floor included; only where `complete`
    all_second: Ints
    bidders: Ints  # seats whose bid reached the floor; -1 = not logged
    value: Floats  # of each bid to fit
    above: Floats  # each is one of the values above this; 0 = of all values
    of: Ints  # the auction of each
    complete: bool  # every campaign that was asked made its bid, below the floor too
    has_bids: bool
    left_out: dict[str, int]  # auctions of other formats
    rows: Rows  # the auctions' own rows
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return int(self.floor.size)

    def part(self, here: NDArray[np.bool_]) -> "Sample":
        """The auctions where `here` is true; they share the notes."""
        number = np.cumsum(here) - 1
        bids = here[self.of] if self.of.size else np.zeros(0, bool)
        names = ("floor", "kept", "top", "clearing", "all_top", "all_second", "bidders", "rows")
        return Sample(
            **{name: getattr(self, name)[here] for name in names},
            value=self.value[bids],
            above=self.above[bids],
            of=number[self.of[bids]],
            complete=self.complete,
            has_bids=self.has_bids,
            left_out={},
            notes=self.notes,
        )


def read(ledger: Ledger) -> Sample:
    """The sample of a ledger. Raises LedgerError for a damaged one."""
    auctions = ledger.auctions
    formats, counts = np.unique(auctions["format"], return_counts=True)
    known = {number: name for name, number in mk.FORMATS.items()}
    left_out = {
        known.get(int(f), f"format {f}"): int(n)
        for f, n in zip(formats, counts, strict=True)
        if f != mk.SECOND_PRICE
    }  # fmt: skip
    rows = auctions[auctions["format"] == mk.SECOND_PRICE]
    top, second, own_floor = _wins(ledger, rows)
    floor, clearing = rows["floor_nano"].astype(np.int64), rows["clearing_nano"].astype(np.int64)
    kept = np.where(second > 0, second, np.where(top > 0, clearing, 0))
    sample = Sample(
        floor=floor,
        kept=np.minimum(np.maximum(kept, np.minimum(own_floor, clearing)), top),
        top=top,
        clearing=clearing,
        all_top=top,
        all_second=second,
        bidders=np.full(len(rows), -1, np.int64),
        value=np.zeros(0),
        above=np.zeros(0),
        of=np.zeros(0, np.int64),
        complete=False,
        has_bids=False,
        left_out=left_out,
        rows=rows,
    )
    _bids(ledger, sample, second)
    _remarks(ledger, sample)
    return sample


def _wins(ledger: Ledger, rows: Rows) -> tuple[Ints, Ints, Ints]:
    """Best bid, second bid and floor of the winner of each auction, nano per impression; 0 where unsold."""
    wins = ledger.wins
    found = np.zeros((3, len(rows)), np.int64)
    at = Index(rows, by_slot=False).find(wins)
    wins, at = wins[at >= 0], at[at >= 0]
    rate = wins["pctr_ppb"].astype(np.float64) / mk.ONE_PPB
    rate = np.where(wins["bill"] == mk.BILL_CONVERSION, rate * wins["pcvr_ppb"] / mk.ONE_PPB, rate)
    rate = np.where(wins["bill"] == mk.BILL_IMPRESSION, 1.0, rate)  # what is billed by the event counts by impression
    for row, name in zip(found, ("bid_nano", "second_nano", "floor_nano"), strict=True):
        row[at] = np.where(rate == 1.0, wins[name], (wins[name] * rate).astype(np.int64))
    return found[0], found[1], found[2]


def _bids(ledger: Ledger, sample: Sample, second: Ints) -> None:
    """Fill in what the bids say; without them, what the two best say."""
    bids, rows = ledger.bids, sample.rows
    at = Index(rows, by_slot=False).find(bids)
    priced = (at >= 0) & (bids["net_nano"] > 0)
    reached = priced & np.isin(bids["fate"], COMPETED)
    told = np.isin(np.flatnonzero(sample.top > 0), at[reached])
    sample.has_bids = len(bids) > 0 and bool(told.all())
    if not sample.has_bids:
        sample.of = np.flatnonzero(sample.top > 0)
        sample.value = sample.top[sample.of] / 1e6
        sample.above = np.maximum(second, sample.floor)[sample.of] / 1e6
        return
    below = priced & (bids["fate"] == codes.BELOW_FLOOR)
    silent = np.count_nonzero((at >= 0) & (bids["fate"] == codes.NO_BID))
    asked = np.count_nonzero(at >= 0)
    sample.complete = bool(silent <= SILENT_SHARE * asked) and not (bids["endpoint"][at >= 0] >= 0).any()
    of, net = _seats(at, bids, reached)
    sample.bidders = np.bincount(of, minlength=len(rows)).astype(np.int64)
    if sample.complete:
        of, net = _seats(at, bids, reached | below)
        sample.all_top, sample.all_second = _two_best(of, net, len(rows))
    sample.of, sample.value = of, net / 1e6
    sample.above = np.zeros(of.size) if sample.complete else sample.floor[of] / 1e6
    odd = np.count_nonzero(bids["net_nano"][below] >= sample.floor[at[below]])
    if odd:
        sample.notes.append(f"{odd:,} bids were below a floor of their own (deal or seat), above that of the imp")


def _seats(at: Ints, bids: Rows, which: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """The best bid of each seat in each auction: (auction, net), by auction and falling; seat 0 is nobody's."""
    at, net, seat = at[which], bids["net_nano"][which], bids["seat"][which].astype(np.int64)
    order = np.lexsort((-net, seat, at))
    at, net, seat = at[order], net[order], seat[order]
    first = np.ones(at.size, bool)
    first[1:] = (at[1:] != at[:-1]) | (seat[1:] != seat[:-1]) | (seat[1:] == 0)
    at, net = at[first], net[first]
    order = np.lexsort((-net, at))
    return at[order], net[order]


def _two_best(of: Ints, net: Ints, n: int) -> tuple[Ints, Ints]:
    """Highest and second-highest of each auction's bids, which stand by auction and falling; 0 = none."""
    top, second = np.zeros(n, np.int64), np.zeros(n, np.int64)
    head = np.ones(of.size, bool)
    head[1:] = of[1:] != of[:-1]
    top[of[head]] = net[head]
    runner = np.zeros(of.size, bool)
    runner[1:] = head[:-1] & ~head[1:]
    second[of[runner]] = net[runner]
    return top, second


def _remarks(ledger: Ledger, sample: Sample) -> None:
    """What makes bids something else than values, as far as the ledger shows it."""
    if sample.left_out:
        told = ", ".join(f"{n:,} {name}" for name, n in sample.left_out.items())
        sample.notes.append(f"auctions left out because bids are no values there: {told}")
    bids = ledger.bids
    local = (bids["campaign"] >= 0) & (bids["value_nano"] > 0) & (bids["gross_nano"] > 0)
    untrue, n = int(np.count_nonzero(bids["gross_nano"][local] != bids["value_nano"][local])), int(local.sum())
    if untrue > UNTRUE_SHARE * max(1, n):
        sample.notes.append(
            f"{untrue / n:.0%} of the local bids are not the campaign's valuation (paced or "
            "shaded): the figures hold only as long as these rules bid as they did"
        )
    budgets: dict[str, int] = ledger.meta.get("budgets_nano", {})
    dry = 0
    if budgets and len(ledger.wins):
        campaigns, of = np.unique(ledger.wins["campaign"], return_inverse=True)
        spent = np.bincount(of, ledger.wins["buyer_total_nano"].astype(np.float64))
        limits = np.array([budgets.get(str(c), mk.BUDGET_MAX_NANO) for c in campaigns.tolist()], np.float64)
        dry = int(np.count_nonzero(spent > SPENT_SHARE * limits))
    if dry:
        sample.notes.append(
            f"{dry} campaigns ran out of money: their last bids were cut to what was left, and they were gone after"
        )


def groups(ledger: Ledger, sample: Sample, by: str, most: int) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """(name, target in the targeting language or "", which auctions) of the largest groups, at most `most`."""
    found, of = np.unique(sample.rows[by], return_inverse=True)
    named = []
    for number in np.argsort(-np.bincount(of, minlength=found.size), kind="stable")[:most].tolist():
        text = _text(ledger, by, int(found[number]))
        target = ""
        if by == "hour":
            target = f"hour between {text} and {text}"
        elif text and by != "publisher":
            target = f"{by} in [{quoted(text)}]"
        named.append((text or "unknown", target, of == number))
    return named


def _text(ledger: Ledger, by: str, number: int) -> str:
    """The value of a column as people write it; "" = unknown."""
    if by in ("publisher", "domain"):
        text = ledger.names.text(by, number)
        return "".join(c if c.isprintable() else "?" for c in text) or (f"{by} {number}" if number else "")
    if by == "size":
        return f"{number >> 16}x{number & 0xFFFF}" if number >> 16 and number & 0xFFFF else ""
    if by == "country":
        return unpacked(number)
    if by == "media":
        return codes.MEDIA.get(number, "")
    return codes.DEVICES[number] if by == "device" and number < len(codes.DEVICES) else str(number)
