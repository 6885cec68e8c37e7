"""Play a tournament: every contender takes the same seat of the same market, on the same seeds.

The field is the campaigns of a config; the seat is one of them, whose rule and knobs are exchanged while its value,
budget, audience, caps and creatives stay. Randomness is keyed by seed, auction, imp and campaign, so two contenders
meet the same people, the same valuations, the same draws of their rivals: common random numbers. What differs is what
they did, and differences between them are far more exact than the figures themselves. Source: Glasserman and Yao
(1992), Some Guidelines and Guarantees for Common Random Numbers; the shape of a tournament: Axelrod (1980), Effective
Choice in the Prisoner's Dilemma.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec import Struct

from exchange import bidding
from exchange import market as mk
from exchange.books.keys import Index, distinct, total
from exchange.config import SEED_MAX, Campaign, Config, ConfigError
from exchange.simulate.run import Run, simulate

SEAT: Final = "challenger"  # the name of the campaign whose seat is played for, when none is given
SEEDS_MAX: Final = 10_000
VISITS_MAX: Final = 2_000_000  # of one play: its ledger lies in memory
PLAYS_MAX: Final = 100_000
Progress = Callable[[int, int], None]


class Contender(Struct):
    """A rule that plays: the name it is listed under, the rule as a config names it, its knobs ({} = defaults)."""

    label: str
    rule: str
    knobs: dict[str, Any] = {}


class Play(Struct):
    """One contender on one seed: what happened in its seat. Money in nano of the ledger currency.

    `value_nano` is that of the impressions that were seen, `spend_nano` what was billed; surplus is the difference.
    """

    seed: int
    value_nano: int
    spend_nano: int
    asked: int
    wins: int
    seen: int
    clicks: int
    people: int  # different persons rented, unknown ones left out
    rent_nano: int  # what they were rented for
    faults: int  # prices that had to be clamped, and exceptions

    @property
    def surplus_nano(self) -> int:
        """Value of what was seen - price of what was billed."""
        return self.value_nano - self.spend_nano


class Plan(Struct):
    """A tournament before it begins: whom, where, how often."""

    config: Config
    seat: tuple[int, int]  # of the advertiser, of its campaign
    contenders: list[Contender]
    seeds: list[int]
    visits: int

    @property
    def seat_name(self) -> str:
        """brand/campaign."""
        advertiser = self.config.advertiser[self.seat[0]]
        return f"{advertiser.name}/{advertiser.campaign[self.seat[1]].name}"

    @property
    def seated(self) -> Campaign:
        """The campaign whose seat is played for."""
        return self.config.advertiser[self.seat[0]].campaign[self.seat[1]]

    def statement(self) -> str:
        """One line: what will be done."""
        n, s = len(self.contenders), len(self.seeds)
        campaigns = sum(len(a.campaign) for a in self.config.advertiser)
        return (
            f"{n} rules x {s} seeds x {self.visits:,} visits = {n * s * self.visits:,} visits, "
            f"in the seat of {self.seat_name}, one of {campaigns} campaigns"
        )


def plan(
    config: Config, seeds: int, visits: int, rules: Sequence[str] = (), only: bool = False, seat: str = "",
    first: int | None = None, folder: Path | None = None,
) -> Plan:  # fmt: skip
    """Decide who plays. Raises ConfigError for anything that cannot be played.

    rules: more contenders, as a config names them; relative files start at `folder`. only: nobody but those. seat:
    brand/campaign, default the campaign named SEAT, else the first. first: the first seed, default the config's.
    """
    first = config.exchange.seed if first is None else first
    if not 2 <= seeds <= SEEDS_MAX:
        raise ConfigError(f"--seeds {seeds}: expected 2 to {SEEDS_MAX}: without a second seed there is no interval")
    if not 1 <= visits <= VISITS_MAX:
        raise ConfigError(f"--auctions {visits}: expected 1 to {VISITS_MAX} visits a play: its ledger lies in memory")
    if not 0 <= first <= SEED_MAX - seeds:
        raise ConfigError(f"--seed {first}: expected 0 to {SEED_MAX - seeds}")
    at = find_seat(config, seat)
    found = Plan(config, at, [], list(range(first, first + seeds)), visits)
    found.contenders = contenders(found, rules, only, folder or Path())
    if not found.contenders:
        raise ConfigError("--only: nobody plays: name the rules with --rules")
    if len(found.contenders) * seeds > PLAYS_MAX:
        raise ConfigError(f"{len(found.contenders)} rules x {seeds} seeds: expected at most {PLAYS_MAX} plays")
    return found


def find_seat(config: Config, name: str = "") -> tuple[int, int]:
    """Where a campaign stands, by brand/campaign; "" = the campaign named SEAT, else the first. Raises ConfigError."""
    places = {
        f"{advertiser.name}/{campaign.name}": (a, c)
        for a, advertiser in enumerate(config.advertiser)
        for c, campaign in enumerate(advertiser.campaign)
    }
    if not places:
        raise ConfigError("the config has no campaign: expected a field to play against")
    if name:
        if name not in places:
            raise ConfigError(f"--seat {name!r}: expected one of {', '.join(places)}")
        return places[name]
    named = [at for place, at in places.items() if place.endswith(f"/{SEAT}")]
    return named[0] if named else next(iter(places.values()))


def contenders(plan: Plan, rules: Sequence[str], only: bool, folder: Path) -> list[Contender]:
    """Every built-in rule that has a chance with its defaults, `rules`, and the seat's own rule with its knobs.

    A rule with `needs_knobs` has none: its defaults are amounts that mean nothing in another market. One with
    `paces_budget` gets the seat's budget over the visits as its `target_nano`; without a budget it has none either.
    `rules` may name one twice; the seat's own is left out when it has no knobs and is among the others.
    """
    found, own, library = [], plan.seated, bidding.library()
    target = {} if own.budget is None else {"target_nano": int(own.budget * 1e9) // plan.visits}
    knobs = {name: target for name, rule in library.items() if getattr(rule, "paces_budget", False)}
    if not only:
        ready = [name for name, rule in library.items() if not getattr(rule, "needs_knobs", False)]
        found += [Contender(name, name, knobs.get(name, {})) for name in ready if target or name not in knobs]
    for name in rules:
        try:
            bidding.resolve(name, str(folder))
        except bidding.RuleError as error:
            raise ConfigError(f"{name}: {error}") from None
        found.append(Contender(name, _absolute(name, folder), knobs.get(name, {})))
    if not only:
        seated = Contender(own.rule, _absolute(own.rule, Path(plan.config.folder)), own.knobs)
        if own.knobs:
            seated.label += "*"
        if own.knobs or seated.rule not in {c.rule for c in found}:
            found.append(seated)
    times: dict[str, int] = {}
    for contender in found:
        times[contender.label] = n = times.get(contender.label, 0) + 1
        if n > 1:
            contender.label += f" #{n}"
    return found


def _absolute(rule: str, folder: Path) -> str:
    """The name of a rule with the path of its file, if it is one, made absolute."""
    place, _, attribute = rule.rpartition(":")
    return f"{(folder / place).resolve()}:{attribute}" if place.endswith(".py") else rule


def play(plan: Plan, contender: Contender, seed: int, visits: int | None = None) -> tuple[Play, Run]:
    """Put a contender into the seat and hold the auctions of one seed. Returns what happened, and the whole run.

    visits: instead of the plan's. Raises ConfigError for a rule or a knob that cannot be used.
    """
    config = deepcopy(plan.config)
    campaign = config.advertiser[plan.seat[0]].campaign[plan.seat[1]]
    campaign.rule, campaign.knobs = contender.rule, dict(contender.knobs)
    run = simulate(config, plan.visits if visits is None else visits, seed)
    ix = sum(len(a.campaign) for a in config.advertiser[: plan.seat[0]]) + plan.seat[1]
    return measure(run, ix, contender.rule, seed), run


def measure(run: Run, campaign: int, rule: str, seed: int) -> Play:
    """What a finished run's ledger says of one campaign, by its index."""
    me, ledger = run.venue.campaigns[campaign], run.ledger
    assert ledger is not None
    events = ledger.events[ledger.events["campaign"] == me["id"]]
    won = (ledger.wins["flags"] & mk.FLAG_LOST) == 0  # all_pay: losers pay, and get nothing for it
    wins = ledger.wins[won & (ledger.wins["campaign"] == me["id"])]
    seen = events[np.isin(events["kind"], (mk.KIND_IMPRESSION, mk.KIND_VIEW))]
    billed = events[np.isin(events["kind"], mk.BILLING)]
    win_of = Index(wins, by_slot=True).find(seen)
    win_of = win_of[win_of >= 0]
    known = billed["person_key"] != 0
    return Play(
        seed=seed,
        value_nano=total(wins["value_nano"][win_of]),
        spend_nano=total(billed["paid_nano"]),
        asked=int(me["asked"]),
        wins=len(wins),
        seen=len(win_of),
        clicks=int(np.isin(events["kind"], mk.CLICKS).sum()),
        people=int(distinct(billed["person_key"][known]).size),
        rent_nano=total(billed["paid_nano"][known]),
        faults=int(me["faults"]) + run.venue.rules.faults.get(rule, 0),
    )


def tournament(plan: Plan, progress: Progress | None = None) -> tuple[list[list[Play]], dict[str, str]]:
    """Play everything: (a list of plays by seed for each contender, why a contender ran in Python by its label).

    First each contender holds one auction, so that a rule that cannot be used is refused before the work begins.
    progress(done, all) is called after each play. Raises ConfigError.
    """
    slow: dict[str, str] = {}
    for contender in plan.contenders:
        try:
            _, run = play(plan, contender, plan.seeds[0], visits=1)
        except ConfigError as error:
            raise ConfigError(f"{contender.label}: {error}") from None
        if contender.rule in run.venue.rules.slow:
            slow[contender.label] = run.venue.rules.slow[contender.rule]
    plays: list[list[Play]] = []
    n, done = len(plan.contenders) * len(plan.seeds), 0
    for contender in plan.contenders:
        plays.append([])
        for seed in plan.seeds:
            plays[-1].append(play(plan, contender, seed)[0])
            done += 1
            if progress is not None:
                progress(done, n)
    return plays, slow
