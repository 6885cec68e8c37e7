"""A remote bidder in one file, to copy and change: OpenRTB 2.6 over HTTP, a budget, a shade that it learns.

    python example.py --port 9001 --budget 5      then: rentier demo --bidder http://127.0.0.1:9001/bid

POST /bid asks; GET /won, /lost, /billed are nurl, lurl, burl; GET /stats counts. Money: nano-EUR per impression, int.
Spent (burl) and in flight (bids neither lost nor billed, each at most its price) never exceed the budget together; so
only an impression billed more than HOLD_S after its bid, when its hold has been given up, can exceed it.
"""

import argparse
import asyncio
import json
import time
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

HOLD_S, HEAD_MAX, BODY_MAX, IDLE_S = 600, 16_384, 262_144, 75.0  # HOLD_S: how long a bid may stay in flight
EUR_PER, RATE, LEAST = {"EUR": 1.0, "USD": 0.92}, 0.02, 0.2  # RATE, LEAST: how fast the shade follows, and how low


class Bidder:
    """What it wants, what it has, what it learnt."""

    def __init__(self, budget_nano: int) -> None:
        self.budget, self.spent, self.held, self.shade, self.base = budget_nano, 0, 0, 0.9, ""
        self.open: dict[str, tuple[int, int, float]] = {}  # bid id -> value, hold, until when; the oldest first
        self.counts = dict.fromkeys(("asked", "bids", "won", "lost", "billed"), 0)

    def value(self, request: dict[str, Any], imp: dict[str, Any]) -> int:
        """What an impression is worth to you, nano: 2.00 EUR CPM, 2.60 on a phone. Your own idea goes here."""
        return 2_600_000 if request.get("device", {}).get("devicetype") == 4 else 2_000_000

    def answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The bid response, None for no bid."""
        self.counts["asked"] += 1
        while self.open and next(iter(self.open.values()))[2] < time.monotonic():
            self.held -= self.open.pop(next(iter(self.open)))[1]
        bids = [bid for imp in request["imp"] if (bid := self.bid(request, imp)) is not None]
        return {"id": request["id"], "cur": "EUR", "seatbid": [{"seat": "example", "bid": bids}]} if bids else None

    def bid(self, request: dict[str, Any], imp: dict[str, Any]) -> dict[str, Any] | None:
        """A bid on a banner, as far as floor and budget allow."""
        value, ident = self.value(request, imp), f"{request['id']}-{imp['id']}"
        price = min(int(value * self.shade), self.budget - self.spent - self.held)
        floor = imp.get("bidfloor", 0) * EUR_PER.get(imp.get("bidfloorcur", "USD"), float("inf"))
        wanted = "banner" in imp and "EUR" in request.get("cur", ["EUR"]) and ident not in self.open
        if not wanted or price <= 0 or price < floor * 1e6:
            return None
        self.open[ident] = (value, price, time.monotonic() + HOLD_S)
        self.held += price
        self.counts["bids"] += 1
        size = (imp["banner"].get("format") or [imp["banner"]])[0]
        told = f"?bid={quote(ident, '')}&price=${{AUCTION_PRICE}}&min=${{AUCTION_MIN_TO_WIN}}"
        return {
            "id": ident, "impid": imp["id"], "price": price / 1e6, "adomain": ["example.example"], "crid": "box",
            "w": size.get("w", 300), "h": size.get("h", 250), "mtype": 1, "exp": HOLD_S,
            "adm": '<a href="${CLICK_URL}"><img src="https://cdn.example.example/box.png" alt=""></a>',
            "nurl": f"{self.base}/won{told}", "lurl": f"{self.base}/lost{told}", "burl": f"{self.base}/billed{told}",
        }  # fmt: skip

    def notice(self, kind: str, bid: str, price: int, needed: int) -> None:
        """A bid was won (it holds its price now), lost (it holds nothing) or billed (it is spent)."""
        self.counts[kind] += 1
        value, hold, until = self.open.pop(bid, (0, 0, 0.0))
        self.held -= hold
        if kind == "won" and until:
            self.open[bid], self.held = (value, price, until), self.held + price
        elif kind == "billed":
            self.spent += price  # owed, also when its hold was given up
        if kind != "billed" and 0 < needed <= value:  # follow what winning took, as a share of the value
            self.shade = min(1.0, max(LEAST, self.shade + RATE * (needed / value - self.shade)))

    def route(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """HTTP status and body of one request."""
        url, stats = urlsplit(target), {"budget_nano": self.budget, "spent_nano": self.spent, "held_nano": self.held}
        if method == "POST":
            response = self.answer(json.loads(body))
            return (200, json.dumps(response).encode()) if response else (204, b"")
        if url.path == "/stats":
            return 200, json.dumps({**stats, "shade": self.shade, **self.counts}).encode()
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        price, needed = (round(float(query.get(name, "0")) * 1e6) for name in ("price", "min"))
        self.notice(url.path[1:], query["bid"], price, needed)
        return 204, b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; whoever breaks protocol or limits is let go."""
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    fields = dict(line.lower().split(":", 1) for line in head.split("\r\n")[1:] if ":" in line)
                    length = int(fields.get("content-length", "0"))
                    body = await reader.readexactly(length if length <= BODY_MAX else -1)  # -1: a ValueError
                try:
                    status, answer = self.route(head.split(" ")[0], head.split(" ")[1], body)
                except (AttributeError, LookupError, TypeError, ValueError):
                    status, answer = 400, b""  # not a bid request or notice as this small example reads it
                writer.write(b"HTTP/1.1 %d .\r\nContent-Length: %d\r\n\r\n%b" % (status, len(answer), answer))
                await writer.drain()
        except (OSError, ValueError, TimeoutError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            return
        finally:
            writer.close()


async def main(port: int, budget_nano: int) -> None:
    """Serve on 127.0.0.1 until it is stopped."""
    bidder = Bidder(budget_nano)
    server = await asyncio.start_server(bidder.serve, "127.0.0.1", port, limit=HEAD_MAX)
    bidder.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(f"ready {bidder.base}/bid", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An OpenRTB bidder to copy.")
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    parser.add_argument("--budget", type=float, default=5.0, help="most to spend, EUR")
    asyncio.run(main(parser.parse_args().port, round(parser.parse_args().budget * 1e9)))
