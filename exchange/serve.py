"""Run a live exchange in this process: until a signal says stop, or in a thread beside one's own program.

`serve_in_thread` is how a Python program embeds the server and changes the market while it serves: each call of
`Served` is carried out on the event loop between two requests, and has happened when it returns.
"""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import uvloop
from msgspec import Struct

from exchange.auction.changes import Change
from exchange.config import Advertiser, Campaign, Config, ConfigError
from exchange.live import Live


def run(config: Config, say: Callable[[str], None]) -> int:
    """Serve until SIGTERM or Ctrl-C, then drain. `say` gets the one ready line. Returns the exit code."""
    try:
        return uvloop.run(_serve(config, say))
    except socket.gaierror as error:
        raise ConfigError(f"server.address = {config.server.address!r}: cannot be bound: {error.strerror}") from None


async def _serve(config: Config, say: Callable[[str], None]) -> int:
    live = Live(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    try:
        await live.start()
        for rule, why in live.venue.rules.slow.items():
            say(f"rule {rule} runs in Python, slower: {why}")
        if live.venue.journal is not None and live.venue.journal.lost:
            say(live.venue.journal.lost)
        say(f"rentier ready on http://{live.address}  ledger {live.folder}")
        await stop.wait()
    finally:
        await live.stop()
    return 0


class Served:
    """An exchange that serves in a thread. Its calls raise ConfigError, one line, and then nothing has changed.

    Campaigns are named `advertiser/campaign`; keys are those of the config's tables, as a dict or a Struct of
    exchange.config. As a context manager it stops at the end.
    """

    def __init__(self, config: Config) -> None:
        """Start serving; returns when the port is bound. Raises ConfigError, JournalError, OSError."""
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(config,), name="rentier", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    @property
    def address(self) -> str:
        """host:port as bound."""
        return self.live.address

    def add_advertiser(self, advertiser: Advertiser | dict[str, Any]) -> None:
        """Bring a new advertiser, with its campaigns if it has some: the keys of [[advertiser]]."""
        self.apply(Change("add_advertiser", keys=_plain(advertiser)))

    def add(self, advertiser: str, campaign: Campaign | dict[str, Any]) -> None:
        """Bring a new campaign of an advertiser: the keys of [[advertiser.campaign]]."""
        self.apply(Change("add", advertiser, _plain(campaign)))

    def change(self, campaign: str, **keys: Any) -> None:
        """Change keys of a campaign; each replaces its whole value, but of `knobs` only those named are set."""
        self.apply(Change("change", campaign, keys))

    def pause(self, campaign: str) -> None:
        """Buy nothing more for a campaign until it is resumed; what is held goes on."""
        self.apply(Change("pause", campaign))

    def resume(self, campaign: str) -> None:
        """Let a paused campaign go on."""
        self.apply(Change("resume", campaign))

    def end(self, campaign: str) -> None:
        """End a campaign for good; what is held is still settled or released."""
        self.apply(Change("end", campaign))

    def refresh_models(self) -> None:
        """Ask the click models anew."""
        self.apply(Change("refresh_models"))

    def apply(self, change: Change) -> None:
        """Carry out one change; the next request sees it."""
        self._on_loop(lambda: self.live.change(change))

    def money(self) -> dict[str, dict[str, int]]:
        """Per campaign: budget, spent, held, available (nano), wins, asked."""
        found: dict[str, dict[str, int]] = self._on_loop(lambda: self.live.venue.money())
        return found

    def stop(self) -> None:
        """Finish what is in flight, close the ledger, end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> "Served":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _on_loop(self, work: Callable[[], Any]) -> Any:
        """What `work` returns or raises, called between two requests."""
        if not self._thread.is_alive():
            raise RuntimeError("the exchange has stopped")

        async def call() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    def _run(self, config: Config) -> None:
        """The thread: its own event loop, from start to stop."""
        try:
            uvloop.run(self._serve(config))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            self._error = error
        self._ready.set()

    async def _serve(self, config: Config) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.live = Live(config)
        try:
            await self.live.start()
            self._ready.set()
            await self._stop.wait()
        finally:
            await self.live.stop()


def serve_in_thread(config: Config) -> Served:
    """Serve in a thread of this process and return at once what stops it and changes its market."""
    return Served(config)


def _plain(keys: Any) -> dict[str, Any]:
    """The keys of a Struct, or a dict as it is. Raises ConfigError for anything else."""
    if not isinstance(keys, (Struct, dict)):
        raise ConfigError(f"{keys!r:.80}: expected a dict of keys as in a config, or a Struct of exchange.config")
    return keys if isinstance(keys, dict) else {name: getattr(keys, name) for name in keys.__struct_fields__}
