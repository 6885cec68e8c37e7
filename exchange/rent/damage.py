"""What of a ledger cannot be read: every damaged file, not only the first that a reader stumbles over."""

from collections.abc import Callable, Iterator
from pathlib import Path

from exchange.rent import manifest as mf
from exchange.rent.blocks import LedgerError, Segment, scan, segment_numbers, segment_path
from exchange.rent.chain import LOOKS_MAX, Chain, Gone
from exchange.rent.ledger import Ledger
from exchange.rent.names import Names, lost, read_meta
from exchange.rent.sealed import Sealed, check


def opened(folder: Path) -> Ledger:
    """A ledger to be read by people: where it has rows it has names and a currency, too. Raises LedgerError."""
    ledger = Ledger(folder)
    if any(worker.last_seq for worker in ledger.workers) and (gone := lost(folder)):
        raise LedgerError(gone[0])
    return ledger


def damage(folder: Path) -> list[str]:
    """A line for each file of a ledger that is damaged or missing; [] = all can be read. It may be in use."""
    for _ in range(LOOKS_MAX):
        before = mf.raw(folder)
        try:
            manifest = mf.decode(folder, before)
        except LedgerError as error:  # without it nobody knows which files there should be
            return [str(error)]
        try:
            found = lost(folder) if mf.is_ledger(folder) else []
            found += [*_said(lambda: Names(folder, read_only=True)), *_said(lambda: read_meta(folder))]
            found += [*_of_sealed(folder, manifest), *_of_segments(folder, manifest)]
        except Gone:  # sealed, merged or dropped just now: look again
            continue
        if mf.raw(folder) == before:
            return found
    raise LedgerError(f"{folder}: its sealed files changed during each of {LOOKS_MAX} looks")


def _said(read: Callable[[], object]) -> Iterator[str]:
    """What is wrong with a file, in words; nothing when it can be read."""
    try:
        read()
    except LedgerError as error:
        yield str(error)


def _of_sealed(folder: Path, manifest: mf.Manifest) -> Iterator[str]:
    """The sealed files that are not what the manifest says."""
    for file in manifest.files:
        sealed = Sealed(folder, file)
        if sealed.path.exists():
            yield from _said(lambda: check(sealed.path, file))  # noqa: B023 - called at once
        else:
            yield f"{sealed.path}: this file is missing"


def _of_segments(folder: Path, manifest: mf.Manifest) -> Iterator[str]:
    """The segments with a block that makes no sense or whose checksum disagrees, and those that are missing."""
    for (worker, stream), numbers in sorted(segment_numbers(folder).items()):
        first = manifest.last(stream, worker) + 1
        live = [number for number in numbers if number >= first]  # the others wait to be removed
        for number in range(first, max(live, default=first - 1) + 1):
            path = segment_path(folder, stream, worker, number)
            if number not in live:
                yield f"{path}: this segment is missing"
                continue
            yield from _said(lambda: _read(path, stream, worker, number == live[-1]))  # noqa: B023


def _read(path: Path, stream: str, worker: int, last: bool) -> None:
    """Read a segment and verify its blocks. Raises LedgerError, and Gone when it has been sealed."""
    segment = Segment(str(path), path)
    try:
        scan(segment, stream, worker, last)
        chain = Chain(stream, worker, [segment])
        for ix in range(len(chain.blocks)):
            chain.payload(ix)
    except FileNotFoundError as error:
        raise Gone(str(path)) from error
