"""Remote bidders that cost next to nothing: one port, a constant bid with the request's id pasted in, no JSON read.

    python -m bench.bidder

The price of path `/N` is 2.00 + N / 10 CPM. Prints `ready PORT`; SIGTERM ends it. While it is busy it never sleeps, but
yields its core to the client: a real bidder is another machine, which costs the exchange no wake-up.
"""

import asyncio
import os
import signal
import time
from typing import Final

import uvloop

BUSY_S: Final = 0.05
BODY_MAX: Final = 65_536
_ADM: Final = "<a href='${CLICK_URL}'><img src='https://ads.example/mpu.png'></a>"


def answer(path: bytes, request_id: bytes) -> bytes:
    """One HTTP answer with a bid."""
    price = 2.0 + int(path.strip(b"/") or b"0") / 10
    body = (
        f'{{"id":"{request_id.decode()}","cur":"EUR","bidid":"b-1","seatbid":[{{"seat":"seat{price:.1f}","bid":[{{'
        f'"id":"1","impid":"1","price":{price:.2f},"adomain":["brand{price:.1f}.example"],"crid":"c-1","w":300,"h":250,'
        f'"mtype":1,"adm":"{_ADM}"}}]}}]}}'
    )
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


_HOLE: Final = b"@" * 36
_READY: Final = {b"/%d" % n: answer(b"/%d" % n, _HOLE) for n in range(10)}


class Bidder(asyncio.Protocol):
    """Answers every complete POST on a keep-alive connection."""

    asked_s = 0.0  # when the process was last asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        """Collect until the body is whole, then answer. More than BODY_MAX closes the connection."""
        data = self.data + data if self.data else data
        end = data.find(b"\r\n\r\n")
        at = data.find(b"Content-Length: ", 0, end)
        if end < 0 or len(data) < end + 4 + int(data[at + 16 : data.find(b"\r", at)]):
            self.data = data
            if len(data) > BODY_MAX:
                self.transport.close()
            return
        self.data = b""
        Bidder.asked_s = time.monotonic()
        id_at = data.index(b'"id":"', end) + 6
        path = data[5 : data.index(b" ", 5)]
        self.transport.write(_READY[path].replace(_HOLE, data[id_at : id_at + 36], 1))  # type: ignore[attr-defined]


async def run() -> None:
    """Listen on a free loopback port until SIGTERM."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Bidder, "127.0.0.1", 0, backlog=1_024)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def spin() -> None:
        os.sched_yield()
        if time.monotonic() < Bidder.asked_s + BUSY_S:
            loop.call_soon(spin)
        else:
            loop.call_later(0.01, spin)

    spin()
    print(f"ready {server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(run())
