"""A ledger of an earlier format, written anew in the present one; the old folder stays as it is.

Format 1 had no fee sets on its wins. They are inferred: of the sets that its facts (`meta.json`) and the presets allow,
the first whose split gives every amount of a row, to the unit. A row that none explains ends the migration, and it is
named: what is left out of sealed files must be what was written.
"""

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from exchange import market as mk
from exchange.config import FeeSet
from exchange.rent import manifest as mf
from exchange.rent.blocks import FORMAT, JournalError, LedgerError, lock_worker, segment_numbers
from exchange.rent.chain import Shapes, Worker, look
from exchange.rent.derived import split_all
from exchange.rent.gather import gather
from exchange.rent.names import BUDGETS, Names, read_meta, write_meta
from exchange.rent.seal import input_columns, sealing, write_file
from exchange.rent.waterfall import PRESETS, fee_set, terms_of

ROWS_MAX: Final = 1 << 20  # of a file
_NEW_FIELDS: Final = {"wins": ("segment", "fees"), "events": ("number",)}


def _without(dtype: np.dtype[np.void], fields: tuple[str, ...]) -> np.dtype[np.void]:
    """A shape without some of its fields."""
    return mk.shape([(name, dtype.fields[name][0].str) for name in dtype.names or () if name not in fields])  # type: ignore[index]


FORMAT_1: Final[Shapes] = {
    name: dtype if dtype is None else _without(dtype, _NEW_FIELDS.get(name, ())) for name, dtype in mk.STREAMS.items()
}


def migrate(old: Path, new: Path) -> dict[str, int]:
    """Write a ledger of format 1 anew as a sealed one. Returns how many rows of each stream.

    Raises LedgerError: another format, a writer at work, an unexplained row, a place that is taken.
    """
    found = read_meta(old).get("format")
    if found != 1:
        told = "it is of this format already" if found == FORMAT else "expected 1"
        raise LedgerError(f"{old}: meta.json says format {found}: {told}: nothing to migrate")
    if new.exists() and (not new.is_dir() or any(new.iterdir())):
        raise LedgerError(f"{new}: expected a new or empty folder")
    workers = sorted({worker for worker, _ in segment_numbers(old)})
    locks: list[int] = []
    fresh = new.with_name(new.name + ".migrating")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        locks += [lock_worker(old, worker) for worker in workers]
        rows = _write(old, fresh)
        if new.exists():
            new.rmdir()
        fresh.rename(new)
        mf.sync_folder(new.parent)
    except JournalError as error:
        raise LedgerError(str(error)) from error
    finally:
        for lock in locks:
            os.close(lock)
        shutil.rmtree(fresh, ignore_errors=True)
    return rows


def _write(old: Path, fresh: Path) -> dict[str, int]:
    """Write the new ledger into a folder of its own."""

    def skip(_: str, names: list[str]) -> list[str]:
        apart = ("meta.json", BUDGETS, mf.FOLDER)
        return [name for name in names if name in apart or name.endswith((".seg", ".lock", ".new"))]

    shutil.copytree(old, fresh, ignore=skip)
    facts = read_meta(old)
    del facts["format"]
    write_meta(fresh, facts)
    state = look(old, lambda tree, _: [Worker(worker, parts, shapes=FORMAT_1) for worker, parts in tree.items()])
    done: dict[str, int] = {}
    with sealing(fresh):
        manifest = mf.Manifest()
        for worker in state:
            for stream, chain in worker.chains.items():
                manifest.files += _seal_stream(old, fresh, worker, stream, facts)
                done[stream] = done.get(stream, 0) + chain.rows
        mf.write(fresh, manifest)
    return done


def _seal_stream(old: Path, fresh: Path, worker: Worker, stream: str, facts: dict[str, Any]) -> Iterator[mf.File]:
    """Write one stream of one worker as sealed files, segment numbers 1, 2, 3."""
    chain = worker.chains[stream]
    if not chain.rows:
        return
    if chain.dtype is None:
        name = mf.file_name(stream, worker.worker, 1, 1)
        yield write_file(fresh, name, input_columns(chain), stream, worker.worker, 1, 1, {})
        return
    before = np.empty(chain.rows, chain.dtype)
    chain.load(before)
    rows = np.zeros(chain.rows, mk.STREAMS[stream])
    for field in chain.dtype.names or ():
        rows[field] = before[field]
    if stream == "wins":
        infer_fees(old, fresh, rows, facts)
    for number, at in enumerate(range(0, len(rows), ROWS_MAX), 1):
        part = rows[at : at + ROWS_MAX]
        name = mf.file_name(stream, worker.worker, number, number)
        columns, sums = gather(fresh, stream, len(part), [part.view(np.uint8)], str(old))
        yield write_file(fresh, name, columns, stream, worker.worker, number, number, sums)


def infer_fees(old: Path, fresh: Path, wins: NDArray[np.void], facts: dict[str, Any]) -> None:
    """Fill in `fees` and FLAG_DATA of wins, and name the fee sets. Raises LedgerError for a row that none explains."""
    amounts = np.stack([wins[f"{party}_nano"] for party in mk.PARTIES], axis=1)
    clearing = np.ascontiguousarray(wins["clearing_nano"])
    data = mk.PARTIES.index("data")
    likely = np.where(amounts[:, data] > 0, mk.FLAG_DATA, 0).astype(np.uint8)
    open_ = np.ones(len(wins), bool)
    names = Names(fresh)
    try:
        for terms, uses_data in itertools.product(_candidates(facts), (likely, likely ^ mk.FLAG_DATA)):
            at = np.flatnonzero(open_)
            if not at.size:
                return
            table = np.array([terms], mk.FEES)
            total, parties = np.empty(at.size, np.int64), np.empty((at.size, len(mk.PARTIES)), np.int64)
            split_all(table, np.zeros(at.size, np.uint16), clearing[at], uses_data[at], total, parties)
            fits = at[(total == wins["buyer_total_nano"][at]) & (parties == amounts[at]).all(axis=1)]
            if fits.size:
                wins["fees"][fits] = names.id("fees", terms_of(terms))
                wins["flags"][fits] |= uses_data[fits]
                open_[fits] = False
        if open_.any():
            row = wins[int(np.argmax(open_))]
            raise LedgerError(
                f"{old}: wins seq {row['seq']}: no fee set that meta.json or a preset names gives buyer_total_nano = "
                f"{row['buyer_total_nano']} and its parties on clearing_nano = {row['clearing_nano']}: not migrated"
            )
    finally:
        names.sync()
        names.close()


def _candidates(facts: dict[str, Any]) -> list[np.void]:
    """The fee sets that may have split a row: those of the config first, then every pair of a preset or own set."""
    fees = facts.get("fees", {})
    sets = {name: msgspec.convert(own, FeeSet) for name, own in fees.get("set", {}).items()}
    choices = [*PRESETS, *sets]
    sell, buy = fees.get("sell", "none"), fees.get("buy", "none")
    pairs = [(sell, buy), *((sell, other) for other in choices), *itertools.product(choices, choices)]
    found: dict[str, np.void] = {}
    for pair in pairs:
        try:
            record = fee_set(*pair, sets)
        except ValueError:
            continue  # a set that cannot sell, such as one of buy-side weights only
        found.setdefault(terms_of(record), record)
    return list(found.values())
