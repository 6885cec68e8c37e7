"""The ledger, read side: the journal of every worker as numpy arrays, also while it is being written.

What counts after a crash. A worker's records carry one counter `seq` over all its streams, and the step that sells
an imp writes its auction row last. So the reader finds the first `seq` that is missing in the union of the streams,
keeps what lies before it, and then cuts at the first bid or win row that no auction row follows: that step was
never finished. Everything else commits itself. No sort is needed: seqs grow within a stream, so the number of
missing ones up to S is `S - first + 1 - sum of counts up to S`, which never falls as S grows and is found by
bisection over the blocks.
The same cut makes a snapshot of a live ledger consistent, in whatever order the streams are read: every record
older than the first look at any stream was complete before that look, hence the records form a gapless prefix up
to there, and whatever was seen beyond the first gap is left for the next `refresh`.
A worker that was closed cleanly (every stream ends with the end mark) is shown as it is, uncut.
"""

import bisect
import os
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.market import STREAMS
from exchange.rent.blocks import (
    CLOSED,
    END,
    HEADER_BYTES,
    INPUT_HEAD,
    INPUT_PACKER,
    ROW_BYTES,
    Block,
    LedgerError,
    Segment,
    first_seq_of,
    header,
    inputs_in,
    scan,
    segments,
)
from exchange.rent.names import Names, read_meta

if TYPE_CHECKING:
    from exchange.rent.answers import Answer
    from exchange.rent.journal import Journal

LOST_MAX: Final = 100_000  # records that `recover` may cut; kill -9 costs one step, a power failure a few seconds
_COUNTER: Final = (1 << 48) - 1


class Input(Struct):
    """One record of the `inputs` stream: what came in."""

    seq: int
    ts_ns: int
    kind: int  # market.KIND_REQUEST, KIND_LINK, KIND_TICK
    worker: int
    config_version: int
    snapshot_version: int
    payload: bytes


class Chain:
    """One stream of one worker: its blocks in order, and how many rows of each count."""

    def __init__(self, stream: str, worker: int, parts: list[Segment], skip_checksum: bool = False) -> None:
        self.stream = stream
        self.worker = worker
        self.parts = parts
        self.skip_checksum = skip_checksum
        self.blocks: list[tuple[Segment, Block]] = []
        self.ended = not parts
        for part in parts:
            found, self.ended = scan(part, stream, worker, part is parts[-1])
            self.blocks += [(part, block) for block in found if block.count]
        self.keep = [block.count for _, block in self.blocks]  # rows that count, per block
        self._firsts = [block.first_seq for _, block in self.blocks]
        for (part, block), before in zip(self.blocks[1:], self._firsts, strict=False):
            if block.first_seq <= before:
                raise part.fail(block.offset, f"seq {block.first_seq} follows {before}")
        self._before = np.concatenate(([0], np.cumsum(self.keep))).astype(np.int64)
        self._seqs: tuple[int, NDArray[np.uint64]] = (-1, np.zeros(0, np.uint64))

    @property
    def rows(self) -> int:
        """Rows that count."""
        return sum(self.keep)

    def seqs(self, ix: int) -> NDArray[np.uint64]:
        """The seqs of one block."""
        if self._seqs[0] != ix:
            payload = self.payload(ix)
            dtype = STREAMS[self.stream]
            if dtype is None:
                seqs = np.array([seq for seq, _, _ in inputs_in(payload, self.blocks[ix][1].count)], np.uint64)
            else:
                seqs = np.frombuffer(payload, dtype)["seq"].copy()
            self._seqs = (ix, seqs)
        return self._seqs[1]

    def upto(self, seq: int) -> int:
        """Rows whose seq is at most `seq`."""
        ix = bisect.bisect_right(self._firsts, seq) - 1
        if ix < 0:
            return 0
        return int(self._before[ix]) + int(np.searchsorted(self.seqs(ix), np.uint64(seq), "right"))

    def last_seq(self, at_most: int) -> int:
        """The highest seq that is not above `at_most`; 0 = none."""
        ix = bisect.bisect_right(self._firsts, at_most) - 1
        if ix < 0:
            return 0
        seqs = self.seqs(ix)
        return int(seqs[int(np.searchsorted(seqs, np.uint64(at_most), "right")) - 1])

    def first_after(self, seq: int) -> int:
        """The lowest seq above `seq`; 0 = none."""
        ix = max(0, bisect.bisect_right(self._firsts, seq) - 1)
        for k in range(ix, min(ix + 2, len(self._firsts))):
            seqs = self.seqs(k)
            at = int(np.searchsorted(seqs, np.uint64(seq), "right"))
            if at < seqs.size:
                return int(seqs[at])
        return 0

    def cut(self, seq: int) -> int:
        """Keep only rows up to `seq`; return how many fall away."""
        before = self.rows
        kept = self.upto(seq)
        self.keep = [max(0, min(n, kept - int(start))) for n, start in zip(self.keep, self._before, strict=False)]
        return before - kept

    def payload(self, ix: int) -> bytes:
        """The whole payload of a block; LedgerError when its checksum disagrees."""
        buffer = bytearray(self.blocks[ix][1].size)
        self.read_into(ix, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, ix: int, buffer: memoryview) -> None:
        """Read the whole payload of a block and verify it."""
        part, block = self.blocks[ix]
        if part.read_into(block.offset + HEADER_BYTES, buffer) < block.size:
            raise part.fail(block.offset, "the file shrank while it was read; open it again")
        if block.closed != CLOSED or block.torn or self.skip_checksum:
            return
        found = zlib.crc32(buffer)
        if found != block.checksum:
            raise part.fail(block.offset, f"checksum is {found:08x}, the header says {block.checksum:08x}")
        if first_seq_of(buffer) != block.first_seq:
            raise part.fail(block.offset, f"first seq is {first_seq_of(buffer)}, header says {block.first_seq}")

    def load(self, out: NDArray[np.void]) -> None:
        """Copy the rows that count into `out`."""
        at = 0
        width = ROW_BYTES[self.stream]
        view = memoryview(out.view(np.uint8))  # type: ignore[arg-type]
        for ix, keep in enumerate(self.keep):
            size = self.blocks[ix][1].size
            if keep * width == size:
                self.read_into(ix, view[at * width : at * width + size])
            elif keep:
                view[at * width : (at + keep) * width] = self.payload(ix)[: keep * width]
            at += keep


class Worker:
    """All streams of one worker, cut to what counts."""

    def __init__(self, worker: int, tree: dict[str, list[Segment]], skip_checksum: bool = False) -> None:
        self.worker = worker
        self.chains = {name: Chain(name, worker, parts, skip_checksum) for name, parts in tree.items()}
        self.clean = all(chain.ended for chain in self.chains.values())
        self.cut: dict[str, int] = {}
        self.last_seq = max((chain.last_seq(1 << 63) for chain in self.chains.values()), default=0)
        if not self.clean:
            self.last_seq = self._committed()
            self.cut = {name: chain.cut(self.last_seq) for name, chain in self.chains.items()}

    def _committed(self) -> int:
        """The seq of the last row that counts."""
        chains = list(self.chains.values())
        low = min((chain._firsts[0] for chain in chains if chain._firsts), default=1) - 1

        def missing(seq: int) -> int:
            return seq - low - sum(chain.upto(seq) for chain in chains)

        high = self.last_seq
        if high > low and missing(high):
            high = low + bisect.bisect_left(range(low + 1, high + 1), 1, key=missing)
        if "auctions" not in self.chains:
            return high
        last = self.chains["auctions"].last_seq(high)
        loose = [self.chains[name].first_after(last) for name in ("bids", "wins") if name in self.chains]
        return min([high, *(seq - 1 for seq in loose if seq)])

    def next_auction(self) -> int:
        """The first auction counter that was not used by a row that counts."""
        if "auctions" not in self.chains:
            return 1
        tops = [block.top_auction for _, block in self.chains["auctions"].blocks]
        return (max(tops, default=0) & _COUNTER) + 1


class Ledger:
    """A ledger folder as numpy arrays; `refresh` looks again. Raises LedgerError for anything damaged.

    Arrays are loaded, and their checksums verified, on first use; rows stand worker by worker in order of seq.
    """

    def __init__(self, path: Path | str) -> None:
        self.path: Path | None = Path(path)
        self._journal: Journal | None = None
        self._names, self._meta = Names(None), dict[str, Any]()
        if not self.path.is_dir():
            raise LedgerError(f"{path}: no such ledger folder")
        self.refresh()

    @classmethod
    def in_memory(cls, journal: "Journal", names: Names | None = None, meta: dict[str, Any] | None = None) -> "Ledger":
        """The ledger of a journal without a folder, with the names and facts that belong to it."""
        ledger = cls.__new__(cls)
        ledger.path, ledger._journal = None, journal
        ledger._names, ledger._meta = names or Names(None), meta or {}
        ledger.refresh()
        return ledger

    def refresh(self) -> None:
        """Look again: take a consistent snapshot of what is there now."""
        for name in ("auctions", "bids", "wins", "events", "names", "meta"):
            self.__dict__.pop(name, None)
        if self._journal is not None:
            tree, skip = {self._journal.worker: self._journal.segments()}, True
        else:
            assert self.path is not None
            tree, skip = segments(self.path), False
        self.workers = [Worker(worker, streams, skip) for worker, streams in tree.items()]

    @property
    def clean(self) -> bool:
        """Whether every worker closed its journal."""
        return all(worker.clean for worker in self.workers)

    @property
    def cut(self) -> dict[str, int]:
        """Rows per stream that are left out: an unfinished step, or what a live writer adds just now."""
        total: dict[str, int] = {}
        for worker in self.workers:
            for name, n in worker.cut.items():
                total[name] = total.get(name, 0) + n
        return total

    @cached_property
    def auctions(self) -> NDArray[Any]:
        """One row an imp, sold or not (`market.AUCTION_ROW`)."""
        return self._rows("auctions")

    @cached_property
    def bids(self) -> NDArray[Any]:
        """One row a bid, with its fate (`market.BID_ROW`)."""
        return self._rows("bids")

    @cached_property
    def wins(self) -> NDArray[Any]:
        """One row a win: the terms (`market.WIN_ROW`)."""
        return self._rows("wins")

    @cached_property
    def events(self) -> NDArray[Any]:
        """Impressions, clicks, releases, late impressions (`market.EVENT_ROW`)."""
        return self._rows("events")

    @cached_property
    def names(self) -> Names:
        """Texts of the ids in the rows."""
        return self._names if self.path is None else Names(self.path, read_only=True)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What `names.write_meta` left beside the journal; empty when there is nothing."""
        return self._meta if self.path is None else read_meta(self.path)

    def sql(self, query: str, parameters: Any = ()) -> "Answer":
        """The answer to one SELECT over the views of docs/sql.md, as of the last `refresh`.

        It has `.columns`, `.rows`, `.fetchnumpy()`, `.frame()` (pandas) and `.table()`. parameters: for `?` (a
        sequence) or `$name` (a mapping). Raises LedgerError with DuckDB's message for a query it cannot answer.
        """
        from exchange.rent.answers import ask

        return ask(self, query, parameters)

    def verify(self) -> int:
        """Read everything, so that every checksum is verified; return the rows of all streams."""
        fixed = sum(len(rows) for rows in (self.auctions, self.bids, self.wins, self.events))
        return fixed + sum(1 for _ in self.inputs())

    def inputs(self) -> Iterator[Input]:
        """The records of the `inputs` stream, worker by worker in order of seq."""
        for worker in self.workers:
            chain = worker.chains.get("inputs")
            for ix, keep in enumerate(chain.keep if chain else []):
                assert chain is not None
                payload = chain.payload(ix)
                for _, _, start in inputs_in(payload, keep):
                    seq, ts_ns, config, snapshot, who, kind, length = INPUT_PACKER.unpack_from(payload, start)
                    data = payload[start + INPUT_HEAD.itemsize : start + INPUT_HEAD.itemsize + length]
                    yield Input(seq, ts_ns, kind, who, config, snapshot, data)

    def seqs(self) -> dict[int, NDArray[np.uint64]]:
        """The seqs of all records of each worker, sorted."""
        found: dict[int, NDArray[np.uint64]] = {}
        for state in self.workers:
            parts = [
                rows["seq"][rows["worker"] == state.worker]
                for rows in (self.auctions, self.bids, self.wins, self.events)
            ]
            chain = state.chains.get("inputs")
            parts += [chain.seqs(ix)[:keep] for ix, keep in enumerate(chain.keep)] if chain else []
            found[state.worker] = np.sort(np.concatenate(parts))
        return found

    def _rows(self, stream: str) -> NDArray[Any]:
        """The rows of one stream of all workers."""
        dtype = STREAMS[stream]
        assert dtype is not None
        chains = [worker.chains[stream] for worker in self.workers if stream in worker.chains]
        out = np.empty(sum(chain.rows for chain in chains), dtype)
        at = 0
        for chain in chains:
            chain.load(out[at : at + chain.rows])
            at += chain.rows
        return out


def recover(folder: Path, worker: int) -> tuple[int, int, dict[str, int]]:
    """Make a worker's ledger whole before it is written again: cut torn tails, close what a crash left open.

    Returns (next seq, next auction counter, stream -> number of its last segment). Only for the holder of the
    writer's lock. Raises LedgerError, and changes nothing, when more than tails would be lost.
    """
    tree = segments(folder).get(worker, {})
    state = Worker(worker, tree)
    if not state.clean:
        lost = sum(state.cut.values())
        if lost > LOST_MAX:
            raise LedgerError(
                f"{folder}: a record of worker {worker} is missing after seq {state.last_seq}, and {lost} records"
                f" behind it would be lost, more than a crash can explain ({LOST_MAX}): look for missing segments"
            )
        for chain in state.chains.values():
            _repair(chain)
    return state.last_seq + 1, state.next_auction(), {name: len(parts) for name, parts in tree.items()}


def _repair(chain: Chain) -> None:
    """Close the last kept block of a stream, put the end mark behind it, and cut the file there."""
    for part in chain.parts:
        held = [ix for ix, (segment, _) in enumerate(chain.blocks) if segment is part]
        whole = all(chain.keep[ix] == chain.blocks[ix][1].count for ix in held)
        if part is not chain.parts[-1] and whole:
            continue
        assert part.path is not None
        end = 0
        with part.path.open("r+b") as file:
            for ix in held:
                if not chain.keep[ix]:
                    continue
                block = chain.blocks[ix][1]
                payload = chain.payload(ix)
                width = ROW_BYTES[chain.stream]
                used = chain.keep[ix] * width if width else inputs_in(payload, chain.keep[ix])[-1][1]
                raw = header(chain.stream, chain.worker, used, block.first_seq, chain.keep[ix],
                             zlib.crc32(payload[:used]), CLOSED, block.top_auction)  # fmt: skip
                file.seek(block.offset)
                file.write(raw)
                end = block.offset + HEADER_BYTES + used
            file.seek(end)
            file.write(header(chain.stream, chain.worker, 0, closed=END))
            file.truncate(end + HEADER_BYTES)
            file.flush()
            os.fsync(file.fileno())
