"""A remote bidder for tests: a few lines of asyncio that answer OpenRTB and note every notice they get."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec

Decide = Callable[[dict[str, Any]], bytes | float | None]


class Bidder:
    """Serves on a free loopback port. `decide` gives the answer: bytes, None = 204, or (seconds to wait, answer)."""

    def __init__(self, name: str, decide: Callable[["Bidder", dict[str, Any]], Any]) -> None:
        self.name = name
        self.decide = decide
        self.requests: list[dict[str, Any]] = []
        self.notices: list[str] = []
        self.server: asyncio.Server | None = None

    async def start(self) -> "Bidder":
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = next(
                    (int(x.split(":")[1]) for x in head.lower().split("\r\n") if x.startswith("content-l")), 0
                )
                body = await reader.readexactly(length)
                method, target, _ = head.split(" ", 2)
                if method == "GET":
                    self.notices.append(target)
                    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                    continue
                request = msgspec.json.decode(body)
                self.requests.append(request)
                answer = self.decide(self, request)
                if isinstance(answer, tuple):
                    await asyncio.sleep(answer[0])
                    answer = answer[1]
                if answer is None:
                    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    def bid(self, request: dict[str, Any], price: float, imp: int = 0, **fields: Any) -> bytes:
        """A response with one bid on one imp, with notices on our own port."""
        macros = "&".join(f"{k}=${{AUCTION_{k}}}" for k in ("PRICE", "LOSS", "MIN_TO_WIN", "ID", "IMP_ID", "CURRENCY"))
        bid = {
            "id": f"{self.name}-{len(self.requests)}-{imp}",
            "impid": request["imp"][imp]["id"],
            "price": price,
            "adm": "<b>ad ${AUCTION_PRICE}</b>",
            "crid": "c1",
            "adomain": [f"{self.name}.example"],
            "nurl": f"{self.url}/win?{macros}",
            "burl": f"{self.url}/bill?{macros}",
            "lurl": f"{self.url}/loss?{macros}",
        } | fields
        return msgspec.json.encode(
            {"id": request["id"], "cur": "EUR", "seatbid": [{"seat": self.name, "bid": [bid]}], "bidid": "b"}
        )


def erratic(seed: int) -> Callable[[Bidder, dict[str, Any]], Any]:
    """A bidder that bids at random, and now and then is slow, silent, garbled or breaks a rule."""
    rng = random.Random(seed)

    def decide(bidder: Bidder, request: dict[str, Any]) -> Any:
        what, price = rng.random(), round(rng.lognormvariate(0.7, 0.5), 4)
        answer = bidder.bid(request, price, rng.randrange(len(request["imp"])))
        if what < 0.1:
            return None
        if what < 0.15:
            return answer[: len(answer) // 2]
        if what < 0.2:
            return bidder.bid(request, price, impid="other")
        if what < 0.25:
            return bidder.bid(request, price, adm="", nurl="")
        if what < 0.28:
            return 0.4, answer
        return answer

    return decide
