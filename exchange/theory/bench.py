"""The bench: run a config through the exchange, measure its ledger, and lay the result beside theory."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Final

from msgspec import Struct

from exchange.config import SEED_MAX, Config, ConfigError, Theory, load_config
from exchange.simulate.run import Run, simulate
from exchange.theory import forms, trials
from exchange.theory.game import NoForm, game_of
from exchange.theory.measures import NEEDS_BIDS, Mean, Measured, mean_of, pooled, spread

SEGMENT: Final = 250_000  # auctions of one run of a fixed market: more are several runs, to bound memory
STRIDE: Final = 1_000_003  # between the seeds of the runs of a row: seeds that people choose share none
Z_MAX: Final = 4.0
EXACT: Final = 2e-6  # relative slack of a number without a standard error: prices are whole nano
GRAIN: Final = 2e-6  # CPM: what a tolerance of 0 means, for the same reason
PLAIN: Final = ("revenue", "buyer", "publisher", "welfare", "surplus", "sale_rate", "price", "winning_value", "bid")
PLAIN_AUCTIONS: Final = 200_000
Progress = Callable[[float], None]


class Line(Struct):
    """One measure of one row: what theory says, what was measured."""

    id: str
    file: str
    setting: str
    form: str
    measure: str
    theory: float | None
    measured: float
    error: float  # standard error
    z: float | None  # (measured - theory) / error
    tolerance: float | None  # None = no tolerance stated: only z counts
    within: bool | None  # None = theory has nothing to say
    auctions: int  # of each run
    runs: int
    source: str


class Row:
    """A config with its [theory]; without one, every plain measure of the run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = load_config(path)
        self.stated = self.config.theory is not None
        self.theory = self.config.theory or Theory(
            path.stem, path.name, measure=PLAIN[0], also=list(PLAIN[1:]), auctions=PLAIN_AUCTIONS
        )
        self.other = load_config(path.parent / self.theory.against) if self.theory.against else None
        self.why_not = ""  # why theory has nothing to say

    def expected(self, measure: str) -> float | None:
        """What theory expects; None when no form covers it. Raises ConfigError where the row's own measure has none."""
        main = measure == self.theory.measure
        if main and self.theory.expected is not None:
            return self.theory.expected
        for form in (self.theory.form,) if main else (self.theory.form, "auction"):
            try:
                return forms.expected(self.config, form, measure, self.other)
            except NoForm as none:
                reason = str(none)
        if main and self.stated:
            raise ConfigError(
                f"{self.path}: theory.form = {self.theory.form!r} says nothing about {measure}: {reason}; "
                "expected a market that the form covers, or theory.expected"
            )
        self.why_not = reason
        return None

    def run(self, seed: int, auctions: int | None = None, progress: Progress | None = None) -> list[Line]:
        """Measure everything the row speaks of. auctions: instead of the config's; progress(share done)."""
        t = self.theory
        told = progress or (lambda share: None)
        measures = [t.measure, *t.also]
        theory = [self.expected(m) for m in measures]
        if t.form == "regret":
            return self._regret(seed, auctions, told)
        n, runs = counts(t, auctions)
        if t.form == "goods":
            found = trials.goods(self.config, measures, seed)
        elif self.other is not None and t.form == "difference":
            found = [self._difference(m, seed, n, told) for m in measures]
        else:
            found = self._runs(measures, seed, n, runs, told)
        told(1.0)
        return [self._line(m, x, f, n, runs, n * runs) for m, x, f in zip(measures, theory, found, strict=True)]

    def _runs(self, measures: list[str], seed: int, n: int, runs: int, told: Progress) -> list[Mean]:
        """Independent runs of the config: several where asked for, else in segments that bound the memory."""
        dependent = is_dependent(self.config)
        sizes = [n] * runs if runs > 1 or dependent else [min(SEGMENT, n - k) for k in range(0, n, SEGMENT)]
        parts: list[list[Mean]] = []
        for k, size in enumerate(sizes):
            seen = self._measured(
                self.config, size, seed + k * STRIDE, measures, dependent, part_of(told, k, len(sizes))
            )
            parts.append([seen.mean(m) for m in measures])
        columns = list(zip(*parts, strict=True))
        return [spread([p.value for p in c]) if runs > 1 else pooled(list(c)) for c in columns]

    def _measured(
        self, config: Config, n: int, seed: int, measures: list[str], dependent: bool, told: Progress
    ) -> Measured:
        config = deepcopy(config)
        ledger = "bids" if any(m.partition("@")[0] in NEEDS_BIDS for m in measures) else "wins"
        config.exchange.journal = ledger
        run: Run = simulate(config, n, seed % (SEED_MAX + 1), ledger=ledger, progress=lambda done, of: told(done / of))
        return Measured(run, config, dependent, self.theory.middle)

    def _difference(self, measure: str, seed: int, n: int, told: Progress) -> Mean:
        """This config less the other, auction by auction with common random numbers."""
        assert self.other is not None
        parts = []
        for k, at in enumerate(range(0, n, SEGMENT)):
            size = min(SEGMENT, n - at)
            both = []
            for config in (self.config, self.other):
                seen = self._measured(config, size, seed + k * STRIDE, [measure], False, lambda s: None)
                name, _, campaign = measure.partition("@")
                mine = seen.wins["campaign"] == seen.ids[campaign] if campaign else seen.wins["campaign"] >= 0
                both.append(seen.per_auction(name, mine, bool(campaign)))
            parts.append(mean_of(both[0] - both[1], False))
            told(min(1.0, (at + size) / n))
        return pooled(parts)

    def _regret(self, seed: int, auctions: int | None, told: Progress) -> list[Line]:
        """A line for each horizon: regret per square root of it."""
        t = self.theory
        _, runs = counts(t, auctions)
        lines, total = [], float(sum(t.horizons))
        done = 0.0
        for length in t.horizons:
            found = []
            for k in range(runs):
                found.append(
                    trials.regret(self.config, t.measure.partition("@")[2], length, t.auctions, seed + k * STRIDE)
                )
                told((done + length * (k + 1) / runs) / total)
            done += length
            line = self._line(f"{t.measure}", t.expected, spread(found), length, runs, t.auctions * runs)
            lines.append(line)
        return lines

    def _line(self, measure: str, theory: float | None, found: Mean, n: int, runs: int, did: int) -> Line:
        t = self.theory
        z = (found.value - theory) / found.error if theory is not None and found.error > 0 else None
        tolerance, within = None, None
        if self.stated:
            tolerance = t.tolerance
            if found.error > 0 and t.form != "regret":
                tolerance *= max(1.0, (t.auctions * t.runs / did) ** 0.5)
        if theory is not None:
            off = abs(found.value - theory)
            near = found.error == 0 and off <= EXACT * max(1.0, abs(theory))
            main = measure == t.measure
            close = tolerance is not None and main and off <= (tolerance or GRAIN)
            by_z = z is not None and abs(z) <= Z_MAX and t.form not in ("regret", "stated")
            strict = found.error == 0 and main and tolerance is not None
            within = close if strict else close or by_z or near
        return Line(
            t.id, str(self.path), t.setting, t.form, measure, theory, found.value, found.error, z, tolerance, within, n,
            runs, t.source,
        )  # fmt: skip


def part_of(told: Progress, k: int, n: int) -> Progress:
    """Progress of part k of n."""
    return lambda share: told((k + share) / n)


def counts(t: Theory, auctions: int | None) -> tuple[int, int]:
    """(auctions of each run, runs): where a row has several runs, fewer auctions are fewer runs of the same length."""
    if auctions is None:
        return t.auctions, t.runs
    if t.runs == 1:
        return auctions, 1
    return t.auctions, max(2, min(t.runs, auctions // t.auctions))


def is_dependent(config: Config) -> bool:
    """Whether one auction of a config may depend on those before it: rules that learn, money, contacts."""
    try:
        game_of(config)
    except NoForm:
        return True
    return False


def shipped_rows(folder: Path) -> list[Row]:
    """The rows of a folder of configs, in order of id; what is only compared against is no row."""
    rows = [Row(path) for path in sorted(folder.glob("*.toml"))]
    found = sorted((row for row in rows if row.stated), key=lambda row: row.theory.id)
    for one, two in zip(found, found[1:], strict=False):
        if one.theory.id == two.theory.id:
            raise ConfigError(f"theory.id = {one.theory.id!r} stands in {one.path.name} and {two.path.name}")
    return found
