"""What a sealed file holds, and reading it: Parquet, written by DuckDB, one file for some segments of one stream.

Columns are named and typed as the fields of the row (`market/rows.py`), rows stand in order of seq. Left out is what
follows from the rest:

- of every stream `worker`, and `kind` where it is always the same: the manifest and the stream say them;
- of wins the buyer's total and the ten parties (from `fees`, `clearing_nano`, FLAG_DATA), and contacts, cum_rent_nano,
  since_last_s (from the order of wins and billings);
- of events all that stands on the win with the same serial, paid_nano, cum_rent_nano and contact_n. What a refund gave
  back is `refund_nano`, 0 or more.

Records of `inputs` have a column `payload`, BLOB. `columns` reads some columns of a file at little cost; whole rows
come from `Ledger`, which derives what is left out.
"""

import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange import market as mk
from exchange.rent.blocks import INPUT_HEAD, LedgerError
from exchange.rent.manifest import FOLDER, File

if TYPE_CHECKING:
    import duckdb

DERIVED: Final[dict[str, tuple[str, ...]]] = {
    "auctions": (),
    "bids": (),
    "wins": (
        "buyer_total_nano", *(f"{party}_nano" for party in mk.PARTIES), "cum_rent_nano", "contacts", "since_last_s",
    ),
    "events": (
        "auction_id", "person_key", "paid_nano", "cum_rent_nano", "campaign", "advertiser", "contact_n", "imp_ix",
        "slot",
    ),
    "inputs": (),
}  # fmt: skip
OF_WIN: Final = ("auction_id", "person_key", "campaign", "advertiser", "imp_ix", "slot")  # what an event repeats
KIND: Final = {"auctions": mk.KIND_AUCTION, "bids": mk.KIND_BID, "wins": mk.KIND_WIN}  # where it is always the same
_SHAPES: Final = {name: dtype if dtype is not None else INPUT_HEAD for name, dtype in mk.STREAMS.items()}
STORED: Final[dict[str, tuple[str, ...]]] = {
    name: (
        *(
            field
            for field in dtype.names or ()
            if field not in (*DERIVED[name], "worker", "length") and not (field == "kind" and name in KIND)
        ),
        *{"events": ("refund_nano",), "inputs": ("payload",)}.get(name, ()),
    )
    for name, dtype in _SHAPES.items()
}
CHUNK: Final = 2_048  # rows whose fields are added up together: they stay in the cache meanwhile
_local = threading.local()
_checked: dict[tuple[str, int], tuple[int, int]] = {}  # (path, crc) -> (size, mtime_ns) of files found whole


def connection(threads: int = 1) -> "duckdb.DuckDBPyConnection":
    """This thread's DuckDB, in memory, which neither looks for extensions nor shows progress."""
    import duckdb  # takes as long to import as the rest of a ledger's reader

    found: dict[int, duckdb.DuckDBPyConnection] = _local.__dict__.setdefault("found", {})
    if threads not in found:
        found[threads] = duckdb.connect(config={"threads": threads, "autoinstall_known_extensions": False})
        found[threads].execute("SET enable_progress_bar = false")
    return found[threads]


def quoted(path: Path | str) -> str:
    """A path as an SQL string."""
    return "'" + str(path).replace("'", "''") + "'"


def columns(path: Path, names: Sequence[str], threads: int = 1) -> dict[str, NDArray[Any]]:
    """Some stored columns of a sealed file as contiguous arrays, in order of seq. Raises LedgerError.

    The checksum of the file is not verified here (`check` does). FileNotFoundError when the file was replaced.
    """
    found = _select(path, names, threads).fetchnumpy()
    return {name: np.ascontiguousarray(np.ma.getdata(found[name])) for name in names}


def _select(path: Path, names: Sequence[str], threads: int = 1) -> Any:
    """The result of reading some columns of a file."""
    con = connection(threads)
    path.stat()
    try:
        return con.execute(f"SELECT {', '.join(names)} FROM read_parquet({quoted(path)})")
    except Exception as error:  # whatever DuckDB makes of damaged bytes
        path.stat()
        raise LedgerError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error


def check(path: Path, file: File) -> None:
    """Verify size and crc32 of a file, once as long as it lies there unchanged. Raises LedgerError that names it."""
    facts = path.stat()
    if facts.st_size != file.bytes:
        raise LedgerError(f"{path}: {facts.st_size} bytes, the manifest says {file.bytes}")
    mark = (facts.st_size, facts.st_mtime_ns)
    if _checked.get((str(path), file.crc32)) == mark:
        return
    found = crc32(path)
    if found != file.crc32:
        raise LedgerError(f"{path}: checksum is {found:08x}, the manifest says {file.crc32:08x}")
    _checked[str(path), file.crc32] = mark


def crc32(path: Path) -> int:
    """The crc32 of a file."""
    found = 0
    with path.open("rb", buffering=0) as file:
        while part := file.read(1 << 20):
            found = zlib.crc32(part, found)
    return found


class Sealed:
    """One sealed file as a part of a ledger; verified when it is first read."""

    def __init__(self, folder: Path, file: File) -> None:
        self.file = file
        self.path = folder / FOLDER / file.name
        self.name = str(self.path)

    def columns(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Some stored columns. Raises LedgerError for a damaged file, FileNotFoundError for one that was replaced."""
        check(self.path, self.file)
        found = columns(self.path, names)
        for name in names:
            if found[name].size != self.file.rows:
                raise LedgerError(f"{self.path}: {found[name].size} rows, the manifest says {self.file.rows}")
        return found

    def seqs(self) -> NDArray[np.uint64]:
        """The seq of every row."""
        return self.columns(("seq",))["seq"]

    def fill(self, out: NDArray[np.void]) -> None:
        """Write the stored fields into rows of the stream; derived ones stay 0, but for a refund's paid_nano."""
        stream = self.file.stream
        stored = self.columns(STORED[stream])
        out["worker"] = self.file.worker
        if stream in KIND:
            out["kind"] = KIND[stream]
        for name, values in stored.items():
            if name == "refund_nano":
                out["paid_nano"] = -values
            else:
                out[name] = values

    def inputs(self) -> list[tuple[Any, ...]]:
        """The records of an `inputs` file: (seq, ts_ns, config_version, snapshot_version, kind, payload)."""
        check(self.path, self.file)
        records: list[tuple[Any, ...]] = _select(self.path, STORED["inputs"]).fetchall()
        return records


def sums_of(stream: str, rows: NDArray[np.void]) -> dict[str, int]:
    """Sums modulo 2^64 of the columns that a sealed file of these rows leaves out."""
    sums = dict.fromkeys(DERIVED[stream], 0)
    for at in range(0, len(rows), CHUNK):
        part = rows[at : at + CHUNK]
        for name in sums:
            sums[name] += int(part[name].astype(np.uint64).sum(dtype=np.uint64))
    return {name: value % 2**64 for name, value in sums.items()}
