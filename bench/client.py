"""A closed-loop client: a fixed number of connections, each with one request under way, and a fixed number of requests.

    python -m bench.client [CORE]

A process of its own, pinned to CORE, that keeps the server busy for as little CPU as it can: its loop is compiled and
calls the C library's poll, recv and send. It reads one order a line on stdin, `PORT CONNECTIONS REQUESTS`, and
prints one line of JSON for each: requests, seconds, and how many answers had which status. It never sleeps, so that no
server pays for waking it, but yields. Limits: CONNECTIONS_MAX, one answer of at most ANSWER_MAX bytes a request, and a
server that says nothing for SPINS_MAX polls ends the run.
"""

import json
import os
import socket
import sys
import time
from typing import Any, Final

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from bench import sample

CONNECTIONS_MAX: Final = 256
ANSWER_MAX: Final = 65_536
CONNECT_S: Final = 10
SPINS_MAX: Final = 5_000_000
_IN: Final = 1
_NO_SIGNAL: Final = 0x4000  # MSG_NOSIGNAL: a closed connection is a return value
_POLLFD: Final = np.dtype([("fd", "i4"), ("events", "i2"), ("revents", "i2")])
_LENGTH: Final = np.frombuffer(b"Content-Length: ", np.uint8)
_poll = types.ExternalFunction("poll", types.int32(types.intp, types.uintp, types.int32))
_recv = types.ExternalFunction("recv", types.intp(types.int32, types.intp, types.uintp, types.int32))
_send = types.ExternalFunction("send", types.intp(types.int32, types.intp, types.uintp, types.int32))
_yield = types.ExternalFunction("sched_yield", types.int32())


@njit(cache=True)
def answer_bytes(data, n):  # type: ignore[no-untyped-def]
    """How long the answer is that begins in data[:n]; 0 while its head is not complete."""
    length, end = 0, -1
    for i in range(n - 3):
        if data[i] == 13 and data[i + 1] == 10 and data[i + 2] == 13 and data[i + 3] == 10:
            end = i + 4
            break
        if data[i] == 10 and i + 1 + _LENGTH.size < n:
            at = i + 1
            for k in range(_LENGTH.size):
                if data[at + k] != _LENGTH[k]:
                    break
            else:
                at += _LENGTH.size
                while at < n and 48 <= data[at] <= 57:
                    length = length * 10 + data[at] - 48
                    at += 1
    return end + length if end > 0 else 0


@njit(cache=True)
def send_next(fd, messages, ends, which):  # type: ignore[no-untyped-def]
    """Send message `which` whole. Returns False when the connection does not take it."""
    which %= ends.size
    at = ends[which - 1] if which else 0
    while at < ends[which]:
        sent = _send(fd, messages.ctypes.data + at, ends[which] - at, _NO_SIGNAL)
        if sent <= 0:
            return False
        at += sent
    return True


@njit(cache=True, nogil=True)
def pump(polls, messages, ends, buffers, filled, statuses, requests):  # type: ignore[no-untyped-def]
    """Drive `requests` requests over the connections in `polls`. Returns how many were answered."""
    sent, done, idle = min(requests, polls.size), 0, 0
    for c in range(sent):
        if not send_next(polls[c].fd, messages, ends, c):
            return done
    while done < requests:
        ready = _poll(polls.ctypes.data, polls.size, 0)
        idle = 0 if ready else idle + 1
        if idle:
            _yield()
        if ready < 0 or idle > SPINS_MAX:
            return done
        for c in range(polls.size):
            if polls[c].revents == 0:
                continue
            data = buffers[c]
            n = _recv(polls[c].fd, data.ctypes.data + filled[c], ANSWER_MAX - filled[c], 0)
            if n <= 0:
                return done
            filled[c] += n
            whole = answer_bytes(data, filled[c])
            if whole == 0 or filled[c] < whole:
                continue
            filled[c] = 0
            done += 1
            statuses[(data[9] - 48) * 100 + (data[10] - 48) * 10 + data[11] - 48] += 1
            if sent < requests:
                if not send_next(polls[c].fd, messages, ends, sent):
                    return done
                sent += 1
    return done


def messages() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The HTTP messages that are sent in turn: their bytes, and where each ends."""
    head = "POST /openrtb2/auction HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
    texts = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in sample.requests()]
    return np.frombuffer(b"".join(texts), np.uint8), np.cumsum([len(text) for text in texts])


def run(port: int, connections: int, requests: int) -> dict[str, Any]:
    """Send `requests` requests to a loopback port. Raises RuntimeError when not all are answered."""
    if not 1 <= connections <= CONNECTIONS_MAX:
        raise RuntimeError(f"{connections} connections: expected 1 to {CONNECTIONS_MAX}")
    texts, ends = messages()
    open_ = [socket.create_connection(("127.0.0.1", port), CONNECT_S) for _ in range(connections)]
    polls = np.zeros(connections, _POLLFD)
    for c, each in enumerate(open_):
        each.setblocking(True)
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        polls[c] = (each.fileno(), _IN, 0)
    buffers, filled = np.zeros((connections, ANSWER_MAX), np.uint8), np.zeros(connections, np.int64)
    statuses = np.zeros(1_200, np.int64)
    began = time.perf_counter()
    done = pump(polls, texts, ends, buffers, filled, statuses, requests)
    seconds = time.perf_counter() - began
    for each in open_:
        each.close()
    if done < requests:
        raise RuntimeError(f"{done} of {requests} requests answered")
    return {
        "requests": done,
        "seconds": seconds,
        "statuses": {str(status): int(statuses[status]) for status in np.flatnonzero(statuses)},
    }


def main() -> None:
    """Carry out orders until stdin ends."""
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {int(sys.argv[1])})
    for order in sys.stdin:
        port, connections, requests = map(int, order.split())
        try:
            answer = run(port, connections, requests)
        except (OSError, RuntimeError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
