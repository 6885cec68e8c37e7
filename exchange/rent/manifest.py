"""The manifest of a ledger's sealed files: `sealed/manifest.json`, replaced whole or not at all.

It says which segments of which stream lie in which Parquet file, what a reader needs to know before it opens one, and
the sums of the columns that were left out, so that whoever derives them again can prove that they are what was
written. It carries a checksum of itself. What it does not name is not part of the ledger: a file that a crash left
half written is removed by the next who seals.
"""

import os
import zlib
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from exchange.rent.blocks import FORMAT, LedgerError

FOLDER: Final = "sealed"
NAME: Final = "manifest.json"
_START: Final = b'{"checksum":"'


class File(Struct):
    """One sealed file: consecutive segments of one stream of one worker. Sums are taken modulo 2^64."""

    name: str  # in the folder `sealed`
    format: int  # of the rows
    stream: str
    worker: int
    first: int  # numbers of the segments it took the place of
    last: int
    rows: int
    first_seq: int
    last_seq: int
    first_ns: int  # ts_ns of the earliest and the latest row
    last_ns: int
    top_auction: int  # highest auction_id, `auctions` only; 0 = none
    bytes: int
    crc32: int
    sums: dict[str, int]  # of the derived columns, as they were recorded


class Manifest(Struct):
    """The sealed files that are there, and those that retention dropped, merged per stream and worker."""

    format: int = FORMAT
    files: list[File] = []
    dropped: list[File] = []  # `name` is empty, `bytes` of all together

    def of(self, stream: str, worker: int) -> list[File]:
        """The files of one stream of one worker, in order."""
        found = [file for file in self.files if file.stream == stream and file.worker == worker]
        return sorted(found, key=lambda file: file.first)

    def dropped_of(self, stream: str, worker: int) -> File | None:
        """What was dropped of one stream of one worker."""
        return next((gone for gone in self.dropped if gone.stream == stream and gone.worker == worker), None)

    def last(self, stream: str, worker: int) -> int:
        """The highest segment number that was sealed; 0 = none."""
        gone = self.dropped_of(stream, worker)
        numbers = [file.last for file in self.files if file.stream == stream and file.worker == worker]
        return max([*numbers, gone.last if gone else 0])

    def streams(self) -> list[tuple[int, str]]:
        """(worker, stream) of everything that was ever sealed."""
        return sorted({(file.worker, file.stream) for file in (*self.files, *self.dropped)})

    def base(self, worker: int) -> int:
        """The seq up to which no record of a worker can be missing: segments are sealed when all before is safe."""
        return max((file.last_seq for file in (*self.files, *self.dropped) if file.worker == worker), default=0)


def path_of(folder: Path) -> Path:
    """Where a ledger's manifest lies."""
    return folder / FOLDER / NAME


def file_name(stream: str, worker: int, first: int, last: int, revision: int = 0) -> str:
    """The name of the sealed file of some segments; one that was written anew has a revision."""
    again = f"-r{revision}" if revision else ""
    return f"{stream}-w{worker}-{first:06d}-{last:06d}{again}.parquet"


def raw(folder: Path) -> bytes:
    """The manifest as it lies there; b"" when nothing was sealed yet."""
    try:
        return path_of(folder).read_bytes()
    except FileNotFoundError:
        return b""


def is_ledger(folder: Path) -> bool:
    """Whether there are segments in a folder, or a manifest or sealed files below it."""
    return any(folder.glob("*.seg")) or path_of(folder).exists() or any((folder / FOLDER).glob("*.parquet"))


def orphan(folder: Path) -> str:
    """The name of a sealed file whose segments are gone; "" = none. Without a manifest its rows are nowhere else.

    A crash while the first file is sealed leaves a file without a manifest, but its segments too.
    """
    for path in sorted((folder / FOLDER).glob("*.parquet")):
        stream, worker, first = path.stem.split("-")[:3]
        if not (folder / f"{stream}-{worker}-{first}.seg").exists():
            return path.name
    return ""


def decode(folder: Path, data: bytes) -> Manifest:
    """The manifest of `raw`. Raises LedgerError when it is damaged, of another format, or names gaps."""
    path = path_of(folder)
    if not data:
        lost = orphan(folder)
        if not lost and not path.exists():
            return Manifest()
        if late := raw(folder):  # written since `data` was read
            return decode(folder, late)
        raise LedgerError(
            f"{path}: {'is empty' if path.exists() else 'is missing'}, and nothing else says what was sealed"
            + (f", {lost} among it" if lost else "")
        )
    body = data[len(_START) + 8 :]
    if not data.startswith(_START) or data[len(_START) : len(_START) + 8] != b"%08x" % zlib.crc32(body):
        raise LedgerError(f"{path}: the checksum does not fit: the file was damaged, or changed by hand")
    try:
        found = msgspec.json.decode(b"{" + body.removeprefix(b'",'), type=Manifest)
    except msgspec.DecodeError as error:
        raise LedgerError(f"{path}: {error}") from error
    if found.format != FORMAT:
        raise LedgerError(f"{path}: format is {found.format}, expected {FORMAT}")
    for worker, stream in found.streams():
        gone = found.dropped_of(stream, worker)
        next_ = gone.last + 1 if gone else 1
        for file in found.of(stream, worker):
            if file.first != next_ or file.last < file.first:
                raise LedgerError(f"{path}: {file.name}: expected a file that begins with segment {next_}")
            next_ = file.last + 1
    return found


def read(folder: Path) -> Manifest:
    """The manifest of a ledger folder; an empty one when nothing was sealed yet."""
    return decode(folder, raw(folder))


def write(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest in one step; on return it is on the disk, with the names of the files beside it."""
    path = path_of(folder)
    manifest.files.sort(key=lambda file: (file.worker, file.stream, file.first))
    body = b'",' + msgspec.json.encode(manifest)[1:].replace(b'},{"name"', b'},\n{"name"') + b"\n"
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as out:
        out.write(_START + b"%08x" % zlib.crc32(body) + body)
        out.flush()
        os.fsync(out.fileno())
    sync_folder(path.parent)  # the files that it names, before it names them
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def drop(manifest: Manifest, files: list[File]) -> None:
    """Move files, the oldest of their stream and worker, from those that are there to what was dropped."""
    for file in files:
        manifest.files.remove(file)
        gone = manifest.dropped_of(file.stream, file.worker)
        if gone is None:
            gone = File("", file.format, file.stream, file.worker, file.first, file.first - 1, 0, file.first_seq,
                        0, file.first_ns, file.last_ns, 0, 0, 0, {})  # fmt: skip
            manifest.dropped.append(gone)
        gone.last, gone.last_seq = file.last, file.last_seq
        gone.rows += file.rows
        gone.bytes += file.bytes
        gone.first_ns, gone.last_ns = min(gone.first_ns, file.first_ns), max(gone.last_ns, file.last_ns)
        gone.top_auction = max(gone.top_auction, file.top_auction)
