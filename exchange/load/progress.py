"""A progress bar on stderr for whatever takes over two seconds; silent when stderr is not a terminal."""

import sys
import time
from types import TracebackType
from typing import Final

WIDTH: Final = 32
REFRESH_S: Final = 0.1


class Bar:
    """`with Bar("auctions") as bar: bar.at(done, all)`: share done, rate, time left."""

    def __init__(self, unit: str, show: bool = True) -> None:
        self.unit = unit
        self.show = show and sys.stderr.isatty()
        self.began = time.perf_counter()
        self.drawn = 0.0

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.show and self.drawn:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()

    def at(self, done: float, total: float) -> None:
        """Draw the bar at `done` of `total`, ten times a second at most."""
        now = time.perf_counter()
        if not self.show or (now - self.drawn < REFRESH_S and done < total):
            return
        self.drawn = now
        share = min(1.0, done / total) if total else 1.0
        spent = now - self.began
        left = spent / share - spent if share > 0 else 0.0
        full = int(share * WIDTH)
        bar = "#" * full + "." * (WIDTH - full)
        rate = done / spent if spent > 0 else 0.0
        sys.stderr.write(f"\r[{bar}] {share:4.0%}  {done:,.0f} {self.unit}  {rate:,.0f}/s  {left:.0f} s left \x1b[K")
        sys.stderr.flush()
