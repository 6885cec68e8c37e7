"""The actions on a ledger's storage: `rentier ledger verify | seal | compact | export | migrate`.

Each takes the parsed arguments and returns (text, exit code); ACTIONS lists (name, options, run, help, example).
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from exchange.cli import Quit, open_ledger


def _ledger(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("ledger", type=Path, help="folder of a ledger; it may be in use")


def _seal_options(sub: argparse.ArgumentParser) -> None:
    _ledger(sub)
    sub.add_argument("--full", action="store_true", help="only full segments: also while another process writes")
    sub.add_argument("--cut", action="store_true", help="lose what stands behind a missing record, however much it is")


def _compact_options(sub: argparse.ArgumentParser) -> None:
    _ledger(sub)
    for stream in ("inputs", "bids", "auctions"):
        sub.add_argument(
            f"--keep-{stream}", type=int, default=0, metavar="DAYS", help=f"drop {stream} older than that; 0 = none"
        )


def _export_options(sub: argparse.ArgumentParser) -> None:
    _ledger(sub)
    sub.add_argument("folder", type=Path, help="where the files go")
    sub.add_argument("--format", choices=("parquet", "csv"), default="parquet", help="of the files (default parquet)")
    sub.add_argument(
        "--stream",
        action="append",
        choices=("auctions", "bids", "wins", "events"),
        help="only this one; repeatable (default: all)",
    )


def _migrate_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("old", type=Path, metavar="OLD", help="folder of a ledger of an earlier format; it stays")
    sub.add_argument("new", type=Path, metavar="NEW", help="a new or empty folder")


@contextlib.contextmanager
def writers_of(folder: Path, cut: bool = False) -> Iterator[list[str]]:
    """Hold the locks of all writers of a ledger, so that none begins; its journals are made whole first.

    Gives what was cut behind missing records, in words. cut: however much it is. Raises LedgerError.
    """
    import os

    from exchange.rent.blocks import JournalError, lock_worker, segment_numbers
    from exchange.rent.recovery import recover

    locks: list[int] = []
    lost: list[str] = []
    try:
        for worker in sorted({worker for worker, _ in segment_numbers(folder)}):
            try:
                locks.append(lock_worker(folder, worker))
            except JournalError as error:
                raise Quit(f"{error}: stop it first, or seal only full segments: --full") from None
            *_, told = recover(folder, worker, cut)
            lost += [told] if told else []
        yield lost
    finally:
        for lock in locks:
            os.close(lock)


def verify(args: argparse.Namespace) -> tuple[str, int]:
    """Read everything: every checksum, the manifest, the numbering, and the sums of what is derived."""
    from exchange.rent.blocks import LedgerError, being_written
    from exchange.rent.damage import damage

    live = being_written(args.ledger)  # then a look may come between two rows
    try:
        ledger = open_ledger(args.ledger)
        broken = damage(args.ledger)
    except LedgerError as error:
        if not args.ledger.is_dir():
            raise
        broken = damage(args.ledger) or [str(error)]
    if broken:
        return "\n".join([f"verify: {len(broken)} files cannot be read", *broken]) + "\n", 1
    rows = ledger.verify()
    found = ledger.derivation()
    found += [f"worker {w}: seq {seq} is {there}, expected {seq}" for w, seq, there in ledger.gaps()]
    if not live:
        found += [
            f"worker {worker.worker}: seq {worker.gap} is missing, and {sum(worker.cut.values())} rows from there on "
            "are left out: a file was cut short or lost, or the power failed"
            for worker in ledger.workers
            if worker.gap
        ]
    files, dropped = len(ledger.manifest.files), sum(gone.rows for gone in ledger.dropped)
    head = f"verify: {rows} rows, {files} sealed files, {len(found)} differences"
    if cut := sum(ledger.cut.values()):
        head += f"; {cut} rows left out: an unfinished step, a writer at work, or what is said below"
    if dropped:
        head += f"; {dropped} rows were dropped, as noted"
    return "\n".join([head, *found]) + "\n", 1 if found else 0


def seal(args: argparse.Namespace) -> tuple[str, int]:
    """Turn segments into Parquet files: all of a ledger that nobody writes, or only full ones."""
    from exchange.rent import seal as sealer

    open_ledger(args.ledger)
    lost: list[str] = []
    if args.full:
        made = sealer.seal(args.ledger)
    else:
        with writers_of(args.ledger, args.cut) as lost:
            for told in lost:
                print(told, file=sys.stderr)
            made = sealer.seal(args.ledger, everything=True)
    rows, size = sum(file.rows for file in made), sum(file.bytes for file in made)
    each = f", {size / rows:.1f} bytes a row" if rows else ""
    return f"sealed {len(made)} segments: {rows} rows in {size} bytes{each}{''.join(f'; {told}' for told in lost)}\n", 0


def compact(args: argparse.Namespace) -> tuple[str, int]:
    """Drop what is too old, then merge sealed files into few large ones."""
    from exchange.rent import seal as sealer

    open_ledger(args.ledger)
    days = {stream: getattr(args, f"keep_{stream}") for stream in sealer.DROPPABLE}
    for stream, n in days.items():
        if not 0 <= n <= 36_500:
            raise Quit(f"--keep-{stream} {n}: expected 0 to 36500 days")
    gone = sealer.retain(args.ledger, days, time.time_ns())
    before, after = sealer.compact(args.ledger)
    text = f"compacted {before} sealed files to {after}"
    if before == after:
        text = f"nothing to compact: {after} sealed file{'s'[: after != 1]}"
    if gone:
        text += f"; dropped {sum(file.rows for file in gone)} rows in {len(gone)} files, noted in the manifest"
    return text + "\n", 0


def export(args: argparse.Namespace) -> tuple[str, int]:
    """Write tidy files for other tools, without any key of a person."""
    from exchange.rent.export import export as write
    from exchange.rent.ledger import FIXED

    ledger = open_ledger(args.ledger)
    done = write(ledger, args.folder, args.format, tuple(args.stream or FIXED))
    lines = [f"{args.folder / f'{stream}.{args.format}'}: {rows} rows" for stream, rows in done.items()]
    return "\n".join(lines) + "\n", 0


def migrate(args: argparse.Namespace) -> tuple[str, int]:
    """Write a ledger of an earlier format anew in the present one."""
    from exchange.rent.migrate import migrate as write

    if not args.old.is_dir():
        raise Quit(f"{args.old}: no such ledger folder")
    done = write(args.old, args.new)
    return f"{args.new}: " + ", ".join(f"{rows} {stream}" for stream, rows in done.items()) + "\n", 0


ACTIONS: Final = (
    ("verify", _ledger, verify, "Read every row: checksums, numbering, and what is derived; exit 1 if something "
     "differs.", "rentier ledger verify demo-ledger"),
    ("seal", _seal_options, seal, "Turn closed segments into Parquet files.", "rentier ledger seal demo-ledger"),
    ("compact", _compact_options, compact, "Merge sealed files into few, and drop what is too old.",
     "rentier ledger compact demo-ledger --keep-bids 90"),
    ("export", _export_options, export, "Write tidy Parquet or CSV files, without any key of a person.",
     "rentier ledger export demo-ledger tables --format csv --stream wins"),
    ("migrate", _migrate_options, migrate, "Write a ledger of an earlier format anew.",
     "rentier ledger migrate old-ledger ledger"),
)  # fmt: skip
