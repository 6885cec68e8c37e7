"""The format of a journal segment, and the scan that finds its blocks: shared by the writer and the reader.

A segment file `<stream>-w<worker>-<number>.seg` is a sequence of blocks: a 64-byte header (`market.BLOCK`) and
a payload of rows. Segments of a stream are numbered from 1 without a gap. The header of an *open* block has
`closed` = 0 and a `count` that grows in place, after each row is complete; `bytes` is then what is reserved.
A *closed* block has `closed` = 1, `bytes` in use and the crc32 of its payload. `closed` = 2 is the end mark: no
payload, and no block follows until a later segment; a stream whose last segment lacks it is being written, or
its writer died.
Records of the `inputs` stream are `INPUT_HEAD`, the payload, and zeros up to a multiple of 8.
"""

import errno
import fcntl
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from exchange.market import BLOCK, HEAD, STREAMS, packer, shape

MAGIC: Final = int.from_bytes(b"RENT", "little")
FORMAT: Final = 2
OPEN, CLOSED, END = 0, 1, 2
HEADER_BYTES: Final = BLOCK.itemsize
HEADER: Final = packer(BLOCK)
COUNT_OFFSET: Final = int(BLOCK.fields["count"][1])  # type: ignore[index]
INPUT_HEAD: Final = shape([*HEAD, ("length", "u4")])
INPUT_PACKER: Final = packer(INPUT_HEAD)
INPUT_MAX_BYTES: Final = 1 << 25  # payload of one input record
WORKER_MAX: Final = 0xFFFF
STREAM_IX: Final[dict[str, int]] = {name: ix for ix, name in enumerate(STREAMS)}
ROW_BYTES: Final[dict[str, int]] = {name: dtype.itemsize if dtype else 0 for name, dtype in STREAMS.items()}
Shape = np.dtype[np.void] | None  # of the rows of a stream; None = records of any length
_NAME = re.compile(rf"({'|'.join(STREAMS)})-w(\d+)-(\d{{6,}})\.seg")
_fdatasync = getattr(os, "fdatasync", os.fsync)
_SEQ = struct.Struct("=Q")


class LedgerError(RuntimeError):
    """A ledger that cannot be read or written; the message names the file, the offset and what is wrong."""


class JournalError(LedgerError):
    """The journal cannot be opened or written: another writer, a full disk, a limit."""


class Block(Struct):
    """One block of a segment: where it lies and what its header says. Offsets and sizes in bytes."""

    offset: int  # of the header
    first_seq: int  # of the first row; 0 = no row
    count: int  # rows that may be read
    size: int  # payload in use
    checksum: int
    closed: int  # OPEN, CLOSED or END
    torn: bool  # the file ends before the payload does
    top_auction: int  # highest auction_id of the block, `auctions` only; 0 = unknown
    last_seq: int = 0  # of a sealed file; 0 = not known without looking


class Segment:
    """The bytes of one segment: a file, or a buffer in memory."""

    def __init__(self, name: str, path: Path | None = None, memory: memoryview | None = None) -> None:
        self.name = name
        self.path = path
        self.memory = memory

    def size(self) -> int:
        """Bytes there are now; 0 when the writer has just removed an empty segment."""
        if self.memory is not None:
            return len(self.memory)
        assert self.path is not None
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, offset: int, n: int) -> bytes:
        """Up to `n` bytes from `offset`; fewer at the end. Copies: a map would fault if the file is cut."""
        buffer = bytearray(max(0, min(n, self.size() - offset)))
        if not buffer:
            return b""
        return bytes(buffer[: self.read_into(offset, memoryview(buffer))])

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from `offset`; return how many bytes there were."""
        if self.memory is not None:
            part = self.memory[offset : offset + len(buffer)]
            buffer[: len(part)] = part
            return len(part)
        assert self.path is not None
        with self.path.open("rb", buffering=0) as file:
            file.seek(offset)
            got = 0
            while got < len(buffer):
                n = file.readinto(buffer[got:])  # type: ignore[attr-defined]
                if not n:
                    break
                got += n
        return got

    def fail(self, offset: int, what: str) -> LedgerError:
        """The error that names this segment and a place in it."""
        return LedgerError(f"{self.name} at byte {offset}: {what}")


def segment_path(folder: Path, stream: str, worker: int, number: int) -> Path:
    """Where a segment lies."""
    return folder / f"{stream}-w{worker}-{number:06d}.seg"


def segment_numbers(folder: Path) -> dict[tuple[int, str], list[int]]:
    """(worker, stream) -> the numbers of the segments that lie in a folder, rising."""
    found: dict[tuple[int, str], list[int]] = {}
    for name in os.listdir(folder):
        if match := _NAME.fullmatch(name):
            found.setdefault((int(match[2]), match[1]), []).append(int(match[3]))
    return {key: sorted(numbers) for key, numbers in found.items()}


def header(stream: str, worker: int, size: int, first_seq: int = 0, count: int = 0, checksum: int = 0,
           closed: int = OPEN, top_auction: int = 0) -> bytes:  # fmt: skip
    """The 64 bytes of a block header."""
    width = ROW_BYTES[stream]
    return HEADER.pack(
        MAGIC, FORMAT, STREAM_IX[stream], first_seq, count, size, checksum, width, worker, closed, 0, top_auction, 0
    )


def scan(
    segment: Segment, stream: str, worker: int, last: bool, shapes: Mapping[str, Shape] = STREAMS
) -> tuple[list[Block], bool]:
    """Find the blocks of a segment: closed ones by their headers, the open one up to its last whole row.

    Returns (blocks, ended). Only the last segment of a stream may end in an open or torn block. `shapes`: the rows,
    for those of an earlier format. Raises LedgerError for a header that makes no sense; payloads are verified when
    they are read (`chain.Chain`).
    """
    dtype = shapes[stream]
    size = segment.size()
    blocks: list[Block] = []
    offset = 0
    while True:
        raw = segment.read(offset, HEADER_BYTES)
        if len(raw) < HEADER_BYTES or not any(raw[:4]):
            if not last and offset < size:
                raise segment.fail(offset, f"{size - offset} bytes without a block, and another segment follows")
            return blocks, False
        block = _block(segment, stream, worker, offset, raw, size, dtype, 1 if shapes is not STREAMS else FORMAT)
        if block.closed == END:
            return blocks, True
        blocks.append(block)
        if block.closed == OPEN or block.torn:
            if not last:
                raise segment.fail(offset, "an unfinished block, and another segment follows")
            _trim(segment, stream, block, dtype)
            if _followed(segment, block, stream, dtype):
                if segment.read(offset, HEADER_BYTES) == raw:  # no writer leaves such a file
                    raise segment.fail(offset, "block header: says unfinished, but a block follows")
                blocks.pop()  # the writer has just closed it: look again
                continue
            return blocks, False
        offset += HEADER_BYTES + block.size


def _block(segment: Segment, stream: str, worker: int, offset: int, raw: bytes, size: int,
           dtype: Shape, expected_format: int) -> Block:  # fmt: skip
    """Check a header and return its block; a payload that the file cuts off marks the block as torn."""
    (magic, version, stream_ix, first_seq, count, used, checksum, row_bytes, writer, closed, spare0, top,
     spare2) = HEADER.unpack(raw)  # fmt: skip
    width = dtype.itemsize if dtype is not None else 0
    if magic == MAGIC and version == 1 and expected_format != 1 and segment.path is not None:
        folder = segment.path.parent
        raise LedgerError(f"{folder}: a ledger of format 1: `rentier ledger migrate {folder} NEW` writes it anew")
    for what, found, expected in (
        ("magic", magic, MAGIC),
        ("format", version, expected_format),
        ("stream", stream_ix, STREAM_IX[stream]),
        ("worker", writer, worker),
        ("bytes per row", row_bytes, width),
        ("reserved field", spare0 | spare2, 0),
    ):
        if found != expected:
            raise segment.fail(offset, f"block header: {what} is {found}, expected {expected}")
    if closed > END:
        raise segment.fail(offset, f"block header: closed is {closed}, expected 0, 1 or 2")
    if closed == END and (count or used):
        raise segment.fail(offset, f"block header: an end mark with {count} rows")
    if count < 0 or used < 0 or count * (width or INPUT_HEAD.itemsize) > used:
        raise segment.fail(offset, f"block header: {count} rows in {used} bytes")
    if closed == CLOSED and (count == 0 or (width and count * width != used)):
        raise segment.fail(offset, f"block header: {count} rows in {used} bytes of a closed block")
    there = size - offset - HEADER_BYTES
    return Block(
        offset,
        first_seq,
        count,
        used,
        checksum,
        closed,
        torn=closed == CLOSED and there < used,
        top_auction=top,
    )


def _trim(segment: Segment, stream: str, block: Block, dtype: Shape) -> None:
    """Count the rows of an unfinished block that are whole: present, and with a seq that grows."""
    width = dtype.itemsize if dtype is not None else 0
    payload = segment.read(block.offset + HEADER_BYTES, block.count * width if width else block.size)
    if dtype is not None:
        rows = np.frombuffer(payload, dtype, min(block.count, len(payload) // width))
        seqs = rows["seq"]
        grows = np.concatenate(([True], seqs[1:] > seqs[:-1])) & (seqs > 0) if seqs.size else np.zeros(0, bool)
        block.count = int(seqs.size if grows.all() else np.argmin(grows))
        block.size = block.count * width
        block.first_seq = int(seqs[0]) if block.count else 0
        if stream == "auctions" and block.count:
            block.top_auction = int(rows["auction_id"][: block.count].max())
    else:
        found = inputs_in(payload, block.count)
        block.count = len(found)
        block.size = found[-1][1] if found else 0
        block.first_seq = found[0][0] if found else 0


def _followed(segment: Segment, block: Block, stream: str, dtype: Shape) -> bool:
    """Whether another block with rows, or the end mark, stands right behind an unfinished one."""
    raw = segment.read(block.offset + HEADER_BYTES + block.size, HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        return False
    magic, _, stream_ix, _, count, _, _, row_bytes, _, closed, *_ = HEADER.unpack(raw)
    alike = (
        magic == MAGIC and stream_ix == STREAM_IX[stream] and row_bytes == (dtype.itemsize if dtype is not None else 0)
    )
    return alike and bool(count or closed)


def inputs_in(payload: bytes, count: int) -> list[tuple[int, int, int]]:
    """Walk length-prefixed records: (seq, end offset, start offset) of each whole one, `count` at most."""
    found: list[tuple[int, int, int]] = []
    at, before = 0, 0
    for _ in range(count):
        if at + INPUT_HEAD.itemsize > len(payload):
            break
        seq, *_, length = INPUT_PACKER.unpack_from(payload, at)
        end = at + padded(length)
        if seq <= before or end > len(payload):
            break
        found.append((seq, end, at))
        at, before = end, seq
    return found


def padded(length: int) -> int:
    """Bytes that an input record of a payload of `length` bytes takes."""
    return INPUT_HEAD.itemsize + (length + 7 & ~7)


def first_seq_of(payload: bytes | memoryview) -> int:
    """Seq of the first row of a payload."""
    return int(_SEQ.unpack_from(payload, 0)[0])


def lock_worker(folder: Path, worker: int) -> int:
    """Take the lock of one worker's journal; it falls with the process."""
    path = folder / f"writer-w{worker}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise JournalError(f"{folder}: worker {worker}'s journal is being written by another process") from error
    return fd


def being_written(folder: Path) -> bool:
    """Whether a process holds the lock of one of the journals of a ledger."""
    for path in folder.glob("writer-w*.lock"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def reserve(fd: int, offset: int, size: int, path: Path | None) -> None:
    """Have the disk set space aside: a write into a map of a full disk would kill the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(fd, offset, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # file systems that cannot, e.g. some network ones
            raise JournalError(f"{path}: no room for the next block: {error.strerror}") from error


def sync_and_close(fds: list[int]) -> None:
    """Sync and close files."""
    for fd in fds:
        try:
            _fdatasync(fd)
        finally:
            os.close(fd)


def top_auction(payload: memoryview) -> int:
    """Highest auction_id of a block of auction rows."""
    return int(np.frombuffer(payload, STREAMS["auctions"])["auction_id"].max())
