"""A bidder on a bad day: slow tails, silence, garbled answers, errors, hang-ups.

    python -m bidders.remote.flaky --port 0 --seed 1

Expect: it loses what it spoils itself, and nobody else notices.
"""

import asyncio
import random
from typing import Any

from bidders.remote.wire import Bidder, Hangup, main

SLOW_S = 0.09  # mean of the slow tail
SILENT_S = 1.0  # longer than any deadline


class Flaky(Bidder):
    """Bids about 1.4 EUR CPM; one answer in five is slow, one in ten is spoilt."""

    seat = "flaky-dsp"
    domain = "flaky-phones.example"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.draw = random.Random(seed)

    async def answer(self, request: dict[str, Any]) -> tuple[int, bytes]:
        """Answer well, late, badly or not at all."""
        fault = self.draw.random()
        if fault < 0.2:
            await asyncio.sleep(self.draw.expovariate(1 / SLOW_S))
        elif fault < 0.22:
            await asyncio.sleep(SILENT_S)
        elif fault < 0.24:
            raise Hangup
        elif fault < 0.27:
            return 500, b"oops"
        status, body = await super().answer(request)
        if 0.27 <= fault < 0.31:
            return status, body[: len(body) // 2] + b"}}garbled"
        return status, body

    def price(self, request: dict[str, Any], imp: dict[str, Any]) -> float | None:
        """A price around 1.4 on seven imps in ten."""
        return self.draw.uniform(0.5, 2.3) if self.draw.random() < 0.7 else None


if __name__ == "__main__":
    main(Flaky)
