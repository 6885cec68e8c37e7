"""One stream of one worker as its blocks in order, sealed files first; and all streams of a worker, cut to what counts.

What counts after a crash. A worker's records carry one counter `seq` over all its streams, and the step that sells
an imp writes its auction row last. So the reader finds the first `seq` that is missing in the union of the streams,
keeps what lies before it, and then cuts at the first bid or win row that no auction row follows: that step was
never finished. Everything else commits itself. No sort is needed: seqs grow within a stream, so the number of
missing ones up to S is `S - base - sum of counts between base and S`, which never falls as S grows and is found by
bisection over the blocks. `base` is where sealed files end: segments are sealed when all before them is safe, so
nothing below it can be missing but what retention dropped.
The same cut makes a snapshot of a live ledger consistent, in whatever order the streams are read: every record
older than the first look at any stream was complete before that look, hence the records form a gapless prefix up
to there, and whatever was seen beyond the first gap is left for the next look.
A worker that was closed cleanly (every stream ends with the end mark) is shown as it is, uncut.
"""

import bisect
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from exchange.market import STREAMS
from exchange.rent import manifest as mf
from exchange.rent.blocks import (
    CLOSED,
    HEADER_BYTES,
    Block,
    LedgerError,
    Segment,
    first_seq_of,
    inputs_in,
    scan,
    segment_numbers,
    segment_path,
)
from exchange.rent.sealed import Sealed

Part = Segment | Sealed
Shapes = Mapping[str, np.dtype[np.void] | None]
LOOKS_MAX: Final = 100
COUNTER: Final = (1 << 48) - 1
_Found = TypeVar("_Found")


class Gone(Exception):  # noqa: N818 - no error: the rows lie in a sealed file by now
    """A segment that was there a moment ago has been sealed, or a sealed file replaced: look again."""


class Chain:
    """One stream of one worker: its blocks in order, and how many rows of each count."""

    def __init__(
        self, stream: str, worker: int, parts: Sequence[Part], skip_checksum: bool = False, shapes: Shapes = STREAMS
    ) -> None:
        self.stream = stream
        self.worker = worker
        self.parts = parts
        self.skip_checksum = skip_checksum
        self.dtype = shapes[stream]
        self.width = self.dtype.itemsize if self.dtype is not None else 0
        self.blocks: list[tuple[Part, Block]] = []
        self.ended = True
        for part in parts:
            if isinstance(part, Sealed):
                self.blocks.append((part, _block_of(part.file)))
                continue
            found, self.ended = scan(part, stream, worker, part is parts[-1], shapes)
            self.blocks += [(part, block) for block in found if block.count]
        self.keep = [block.count for _, block in self.blocks]  # rows that count, per block
        self._firsts = [block.first_seq for _, block in self.blocks]
        for (part, block), before in zip(self.blocks[1:], self._firsts, strict=False):
            if block.first_seq <= before:
                if isinstance(part, Sealed):
                    raise LedgerError(f"{part.name}: first seq {block.first_seq} follows {before}")
                raise part.fail(block.offset, f"seq {block.first_seq} follows {before}")
        self._before = np.concatenate(([0], np.cumsum(self.keep))).astype(np.int64)
        self._seqs: tuple[int, NDArray[np.uint64]] = (-1, np.zeros(0, np.uint64))

    @property
    def rows(self) -> int:
        """Rows that count."""
        return sum(self.keep)

    @property
    def n_sealed(self) -> int:
        """Blocks that are sealed files; they come first."""
        return sum(isinstance(part, Sealed) for part, _ in self.blocks)

    @property
    def sealed_rows(self) -> int:
        """Rows that count and lie in sealed files; they come first."""
        return sum(self.keep[: self.n_sealed])

    @property
    def first_seq(self) -> int:
        """The seq of the first row; 0 = there is none."""
        return self._firsts[0] if self._firsts else 0

    def seqs(self, ix: int) -> NDArray[np.uint64]:
        """The seqs of one block."""
        if self._seqs[0] != ix:
            part = self.blocks[ix][0]
            if isinstance(part, Sealed):
                seqs = _there(part.seqs)
            elif self.dtype is None:
                payload = self.payload(ix)
                seqs = np.array([seq for seq, _, _ in inputs_in(payload, self.blocks[ix][1].count)], np.uint64)
            else:
                seqs = np.frombuffer(self.payload(ix), self.dtype)["seq"].copy()
            self._seqs = (ix, seqs)
        return self._seqs[1]

    def upto(self, seq: int) -> int:
        """Rows whose seq is at most `seq`."""
        ix = bisect.bisect_right(self._firsts, seq) - 1
        if ix < 0:
            return 0
        block = self.blocks[ix][1]
        if 0 < block.last_seq <= seq:
            return int(self._before[ix]) + block.count
        return int(self._before[ix]) + int(np.searchsorted(self.seqs(ix), np.uint64(seq), "right"))

    def last_seq(self, at_most: int) -> int:
        """The highest seq that is not above `at_most`; 0 = none."""
        ix = bisect.bisect_right(self._firsts, at_most) - 1
        if ix < 0:
            return 0
        if 0 < self.blocks[ix][1].last_seq <= at_most:
            return self.blocks[ix][1].last_seq
        seqs = self.seqs(ix)
        return int(seqs[int(np.searchsorted(seqs, np.uint64(at_most), "right")) - 1])

    def first_after(self, seq: int) -> int:
        """The lowest seq above `seq`; 0 = none."""
        ix = max(0, bisect.bisect_right(self._firsts, seq) - 1)
        for k in range(ix, min(ix + 2, len(self._firsts))):
            if 0 < self.blocks[k][1].last_seq <= seq:
                continue
            if self._firsts[k] > seq:
                return self._firsts[k]
            seqs = self.seqs(k)
            at = int(np.searchsorted(seqs, np.uint64(seq), "right"))
            if at < seqs.size:
                return int(seqs[at])
        return 0

    def last_ns(self) -> int:
        """The latest time in the last block that counts; -1 = there is none. Raises Gone."""
        for ix in reversed(range(len(self.blocks))):
            part, keep = self.blocks[ix][0], self.keep[ix]
            if not keep:
                continue
            if isinstance(part, Sealed):
                return part.file.last_ns
            if keep and self.dtype is not None:
                return int(np.frombuffer(self.payload(ix), self.dtype)["ts_ns"][:keep].max())
        return -1

    @property
    def counted(self) -> int:
        """Rows there are, also those that were cut."""
        return sum(block.count for _, block in self.blocks)

    def times_cut(self) -> tuple[int, int]:
        """(earliest, latest) time of the rows that were cut; (max, 0) where none were, or of `inputs`."""
        earliest, latest = (1 << 63) - 1, 0
        for ix, keep in enumerate(self.keep):
            if keep < self.blocks[ix][1].count and self.dtype is not None:
                times = np.frombuffer(self.payload(ix), self.dtype)["ts_ns"][keep:]
                earliest, latest = min(earliest, int(times.min())), max(latest, int(times.max()))
        return earliest, latest

    def cut(self, seq: int) -> int:
        """Keep only rows up to `seq`; return how many fall away."""
        before = self.rows
        kept = self.upto(seq)
        self.keep = [max(0, min(n, kept - int(start))) for n, start in zip(self.keep, self._before, strict=False)]
        return before - kept

    def payload(self, ix: int) -> bytes:
        """The whole payload of a block of a segment; LedgerError when its checksum disagrees."""
        buffer = bytearray(self.blocks[ix][1].size)
        self.read_into(ix, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, ix: int, buffer: memoryview) -> None:
        """Read the whole payload of a block of a segment and verify it. Raises Gone."""
        part, block = self.blocks[ix]
        assert isinstance(part, Segment)
        if _there(lambda: part.read_into(block.offset + HEADER_BYTES, buffer)) < block.size:
            raise part.fail(block.offset, "the file shrank while it was read; open it again")
        if block.closed != CLOSED or block.torn or self.skip_checksum:
            return
        found = zlib.crc32(buffer)
        if found != block.checksum:
            raise part.fail(block.offset, f"checksum is {found:08x}, the header says {block.checksum:08x}")
        if first_seq_of(buffer) != block.first_seq:
            raise part.fail(block.offset, f"first seq is {first_seq_of(buffer)}, header says {block.first_seq}")

    def load(self, out: NDArray[np.void]) -> None:
        """Copy the rows that count into `out`; what sealed files leave out stays 0. Raises Gone."""
        at = 0
        view = memoryview(out.view(np.uint8))  # type: ignore[arg-type]
        for ix, keep in enumerate(self.keep):
            part, size = self.blocks[ix][0], self.blocks[ix][1].size
            if not keep:
                continue
            if isinstance(part, Sealed):
                rows = np.zeros(part.file.rows, self.dtype)
                _there(lambda: part.fill(rows))  # noqa: B023 - called at once
                out[at : at + keep] = rows[:keep]
            elif keep * self.width == size:
                self.read_into(ix, view[at * self.width : at * self.width + size])
            else:
                view[at * self.width : (at + keep) * self.width] = self.payload(ix)[: keep * self.width]
            at += keep


class Worker:
    """All streams of one worker, cut to what counts."""

    def __init__(
        self,
        worker: int,
        tree: Mapping[str, Sequence[Part]],
        skip_checksum: bool = False,
        base: int = 0,
        shapes: Shapes = STREAMS,
    ) -> None:
        self.worker = worker
        self.base = base  # all records up to here are sealed, or were dropped
        self.chains = {name: Chain(name, worker, parts, skip_checksum, shapes) for name, parts in tree.items()}
        self.clean = all(chain.ended for chain in self.chains.values())
        self.cut: dict[str, int] = {}
        self.gap = 0  # the first seq that is missing though there are rows behind it; 0 = none is
        self.last_seq = max([base, *(chain.last_seq(1 << 63) for chain in self.chains.values())])
        high = self._gapless()
        if self.clean and self.gap:
            raise LedgerError(self.gap_in_words())
        if not self.clean:
            self.last_seq = self._committed(high)
            self.cut = {name: chain.cut(self.last_seq) for name, chain in self.chains.items()}

    def _gapless(self) -> int:
        """The seq of the last row before the first that is missing; `gap` is set where there is such a one."""
        chains = list(self.chains.values())
        low = self.base or min((chain.first_seq for chain in chains if chain.first_seq), default=1) - 1
        below = sum(chain.upto(low) for chain in chains)

        def missing(seq: int) -> int:
            return seq - low - (sum(chain.upto(seq) for chain in chains) - below)

        high = self.last_seq
        if high > low and high - low != sum(chain.rows for chain in chains) - below:
            high = low + bisect.bisect_left(range(low + 1, high + 1), 1, key=missing)
            self.gap = high + 1
        return high

    def gap_in_words(self) -> str:
        """Which seq is missing, how many records stand behind it, and in which file the first of them."""
        chains = self.chains.values()
        behind = sum(chain.counted - chain.upto(self.gap) for chain in chains)
        seq, chain = min(((chain.first_after(self.gap), chain) for chain in chains if chain.first_after(self.gap)),
                         key=lambda found: found[0])  # fmt: skip
        part = chain.blocks[bisect.bisect_right(chain._firsts, seq) - 1][0]
        return (f"{part.name}: seq {self.gap} of worker {self.worker} is missing, and {behind} records stand behind it,"
                " the first of them here: a file was lost or cut short")  # fmt: skip

    def _committed(self, high: int) -> int:
        """The seq of the last row that counts, of those up to `high`."""
        if "auctions" not in self.chains:
            return high
        last = max(self.base, self.chains["auctions"].last_seq(high))
        loose = [self.chains[name].first_after(last) for name in ("bids", "wins") if name in self.chains]
        return min([high, *(seq - 1 for seq in loose if seq)])

    def next_auction(self) -> int:
        """The first auction counter that was not used by a row that counts and was not dropped."""
        if "auctions" not in self.chains:
            return 1
        tops = [block.top_auction for _, block in self.chains["auctions"].blocks]
        return (max(tops, default=0) & COUNTER) + 1


def look(folder: Path, build: Callable[[dict[int, dict[str, list[Part]]], mf.Manifest], _Found]) -> _Found:
    """Call `build` with the parts of a ledger (worker -> stream -> in order) and its manifest.

    Segments may become a sealed file meanwhile; the manifest is replaced before they are removed, so what was built
    while it stayed the same is a consistent view; else look again. Raises LedgerError.
    """
    for _ in range(LOOKS_MAX):
        before = mf.raw(folder)
        try:
            found = build(parts_of(folder, manifest := mf.decode(folder, before)), manifest)
        except FileNotFoundError:
            continue
        except (LedgerError, Gone):
            if mf.raw(folder) == before:
                raise
            continue
        if mf.raw(folder) == before:
            return found
    raise LedgerError(f"{folder}: its sealed files changed during each of {LOOKS_MAX} looks")


def parts_of(folder: Path, manifest: mf.Manifest) -> dict[int, dict[str, list[Part]]]:
    """Worker -> stream -> sealed files, then segments, in order. Raises LedgerError when a number is missing."""
    tree: dict[int, dict[str, list[Part]]] = {}
    live = segment_numbers(folder)
    for worker, stream in sorted({*live, *manifest.streams()}):
        sealed = manifest.last(stream, worker)
        parts: list[Part] = [Sealed(folder, file) for file in manifest.of(stream, worker)]
        numbers = [n for n in live.get((worker, stream), []) if n > sealed]  # the others wait to be removed
        for expected, number in enumerate(numbers, sealed + 1):
            if number != expected:
                raise LedgerError(f"{segment_path(folder, stream, worker, expected)}: this segment is missing")
        parts += [Segment(str(path), path) for path in (segment_path(folder, stream, worker, n) for n in numbers)]
        tree.setdefault(worker, {})[stream] = parts
    return tree


def last_numbers(tree: Mapping[str, Sequence[Part]], manifest: mf.Manifest, worker: int) -> dict[str, int]:
    """Stream -> the number of its last segment, sealed ones included."""
    return {
        stream: manifest.last(stream, worker) + sum(isinstance(part, Segment) for part in parts)
        for stream, parts in tree.items()
    }


def _block_of(file: mf.File) -> Block:
    """A sealed file as one block."""
    return Block(0, file.first_seq, file.rows, 0, file.crc32, CLOSED, False, file.top_auction, file.last_seq)


def _there(read: Callable[[], _Found]) -> _Found:
    """Call `read`; a file that is not there any more is Gone."""
    try:
        return read()
    except FileNotFoundError as error:
        raise Gone(os.fspath(error.filename or str(error))) from error
