"""Sealing: a segment that will not change any more becomes a Parquet file, and only then goes.

A segment is sealed when it is full (another of its stream follows) or its journal is closed, when all its records
count, and when everything up to its last record is on the disk, in whatever stream: so what is sealed never has to be
cut. The order is: write the file under another name, sync it, rename it, replace the manifest, sync the folder, remove
the segment. Whatever moment a crash takes, every record lies in a segment or in a file that the manifest names; the
rest of an unfinished step is swept away by the next who seals.

`seal` refuses a segment whose amounts do not follow from its fee sets: what is left out must be what was written.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange import market as mk
from exchange.rent import manifest as mf
from exchange.rent.blocks import (
    FORMAT,
    INPUT_PACKER,
    STREAM_IX,
    JournalError,
    LedgerError,
    Segment,
    inputs_in,
    segment_numbers,
)
from exchange.rent.chain import Chain, Part, Worker, look
from exchange.rent.gather import gather, warm_up
from exchange.rent.sealed import DERIVED, connection, crc32, quoted

COMPACT_ROWS: Final = 1 << 22  # of a file that compacting makes
DROPPABLE: Final = ("inputs", "bids", "auctions")  # wins and events are the books
DAY_NS: Final = 86_400 * mk.NANO
_AS: Final = "FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION V2, ROW_GROUP_SIZE 122880"
SEAL_LEVEL: Final = 1  # of zstd: a third less work than 3, for 4 % more bytes, beside a running exchange
COMPACT_LEVEL: Final = 3
_fdatasync = getattr(os, "fdatasync", os.fsync)


def load() -> None:
    """Import and compile what sealing needs, so that it does not hold up other threads when it begins."""
    import duckdb  # noqa: F401 - takes as long to import as the rest of a ledger's reader

    warm_up()


@contextlib.contextmanager
def sealing(folder: Path) -> Iterator[None]:
    """Be the only one who changes sealed files; sweep away what a crash left. Raises JournalError when another does."""
    place = folder / mf.FOLDER
    place.mkdir(exist_ok=True)
    fd = os.open(place / "seal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JournalError(f"{folder}: another process seals it just now") from error
        sweep(folder)
        yield
    finally:
        os.close(fd)


def sweep(folder: Path) -> None:
    """Remove what the manifest does not name: half-written files, segments that were sealed, files that were dropped.

    Only for who holds the lock of `sealing`.
    """
    manifest = mf.read(folder)
    named = {file.name for file in manifest.files}
    for path in (folder / mf.FOLDER).iterdir():
        if path.suffix == ".new" or (path.suffix == ".parquet" and path.name not in named):
            path.unlink()
    for path in folder.glob("*.seg"):
        match = re.fullmatch(r"(\w+)-w(\d+)-(\d+)\.seg", path.name)
        if match and match[1] in STREAM_IX and int(match[3]) <= manifest.last(match[1], int(match[2])):
            path.unlink()


def seal(
    folder: Path, everything: bool = False, before_ns: int | None = None, stop: Callable[[], bool] = lambda: False
) -> list[mf.File]:
    """Seal what can be sealed now: full segments; with `everything` also the last ones of a journal closed in order.

    before_ns: only segments that were filled before that time (of the file). stop: asked before each segment. Returns
    the new files. Raises LedgerError for a damaged segment or one whose amounts do not follow from its fees; those
    before it are sealed.
    """

    def build(tree: dict[int, dict[str, list[Part]]], manifest: mf.Manifest) -> list[tuple[Worker, list[Segment]]]:
        found = []
        for worker, streams in tree.items():
            due = [part for parts in streams.values() for part in _due(parts, everything, before_ns)]
            if due:
                found.append((Worker(worker, streams, base=manifest.base(worker)), due))
        return found

    made: list[mf.File] = []
    if not everything and all(len(numbers) < 2 for numbers in segment_numbers(folder).values()):
        return made  # every stream is still writing its only segment
    with sealing(folder):
        for worker, due in look(folder, build):
            if everything and not worker.clean:
                raise LedgerError(f"{folder}: worker {worker.worker}'s journal was not closed in order")
            _sync(folder, worker)
            stopped: set[str] = set()
            for part in due:
                stream, number = _place_of(part)
                if stop():
                    return made
                if stream in stopped:
                    continue
                sealed = _seal_one(folder, worker, stream, number, part)
                if sealed is None:
                    stopped.add(stream)  # what follows counts later, too
                else:
                    made.append(sealed)
    return made


def _due(parts: Sequence[Part], everything: bool, before_ns: int | None) -> list[Segment]:
    """The segments of a stream that may be sealed, in order."""
    live = [part for part in parts if isinstance(part, Segment)]
    found = []
    for part in live if everything else live[:-1]:
        assert part.path is not None
        if before_ns is not None and part.path.stat().st_mtime_ns > before_ns:
            break
        found.append(part)
    return found


def _place_of(part: Segment) -> tuple[str, int]:
    """(stream, number) of a segment."""
    assert part.path is not None
    stream, _, number = part.path.stem.split("-")
    return stream, int(number)


def _sync(folder: Path, worker: Worker) -> None:
    """Write everything that this look at a worker has seen to the disk: its segments, the names, the folder."""
    paths = [part.path for chain in worker.chains.values() for part in chain.parts if isinstance(part, Segment)]
    for path in [*paths, folder / "names.tsv"]:
        with contextlib.suppress(FileNotFoundError):  # an empty segment that the writer has removed; no names yet
            assert path is not None
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _fdatasync(fd)
            finally:
                os.close(fd)
    mf.sync_folder(folder)


def _seal_one(folder: Path, worker: Worker, stream: str, number: int, part: Segment) -> mf.File | None:
    """Seal one segment; None when some of its records do not count yet."""
    chain = Chain(stream, worker.worker, [part])
    if chain.last_seq(1 << 63) > worker.last_seq:
        return None
    if chain.dtype is None:
        columns, sums = input_columns(chain), dict[str, int]()
    else:
        columns, sums = gather(folder, stream, chain.rows, _payloads(chain), part.name)
    name = mf.file_name(stream, worker.worker, number, number)
    file = write_file(folder, name, columns, stream, worker.worker, number, number, sums)
    manifest = mf.read(folder)
    manifest.files.append(file)
    mf.write(folder, manifest)
    assert part.path is not None
    part.path.unlink()
    return file


def _payloads(chain: Chain) -> Iterator[NDArray[np.uint8]]:
    """The verified bytes of each block of a segment, in one buffer after another."""
    buffer = np.empty(max(block.size for _, block in chain.blocks), np.uint8)
    for ix, (_, block) in enumerate(chain.blocks):
        chain.read_into(ix, memoryview(buffer[: block.size]))  # type: ignore[arg-type]
        yield buffer[: block.size]


def input_columns(chain: Chain) -> dict[str, NDArray[Any]]:
    """The records of an `inputs` segment as columns."""
    records = []
    for ix in range(len(chain.blocks)):
        data = chain.payload(ix)
        for _, _, start in inputs_in(data, chain.keep[ix]):
            *head, length = INPUT_PACKER.unpack_from(data, start)
            at = start + INPUT_PACKER.size
            records.append((*head, data[at : at + length]))
    seq, ts_ns, config, snapshot, _, kind, payload = zip(*records, strict=True)
    return {
        "seq": np.array(seq, np.uint64),
        "ts_ns": np.array(ts_ns, np.int64),
        "config_version": np.array(config, np.uint32),
        "snapshot_version": np.array(snapshot, np.uint32),
        "kind": np.array(kind, np.uint16),
        "payload": np.array(payload, object),
    }


def write_file(
    folder: Path, name: str, columns: Mapping[str, NDArray[Any]], stream: str, worker: int, first: int, last: int,
    sums: dict[str, int],
) -> mf.File:  # fmt: skip
    """Write the sealed file of some columns, whole and synced; nobody sees it before a manifest names it."""
    con = connection()
    con.register("rows", dict(columns))
    try:
        _copy(folder, name, "SELECT * FROM rows", SEAL_LEVEL)
    finally:
        con.unregister("rows")
    seq, ts_ns = columns["seq"], columns["ts_ns"]
    top = int(columns["auction_id"].max()) if stream == "auctions" else 0
    path = folder / mf.FOLDER / name
    return mf.File(
        name, FORMAT, stream, worker, first, last, seq.size, int(seq[0]), int(seq[-1]), int(ts_ns.min()),
        int(ts_ns.max()), top, path.stat().st_size, crc32(path), sums,
    )  # fmt: skip


def _copy(folder: Path, name: str, select: str, level: int) -> None:
    """Write the result of a query as the sealed file `name`; it is on the disk when its name is there."""
    path = folder / mf.FOLDER / name
    fresh = path.with_suffix(".new")
    connection().execute(f"COPY ({select}) TO {quoted(fresh)} ({_AS}, COMPRESSION_LEVEL {level})")
    fd = os.open(fresh, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    fresh.rename(path)


def rewritten(
    folder: Path, files: Sequence[mf.File], columns: str = "*", sums: dict[str, int] | None = None
) -> mf.File:
    """Write consecutive files anew as one, and return its entry: `replace` puts it in their place.

    columns: what is selected of them, in SQL ("* REPLACE (...)"), row by row. sums: of the derived columns; None adds
    up those of the files.
    """
    one, end = files[0], files[-1]
    paths = ", ".join(quoted(folder / mf.FOLDER / file.name) for file in files)
    name, revision = mf.file_name(one.stream, one.worker, one.first, end.last), 1
    while (folder / mf.FOLDER / name).exists():  # never write over a file that a manifest names
        name = mf.file_name(one.stream, one.worker, one.first, end.last, revision)
        revision += 1
    _copy(folder, name, f"SELECT {columns} FROM read_parquet([{paths}])", COMPACT_LEVEL)
    path = folder / mf.FOLDER / name
    added = {key: sum(file.sums[key] for file in files) % 2**64 for key in DERIVED[one.stream]}
    return mf.File(
        name, FORMAT, one.stream, one.worker, one.first, end.last, sum(file.rows for file in files), one.first_seq,
        end.last_seq, min(file.first_ns for file in files), max(file.last_ns for file in files),
        max(file.top_auction for file in files), path.stat().st_size, crc32(path), added if sums is None else sums,
    )  # fmt: skip


def replace(folder: Path, old: Sequence[mf.File], new: Sequence[mf.File]) -> None:
    """Put files in the place of others in one step, then remove those. Only under the lock of `sealing`."""
    manifest = mf.read(folder)
    gone = {file.name for file in old}
    manifest.files = [file for file in manifest.files if file.name not in gone] + list(new)
    mf.write(folder, manifest)
    for file in old:
        (folder / mf.FOLDER / file.name).unlink(missing_ok=True)


def retain(folder: Path, keep_days: Mapping[str, int], now_ns: int) -> list[mf.File]:
    """Drop the oldest sealed files of streams whose last row is older than `keep_days` says; 0 = for ever.

    What was dropped is noted in the manifest, and returned. Raises LedgerError for a stream that is never dropped.
    """
    for stream in keep_days:
        if stream not in DROPPABLE:
            raise LedgerError(f"keep_days.{stream}: expected one of {', '.join(DROPPABLE)}: the books are kept")
    if not mf.path_of(folder).exists():
        return []
    with sealing(folder):
        manifest = mf.read(folder)
        old: list[mf.File] = []
        for worker, stream in manifest.streams():
            if days := keep_days.get(stream, 0):
                for file in manifest.of(stream, worker):
                    if file.last_ns >= now_ns - days * DAY_NS:
                        break
                    old.append(file)
        if old:
            mf.drop(manifest, old)
            mf.write(folder, manifest)
            for file in old:
                (folder / mf.FOLDER / file.name).unlink(missing_ok=True)
    return old


def compact(folder: Path, rows_max: int = COMPACT_ROWS) -> tuple[int, int]:
    """Merge neighbouring files of each stream into few, of `rows_max` rows at most. Returns (files before, after)."""
    if not mf.path_of(folder).exists():
        return 0, 0
    with sealing(folder):
        before = len(mf.read(folder).files)
        for worker, stream in mf.read(folder).streams():
            for run in _runs(mf.read(folder).of(stream, worker), rows_max):
                replace(folder, run, [rewritten(folder, run)])
        return before, len(mf.read(folder).files)


def _runs(files: Sequence[mf.File], rows_max: int) -> list[list[mf.File]]:
    """Neighbours that go into one file: two or more."""
    runs: list[list[mf.File]] = [[]]
    for file in files:
        if runs[-1] and sum(one.rows for one in runs[-1]) + file.rows > rows_max:
            runs.append([])
        runs[-1].append(file)
    return [run for run in runs if len(run) > 1]
