"""Keep the storage of a running exchange: seal its full segments and drop what is older than it is kept, in a thread.

One job at a time, at low priority, beside the event loop: reading a segment, deriving, compressing and syncing all run
without the interpreter's lock. A job that fails is reported by the next `tick`, and tried again after a while; nothing
is lost by it, segments merely stay segments.
"""

import os
import threading
from pathlib import Path
from typing import Final

from exchange.config import Storage
from exchange.market import NANO
from exchange.rent.blocks import JournalError
from exchange.rent.seal import load, retain, seal

RETAIN_S: Final = 3_600  # between two looks at what is too old
AGAIN_S: Final = 60  # after a failure
NICENESS: Final = 10


class Keeper:
    """Seals and drops in the background; `tick` now and then, `close` once. Raises what its last job failed with."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        self.folder = folder
        self.storage = storage
        self.sealed = 0  # files made
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._next_ns = self._retain_ns = 0
        if storage.seal:
            load()  # now: importing and compiling hold the interpreter's lock, and with it the event loop

    def tick(self, now_ns: int) -> None:
        """Start a job if it is time and none runs. Raises LedgerError or OSError: what the one before failed with."""
        if self._thread is not None and self._thread.is_alive():
            return
        error, self._error = self._error, None
        if error is not None:
            self._next_ns = now_ns + AGAIN_S * NANO
            raise error
        if now_ns < self._next_ns or self._stop.is_set():
            return
        self._thread = threading.Thread(target=self._job, args=(now_ns,), name="keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the segment at hand, and stop."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _job(self, now_ns: int) -> None:
        """Seal, then drop; errors wait for the next tick."""
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
            if self.storage.seal:
                before_ns = now_ns - self.storage.seal_after_s * NANO
                self.sealed += len(seal(self.folder, before_ns=before_ns, stop=self._stop.is_set))
            if now_ns >= self._retain_ns:
                keep = self.storage.keep_days
                days = {"inputs": keep.inputs, "bids": keep.bids, "auctions": keep.auctions}
                if any(days.values()):
                    retain(self.folder, days, now_ns)
                self._retain_ns = now_ns + RETAIN_S * NANO
        except JournalError:
            self._retain_ns = 0  # somebody seals by hand just now: the next tick tries again
        except Exception as error:  # noqa: BLE001 - of a thread: handed to the event loop
            self._error = error
