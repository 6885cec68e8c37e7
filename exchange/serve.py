"""Run a live exchange in this process until a signal says stop."""

import asyncio
import signal
import socket
from collections.abc import Callable

import uvloop

from exchange.config import Config, ConfigError
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
        say(f"rentier ready on http://{live.address}  ledger {live.folder}")
        await stop.wait()
    finally:
        await live.stop()
    return 0
