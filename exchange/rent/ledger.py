"""The ledger, read side: the journal of every worker as numpy arrays, also while it is being written and sealed.

What counts after a crash, and how a live ledger is looked at, says `chain.py`. Rows of sealed files are full rows: what
those leave out is derived again (`derived.py`).
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.market import PARTIES, STREAMS
from exchange.rent import manifest as mf
from exchange.rent.blocks import INPUT_HEAD, INPUT_PACKER, LedgerError, inputs_in
from exchange.rent.chain import LOOKS_MAX, Chain, Gone, Part, Worker, look
from exchange.rent.derived import history, splits
from exchange.rent.names import Names, read_meta
from exchange.rent.sealed import DERIVED, OF_WIN, Sealed, sums_of

if TYPE_CHECKING:
    from exchange.rent.journal import Journal
    from exchange.rent.sql.answers import Answer
    from exchange.rent.sql.relations import Rows

FIXED = ("auctions", "bids", "wins", "events")


class Input(Struct):
    """One record of the `inputs` stream: what came in."""

    seq: int
    ts_ns: int
    kind: int  # market.KIND_REQUEST, KIND_LINK, KIND_TICK
    worker: int
    config_version: int
    snapshot_version: int
    payload: bytes


class Drift(Struct):
    """A sealed file of which a derived column does not add up to what was written, modulo 2^64."""

    file: str
    stream: str
    worker: int
    first_seq: int  # of the file
    field: str
    expected: int | None  # None = the manifest does not say
    found: int


class Ledger:
    """A ledger folder as numpy arrays; `refresh` looks again. Raises LedgerError for anything damaged.

    Arrays are loaded, and their checksums verified, on first use; rows stand worker by worker in order of seq.
    """

    def __init__(self, path: Path | str) -> None:
        self.path: Path | None = Path(path)
        self._journal: Journal | None = None
        self._names, self._meta = Names(None), dict[str, Any]()
        if not self.path.is_dir():
            raise LedgerError(f"{path}: no such ledger folder")
        self.refresh()

    @classmethod
    def in_memory(cls, journal: "Journal", names: Names | None = None, meta: dict[str, Any] | None = None) -> "Ledger":
        """The ledger of a journal without a folder, with the names and facts that belong to it."""
        ledger = cls.__new__(cls)
        ledger.path, ledger._journal = None, journal
        ledger._names, ledger._meta = names or Names(None), meta or {}
        ledger.refresh()
        return ledger

    def refresh(self) -> None:
        """Look again: take a consistent snapshot of what is there now."""
        for name in (*FIXED, "names", "meta", "rows"):
            self.__dict__.pop(name, None)
        self._loaded: dict[tuple[int, str], NDArray[Any]] = {}
        self.manifest = mf.Manifest()
        if self._journal is not None:
            parts: dict[str, list[Part]] = {name: list(found) for name, found in self._journal.segments().items()}
            self.workers = [Worker(self._journal.worker, parts, skip_checksum=True)]
            return
        assert self.path is not None

        def build(tree: dict[int, dict[str, list[Part]]], manifest: mf.Manifest) -> list[Worker]:
            self.manifest = manifest
            return [Worker(worker, parts, base=manifest.base(worker)) for worker, parts in tree.items()]

        self.workers = look(self.path, build)

    @property
    def clean(self) -> bool:
        """Whether every worker closed its journal."""
        return all(worker.clean for worker in self.workers)

    @property
    def cut(self) -> dict[str, int]:
        """Rows per stream that are left out: an unfinished step, or what a live writer adds just now."""
        total: dict[str, int] = {}
        for worker in self.workers:
            for name, n in worker.cut.items():
                total[name] = total.get(name, 0) + n
        return total

    @property
    def dropped(self) -> list[mf.File]:
        """What retention took away: per stream and worker the rows, and the span of their seqs and times."""
        return self.manifest.dropped

    def dropped_to(self, stream: str, worker: int) -> int:
        """The seq up to which rows of a stream were dropped; 0 = none were."""
        gone = self.manifest.dropped_of(stream, worker)
        return gone.last_seq if gone else 0

    @cached_property
    def auctions(self) -> NDArray[Any]:
        """One row an imp, sold or not (`market.AUCTION_ROW`)."""
        return self._rows("auctions")

    @cached_property
    def bids(self) -> NDArray[Any]:
        """One row a bid, with its fate (`market.BID_ROW`)."""
        return self._rows("bids")

    @cached_property
    def wins(self) -> NDArray[Any]:
        """One row a win: the terms (`market.WIN_ROW`)."""
        return self._rows("wins")

    @cached_property
    def events(self) -> NDArray[Any]:
        """Impressions, clicks, conversions, releases, refunds (`market.EVENT_ROW`)."""
        return self._rows("events")

    @cached_property
    def names(self) -> Names:
        """Texts of the ids in the rows."""
        return self._names if self.path is None else Names(self.path, read_only=True)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What `names.write_meta` left beside the journal; empty when there is nothing."""
        return self._meta if self.path is None else read_meta(self.path)

    @cached_property
    def rows(self) -> "Rows":
        """Where the rows are that SQL reads: sealed files, and copies of what was not sealed at this look."""
        from exchange.rent.sql.relations import rows_of

        loaded = {stream: getattr(self, stream) for stream in FIXED if self.path is None or stream in self.__dict__}
        return rows_of(loaded, self.workers, self.parts)

    def sql(self, query: str, parameters: Any = ()) -> "Answer":
        """The answer to one SELECT over the views of docs/sql.md, as of the last `refresh`.

        It has `.columns`, `.rows`, `.fetchnumpy()`, `.frame()` (pandas) and `.table()`. parameters: for `?` (a
        sequence) or `$name` (a mapping). Raises LedgerError with DuckDB's message for a query it cannot answer.
        """
        from exchange.rent.sql.answers import Replaced, ask

        try:
            return ask(self.rows, self.names, self.meta, query, parameters)
        except Replaced:  # a sealed file was replaced since this look: look again, once
            self.refresh()
            return ask(self.rows, self.names, self.meta, query, parameters)

    def verify(self) -> int:
        """Read everything, so that every checksum is verified; return the rows of all streams."""
        fixed = sum(len(rows) for rows in (self.auctions, self.bids, self.wins, self.events))
        return fixed + sum(1 for _ in self.inputs())

    def inputs(self) -> Iterator[Input]:
        """The records of the `inputs` stream, worker by worker in order of seq."""
        for worker in self.workers:
            if "inputs" in worker.chains:
                yield from self._inputs_of(worker)

    def seqs(self) -> dict[int, NDArray[np.uint64]]:
        """The seqs of all records of each worker, sorted; those of dropped files are not among them."""
        found: dict[int, NDArray[np.uint64]] = {}
        for state in self.workers:
            parts = [
                rows["seq"][rows["worker"] == state.worker]
                for rows in (self.auctions, self.bids, self.wins, self.events)
            ]
            chain = self._steady(state, "inputs", _seqs_of) if "inputs" in state.chains else []
            found[state.worker] = np.sort(np.concatenate([*parts, *chain]))
        return found

    def gaps(self) -> list[tuple[int, int, int]]:
        """(worker, expected seq, found seq) where records are missing that retention has not noted; [] = none."""
        found = []
        for worker, seqs in self.seqs().items():
            noted = sum(gone.rows for gone in self.dropped if gone.worker == worker)
            until = max((gone.last_seq for gone in self.dropped if gone.worker == worker), default=0)
            below = int(np.searchsorted(seqs, np.uint64(until), "right"))
            if below + noted != until:
                found.append((worker, until - noted, below))
            rest = seqs[below:]
            broken = rest != np.arange(until + 1, until + rest.size + 1, dtype=np.uint64)
            if broken.any():
                at = int(np.argmax(broken))
                found.append((worker, until + at + 1, int(rest[at])))
        return found

    def drifts(self) -> list["Drift"]:
        """Compare the sums of what sealed files leave out with what was written: each column that differs."""
        found = []
        for worker in self.workers:
            for stream in ("wins", "events"):
                rows, at = self._of(worker, stream), 0
                chain = worker.chains.get(stream)
                for (part, _), keep in zip(chain.blocks, chain.keep, strict=True) if chain else ():
                    rows_of, at = rows[at : at + keep], at + keep
                    # a file that was sealed after this look may hold rows which it does not count
                    if isinstance(part, Sealed) and keep == part.file.rows:
                        found += _drifts_of(part.file, rows_of)
        return found

    def derivation(self) -> list[str]:
        """`drifts` in words: a line for each."""
        return [
            f"{drift.file}: the sum of {drift.field} is {drift.found}, {drift.expected} was written"
            for drift in self.drifts()
        ]

    def last_ns(self, stream: str) -> int:
        """When the last record of a stream (not `inputs`) was written; -1 = there is none."""
        chains = [worker for worker in self.workers if stream in worker.chains]
        return max((self._steady(worker, stream, Chain.last_ns) for worker in chains), default=-1)

    # ---- loading -------------------------------------------------------------------------------------------------

    def _rows(self, stream: str) -> NDArray[Any]:
        """The rows of one stream of all workers."""
        dtype = STREAMS[stream]
        assert dtype is not None
        workers = [worker for worker in self.workers if stream in worker.chains]
        if len(workers) == 1:
            return self._of(workers[0], stream)
        parts = [self._of(worker, stream) for worker in workers]
        return np.concatenate(parts) if parts else np.empty(0, dtype)

    def _of(self, worker: Worker, stream: str) -> NDArray[Any]:
        """The rows of one stream of one worker, derived columns filled in."""
        if (worker.worker, stream) not in self._loaded:
            rows = None if self._is_sealed(worker, stream) else self._load(worker, stream)
            if rows is None or self._is_sealed(worker, stream):  # it may have been sealed while it was read
                self._derive(worker)
            else:
                self._loaded[worker.worker, stream] = rows
        return self._loaded[worker.worker, stream]

    @staticmethod
    def _is_sealed(worker: Worker, stream: str) -> bool:
        """Whether some rows of a stream have to be derived."""
        return bool(DERIVED[stream]) and stream in worker.chains and worker.chains[stream].sealed_rows > 0

    def _load(self, worker: Worker, stream: str) -> NDArray[Any]:
        """The rows of one stream of one worker as they lie there."""
        dtype = STREAMS[stream]
        assert dtype is not None
        if stream not in worker.chains:
            return np.empty(0, dtype)

        def load(chain: Chain) -> NDArray[Any]:
            out = np.empty(chain.rows, dtype)
            chain.load(out)
            return out

        rows: NDArray[Any] = self._steady(worker, stream, load)
        return rows

    def parts(self, worker: Worker, stream: str) -> tuple[list[Sealed], NDArray[Any]]:
        """Where the rows of one stream of one worker lie: sealed files, and the rows behind those."""

        def read(chain: Chain) -> tuple[list[Sealed], NDArray[Any]]:
            assert chain.dtype is not None
            sealed = [part for part, _ in chain.blocks if isinstance(part, Sealed)]
            tail = range(chain.n_sealed, len(chain.blocks))
            rows = [np.frombuffer(chain.payload(ix), chain.dtype)[: chain.keep[ix]] for ix in tail]
            return sealed, np.concatenate([np.empty(0, chain.dtype), *rows])

        found: tuple[list[Sealed], NDArray[Any]] = self._steady(worker, stream, read)
        return found

    def again(self, worker: Worker, stream: str) -> Chain:
        """The same rows of a stream, found anew: for a reader to whom its segments were Gone. Raises LedgerError."""
        before = worker.chains[stream]

        def fresh(chain: Chain) -> Chain:
            if chain is before:
                raise Gone(stream)
            return chain

        chain: Chain = self._steady(worker, stream, fresh)
        return chain

    def _steady(self, worker: Worker, stream: str, read: Any) -> Any:
        """Call `read` with a chain; where its segments were sealed since this look, with the same rows found anew."""
        for _ in range(LOOKS_MAX):
            try:
                return read(worker.chains[stream])
            except Gone as gone:
                assert self.path is not None
                before = worker.chains[stream].rows
                fresh = look(self.path, lambda tree, _: Chain(stream, worker.worker, tree[worker.worker][stream]))
                fresh.cut(worker.last_seq)
                if str(gone) in [part.name for part in fresh.parts]:
                    raise LedgerError(f"{gone}: this file is missing") from None
                if fresh.rows != before:
                    raise LedgerError(
                        f"{self.path}: rows of {stream} were dropped while they were read; open it again"
                    ) from None
                worker.chains[stream] = fresh
        raise LedgerError(f"{self.path}: {stream} of worker {worker.worker} was moved during each of {LOOKS_MAX} looks")

    def _derive(self, worker: Worker) -> None:
        """Load wins and events of a worker and fill in what sealed files leave out."""
        wins, events = self._load(worker, "wins"), self._load(worker, "events")
        n = worker.chains["wins"].sealed_rows if "wins" in worker.chains else 0
        m = worker.chains["events"].sealed_rows if "events" in worker.chains else 0
        fees = {name: wins[name][:n] for name in ("clearing_nano", "fees", "flags")}
        total = wins["buyer_total_nano"].copy()
        total[:n], parties = splits(self.names, fees)
        wins["buyer_total_nano"][:n] = total[:n]
        for k, party in enumerate(PARTIES):
            wins[f"{party}_nano"][:n] = parties[:, k]
        facts = {name: wins[name].copy() for name in ("seq", "ts_ns", "serial", "person_key", "advertiser")}
        happened = {name: events[name].copy() for name in ("seq", "ts_ns", "kind", "serial")}
        happened["refund_nano"] = -events["paid_nano"]
        found = history(facts, total, happened)
        for name in ("contacts", "since_last_s", "cum_rent_nano"):
            wins[name][:n] = getattr(found, name)[:n]
        events["paid_nano"][:m] = found.paid_nano[:m]
        events["cum_rent_nano"][:m] = found.event_cum_rent_nano[:m]
        events["contact_n"][:m] = found.contact_n[:m]
        of = found.win[:m]
        if len(wins):
            for name in OF_WIN:
                events[name][:m] = np.where(of >= 0, wins[name][of], 0)
        self._loaded[worker.worker, "wins"], self._loaded[worker.worker, "events"] = wins, events

    def _inputs_of(self, worker: Worker) -> Iterator[Input]:
        """The records of the `inputs` stream of one worker."""
        done = 0
        while batch := self._steady(worker, "inputs", lambda chain, done=done: _inputs_after(chain, done)):
            yield from batch
            done += len(batch)


def _drifts_of(file: mf.File, rows: NDArray[Any]) -> list[Drift]:
    """The derived columns of one sealed file whose sums differ."""
    sums = sums_of(file.stream, rows)
    return [
        Drift(file.name, file.stream, file.worker, file.first_seq, name, file.sums.get(name), found)
        for name, found in sums.items()
        if found != file.sums.get(name)
    ]


def _seqs_of(chain: Chain) -> list[NDArray[np.uint64]]:
    """The seqs of each block that count."""
    return [chain.seqs(ix)[:keep] for ix, keep in enumerate(chain.keep)]


def _inputs_after(chain: Chain, done: int) -> list[Input]:
    """The records of a chain of `inputs` behind its first `done`, to the end of their block."""
    start = 0
    for ix, keep in enumerate(chain.keep):
        if start <= done < start + keep:
            return _inputs_in(chain, ix)[done - start : keep]
        start += keep
    return []


def _inputs_in(chain: Chain, ix: int) -> list[Input]:
    """The records of one block of the `inputs` stream. Raises Gone."""
    part, worker = chain.blocks[ix][0], chain.worker
    if isinstance(part, Sealed):
        try:
            records = part.inputs()
        except FileNotFoundError as error:
            raise Gone(part.name) from error
        return [Input(seq, ns, kind, worker, conf, snap, data) for seq, ns, conf, snap, kind, data in records]
    payload = chain.payload(ix)
    found = []
    for _, _, start in inputs_in(payload, chain.keep[ix]):
        seq, ts_ns, config, snapshot, who, kind, length = INPUT_PACKER.unpack_from(payload, start)
        data = payload[start + INPUT_HEAD.itemsize : start + INPUT_HEAD.itemsize + length]
        found.append(Input(seq, ts_ns, kind, who, config, snapshot, data))
    return found
