"""Forget people: what a ledger holds of them becomes what it holds of nobody, and every sum stays.

Rows of `wins` and `auctions` get the person key 0, as if the person had been unknown; events have no person of their
own once they are sealed. So everything that can be sealed is sealed first, and nobody may write the ledger meanwhile.
Raw requests that name the person are emptied, so that a replay stops being exact there. Segments, own lists and
reported purchases lose him. All sealed files change in one step; a crash before or after leaves a whole ledger, and to
forget again finishes what was begun. Source: GDPR article 17.
"""

import contextlib
import csv
import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange import market as mk
from exchange.audience import kept, lists, table
from exchange.audience.people import person_key
from exchange.facts.sources import person_id
from exchange.openrtb.validate import BadRequest, decode
from exchange.rent import manifest as mf
from exchange.rent.blocks import WORKER_MAX, LedgerError, lock_worker
from exchange.rent.ledger import Ledger
from exchange.rent.names import salt
from exchange.rent.recovery import recover
from exchange.rent.seal import rewritten, seal, sealing, write_file
from exchange.rent.sealed import STORED, Sealed

PURCHASES: Final = "conversions.csv"  # what a shop has reported, beside the ledger
IMPS_MAX: Final = 1_000  # of a request that is read again
_WORKER = re.compile(r"\w+-w(\d+)-\d+\.seg")
Keys = NDArray[np.uint64]


class Forgotten(Struct):
    """What was found of the people, and is no longer there."""

    people: int  # asked for
    wins: int
    auctions: int
    requests: int  # raw inputs that were emptied
    segments: int  # of them in the people store
    lists: int  # versions of own lists that had one of them
    purchases: int  # lines of `conversions.csv`


def forget(folder: Path, ids: Sequence[str]) -> Forgotten:
    """Forget people, by the ids that requests name them by. Raises LedgerError, JournalError while somebody writes."""
    if not (folder / "salt").is_file():
        raise LedgerError(f"{folder}: no salt in it, so nobody can be recognised: expected the ledger of an exchange")
    key_of = partial(person_key, salt(folder))
    keys = np.unique(np.array([key_of(text) for text in ids], np.uint64))
    with contextlib.ExitStack() as stack:
        for worker in workers_of(folder):
            stack.callback(os.close, lock_worker(folder, worker))
            recover(folder, worker)
        stack.enter_context(kept.lock(folder))
        seal(folder, everything=True)
        segments, versions = _from_people(folder, keys), _from_lists(folder, keys)
        purchases = _from_purchases(folder, set(ids))
        wins, auctions, requests = _from_rows(folder, keys, set(ids)) if mf.path_of(folder).exists() else (0, 0, 0)
    return Forgotten(len(ids), wins, auctions, requests, segments, versions, purchases)


def workers_of(folder: Path) -> list[int]:
    """The workers that have ever written a ledger."""
    live = {int(match[1]) for path in folder.glob("*.seg") if (match := _WORKER.fullmatch(path.name))}
    found = live | {worker for worker, _ in mf.read(folder).streams()}
    return sorted(worker for worker in found if worker <= WORKER_MAX)


# ---- what is known of people -------------------------------------------------------------------------------------


def _from_people(folder: Path, keys: Keys) -> int:
    """Take people out of what was imported and learnt. Returns how many (person, segment) there were."""
    found, key = 0, salt(folder)
    for name in (table.STORE, table.LEARNT):
        known = table.read(folder / name, key)
        left = table.without(known, keys)
        if left.numbers.size < known.numbers.size:
            found += known.numbers.size - left.numbers.size
            table.write(folder / name, key, left)
    return found


def _from_lists(folder: Path, keys: Keys) -> int:
    """Take people off every version of every own list. Returns how many versions had one of them."""
    found = 0
    for version in lists.versions(folder, salt(folder)):
        facts, arrays = kept.read(version.path, lists.MAGIC)
        left = arrays["keys"][~np.isin(arrays["keys"], keys)]
        if left.size < arrays["keys"].size:
            found += 1
            kept.write(version.path, lists.MAGIC, facts, {"keys": left})
    return found


def _from_purchases(folder: Path, ids: set[str]) -> int:
    """Take the purchases of people out of `conversions.csv`. Returns how many there were."""
    path = folder / PURCHASES
    if not path.is_file():
        return 0
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    left = [row for row in rows if not ids.intersection(row)]
    if len(left) < len(rows):
        fresh = path.with_suffix(".new")
        with fresh.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(left)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    return len(rows) - len(left)


# ---- rows --------------------------------------------------------------------------------------------------------


def _from_rows(folder: Path, keys: Keys, ids: set[str]) -> tuple[int, int, int]:
    """Give rows of people the key 0 and empty their requests, all in one step. Returns (wins, auctions, requests)."""
    ledger = Ledger(folder)
    wins, auctions, requests = _of(ledger.wins, keys), _of(ledger.auctions, keys), 0
    events = _of(ledger.events, keys)
    with sealing(folder):
        manifest = mf.read(folder)
        fresh: list[mf.File] = []
        for file in manifest.files:
            if file.stream == "inputs":
                made, emptied = _emptied(folder, file, keys, ids, salt(folder))
                requests += emptied
            else:
                rows = {"wins": wins, "auctions": auctions, "events": events}.get(file.stream)
                made = file if rows is None else _without(folder, file, rows, keys)
            fresh.append(made)
        old = {file.name for file in manifest.files} - {file.name for file in fresh}
        manifest.files = fresh
        mf.write(folder, manifest)
        for name in old:
            (folder / mf.FOLDER / name).unlink(missing_ok=True)
    return len(wins), len(auctions), requests


def _of(rows: NDArray[Any], keys: Keys) -> NDArray[Any]:
    """The rows of some people."""
    return rows[np.isin(rows["person_key"], keys)]


def _without(folder: Path, file: mf.File, rows: NDArray[Any], keys: Keys) -> mf.File:
    """A file of wins, auctions or events without the people of `rows`; its sums are those of the rows as they are now.

    Of an unknown person nothing is counted, so what had been derived of these rows is taken off the sums.
    """
    mine = rows[(rows["worker"] == file.worker) & (rows["seq"] >= file.first_seq) & (rows["seq"] <= file.last_seq)]
    if not mine.size:
        return file
    sums = dict(file.sums)
    for name in ("person_key", "cum_rent_nano", "contacts", "since_last_s", "contact_n"):
        if name in sums:
            sums[name] = (sums[name] - int(mine[name].astype(np.uint64).sum(dtype=np.uint64))) % 2**64
    if file.stream == "events":  # they name nobody: the win does
        return msgspec.structs.replace(file, sums=sums)
    listed = ", ".join(str(key) for key in keys.tolist())
    column = f"CASE WHEN person_key IN ({listed}) THEN 0::UBIGINT ELSE person_key END AS person_key"
    return rewritten(folder, [file], f"* REPLACE ({column})", sums)


def _emptied(folder: Path, file: mf.File, keys: Keys, ids: set[str], key: bytes) -> tuple[mf.File, int]:
    """A file of inputs in which the requests of these people are empty, and how many those are."""
    records = Sealed(folder, file).inputs()
    names = {name: place for place, name in enumerate(STORED["inputs"])}
    payloads, emptied = [], 0
    for record in records:
        payload = record[names["payload"]]
        if record[names["kind"]] == mk.KIND_REQUEST and payload and _names(payload, keys, ids, key):
            payload, emptied = b"", emptied + 1
        payloads.append(payload)
    if not emptied:
        return file, 0
    shapes = {"seq": np.uint64, "ts_ns": np.int64, "config_version": np.uint32, "snapshot_version": np.uint32}
    columns: dict[str, NDArray[Any]] = {
        name: np.array([record[place] for record in records], shapes.get(name, np.uint16))
        for name, place in names.items()
        if name != "payload"
    }
    columns["payload"] = np.array(payloads, object)
    revision = 1
    while (
        folder / mf.FOLDER / (name := mf.file_name("inputs", file.worker, file.first, file.last, revision))
    ).exists():
        revision += 1
    made = write_file(folder, name, columns, "inputs", file.worker, file.first, file.last, file.sums)
    return made, emptied


def _names(payload: bytes, keys: Keys, ids: set[str], key: bytes) -> bool:
    """Whether a raw request names one of the people, as its person or anywhere else in its bytes."""
    body = bytes(msgspec.msgpack.decode(payload)[1])
    if any(msgspec.json.encode(text) in body for text in ids) or _has(body, ids):
        return True
    try:
        request = decode(body, IMPS_MAX)
    except BadRequest:
        return False  # it was refused then, and names nobody that we could know
    who = person_id(request.user, request.device)
    return bool(who) and person_key(key, who) in keys


def _has(body: bytes, ids: set[str]) -> bool:
    """Whether one of the ids is a text or a number anywhere in a body, however it is escaped there."""
    try:
        found: list[Any] = [json.loads(body, parse_int=str, parse_float=str)]
    except (ValueError, RecursionError):
        return False
    while found:
        value = found.pop()
        if isinstance(value, dict):
            found += (*value, *value.values())
        elif isinstance(value, list):
            found += value
        elif isinstance(value, str) and value in ids:
            return True
    return False


def texts_of(given: Sequence[str], files: Sequence[Path], emails: bool) -> Iterator[str]:
    """Ids as requests have them: those given, and the lines of files; emails: e-mails, of which the SHA-256 is matched.

    Raises LedgerError for an empty id, or what is no e-mail.
    """
    lines = [line.strip() for path in files for line in path.read_text(encoding="utf-8-sig").splitlines()]
    for text in [*given, *(line for line in lines if line)]:
        if not text.strip():
            raise LedgerError("PERSON: expected the id that requests name him by, found nothing")
        try:
            yield lists.email(text) if emails else text
        except ValueError as error:
            raise LedgerError(f"PERSON {error}") from None
