"""A server that answers every request with the same 187 bytes: what the protocol alone costs.

    python bench/bare_server.py [PORT]

It runs the connection class of `rentier serve` with a handler that does nothing, so the ratio of the two is
the price of the auction. Prints `ready http://HOST:PORT` and, when told to stop, its CPU time per request.
"""

import asyncio
import resource
import signal
import sys

import uvloop

from exchange import config, http, metrics, server

ANSWER = b'{"id":"' + b"a" * 169 + b'","nbr":0}'  # 187 bytes, like a bid response without markup


def handle(request: http.Request) -> None:
    """Answer without looking."""
    request.reply(200, ANSWER)


async def run(port: int) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    counters = metrics.Counters()
    listener = await server.serve(handle, config.Server(address=f"127.0.0.1:{port}"), counters)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(f"ready http://{listener.address}", flush=True)
    start = resource.getrusage(resource.RUSAGE_SELF)
    await stop.wait()
    await listener.drain(1_000)
    usage, n = resource.getrusage(resource.RUSAGE_SELF), counters.http_responses[200]
    if n:
        cpu_s = usage.ru_utime + usage.ru_stime - start.ru_utime - start.ru_stime
        print(f"{n} requests, {cpu_s / n * 1e6:.2f} us of CPU each", flush=True)


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
