"""Last touch and holdout: files of conversions, groups, the interval's coverage, a market whose truth is known."""

import os
import random
from pathlib import Path

import numpy as np
import pytest

from exchange.audience.people import PeopleError, person_key
from exchange.config import load_config
from exchange.rent.ledger import Ledger
from exchange.report import command
from exchange.report.asking import Books
from exchange.report.attribution import reckon
from exchange.report.conversions import conversions_of, read_conversions, salt_of
from exchange.report.holdout import effect_of, groups_of, own_of, per_person
from exchange.simulate.run import simulate
from tests import naive_figures as naive

AD = 'creative = [{ id = "box", w = 300, h = 250, html = "<p>an ad</p>" }]'
SALT = b"s" * 32


def market(folder: Path, people: int = 1_500, holdout: float = 0.3, more: str = "", auctions: int = 15_000) -> Ledger:
    """A simulated ledger of two brands, the first with a holdout; `more`: keys of [population]."""
    (folder / "market.toml").write_text(f"""
[exchange]
seed = 11
[population]
people = {people}
placements = 40
person_skew = 0.4
ctr = 0.02
cvr = 0.1
{more}
[[advertiser]]
name = "Brand's"
holdout = {holdout}
own_share = 0.2
[[advertiser.campaign]]
name = "all"
value_cpm = {{ uniform = [0.5, 3.0] }}
{AD}
[[advertiser]]
name = "Other"
[[advertiser.campaign]]
name = "all"
value_cpm = {{ uniform = [0.5, 3.0] }}
{AD}
""")
    run = simulate(load_config(folder / "market.toml"), auctions, ledger="bids", folder=folder / "ledger")
    assert run.ledger is not None
    return run.ledger


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """One market for all tests that only read."""
    return market(tmp_path_factory.mktemp("market"), more="organic_rate = 0.05\norganic_own_rate = 0.3\nuplift = 0.2")


# ---- files ------------------------------------------------------


def test_people_of_a_file_are_keyed_with_the_salt(tmp_path: Path) -> None:
    """By id, e-mail or its hash: the same key as everywhere; columns in any order, repeats once, zones understood."""
    by_id, by_mail, by_hash = (tmp_path / f"{name}.csv" for name in ("id", "mail", "hash"))
    by_id.write_text("time,advertiser,more,user_id\n2026-01-05T10:00:00Z,A,x,u1\n2026-01-05T11:00:00+01:00,A,y,u1\n")
    by_mail.write_text("advertiser,email,time\nB, Ann@Example.com ,2026-01-05\n")
    digest = "e0bdd8d3a6a3cce9ab8e0c2bdd29a1b9ab6b8ad59f8dd6fb2b4c3c3ec1f0cf1e"
    by_hash.write_text(f"advertiser,sha256,time\nA,{digest.upper()},2026-01-05T00:00:00.5\n")
    ids = {"A": 4, "B": 7}
    one = read_conversions(by_id, SALT, ids)
    assert one.person.tolist() == [person_key(SALT, "u1")] and one.repeats == 1 and one.advertiser.tolist() == [4]
    assert one.ts_ns.tolist() == [1_767_607_200 * 10**9]
    from exchange.audience import lists

    mail = read_conversions(by_mail, SALT, ids)
    assert mail.person.tolist() == [person_key(SALT, lists.email("ann@example.com"))]
    hashed = read_conversions(by_hash, SALT, ids)
    assert hashed.person.tolist() == [person_key(SALT, digest)] and hashed.ts_ns[0] % 10**9 == 5 * 10**8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "c.csv: is empty: expected a first line with advertiser, time and one of user_id, email, sha256"),
        ("user_id,time\nu1,2026-01-05\n", "c.csv:1: columns user_id, time: expected advertiser, time and one of"),
        ("advertiser,user_id,email,time\n", "expected advertiser, time and one of user_id, email, sha256"),
        ("advertiser,user_id,time\nA,u1\n", "c.csv:2: 2 cells: expected advertiser, user_id, time"),
        ("advertiser,user_id,time\nC,u1,2026-01-05\n", "c.csv:2: advertiser 'C': expected one of A, B"),
        ("advertiser,user_id,time\nA,,2026-01-05\n", "c.csv:2: empty user_id"),
        ("advertiser,user_id,time\nA,u1,yesterday\n", "c.csv:2: time 'yesterday': expected a date like"),
        ("advertiser,email,time\nA,u1,2026-01-05\n", "c.csv:2: 'u1': expected an e-mail"),
        ("advertiser,sha256,time\nA,beef,2026-01-05\n", "64 hexadecimal digits"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(PeopleError) as error:
        read_conversions(tmp_path / "c.csv", SALT, {"A": 4, "B": 7})
    assert said in str(error.value) and "\n" not in str(error.value)


# ---- against naive rows ------------------------------------------------------


@pytest.mark.parametrize("days", [30.0, 2e-4])
def test_accounts_are_those_of_the_rows(ledger: Ledger, days: float) -> None:
    """Groups, conversions, credits and spend of both brands, one row at a time."""
    assert ledger.path is not None
    sales = naive.bought(ledger.path / "conversions.csv", salt_of(ledger))
    met, credits, spent = naive.groups(ledger), naive.credited(ledger, sales, days), naive.spend(ledger)
    books = Books(ledger)
    found = reckon(books, look_back=days)
    assert [a.name for a in found.accounts] == ["Brand's", "Other"]
    for account in found.accounts:
        mine = met[account.name]
        effect = account.effect
        assert effect is not None
        counts = {True: 0, False: 0}
        for brand, person, ts, _ in sales:
            if brand == account.name and person in mine and ts >= mine[person][1]:
                counts[mine[person][0]] += 1
        held = sum(h for h, _ in mine.values())
        assert (effect.held, effect.treated) == (held, len(mine) - held)
        assert (effect.held_conversions, effect.treated_conversions) == (counts[True], counts[False])
        assert account.listed == sum(brand == account.name for brand, *_ in sales)
        assert account.credited == credits[account.name]
        assert account.spend == pytest.approx(spent[account.name] / 1e9, rel=1e-12)
        if effect.held:
            assert effect.increment is not None
            assert effect.increment.value == pytest.approx(counts[False] - counts[True] * effect.treated / held)
        else:
            assert account.why == "no holdout" and effect.increment is None
    full = naive.credited(ledger, sales, 30.0)
    assert days == 30.0 or credits["Other"] < full["Other"]
    books.close()


def test_own_customers_of_both_groups_are_known(ledger: Ledger) -> None:
    """A simulation leaves its own lists: own of the groups are those of the wins, and about a fifth of the held out."""
    groups = groups_of(ledger)
    ident = ledger.names.known("advertiser", "Brand's")
    own = own_of(ledger, "Brand's", groups[ident])
    assert own is not None
    mine = ledger.wins[(ledger.wins["advertiser"] == ident) & (ledger.wins["person_key"] != 0)]
    flagged = np.unique(mine["person_key"][(mine["flags"] & 1) != 0])
    shown = np.isin(groups[ident].person, mine["person_key"])
    assert set(groups[ident].person[own & shown].tolist()) == set(flagged.tolist())
    assert 0.12 < own[groups[ident].held].mean() < 0.28
    assert own_of(ledger, "Other", groups[ledger.names.known("advertiser", "Other")]) is None


# ---- truth ------------------------------------------------------


def test_the_truth_of_a_simulation_is_inside_the_interval(ledger: Ledger) -> None:
    """What ads caused, by the cause the simulation wrote down: told, and nearer than last touch."""
    assert ledger.path is not None
    sales = naive.bought(ledger.path / "conversions.csv", salt_of(ledger))
    caused = sum(brand == "Brand's" and cause != "anyway" for brand, _, _, cause in sales)
    anyway = [(brand, person) for brand, person, _, cause in sales if cause == "anyway"]
    assert caused > 100 and len(anyway) > 100
    held = {person for person, (out, _) in naive.groups(ledger)["Brand's"].items() if out}
    assert not any(brand == "Brand's" and person in held and cause != "anyway" for brand, person, _, cause in sales)
    assert any(brand == "Brand's" and person in held for brand, person in anyway)
    account = reckon(Books(ledger)).accounts[0]
    assert account.effect is not None and account.effect.increment is not None and account.credited is not None
    assert account.why == "told"
    assert account.effect.increment.low < caused < account.effect.increment.high
    assert account.credited > 1.2 * caused
    icpa, low, high = account.effect.icpa, account.effect.icpa_low, account.effect.icpa_high
    assert icpa is not None and low is not None and high is not None and account.cpa is not None
    assert low < account.spend / caused < high and low < icpa < high and account.cpa < icpa


def test_ads_that_do_nothing_are_not_told_to_work(tmp_path: Path) -> None:
    """Last touch credits them all the same; the report says that the holdout is too small, and what it would take."""
    nothing = market(tmp_path, people=400, more="organic_rate = 0.2", auctions=3_000)
    books = Books(nothing)
    account = reckon(books).accounts[0]
    assert account.effect is not None and account.effect.increment is not None
    assert account.credited is not None and account.credited > 5
    assert account.why == "too small" and account.effect.icpa is None and account.effect.icpa_high is None
    text = command.shown(command.build("attribution", books))
    assert "cannot be told: the holdout" in text.replace("\n ", "") and "would take" in text.replace("\n ", "")
    assert account.effect.held_needed > account.effect.held


def test_without_bids_or_file_nothing_is_claimed(tmp_path: Path, ledger: Ledger) -> None:
    assert ledger.path is not None
    (tmp_path / "ledger").mkdir()
    for path in ledger.path.iterdir():
        if path.is_file() and path.name != "conversions.csv":
            (tmp_path / "ledger" / path.name).write_bytes(path.read_bytes())
    there = Ledger(tmp_path / "ledger")
    assert conversions_of(there) is None
    books = Books(there)
    report = command.build("attribution", books)
    assert {figure.key: figure.value for figure in report.figures}["icpa"] is None
    assert "--conversions" in command.shown(report)
    linked = int(np.isin(there.events["kind"], (16, 17)).sum())
    accounts = reckon(books).accounts
    assert sum(account.linked for account in accounts) == linked > 0
    assert accounts[0].cpa == pytest.approx(accounts[0].spend / accounts[0].linked)
    given = command.build("attribution", books, given={"conversions": str(ledger.path / "conversions.csv")})
    assert {figure.key: figure.value for figure in given.figures}["icpa"] is not None


def test_a_ledger_without_bids_says_so(tmp_path: Path) -> None:
    simulate(load_config("configs/demo.toml"), 500, ledger="wins", folder=tmp_path / "wins")
    books = Books(Ledger(tmp_path / "wins"))
    assert "keeps none" in command.shown(command.build("attribution", books))
    assert "keeps no bids" in command.shown(command.build("lost", books))


# ---- the interval ------------------------------------------------------


def coverage(seed: int, runs: int, treated: int, held: int, base: float, lift: float, repeats: float) -> float:
    """Share of intervals that hold the truth; repeats: chance that a buyer buys twice."""
    rng = np.random.default_rng(seed)
    hit = 0
    for _ in range(runs):
        one = (rng.random(treated) < base + lift) * (1 + (rng.random(treated) < repeats))
        other = (rng.random(held) < base) * (1 + (rng.random(held) < repeats))
        found = effect_of(one.astype(np.int64), other.astype(np.int64), 100.0).increment
        assert found is not None
        hit += found.low <= treated * lift * (1 + repeats) <= found.high
    return hit / runs


CASES = [(4_000, 500, 0.02, 0.01, 0.0), (3_000, 3_000, 0.05, 0.0, 0.5), (5_000, 300, 0.004, 0.002, 0.0),
         (800, 400, 0.3, 0.1, 0.0)]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_interval_holds_the_truth_as_often_as_it_says(case: tuple[int, int, float, float, float]) -> None:
    """95 % of the time, from rare conversions to frequent ones, of a small holdout or a large one."""
    found = coverage(5, 1_000, *case)
    assert 0.925 <= found <= 0.985


@pytest.mark.torture
@pytest.mark.parametrize("case", CASES)
def test_coverage_at_length(case: tuple[int, int, float, float, float]) -> None:
    seed = int(os.environ.get("RENTIER_SEED") or random.SystemRandom().randrange(2**32))
    print(f"RENTIER_SEED={seed}")
    assert 0.935 <= coverage(seed, 10_000, *case) <= 0.98


def test_only_conversions_after_the_first_opportunity_count(ledger: Ledger) -> None:
    """What was bought before an ad could have been shown is nobody's doing, in either group."""
    groups = groups_of(ledger)[ledger.names.known("advertiser", "Brand's")]
    found = conversions_of(ledger)
    assert found is not None
    whole, counted = per_person(groups, found, ledger.names.known("advertiser", "Brand's"))
    mine = found.advertiser == ledger.names.known("advertiser", "Brand's")
    in_groups = mine & np.isin(found.person, groups.person)
    assert int(whole.sum()) == int(counted.sum()) < int(in_groups.sum())
