"""The ledger by columns: only the fields that a figure needs are brought into memory, not whole rows.

A stream is read piece by piece: a block of a live segment, a sealed file, or a slice of rows that lie in memory. A
few threads read ahead; what they return is handed on in the order of the ledger, worker by worker. Nothing here copies
whole rows, but for the one block a thread works on.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from exchange.market import KIND_REFUND, PARTIES, STREAMS
from exchange.rent.blocks import HEADER_BYTES
from exchange.rent.ledger import Chain, Ledger

Column = NDArray[Any]
Get = Callable[..., list[Column]]
Answer = TypeVar("Answer")
SLICE: Final = 1 << 16  # rows of a piece that lies in memory
AHEAD: Final = 2  # pieces read ahead, per thread
MADE: Final = ("parties", "refund_nano")  # columns that rows have in another form: (rows, 10) amounts; 0 or more
_PARTY0: Final = f"{PARTIES[0]}_nano"
_N: Final = len(PARTIES)


class Piece(Protocol):
    """Consecutive rows of one worker's stream."""

    worker: int
    rows: int

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
        first = rows[_PARTY0]
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

    def get(self, *names: str) -> list[Column]:
        """Some columns."""
        return [_column(self._rows, name) for name in names]


class LiveBlock:
    """The rows of a journal block that count, read once, when a column is first asked for."""

    def __init__(self, chain: Chain, ix: int) -> None:
        self._chain, self._ix = chain, ix
        self.worker = chain.worker
        self.rows = chain.keep[ix]
        self._loaded: NDArray[np.void] | None = None

    def get(self, *names: str) -> list[Column]:
        """Some columns. Raises LedgerError when the block's checksum disagrees."""
        rows = self._load() if self._loaded is None else self._loaded
        return [_column(rows, name) for name in names]

    def _load(self) -> NDArray[np.void]:
        part, block = self._chain.blocks[self._ix]
        dtype = STREAMS[self._chain.stream]
        assert dtype is not None
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


class Columns:
    """One stream of a ledger by columns: `Columns(ledger, "wins")["clearing_nano"]`.

    Names are those of the row (`market/rows.py`), and of MADE. Columns asked for by name stay in memory; `map` and
    `chunks` go through the stream and leave nothing behind. Raises LedgerError for what is damaged.
    """

    def __init__(self, ledger: Ledger, stream: str) -> None:
        self.stream = stream
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

    def map(self, work: Callable[[Get], Answer]) -> Iterator[tuple[Piece, Answer]]:
        """Call `work(get)` for every piece, in the readers' threads; yields (piece, answer) in order.

        `get(*names)` returns columns of that piece. A few pieces are worked on ahead of the one that is yielded.
        """

        def run(piece: Piece) -> Answer:
            try:
                return work(piece.get)
            finally:
                if isinstance(piece, LiveBlock):
                    piece.drop()

        if len(self._pieces) == 1:
            yield self._pieces[0], run(self._pieces[0])
            return
        waiting: deque[tuple[Piece, Future[Answer]]] = deque()
        readers, most = _readers(), AHEAD * cores()
        try:
            for piece in self._pieces:
                waiting.append((piece, readers.submit(run, piece)))
                if len(waiting) > most:
                    done, answer = waiting.popleft()
                    yield done, answer.result()
            while waiting:
                done, answer = waiting.popleft()
                yield done, answer.result()
        finally:
            for _, answer in waiting:
                answer.cancel()

    def chunks(self, *names: str) -> Iterator[tuple[Piece, list[Column]]]:
        """Some columns piece by piece, in order."""
        return self.map(lambda get: get(*names))

    def ends(self, name: str) -> dict[int, tuple[Any, Any]]:
        """The first and the last value of a column, per worker with rows."""
        found: dict[int, tuple[Any, Any]] = {}
        by_worker: dict[int, list[Piece]] = {}
        for piece in self._pieces:
            by_worker.setdefault(piece.worker, []).append(piece)
        for worker, pieces in by_worker.items():
            found[worker] = (pieces[0].get(name)[0][0], pieces[-1].get(name)[0][-1])
        return found


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
    return [LiveBlock(chain, ix) for chain in chains for ix, keep in enumerate(chain.keep) if keep]


def _slices(rows: NDArray[np.void]) -> Iterator[Slice]:
    """Rows in memory, cut where the worker changes and into pieces of at most SLICE rows."""
    if not len(rows):
        return
    worker = rows["worker"]
    bounds = [0, *(np.flatnonzero(worker[1:] != worker[:-1]) + 1).tolist(), len(rows)]
    for first, last in pairwise(bounds):
        for start in range(first, last, SLICE):
            yield Slice(rows[start : min(start + SLICE, last)], int(worker[first]))
