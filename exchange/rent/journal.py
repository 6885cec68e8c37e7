"""The journal, append side: rows are written into memory-mapped segments by compiled code.

Every stream has one open block, mapped into memory. A kernel writes row `count` at
`address + 64 + count * itemsize` and then adds 1 to the header's `count` (`COUNT_OFFSET` bytes into it); `roll`
closes a block that has no room for the next step and opens another. A row that is counted lies in the page cache:
it survives the death of the process at once, and a power failure once `sync` has returned.

One counter `seq` per worker numbers the records of all streams, from 1, without a gap. The step
that sells an imp writes its win and bids first and its auction row last: that row commits them. Events and inputs
commit themselves.
`next_seq` and `next_auction` say where to go on; the caller counts from there.

Without a folder the journal lies in anonymous memory (simulations), up to `memory_max_bytes`, without checksums.
"""

import contextlib
import ctypes
import mmap
import os
import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exchange.market import BLOCK, STREAMS
from exchange.rent.blocks import (
    CLOSED,
    END,
    HEADER_BYTES,
    INPUT_MAX_BYTES,
    INPUT_PACKER,
    ROW_BYTES,
    STREAM_IX,
    WORKER_MAX,
    JournalError,
    Segment,
    first_seq_of,
    header,
    lock_worker,
    padded,
    reserve,
    segment_path,
    sync_and_close,
    top_auction,
)
from exchange.rent.recovery import recover

SEGMENT_BYTES: Final = 64 << 20
BLOCK_ROWS: Final = 4_096
INPUT_BLOCK_BYTES: Final = 1 << 20
MEMORY_MAX_BYTES: Final = 4 << 30
UNSYNCED_MAX: Final = 16  # full segments whose files stay open until the next `sync`
_PAGE: Final = mmap.PAGESIZE
_POPULATE_WRITE: Final = 23  # MADV_POPULATE_WRITE, which the mmap module does not name


class _Stream:
    """One stream being written: its segment, its open block, and the segments before."""

    __slots__ = ("base", "block_bytes", "fd", "full", "map", "name", "number", "offset", "path", "reserved", "used")

    def __init__(self, name: str, block_bytes: int, number: int) -> None:
        self.name = name
        self.block_bytes = block_bytes  # payload that a new block reserves
        self.number = number  # of the segment being written
        self.map: mmap.mmap | None = None
        self.fd = -1
        self.path: Path | None = None
        self.base = 0  # address of the map
        self.offset = 0  # of the open block's header
        self.reserved = 0  # payload bytes of the open block
        self.used = 0  # payload bytes written, `inputs` only
        self.full: list[memoryview] = []  # segments before, in memory only


class Journal:
    """The append side of one worker's ledger.

    `folder` None = anonymous memory. `streams`: which of `market.STREAMS` are kept. `block_rows`: rows a block
    holds, one number or one per stream (4,096 where none is given); a step must fit into one block.
    `blocks` is an int64 array (streams in the order of `market.STREAMS`, 2): address of the open block's header
    and its capacity in rows, 0 where a stream is not kept; `roll` updates it in place, so a kernel may hold it.
    Raises JournalError when another process writes this worker's journal, or no space is left.
    """

    def __init__(
        self,
        folder: Path | str | None,
        worker: int = 0,
        streams: Sequence[str] = ("auctions", "bids", "wins", "events"),
        block_rows: Mapping[str, int] | int = BLOCK_ROWS,
        segment_bytes: int = SEGMENT_BYTES,
        memory_max_bytes: int = MEMORY_MAX_BYTES,
    ) -> None:
        if not 0 <= worker <= WORKER_MAX:
            raise JournalError(f"worker {worker}: expected 0 to {WORKER_MAX}")
        unknown = [name for name in streams if name not in STREAMS]
        if unknown or not streams:
            raise JournalError(f"streams {list(streams)}: expected some of {', '.join(STREAMS)}")
        self.folder = None if folder is None else Path(folder)
        self.worker = worker
        self.segment_bytes = segment_bytes
        self.memory_max_bytes = memory_max_bytes
        self.memory_bytes = 0
        self.next_seq, self.next_auction, self.lost = 1, 1, ""  # lost: what was cut behind a missing seq, in words
        self.blocks: NDArray[np.int64] = np.zeros((len(STREAMS), 2), np.int64)
        self._lock = threading.Lock()
        self._unsynced: list[int] = []
        self._lock_fd = -1
        self._streams: dict[str, _Stream] = {}
        self._closed = False
        last: dict[str, int] = {}
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock_fd = lock_worker(self.folder, worker)
        try:
            if self.folder is not None:
                self.next_seq, self.next_auction, last, self.lost = recover(self.folder, worker)
            for name in streams:
                size = _block_bytes(name, block_rows)
                self._streams[name] = _Stream(name, size, last.get(name, 0))
                self._open_segment(self._streams[name], size)
        except BaseException:
            self.close()
            raise

    # ---- what the writer needs ---------------------------------------------------------------------------

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that are kept."""
        return tuple(self._streams)

    def address(self, stream: str) -> int:
        """Address of the open block's header; valid until the next roll of this stream."""
        return int(self.blocks[STREAM_IX[stream], 0])

    def capacity(self, stream: str) -> int:
        """Rows that fit into the open block."""
        return int(self.blocks[STREAM_IX[stream], 1])

    def count(self, stream: str) -> int:
        """Rows in the open block so far."""
        open_ = self._streams[stream]
        assert open_.map is not None
        at = open_.offset + _COUNT
        return int.from_bytes(open_.map[at : at + 8], "little")

    def append(self, stream: str, row: bytes) -> None:
        """Append one row (packed by `market.packer` of the stream's shape) from Python."""
        open_ = self._streams[stream]
        count = self.count(stream)
        if count >= self.capacity(stream):
            self.roll(stream)
            count = 0
        at = open_.offset + HEADER_BYTES + count * ROW_BYTES[stream]
        assert open_.map is not None and len(row) == ROW_BYTES[stream]
        open_.map[at : at + len(row)] = row
        self._set_count(open_, count + 1)

    def append_input(
        self, seq: int, ts_ns: int, kind: int, payload: bytes, config_version: int = 0, snapshot_version: int = 0
    ) -> None:
        """Append one record of the `inputs` stream: what came in, as it came."""
        if len(payload) > INPUT_MAX_BYTES:
            raise JournalError(f"an input of {len(payload)} bytes: the limit is {INPUT_MAX_BYTES}")
        open_ = self._streams["inputs"]
        size = padded(len(payload))
        if open_.used + size > open_.reserved:
            self._next_block(open_, max(open_.block_bytes, size))
        head = INPUT_PACKER.pack(seq, ts_ns, config_version, snapshot_version, self.worker, kind, len(payload))
        at = open_.offset + HEADER_BYTES + open_.used
        assert open_.map is not None
        open_.map[at : at + size] = (head + payload).ljust(size, b"\0")
        open_.used += size
        self._set_count(open_, self.count("inputs") + 1)

    def roll(self, stream: str) -> None:
        """Close the open block and open the next; an empty block stays open.

        Raises JournalError, and leaves everything as it was, when no space is left.
        """
        if self.count(stream):
            open_ = self._streams[stream]
            self._next_block(open_, open_.block_bytes)

    def widen(self, name: str, rows: int) -> None:
        """Let the open block of a stream, and those after it, hold at least `rows` rows. Raises JournalError."""
        open_, size = self._streams[name], rows * ROW_BYTES[name]
        if size <= open_.reserved or open_.map is None:
            return
        open_.block_bytes = max(size, open_.block_bytes)
        if open_.offset or self.count(name) or size + 2 * HEADER_BYTES <= len(open_.map):
            self._next_block(open_, size)
            return
        self._end(open_, 0)  # an empty segment makes room for a larger one of its name
        open_.number -= 1
        self._open_segment(open_, size)

    def sync(self) -> None:
        """Write everything so far to the disk; may run in a thread beside the writer."""
        if self.folder is None:
            return
        with self._lock:
            full, self._unsynced = self._unsynced, []
            now = [os.dup(stream.fd) for stream in self._streams.values() if stream.fd >= 0]
        sync_and_close([*full, *now, os.open(self.folder, os.O_RDONLY)])  # and the names of new segments

    def close(self) -> None:
        """Close every block, cut the files to what is used, give the lock back; memory stays readable."""
        if self._closed:
            return
        self._closed = True
        for stream in self._streams.values():
            if stream.map is not None:
                end = self._close_block(stream)
                self._end(stream, end)
        with self._lock:
            full, self._unsynced = self._unsynced, []
        sync_and_close(full if self.folder is None else [*full, os.open(self.folder, os.O_RDONLY)])
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def segments(self) -> dict[str, list[Segment]]:
        """The segments of a journal in memory, for `Ledger.in_memory`."""
        tree = {}
        for name, stream in self._streams.items():
            parts = [*stream.full, memoryview(stream.map)] if stream.map is not None else stream.full
            tree[name] = [Segment(f"memory:{name}-{n}", memory=part) for n, part in enumerate(parts, 1)]
        return tree

    # ---- blocks and segments -----------------------------------------------------------------------------

    def _set_count(self, stream: _Stream, count: int) -> None:
        """Count a row that is complete."""
        assert stream.map is not None
        at = stream.offset + _COUNT
        stream.map[at : at + 8] = count.to_bytes(8, "little")

    def _next_block(self, stream: _Stream, size: int) -> None:
        """Close the open block and open one of `size` payload bytes behind it, or in a new segment."""
        used = stream.used or self.count(stream.name) * ROW_BYTES[stream.name]
        offset = stream.offset + HEADER_BYTES + used if used else stream.offset  # an empty block is opened anew
        assert stream.map is not None
        if offset + size + 2 * HEADER_BYTES <= len(stream.map):
            if stream.fd >= 0:
                reserve(stream.fd, offset, size + 2 * HEADER_BYTES, stream.path)
            self._close_block(stream)
            self._open_block(stream, offset, size)
            return
        old_map, old_fd = stream.map, stream.fd
        fresh = _Stream(stream.name, stream.block_bytes, stream.number)
        self._map_segment(fresh, size)  # first, so that a full disk leaves the old block as it was
        end = self._close_block(stream)
        if old_fd >= 0:
            os.ftruncate(old_fd, end)
        _publish(fresh)
        stream.map, stream.fd, stream.path = fresh.map, fresh.fd, fresh.path
        stream.number, stream.base = fresh.number, fresh.base
        self._open_block(stream, 0, size)
        if old_fd >= 0:
            old_map.close()
            self._retire(old_fd)
        else:
            stream.full.append(memoryview(old_map)[:end])

    def _open_segment(self, stream: _Stream, size: int) -> None:
        """Map the next segment and open its first block."""
        self._map_segment(stream, size)
        _publish(stream)
        self._open_block(stream, 0, size)

    def _map_segment(self, stream: _Stream, size: int) -> None:
        """Create and map the next segment, with room for a block of `size` payload bytes; `_publish` names it.

        It gets its name only when the one before is finished: whoever sees a segment may rely on those before.
        """
        length = max(self.segment_bytes, size + 2 * HEADER_BYTES)
        length += -length % _PAGE
        stream.number += 1
        if self.folder is None:
            if self.memory_bytes + length > self.memory_max_bytes:
                raise JournalError(
                    f"the journal in memory is full: {self.memory_bytes} bytes taken, limit {self.memory_max_bytes};"
                    " keep fewer streams, or give a ledger folder"
                )
            # private: a first touch of shared anonymous memory costs half as much again
            stream.map = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self.memory_bytes += length
        else:
            stream.path = segment_path(self.folder, stream.name, self.worker, stream.number)
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            try:
                stream.fd = os.open(_unpublished(stream.path), flags, 0o644)
                os.ftruncate(stream.fd, length)
                reserve(stream.fd, 0, size + 2 * HEADER_BYTES, stream.path)
                stream.map = mmap.mmap(stream.fd, length)
            except OSError as error:
                _forget(stream)
                raise JournalError(f"{stream.path}: cannot be created: {error.strerror}") from error
            except JournalError:
                _forget(stream)
                raise
        stream.base = ctypes.addressof(ctypes.c_char.from_buffer(stream.map))

    def _open_block(self, stream: _Stream, offset: int, size: int) -> None:
        """Write the header of an open block and tell the kernels where it is."""
        width = ROW_BYTES[stream.name]
        assert stream.map is not None
        stream.offset, stream.used, stream.reserved = offset, 0, size
        stream.map[offset : offset + HEADER_BYTES] = header(stream.name, self.worker, size)
        self.blocks[STREAM_IX[stream.name]] = (stream.base + offset, size // width if width else 0)
        start = offset // _PAGE * _PAGE
        # touch its pages in one go: a fault for each, inside an auction, costs several times as much
        with contextlib.suppress(OSError):  # a kernel before 5.14 cannot
            stream.map.madvise(_POPULATE_WRITE, start, offset + HEADER_BYTES + size - start)

    def _close_block(self, stream: _Stream) -> int:
        """Close the open block; return the offset behind it. An empty block vanishes."""
        count = self.count(stream.name)
        if count == 0:
            return stream.offset
        width = ROW_BYTES[stream.name]
        used = count * width if width else stream.used
        start = stream.offset + HEADER_BYTES
        assert stream.map is not None
        with memoryview(stream.map) as whole, whole[start : start + used] as payload:
            checksum = zlib.crc32(payload) if stream.fd >= 0 else 0
            first = first_seq_of(payload)
            top = top_auction(payload) if stream.name == "auctions" else 0
        closed = header(stream.name, self.worker, used, first, count, checksum, CLOSED, top)
        at = stream.offset
        mark = _CLOSED  # the flag goes last: a reader that sees it sees the rest
        stream.map[at : at + mark] = closed[:mark]
        stream.map[at + mark + 2 : at + HEADER_BYTES] = closed[mark + 2 :]
        stream.map[at + mark : at + mark + 2] = closed[mark : mark + 2]
        return start + used

    def _end(self, stream: _Stream, end: int) -> None:
        """Put the end mark and cut the file; a segment without a row is removed."""
        assert stream.map is not None
        stream.map[end : end + HEADER_BYTES] = header(stream.name, self.worker, 0, closed=END)
        self.blocks[STREAM_IX[stream.name]] = 0
        if stream.fd < 0:
            return
        stream.map.close()
        stream.map = None
        os.ftruncate(stream.fd, end + HEADER_BYTES if end else 0)
        if end == 0 and stream.path is not None:
            stream.path.unlink()
        fd, stream.fd = stream.fd, -1
        self._retire(fd)

    def _retire(self, fd: int) -> None:
        """Keep the file of a full segment open until it is synced; sync at once when many wait."""
        with self._lock:
            self._unsynced.append(fd)
            many = self._unsynced if len(self._unsynced) > UNSYNCED_MAX else []
            if many:
                self._unsynced = []
        sync_and_close(many)


_COUNT: Final = int(BLOCK.fields["count"][1])  # type: ignore[index]
_CLOSED: Final = int(BLOCK.fields["closed"][1])  # type: ignore[index]


def _block_bytes(name: str, block_rows: Mapping[str, int] | int) -> int:
    """Payload bytes that a block of this stream reserves."""
    if ROW_BYTES[name] == 0:
        return INPUT_BLOCK_BYTES
    rows = block_rows if isinstance(block_rows, int) else block_rows.get(name, BLOCK_ROWS)
    if rows < 1:
        raise JournalError(f"block_rows of {name} = {rows}: expected at least 1")
    return rows * ROW_BYTES[name]


def _forget(stream: _Stream) -> None:
    """Undo a segment that could not be mapped."""
    if stream.fd >= 0 and stream.path is not None:
        os.close(stream.fd)
        stream.fd = -1
        _unpublished(stream.path).unlink()
    stream.number -= 1


def _unpublished(path: Path) -> Path:
    """Where a segment lies until its predecessor is finished; readers do not look there."""
    return path.with_suffix(".new")


def _publish(stream: _Stream) -> None:
    """Give a segment its name."""
    if stream.path is not None:
        _unpublished(stream.path).rename(stream.path)
