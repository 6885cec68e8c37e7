"""Click models: the batch that the exchange hands them, what is refused, and what an auction makes of their rates."""

import copy
import importlib.util
import itertools
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import exchange
from exchange import market as mk
from exchange.auction import models, value
from exchange.config import ConfigError, load_config
from exchange.openrtb import codes
from exchange.population import people as population
from exchange.randomness import TRUTH
from tests.naive_terms import Request, campaign, draw, market, offer, unit, venue_of

quick = settings(derandomize=True, deadline=None)
ROOT = Path(__file__).resolve().parents[1]
NOW = 1_770_000_000 * 10**9
HEAD = "import numpy as np\n\n\n"
CELLWISE = '''class Cellwise:
    """Other rates in every cell."""

    def rates(self, contexts):
        k = np.arange(len(contexts))
        return (1 + k) / 10_000, 1 / (2 + k)


class Phones:
    """Only says something of clicks: half on a phone, else none."""

    def pctr(self, contexts):
        return np.where(contexts["device"] == 1, 0.5, 0.0)
'''


def filed(folder: Path, source: str = CELLWISE) -> str:
    """A file of models."""
    (folder / "models.py").write_text(HEAD + source, encoding="utf-8")
    return str(folder / "models.py")


# ---- the contexts -----------------------------------------------------------------------------------------------


def test_the_contexts_are_every_cell_once_in_the_order_of_the_cells():
    found = models.contexts()
    assert len(found) == value.N_CELLS == 3_840 and len(np.unique(found)) == value.N_CELLS
    for row, cell in enumerate(found):
        assert value.cell_of(*(cell[n] for n in ("device", "media", "hour", "contacts", "own"))) == row
    assert set(found["media"]) == set(codes.MEDIA) and max(found["device"]) == len(codes.DEVICES) - 1


def plain_cell(device: int, media: int, hour: int, contacts: int, own: int) -> int:
    """The cell by looking for its context."""
    least = max(n for n in models.CONTACTS if n <= contacts)
    wanted = (min(device, 4), min(max(media, 1), 4), min(hour, 23), least, own)
    axes = (range(5), range(1, 5), range(24), models.CONTACTS, range(2))
    return list(itertools.product(*axes)).index(wanted)


@quick
@given(
    st.integers(0, 8), st.integers(0, 8), st.integers(0, 30), st.integers(0, 6) | st.integers(0, 2**32 - 1),
    st.integers(0, 1),
)  # fmt: skip
def test_every_impression_falls_into_the_nearest_cell(device, media, hour, contacts, own):
    numbers = np.uint8(device), np.uint8(media), np.uint8(hour), np.uint32(contacts), np.uint8(own)
    assert value.cell_of(*numbers) == plain_cell(device, media, hour, contacts, own)


@quick
@given(st.integers(0, mk.BUDGET_MAX_NANO), st.integers(0, mk.ONE_PPB))
def test_a_share_is_exact(amount, ppb):
    assert value.share_of(amount, ppb) == amount * ppb // mk.ONE_PPB


# ---- what an auction makes of them --------------------------------------------------------------------------------


def priced(campaigns, requests, **fields):
    """The local bids of each request, in a venue with these campaigns of one advertiser."""
    venue = venue_of(market({"a": campaigns}, "none"))
    for request, (device, own) in requests:
        if own:
            venue.mark_own("a", np.array([request.person], np.uint64))
        o = venue.arrays["opportunities"]
        o["device"], o["pctr_ppb"] = device, fields.get("pctr_ppb", 0)
        offer(venue, request)
        yield venue, venue.arrays["bids"][: len(campaigns)].copy(), venue.arrays["imps"][: len(campaigns)].copy()


def event_value(keys, pctr_ppb, pcvr_ppb):
    """The valuation by definition."""
    if "value_click" in keys:
        return min(round(keys["value_click"] * 1e9) * pctr_ppb // 10**9, mk.PRICE_MAX_NANO)
    each = round(keys["value_conversion"] * 1e9) * pcvr_ppb // 10**9
    return min(each * pctr_ppb // 10**9, mk.PRICE_MAX_NANO)


def test_an_auction_looks_its_rates_up(tmp_path):
    """The cell's rates reach the rule, the value, the win row; a model without pcvr leaves the campaign's estimate."""
    place = filed(tmp_path)
    terms = [
        ({"value_click": 2.0}, "Cellwise"), ({"value_conversion": 70.0, "pcvr": 0.03}, "Cellwise"),
        ({"value_click": 0.01}, "Phones"), ({"value_conversion": 9.0, "pcvr": 0.07}, "Phones"), ({}, "Cellwise"),
    ]  # fmt: skip
    campaigns = [
        campaign(f"c{k}", "truthful", None if keys else 1.0, model=f"{place}:{name}", **keys)
        for k, (keys, name) in enumerate(terms)
    ]
    at = [(Request(NOW + h * 3600 * 10**9, person=7 + h), (h % 5, h % 3 == 0)) for h in range(30)]
    seen = set()
    for (request, (device, own)), (venue, bids, imps) in zip(at, priced(campaigns, at), strict=True):
        cell = plain_cell(device, codes.BANNER, request.hour, 0, int(own))
        seen.add(cell)
        for (keys, name), bid, imp in zip(terms, bids, imps, strict=True):
            pctr, pcvr = round((1 + cell) / 10_000 * 1e9), round(1e9 / (2 + cell))
            if name == "Phones":
                pctr, pcvr = 500_000_000 * (device == 1), round(keys.get("pcvr", 0.02) * 1e9)
            assert (bid["pctr_ppb"], bid["pcvr_ppb"]) == (pctr, pcvr)
            assert (imp["pctr"], imp["pcvr"]) == (pctr / 1e9, pcvr / 1e9)
            assert bid["value_nano"] == (event_value(keys, pctr, pcvr) if keys else 1_000_000)
        assert venue.campaigns["model"][:5].tolist() == [0, 0, 1, 1, 0]
    assert len(seen) == 30


def test_the_bucket_of_contacts_is_the_advertisers(tmp_path):
    """A person rented before is in another cell than a new one."""
    source = CELLWISE.replace("(1 + k) / 10_000", '0.001 * (1 + contexts["contacts"])')
    name = f"{filed(tmp_path, source)}:Cellwise"
    venue = venue_of(market({"a": [campaign("c", value=None, value_click=1.0, model=name)]}, "none"))
    values = []
    for k in range(7):
        sold = offer(venue, Request(NOW + k, person=5))[0]
        values.append(int(venue.arrays["bids"]["value_nano"][0]))
        assert venue.event(mk.KIND_IMPRESSION, int(sold["serial"]), int(sold["auction_id"]), NOW + k)
    assert values == [1_000_000, 2_000_000, 3_000_000, 3_000_000, 5_000_000, 5_000_000, 5_000_000]


def test_what_a_log_says_of_an_imp_comes_before_the_model_and_that_before_the_estimates(tmp_path):
    place, at = filed(tmp_path), [(Request(NOW), (1, False))]
    campaigns = [
        campaign("a", value=None, value_click=1.0, pctr=0.004, model=f"{place}:Phones"),
        campaign("b", value=None, value_click=1.0, pctr=0.004),
        campaign("c", value=None, value_conversion=50.0, pctr=0.004, pcvr=0.02),
    ]
    ((_, bids, _),) = priced(campaigns, at)
    assert bids["value_nano"].tolist() == [500_000_000, 4_000_000, 4_000_000]
    ((_, bids, _),) = priced(campaigns, at, pctr_ppb=1_234_567)
    assert bids["pctr_ppb"].tolist() == [1_234_567] * 3 and bids["pcvr_ppb"].tolist() == [20_000_000] * 3
    assert bids["value_nano"].tolist() == [1_234_567, 1_234_567, 1_234_567]


def test_refreshing_replaces_the_rates_in_place(tmp_path):
    """From the next auction on; a model that fails then changes nothing."""
    source = '''class Growing:
    """Twice as much each time; the fourth time nonsense."""

    times = 0

    def pctr(self, contexts):
        Growing.times += 1
        return np.full(len(contexts), 0.001 * 2**Growing.times if Growing.times < 4 else 7.0)
'''
    name = f"{filed(tmp_path, source)}:Growing"
    venue = venue_of(market({"a": [campaign("c", value=None, value_click=1.0, model=name)]}, "none"), journal=True)
    for k, expected in enumerate((2_000_000, 4_000_000, 8_000_000, 8_000_000)):
        sold = offer(venue, Request(NOW + k))[0]
        assert venue.arrays["bids"]["value_nano"][0] == expected and sold["serial"] == k
        if k < 2:
            venue.refresh_models()
        elif k == 2:
            with pytest.raises(ConfigError, match=r"pctr\[0\] = 7.0: expected 3,840 numbers from 0 to 1"):
                venue.refresh_models()
    venue.journal.close()
    wins = exchange.Ledger.in_memory(venue.journal, venue.names, {}).wins
    assert wins["pctr_ppb"].tolist() == [2_000_000, 4_000_000, 8_000_000, 8_000_000]
    assert wins["snapshot_version"].tolist() == [1, 2, 3, 3]


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        ("class A:\n    pass\n", "A", r"it has neither rates\(contexts\) nor pctr\(contexts\)$"),
        ("class Able:\n    pctr = 3\n", "Abel", r"models.py has no class 'Abel'; did you mean 'Able'\?$"),
        ("class A(\n", "A", "models.py failed to load: SyntaxError"),
        ("class A:\n    def __init__(self):\n        open('/no/such')\n    def pctr(self, c): ...\n", "A",
         r"A\(\) failed: FileNotFoundError: .*such'$"),
        ("class A:\n    def pctr(self, c):\n        raise SystemExit('no weights\\nnone')\n", "A",
         r"pctr\(\) failed: SystemExit: no weights$"),
        ("class A:\n    def pctr(self, c):\n        return c['devise']\n", "A",
         r"pctr\(\) failed: ValueError: no field of name devise$"),
        ("class A:\n    def pctr(self, c):\n        return np.zeros((len(c), 2))\n", "A",
         r"pctr\(\): pctr has shape \(3840, 2\): expected 3,840 numbers from 0 to 1, one a context$"),
        ("class A:\n    def pctr(self, c):\n        return 'much'\n", "A", r"pctr\(\): pctr = 'much': expected 3,840"),
        ("class A:\n    def rates(self, c):\n        return np.zeros(len(c))\n", "A", r"rates\(\) failed: ValueError"),
        ("class A:\n    def rates(self, c):\n        k = np.arange(len(c))\n        return k * 0.0, -k / 9\n", "A",
         r"rates\(\): pcvr\[1\] = -0.1111\d*: expected"),
        ("class A:\n    def pctr(self, c):\n        return np.where(c['hour'] == 3, np.nan, 0.5)\n", "A",
         r"pctr\[24\] = nan: expected"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_used_is_one_line(tmp_path, source, name, said):
    text = f"{filed(tmp_path, source)}:{name}"
    with pytest.raises(ConfigError, match=f"^campaign a/c: model '{re.escape(text)}': .*{said}") as error:
        venue_of(market({"a": [campaign("c", model=text)]}))
    assert "\n" not in str(error.value)


def test_a_model_that_is_not_found_is_one_line(tmp_path):
    filed(tmp_path)
    for text, said in {
        "logistic": "expected pkg.mod:Class or ./file.py:Class",
        f"{tmp_path}/model.py:Phones": r"no file .*model.py; did you mean 'models.py'\?",
        "no.such.module:Phones": "module 'no.such.module' cannot be imported from sys.path",
    }.items():
        with pytest.raises(ConfigError, match=f"^campaign a/c: model '{text}': {said}"):
            venue_of(market({"a": [campaign("c", model=text)]}))


# ---- the example: configs/models/logistic.py ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of the example after training on one seed, its module, and its config."""
    if importlib.util.find_spec("sklearn") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("scikit-learn is missing: install the extra `models`")
        pytest.skip("no scikit-learn: install the extra `models`")
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "configs" / "models", folder, dirs_exist_ok=True)
    spec = importlib.util.spec_from_file_location("logistic_example", folder / "logistic.py")
    logistic = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(logistic)
    config = load_config(folder / "clicks.toml")
    n = logistic.train(exchange.simulate(config, 40_000, seed=1).ledger, folder / "clicks.json")
    assert n > 30_000
    return folder, logistic, config


def with_model(config):
    """The config with the model given to the first campaign."""
    copied = copy.deepcopy(config)
    copied.advertiser[0].campaign[0].model = "./logistic.py:Clicks"
    return copied


def test_the_example_predicts_better_than_any_constant_on_a_fresh_seed(trained):
    _, logistic, config = trained
    contexts, clicked = logistic.impressions(exchange.simulate(config, 40_000, seed=2).ledger)
    clicks = logistic.Clicks().pctr(contexts)

    def loss(rates):
        return -np.where(clicked, np.log(rates), np.log1p(-rates))

    assert loss(clicks).mean() < loss(np.full(len(clicked), 0.02)).mean()  # the campaign's own estimate
    gain = loss(np.full(len(clicked), clicked.mean())) - loss(clicks)  # the best constant, known only afterwards
    assert gain.mean() > 4 * gain.std() / len(gain) ** 0.5


def test_the_contexts_it_learns_from_are_those_it_is_asked_for(trained):
    """Each impression's context is one of the exchange's, and its prediction the one the win was valued with."""
    _, logistic, config = trained
    ledger = exchange.simulate(with_model(config), 4_000, seed=3).ledger
    contexts, _ = logistic.impressions(ledger)
    assert {c.item() for c in contexts} <= {c.item() for c in models.contexts()}
    shown = ledger.events["serial"][np.isin(ledger.events["kind"], logistic.SHOWN)]
    wins = ledger.wins[np.isin(ledger.wins["serial"], shown)]
    mine = wins["campaign"] == wins["campaign"][wins["advertiser"] == ledger.names.id("advertiser", "shop")][0]
    assert mine.sum() > 100
    assert wins["pctr_ppb"][mine].tolist() == np.rint(logistic.Clicks().pctr(contexts[mine]) * 1e9).tolist()


@pytest.mark.parametrize("seed", [2, 3])
def test_a_campaign_earns_more_with_it_than_without(trained, seed):
    """True clicks times their value, less what was paid; the same visits with and without."""
    _, _, config = trained

    def surplus(terms):
        run = exchange.simulate(terms, 40_000, seed=seed)
        events = run.ledger.events[run.ledger.events["campaign"] == run.venue.campaigns[0]["id"]]
        return 0.2 * np.isin(events["kind"], (11, 15)).sum() - events["paid_nano"].sum() / 1e9

    assert surplus(with_model(config)) > 1.2 * surplus(config)


def test_without_weights_the_example_says_so(tmp_path):
    shutil.copy(ROOT / "configs" / "models" / "logistic.py", tmp_path)
    with pytest.raises(ConfigError, match=r"logistic.py:Clicks': pctr\(\) failed: FileNotFoundError.*clicks.json"):
        venue_of(market({"a": [campaign("c", model=f"{tmp_path}/logistic.py:Clicks")]}))


# ---- the truths there are to learn ----------------------------------------------------------------------------------


def test_true_click_rates_depend_on_device_and_hour_in_the_web_preset_only():
    """The truth by its definition for 4,000 visits, and the factors average to one."""
    shares = dict(population.DEVICES)
    assert abs(sum(share * population.DEVICE_LIFT[d] for d, share in shares.items()) - 1) < 0.001
    for preset in ("web", "plain"):
        config = load_config(ROOT / "configs" / "models" / "clicks.toml")
        config.population.preset, config.population.ctr = preset, 0.4
        people = population.Population(config, b"s" * 32)
        for t in range(4_000):
            visit = people.at(t)
            w = draw(config.exchange.seed, t, 0, 0, TRUTH)
            rate = 0.4 * float(people.places[visit["placement"]]["ctr"])
            if preset == "web":
                device = population.DEVICES[people.people[visit["person"]]["device"]][0]
                hour = int(visit["now_ns"]) // (3600 * 10**9) % 24
                rate *= population.DEVICE_LIFT[device] * (1 + 0.5 * math.cos(math.pi * (hour - 20) / 12))
            seen = unit(w[0], w[1]) < 0.9
            assert people.truth(visit, 0) == (seen, seen and unit(w[2], w[3]) < rate)
