"""Notices: bounded, counted, and only to hosts that are allowed."""

import asyncio

import pytest
import uvloop

from exchange import config, notices
from exchange.notices import Notices


class Bidder:
    """Sees notices; answers by path."""

    def __init__(self):
        self.seen = []
        self.open = self.most_open = 0

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def serve(self, reader, writer):
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split(b" ")[1].decode()
                self.seen.append((target, head))
                if target.startswith("/hang"):
                    await asyncio.sleep(30)
                if target.startswith("/move"):
                    writer.write(b"HTTP/1.1 302 Found\r\nLocation: /moved\r\nContent-Length: 0\r\n\r\n")
                else:
                    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % (500 if "fail" in target else 200))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


def live(test, limit=100, endpoints=1, **keys):
    """Run an async test with a bidder and a sender; endpoint 0 is the bidder's."""

    async def run():
        bidder = await Bidder().start()
        urls = [f"http://127.0.0.1:{bidder.port}/bid", "http://127.0.0.1:9/bid", "http://other.example/bid"]
        configs = [config.Endpoint(f"e{n}", urls[n], **keys) for n in range(endpoints)]
        sender = Notices(asyncio.get_running_loop(), configs, limit)
        try:
            return await test(bidder, sender, f"http://127.0.0.1:{bidder.port}")
        finally:
            await sender.drain(0)
            bidder.server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(run(), 30))


def counts(sent=0, failed=0, dropped=0, refused=0):
    return {"sent": sent, "failed": failed, "dropped": dropped, "refused": refused}


def test_notices_arrive_over_few_connections():
    async def test(bidder, sender, url):
        for n in range(60):
            assert sender.queue(0, f"{url}/win?price={n}&x=%20")
        assert sender.queue(0, f"{url}?q") and sender.queue(0, url) and sender.queue(0, f"{url}/a#part")
        assert sender.queued == 63
        assert await sender.drain(5) == 0
        assert sender.counts == counts(sent=63)
        targets = [target for target, _ in bidder.seen]
        assert sorted(targets) == sorted([f"/win?price={n}&x=%20" for n in range(60)] + ["/?q", "/", "/a"])
        assert bidder.most_open <= notices.PER_HOST_MAX
        host = b"GET /win?price=0&x=%%20 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % bidder.port
        assert bidder.seen[0][1].startswith(host)
        assert not sender.queue(0, url), "nothing is taken after the drain"

    live(test)


REFUSED = [
    "",
    "/relative",
    "https://{host}/x",
    "ftp://{host}/x",
    "HTTP://{host}/x\r\nX: 1",
    "http://{host}/x\r\nHost: evil",
    "http://{host}/x y",
    "http://{host}/x\n",
    "http://{host}/\x00",
    "http://{host}/\x7f",
    "http://{host}/ü",
    "http://{host}/a\\b",
    "http://user@{host}/x",
    "http://user:pw@{host}/x",
    "http://{host}@evil.example/x",
    "http://{host}\\@evil.example/x",
    "http://evil.example/x",
    "http://127.0.0.1/x",
    "http://127.0.0.1:1/x",
    "http://127.0.0.1.evil.example/x",
    "http://[::1]/x",
    "http:///x",
    "http://{host}:80/x",
    "http://{host}/" + "x" * notices.URL_MAX,
]


def test_only_plain_urls_of_allowed_hosts_are_called():
    async def test(bidder, sender, url):
        host = url.removeprefix("http://")
        for bad in REFUSED:
            assert not sender.queue(0, bad.replace("{host}", host)), bad
        assert sender.counts == counts(refused=len(REFUSED)) and sender.queued == 0
        await asyncio.sleep(0.02)
        assert bidder.seen == []

    live(test)


def test_notice_hosts_replace_the_own_host():
    async def test(bidder, sender, url):
        assert sender.queue(0, url.replace("127.0.0.1", "LOCALHOST") + "/any_port")
        assert not sender.queue(0, f"{url}/own"), "its own host is allowed only by default, or when named"
        assert not sender.queue(0, "http://tracker.example:81/")
        assert sender.queue(0, "http://127.0.0.1:1/refused_connection")
        await sender.drain(5)
        assert sender.counts == counts(sent=1, failed=1, refused=2)

    live(test, notice_hosts=["localhost", "127.0.0.1:1", "tracker.example:80"])
    for bad in ("http://x/", "a:b", "", "a b", "x:", "u@h"):
        with pytest.raises(ValueError, match="expected host or host:port"):
            live(test, notice_hosts=[bad])


def test_redirects_are_not_followed_and_errors_count_as_failed():
    async def test(bidder, sender, url):
        for path in ("/move", "/fail", "/fine"):
            sender.queue(0, url + path)
        await sender.drain(5)
        assert sender.counts == counts(sent=1, failed=2)
        assert sorted(target for target, _ in bidder.seen) == ["/fail", "/fine", "/move"]

    live(test)


def test_a_full_queue_drops_and_no_endpoint_takes_anothers_share():
    async def test(bidder, sender, url):
        taken = [sender.queue(0, f"{url}/hang{n}") for n in range(30)]
        assert taken == [True] * 20 + [False] * 10
        assert sender.counts["dropped"] == 10 and sender.queued == 20
        assert sender.queue(1, "http://127.0.0.1:9/nobody")
        assert await sender.drain(0.1) == 20
        assert sender.queued == 0
        assert sender.counts == counts(failed=21, dropped=10)

    live(test, limit=60, endpoints=3)


def test_a_host_that_hangs_costs_its_notices(monkeypatch):
    monkeypatch.setattr(notices, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(notices, "QUEUE_S", 0.15)
    monkeypatch.setattr(notices, "SWEEP_S", 0.05)

    async def test(bidder, sender, url):
        for n in range(10 * notices.PER_HOST_MAX):
            sender.queue(0, f"{url}/hang{n}")
        began = asyncio.get_running_loop().time()
        await sender.drain(5)
        assert asyncio.get_running_loop().time() - began < 2
        assert sender.counts["sent"] == 0 and sender.counts["failed"] >= notices.PER_HOST_MAX
        assert sender.counts["failed"] + sender.counts["dropped"] == 10 * notices.PER_HOST_MAX
        assert sender.counts["dropped"] > 0, "what waits too long is worth nothing"
        assert sender._timer is None

    live(test)
