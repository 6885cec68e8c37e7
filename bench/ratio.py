"""A ratio with its rounds: what every benchmark hands back."""

import time
from collections.abc import Callable
from statistics import median

from msgspec import Struct


class Result(Struct):
    """One line of the table.

    cost and reference are in `unit`, one number a round, measured next to each other. The ratio is
    reference / cost (a share of what is possible) or, with `multiple`, cost / reference (how many times as much).
    """

    name: str
    against: str
    unit: str
    cost: list[float]
    reference: list[float]
    demanded: float | None = None  # None = reported only
    multiple: bool = False
    note: str = ""

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        pairs = zip(self.cost, self.reference, strict=True)
        return median(cost / reference if self.multiple else reference / cost for cost, reference in pairs)

    @property
    def met(self) -> bool:
        """True when the ratio is what was demanded, or nothing was."""
        if self.demanded is None:
            return True
        return self.ratio <= self.demanded if self.multiple else self.ratio >= self.demanded


def cpu_us(work: Callable[[], object], times: int) -> float:
    """CPU time of this process per unit, in us, of `work()` that does `times` units."""
    began = time.process_time_ns()
    work()
    return (time.process_time_ns() - began) / times / 1_000


def table(results: list[Result]) -> str:
    """The results as text of at most 100 columns."""
    lines = [f"{'what':<34}{'cost':>10}{'reference':>11} {'unit':<15}{'ratio':>8}  {'demanded':<10}{'':<4}"]
    for result in results:
        sign = "<=" if result.multiple else ">="
        wanted = "-" if result.demanded is None else f"{sign} {result.demanded:g}"
        mark = "" if result.demanded is None else "ok" if result.met else "MISS"
        lines.append(
            f"{result.name:<34}{median(result.cost):>10.3f}{median(result.reference):>11.3f} {result.unit:<15}"
            f"{result.ratio:>8.3f}  {wanted:<10}{mark:<4}"
        )
        lines.append(f"    against {result.against}{'; ' + result.note if result.note else ''}"[:100])
    return "\n".join(lines)
