"""Replay: feed a ledger's raw inputs to a fresh exchange and compare every row it writes, byte by byte.

Works on ledgers written with `journal = "full"`: each input carries the raw request, the raw remote answers or the
link, or the events posted, or the change, and the times. The salt and the names are those of the ledger.
"""

import shutil
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from exchange import market as mk
from exchange.auction.changes import Change
from exchange.auction.venue import Venue
from exchange.audience.kept import facts_of
from exchange.audience.table import MAGIC, STORE
from exchange.config import Config, ConfigError
from exchange.events import Posted
from exchange.line import Given, Line
from exchange.links import BadToken, Links
from exchange.opening import open_venue
from exchange.rent.ledger import Ledger
from exchange.rent.names import read_meta

STREAMS: Final = ("auctions", "bids", "wins", "events")


class Difference(Struct):
    """One row that came out differently: which stream, where, which field, what stood there and what came now."""

    stream: str
    row: int
    seq: int
    field: str
    expected: str
    found: str


class Replayed(Struct):
    """What a replay compared; `note` is what explains differences, if anything is known to."""

    inputs: int
    rows: dict[str, int]
    differences: list[Difference]
    note: str = ""


def replay(config: Config, ledger: Ledger, folder: Path) -> int:
    """Feed the inputs of `ledger` to a fresh exchange that writes to `folder`. Returns the number of inputs."""
    config = deepcopy(config)
    config.exchange.ledger = str(folder)
    venue, line = _open(config)
    n = 0
    for record in ledger.inputs():
        n += 1
        if record.snapshot_version < venue.record["snapshot_version"][0]:  # a restart: it began with the config again
            venue.close()
            venue, line = _open(config)
        if record.kind == mk.KIND_REQUEST and not record.payload:
            continue  # its person was forgotten
        if record.kind == mk.KIND_REQUEST:
            opened_ns, body, answers = msgspec.msgpack.decode(record.payload)
            given = [Given(endpoint, result, answer) for endpoint, result, answer in answers]
            line.close(line.open(body, opened_ns), given, record.ts_ns)
        elif record.kind == mk.KIND_LINK:
            kind, token = msgspec.msgpack.decode(record.payload)
            try:
                line.follow(kind, token, record.ts_ns)
            except BadToken as error:
                raise ConfigError(f"input {record.seq}: {error}: is the salt that of the ledger?") from None
        elif record.kind == mk.KIND_POST:
            line.post(msgspec.msgpack.decode(record.payload, type=list[Posted]), record.ts_ns)
        elif record.kind == mk.KIND_TICK:
            line.tick(record.ts_ns)
        elif record.kind == mk.KIND_CHANGE:
            action, campaign, keys = msgspec.msgpack.decode(record.payload)
            line.change(Change(action, campaign, keys), record.ts_ns)
            venue.targets.catch_up()
    venue.close()
    return n


def _open(config: Config) -> tuple[Venue, Line]:
    """A fresh exchange where the ledger ends; of own lists it knows what the inputs say."""
    venue, key = open_venue(config, lists_known=False)
    return venue, Line(venue, key, Links(key, config.server.public_url))


def compare(config: Config, path: Path) -> Replayed:
    """Replay the ledger at `path` and compare all its rows. Raises ConfigError when it holds no inputs."""
    ledger = Ledger(path)
    if not all((path / file).is_file() for file in ("names.tsv", "salt")) or next(ledger.inputs(), None) is None:
        raise ConfigError(f'{path}: no inputs to replay; serve with [exchange] journal = "full"')
    with tempfile.TemporaryDirectory(prefix="rentier-replay-") as name:
        folder = Path(name)
        for file in ("names.tsv", "salt", STORE):  # what requests said of people, they say again
            if (path / file).is_file():
                shutil.copy(path / file, folder / file)
        if (path / "lists").is_dir():
            shutil.copytree(path / "lists", folder / "lists")
        n = replay(config, ledger, folder)
        again = Ledger(folder)
        rows = {stream: int(getattr(ledger, stream).size) for stream in STREAMS}
        found = [d for stream in STREAMS for d in _differences(stream, getattr(ledger, stream), getattr(again, stream))]
    forgotten = sum(record.kind == mk.KIND_REQUEST and not record.payload for record in ledger.inputs())
    note = f"{forgotten} requests were forgotten: what came after them may differ" if forgotten else _note(path)
    return Replayed(n, rows, found, note if found else "")


def _note(path: Path) -> str:
    """Why a replay of a ledger could not be exact: the people store is not the one of its runs; "" = not for that."""
    ran = read_meta(path).get("people_versions", [])
    now = facts_of(path / STORE, MAGIC)["version"] if (path / STORE).is_file() else 0
    if set(ran) <= {now}:
        return ""
    return f"{path / STORE} has version {now}, the ledger was written with {', '.join(map(str, ran))}"


def _differences(stream: str, old: Any, new: Any) -> list[Difference]:
    """The first differing field of the first differing row of a stream, if any."""
    n = min(old.size, new.size)
    width = old.dtype.itemsize
    unlike = np.any(
        np.ascontiguousarray(old[:n]).view(np.uint8).reshape(n, width)
        != np.ascontiguousarray(new[:n]).view(np.uint8).reshape(n, width),
        axis=1,
    )
    if unlike.any():
        row = int(np.argmax(unlike))
        for name in old.dtype.names:
            if old[row][name] != new[row][name]:
                return [Difference(stream, row, int(old[row]["seq"]), name, str(old[row][name]), str(new[row][name]))]
    if old.size != new.size:
        return [Difference(stream, n, 0, "rows", str(old.size), str(new.size))]
    return []


def render(found: Replayed) -> str:
    """One line, or the first difference of each stream."""
    lines = [f"replay: {found.inputs} inputs, {sum(found.rows.values())} rows, {len(found.differences)} differences"]
    for d in found.differences:
        lines.append(f"  {d.stream} row {d.row} (seq {d.seq}): {d.field} was {d.expected}, now {d.found}")
    if found.note:
        lines.append(f"  {found.note}")
    return "\n".join(lines)
