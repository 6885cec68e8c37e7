"""The ledger by columns: only the fields that a figure needs are brought into memory, not whole rows.

A stream is read piece by piece: a block of a live segment, a sealed file, or a slice of rows that lie in memory. A
few threads read ahead; what they return is handed on in the order of the ledger, worker by worker. Nothing here copies
whole rows, but for the one block a thread works on.

Sealed files hold independent columns only. The buyer's total and the parties are split again piece by piece; what an
event repeats of its win, and histories, follow from the whole of a worker's wins and events, so they are there by name
(`Columns(...)["contact_n"]`) but not in `map` and `chunks`.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from exchange.market import KIND_REFUND, PARTIES, STREAMS
from exchange.rent.blocks import HEADER_BYTES, LedgerError, Segment
from exchange.rent.chain import Chain, Gone, Worker
from exchange.rent.derived import SPLIT_COLUMNS, history, splits, totals
from exchange.rent.ledger import Ledger
from exchange.rent.manifest import File
from exchange.rent.names import Names
from exchange.rent.sealed import DERIVED, KIND, OF_WIN, Sealed

Column = NDArray[Any]
Get = Callable[..., list[Column]]
Answer = TypeVar("Answer")
SLICE: Final = 1 << 16  # rows of a piece that lies in memory
AHEAD: Final = 2  # pieces read ahead, per thread
MADE: Final = ("parties", "refund_nano")  # columns that rows have in another form: (rows, 10) amounts; 0 or more
PARTY_COLUMNS: Final = tuple(f"{party}_nano" for party in PARTIES)
SPLIT: Final = ("buyer_total_nano", "parties", *PARTY_COLUMNS)  # what `derived.splits` says
HISTORY: Final = {
    stream: tuple(name for name in names if name not in SPLIT) for stream, names in DERIVED.items()
}  # what needs a worker's whole history
_N: Final = len(PARTIES)


class Piece(Protocol):
    """Consecutive rows of one worker's stream."""

    worker: int
    rows: int
    file: File | None  # what the manifest says of them, where they are a whole sealed file

    def get(self, *names: str) -> list[Column]:
        """Some columns, contiguous, in the order of the rows."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _readers() -> ThreadPoolExecutor:
    """The threads that read ahead; they read files, verify checksums and copy, all without the interpreter's lock."""
    return ThreadPoolExecutor(cores(), thread_name_prefix="columns")


def _column(rows: NDArray[np.void], name: str) -> Column:
    """A column of whole rows; copied."""
    if name == "parties":
        first = rows[PARTY_COLUMNS[0]]
        return np.lib.stride_tricks.as_strided(first, (first.size, _N), (first.strides[0], 8)).copy()
    if name == "refund_nano":
        return np.where(rows["kind"] == KIND_REFUND, -rows["paid_nano"], 0)
    return np.array(rows[name])


class Slice:
    """Rows that lie in memory."""

    def __init__(self, rows: NDArray[np.void], worker: int) -> None:
        self._rows = rows
        self.worker = worker
        self.rows = len(rows)
        self.file: File | None = None

    def get(self, *names: str) -> list[Column]:
        """Some columns."""
        return [_column(self._rows, name) for name in names]


class LiveBlock:
    """The rows of a journal block that count, read once, when a column is first asked for."""

    def __init__(self, chain: Chain, ix: int) -> None:
        self._chain, self._ix = chain, ix
        self.worker = chain.worker
        self.rows = chain.keep[ix]
        self.file: File | None = None
        self._loaded: NDArray[np.void] | None = None

    def get(self, *names: str) -> list[Column]:
        """Some columns. Raises LedgerError when the block's checksum disagrees."""
        rows = self._load() if self._loaded is None else self._loaded
        return [_column(rows, name) for name in names]

    def _load(self) -> NDArray[np.void]:
        part, block = self._chain.blocks[self._ix]
        dtype = self._chain.dtype
        assert isinstance(part, Segment) and dtype is not None
        if part.memory is not None:  # a journal in memory: what is counted stays as it is
            rows = np.frombuffer(part.memory, dtype, self.rows, block.offset + HEADER_BYTES)
        else:
            buffer = np.empty(block.size, np.uint8)
            self._chain.read_into(self._ix, memoryview(buffer))  # type: ignore[arg-type]
            rows = buffer[: self.rows * dtype.itemsize].view(dtype)
        self._loaded = rows
        return rows

    def drop(self) -> None:
        """Forget what was read."""
        self._loaded = None


class SealedFile:
    """The rows of one sealed file."""

    def __init__(self, part: Sealed, names: Names) -> None:
        self._part, self._names = part, names
        self.worker = part.file.worker
        self.rows = part.file.rows
        self.file: File | None = part.file

    def get(self, *names: str) -> list[Column]:
        """Some columns, HISTORY excepted. Raises Gone when the file was replaced, LedgerError when it is damaged."""
        stream = self._part.file.stream
        made: dict[str, Column] = {"worker": np.full(self.rows, self.worker, np.uint16)} if "worker" in names else {}
        if stream in KIND and "kind" in names:
            made["kind"] = np.full(self.rows, KIND[stream], np.uint16)
        split = SPLIT if stream == "wins" and not set(SPLIT).isdisjoint(names) else ()
        stored = {name for name in (*names, *(SPLIT_COLUMNS if split else ())) if name not in (*made, *split)}
        try:
            found = {**self._part.columns(sorted(stored)), **made} if stored else made
        except FileNotFoundError as error:
            raise Gone(self._part.name) from error
        if split and set(SPLIT).isdisjoint({*names} - {"buyer_total_nano"}):
            found["buyer_total_nano"] = totals(self._names, found)
        elif split:
            found["buyer_total_nano"], found["parties"] = splits(self._names, found)
            found |= {name: found["parties"][:, k].copy() for k, name in enumerate(PARTY_COLUMNS) if name in names}
        return [found[name] for name in names]


class Part:
    """Some of the rows of a piece."""

    def __init__(self, piece: Piece, first: int, last: int) -> None:
        self._piece, self._slice = piece, slice(first, last)
        self.worker = piece.worker
        self.rows = last - first
        self.file: File | None = None

    def get(self, *names: str) -> list[Column]:
        """Some columns."""
        return [column[self._slice] for column in self._piece.get(*names)]


class Columns:
    """One stream of a ledger by columns: `Columns(ledger, "wins")["clearing_nano"]`.

    Names are those of the row (`market/rows.py`), and of MADE. Columns asked for by name stay in memory; `map` and
    `chunks` go through the stream and leave nothing behind. Raises LedgerError for what is damaged.
    """

    def __init__(self, ledger: Ledger, stream: str) -> None:
        self.stream = stream
        self._ledger = ledger
        self._pieces = _pieces_of(ledger, stream)
        self._held: dict[str, Column] = {}

    def __len__(self) -> int:
        return sum(piece.rows for piece in self._pieces)

    def __getitem__(self, name: str) -> Column:
        if name not in self._held:
            self.load(name)
        return self._held[name]

    def load(self, *names: str) -> None:
        """Bring several columns in at once: cheaper than one after the other, for live segments."""
        wanted = [name for name in names if name not in self._held]
        if any(isinstance(piece, SealedFile) for piece in self._pieces):
            for name in [name for name in wanted if name in HISTORY[self.stream]]:
                self._held[name] = self._derived(name)
            wanted = [name for name in wanted if name not in self._held]
        if not wanted:
            return
        out: dict[str, Column] = {}
        at, n = 0, len(self)
        for piece, found in self.map(lambda get: get(*wanted)):
            for name, values in zip(wanted, found, strict=True):
                if name not in out:
                    out[name] = np.empty((n, *values.shape[1:]), values.dtype)
                out[name][at : at + piece.rows] = values
            at += piece.rows
        for name in wanted:
            self._held[name] = out[name] if name in out else _nothing(self.stream, name)

    def chunks(self, *names: str) -> Iterator[tuple[Piece, list[Column]]]:
        """Some columns piece by piece, in order."""
        return self.map(lambda get: get(*names))

    def map(self, work: Callable[[Get], Answer]) -> Iterator[tuple[Piece, Answer]]:
        """Call `work(get)` for every piece, in the readers' threads; yields (piece, answer) in order.

        `get(*names)` returns columns of that piece. A few pieces are worked on ahead of the one that is yielded.
        """
        return self.map_pieces(lambda piece: work(piece.get))

    def map_pieces(self, work: Callable[[Piece], Answer]) -> Iterator[tuple[Piece, Answer]]:
        """`map` for work that wants to know more of a piece than its columns."""
        if len(self._pieces) == 1:
            yield from self._patiently(self._pieces[0], partial(_run, work, self._pieces[0]), work)
            return
        waiting: deque[tuple[Piece, Future[Answer]]] = deque()
        readers, most = _readers(), AHEAD * cores()
        try:
            for piece in self._pieces:
                waiting.append((piece, readers.submit(_run, work, piece)))
                if len(waiting) > most:
                    done, answer = waiting.popleft()
                    yield from self._patiently(done, answer.result, work)
            while waiting:
                done, answer = waiting.popleft()
                yield from self._patiently(done, answer.result, work)
        finally:
            for _, answer in waiting:
                answer.cancel()

    def ends(self, name: str) -> dict[int, tuple[Any, Any]]:
        """The first and the last value of a column, per worker with rows."""
        by_worker: dict[int, list[Piece]] = {}
        for piece in self._pieces:
            by_worker.setdefault(piece.worker, []).append(piece)
        found: dict[int, tuple[Any, Any]] = {}
        for worker, pieces in by_worker.items():
            both = [pieces[0], pieces[-1]] if len(pieces) > 1 else pieces
            columns = [
                got[0]
                for piece in both
                for _, got in self._patiently(piece, partial(_run, _one(name), piece), _one(name))
            ]
            found[worker] = (columns[0][0], columns[-1][-1])
        return found

    def _patiently(
        self, piece: Piece, result: Callable[[], Answer], work: Callable[[Piece], Answer]
    ) -> Iterator[tuple[Piece, Answer]]:
        """Yield a piece and its answer; where its segment was sealed since this look, in the pieces it lies in now."""
        try:
            answer = result()
        except Gone:
            for fresh in self._moved(piece):
                try:
                    again = _run(work, fresh)
                except Gone as gone:
                    raise LedgerError(f"{gone}: this file is missing") from None
                yield fresh, again
            return
        yield piece, answer

    def _moved(self, piece: Piece) -> list[Piece]:
        """The rows of a piece as they lie there now."""
        before = 0
        for other in self._pieces:
            if other is piece:
                break
            before += other.rows if other.worker == piece.worker else 0
        state = next(state for state in self._ledger.workers if state.worker == piece.worker)
        chain = self._ledger.again(state, self.stream)
        found: list[Piece] = []
        start = 0
        for fresh in _chained(chain, self._ledger.names):
            low, high = max(before, start), min(before + piece.rows, start + fresh.rows)
            if low < high:
                found.append(Part(fresh, low - start, high - start))
            start += fresh.rows
        return found

    def _derived(self, name: str) -> Column:
        """A column that sealed files leave out and that needs the whole of a worker's wins and events."""
        wins = self if self.stream == "wins" else Columns(self._ledger, "wins")
        events = self if self.stream == "events" else Columns(self._ledger, "events")
        wins.load("seq", "ts_ns", "serial", "person_key", "advertiser", "buyer_total_nano")
        events.load("seq", "ts_ns", "kind", "serial", "refund_nano")
        dtype = STREAMS[self.stream]
        assert dtype is not None
        out = np.zeros(len(self), dtype[name])
        for worker in self._ledger.workers:
            w, e = wins._span(worker), events._span(worker)
            mine = w if self.stream == "wins" else e
            found = history(
                {key: wins[key][w] for key in ("seq", "ts_ns", "serial", "person_key", "advertiser")},
                wins["buyer_total_nano"][w],
                {key: events[key][e] for key in ("seq", "ts_ns", "kind", "serial", "refund_nano")},
            )
            if name in OF_WIN:
                column = wins[name][w]
                out[mine] = np.where(found.win >= 0, column[found.win], 0) if column.size else 0
            else:
                of_event = {"cum_rent_nano": "event_cum_rent_nano"} if self.stream == "events" else {}
                out[mine] = getattr(found, of_event.get(name, name))
        return out

    def spans(self) -> dict[int, slice]:
        """The rows of each worker that has some."""
        found: dict[int, slice] = {}
        at = 0
        for piece in self._pieces:
            start = found[piece.worker].start if piece.worker in found else at
            at += piece.rows
            found[piece.worker] = slice(start, at)
        return found

    def _span(self, worker: Worker) -> slice:
        """The rows of a worker."""
        start = sum(
            state.chains[self.stream].rows
            for state in self._ledger.workers
            if state.worker < worker.worker and self.stream in state.chains
        )
        return slice(start, start + (worker.chains[self.stream].rows if self.stream in worker.chains else 0))


def _run(work: Callable[[Piece], Answer], piece: Piece) -> Answer:
    """Work on a piece, and forget what was read of it."""
    try:
        return work(piece)
    finally:
        if isinstance(piece, LiveBlock):
            piece.drop()


def _one(name: str) -> Callable[[Piece], list[Column]]:
    """The work of getting one column."""
    return lambda piece: piece.get(name)


def _nothing(stream: str, name: str) -> Column:
    """A column without rows."""
    dtype = STREAMS[stream]
    assert dtype is not None
    return _column(np.zeros(0, dtype), name)


def _pieces_of(ledger: Ledger, stream: str) -> list[Piece]:
    """The pieces of a stream that have rows, worker by worker in order of seq."""
    if not hasattr(ledger, "workers") or stream in vars(ledger):  # rows that somebody has loaded already
        return list(_slices(getattr(ledger, stream)))
    chains = [worker.chains[stream] for worker in ledger.workers if stream in worker.chains]
    return [piece for chain in chains for piece in _chained(chain, ledger.names)]


def _chained(chain: Chain, names: Names) -> Iterator[Piece]:
    """The pieces of one stream of one worker."""
    for ix, keep in enumerate(chain.keep):
        part = chain.blocks[ix][0]
        if isinstance(part, Sealed):
            yield SealedFile(part, names)
        elif keep:
            yield LiveBlock(chain, ix)


def _slices(rows: NDArray[np.void]) -> Iterator[Slice]:
    """Rows in memory, cut where the worker changes and into pieces of at most SLICE rows."""
    if not len(rows):
        return
    worker = rows["worker"]
    bounds = [0, *(np.flatnonzero(worker[1:] != worker[:-1]) + 1).tolist(), len(rows)]
    for first, last in pairwise(bounds):
        for start in range(first, last, SLICE):
            yield Slice(rows[start : min(start + SLICE, last)], int(worker[first]))
