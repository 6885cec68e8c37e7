"""The wire of the example bidders: HTTP/1.1 on asyncio, and the OpenRTB around a price.

A bidder is an class with `price(request, imp) -> float | None`; everything else it inherits. Routes:
POST /bid asks for a price; GET /won, /lost and /billed are the notices. Limits: HEAD_MAX_BYTES of headers,
BODY_MAX_BYTES of body, IDLE_S of silence; whoever exceeds them is disconnected.
"""

import argparse
import asyncio
import json
import signal
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

HEAD_MAX_BYTES: Final = 16_384
BODY_MAX_BYTES: Final = 262_144
IDLE_S: Final = 75.0
MACROS: Final = "id=${AUCTION_ID}&imp=${AUCTION_IMP_ID}&price=${AUCTION_PRICE}&cur=${AUCTION_CURRENCY}"
SIZES: Final = {"video": (640, 360), "audio": (0, 0), "native": (0, 0)}
EUR_PER: Final = {"EUR": 1.0, "USD": 0.92, "GBP": 1.17}
MTYPES: Final = {"banner": 1, "video": 2, "audio": 3, "native": 4}


class Hangup(Exception):  # noqa: N818 - it is a decision, not a failure
    """Close the connection without a word."""


class Bidder:
    """What the examples have in common: a seat, an advertiser, counts of what came. They think in EUR CPM."""

    seat = "bidder"
    domain = "bidder.example"

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.base = ""  # http://host:port, known once bound
        self.counts = {"asked": 0, "won": 0, "lost": 0, "billed": 0}

    async def answer(self, request: dict[str, Any]) -> tuple[int, bytes]:
        """HTTP status and body for a bid request: 204 when nothing is wanted, or no currency of ours is taken."""
        currency = next((code for code in request.get("cur") or ["EUR"] if code in EUR_PER), "")
        bids = [bid for imp in request["imp"] if currency and (bid := self.offer(request, imp, currency)) is not None]
        if not bids:
            return 204, b""
        seatbid = [{"seat": self.seat, "bid": bids}]
        body = {"id": request["id"], "cur": currency, "seatbid": seatbid}
        return 200, json.dumps(body, separators=(",", ":")).encode()

    def offer(self, request: dict[str, Any], imp: dict[str, Any], currency: str) -> dict[str, Any] | None:
        """A bid for one imp, or None when it is not wanted, or its floor (USD unless said) is higher."""
        price = self.price(request, imp)
        floor = float(imp.get("bidfloor") or 0) * EUR_PER.get(imp.get("bidfloorcur") or "USD", float("inf"))
        media = next((name for name in MTYPES if imp.get(name)), "")
        if price is None or not media or (imp.get("bidfloor") and price < floor):
            return None
        return self.bid(request, imp, media, price / EUR_PER[currency])

    def price(self, request: dict[str, Any], imp: dict[str, Any]) -> float | None:
        """CPM in EUR to bid for an imp, None = not interested; 1.00 for every imp unless a bidder knows better."""
        return 1.0

    def notice(self, kind: str, query: dict[str, str]) -> None:
        """A notice came: won, lost or billed; `query` holds id, imp, price, cur, loss and min as texts."""

    def bid(self, request: dict[str, Any], imp: dict[str, Any], media: str, price: float) -> dict[str, Any]:
        """The OpenRTB bid: markup, notices on our own host, advertiser, creative."""
        w, h = SIZES.get(media, (0, 0))
        if media == "banner":
            sizes = imp["banner"].get("format") or [imp["banner"]]
            w, h = sizes[0].get("w", 300), sizes[0].get("h", 250)
        crid = f"{self.seat}-{media}-{w}x{h}"
        return {
            "id": f"{request['id']}/{imp['id']}",
            "impid": imp["id"],
            "price": round(price, 4),
            "adm": markup(media, self.domain, crid, w, h),
            "adomain": [self.domain],
            "crid": crid,
            "w": w,
            "h": h,
            "mtype": MTYPES[media],
            "nurl": f"{self.base}/won?{MACROS}&min=${{AUCTION_MIN_TO_WIN}}",
            "lurl": f"{self.base}/lost?{MACROS}&min=${{AUCTION_MIN_TO_WIN}}&loss=${{AUCTION_LOSS}}",
            "burl": f"{self.base}/billed?{MACROS}",
        }

    # ---- HTTP --------------------------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests one after the other."""
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    line, _, fields = head.partition(b"\r\n")
                    method, target, _ = line.decode("latin-1").split(" ", 2)
                    body = await reader.readexactly(body_length(fields))
                status, answer = await self.route(method, target, body)
                writer.write(b"HTTP/1.1 %d .\r\nContent-Length: %d\r\n\r\n%b" % (status, len(answer), answer))
                await writer.drain()
        except (Hangup, OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # whoever breaks the protocol, the limits or the connection is let go
        except asyncio.CancelledError:
            return  # only the end of the process cancels
        finally:
            writer.close()

    async def route(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Status and body for one HTTP request."""
        url = urlsplit(target)
        if method == "POST":
            self.counts["asked"] += 1
            try:
                return await self.answer(json.loads(body))
            except (KeyError, TypeError, AttributeError, ValueError):
                return 400, b""  # not a bid request as these small examples read it
        kind = url.path.removeprefix("/")
        if kind not in self.counts:
            return 404, b""
        self.counts[kind] += 1
        self.notice(kind, {key: values[0] for key, values in parse_qs(url.query).items()})
        return 204, b""


def body_length(fields: bytes) -> int:
    """The announced length of a body; raises ValueError when it is no number or too much."""
    for field in fields.lower().split(b"\r\n"):
        name, _, value = field.partition(b":")
        if name == b"content-length":
            length = int(value)
            if not 0 <= length <= BODY_MAX_BYTES:
                raise ValueError(f"a body of {length} bytes: at most {BODY_MAX_BYTES}")
            return length
    return 0


def markup(media: str, domain: str, crid: str, w: int, h: int) -> str:
    """An ad of a media type; the exchange fills ${CLICK_URL} and ${IMPRESSION_URL}."""
    if media == "banner":
        image = f'<img src="https://cdn.{domain}/{crid}.png" width="{w}" height="{h}" alt="">'
        return f'<a href="${{CLICK_URL}}">{image}</a>'
    if media == "native":
        link = {"url": "${CLICK_URL:JSON}"}
        assets = [{"id": 1, "title": {"text": f"News from {domain}"}}]
        return json.dumps(
            {"native": {"ver": "1.2", "link": link, "assets": assets, "imptrackers": ["${IMPRESSION_URL:JSON}"]}}
        )
    kind = "audio/mp4" if media == "audio" else "video/mp4"
    size = "" if media == "audio" else f' width="{w}" height="{h}"'
    return (
        f'<VAST version="4.2"><Ad id="{crid}"><InLine><AdSystem>{domain}</AdSystem><AdTitle>{crid}</AdTitle>'
        "<Impression>${IMPRESSION_URL:XML}</Impression><Creatives><Creative><Linear><Duration>00:00:15</Duration>"
        f'<MediaFiles><MediaFile delivery="progressive" type="{kind}"{size}>https://cdn.{domain}/{crid}.mp4'
        "</MediaFile></MediaFiles><VideoClicks><ClickThrough>${CLICK_URL:XML}</ClickThrough></VideoClicks>"
        "</Linear></Creative></Creatives></InLine></Ad></VAST>"
    )


def main(kind: type[Bidder]) -> None:
    """Serve a bidder on 127.0.0.1 until SIGTERM or Ctrl-C; prints where it listens."""
    parser = argparse.ArgumentParser(description=kind.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    parser.add_argument("--seed", type=int, default=0, help="of all its draws")
    args = parser.parse_args()
    asyncio.run(_run(kind(args.seed), args.port))


async def _run(bidder: Bidder, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(bidder.serve, "127.0.0.1", port, limit=HEAD_MAX_BYTES)
    bidder.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(f"ready {bidder.base}/bid", flush=True)
    await stop.wait()
    server.close()
