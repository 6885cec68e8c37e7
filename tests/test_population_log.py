"""Replaying a log: every line is a visit, priced, valued and clicked as it says; a bad line is one clear message."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import market as mk
from exchange import simulate
from exchange.__main__ import main
from exchange.config import ConfigError, parse_config
from exchange.population import Population, read_log

GOOD = "price_cpm\tpctr\tclick\n"
CONFIG = """
[exchange]
ledger = "ledger"
[auction]
format = "{at}"
[fees]
buy = "{buy}"
[population]
log = "log.tsv"
people = 50
view_delay_ms = 0
click_delay_ms = 0
floor_cpm = 3.0
[[advertiser]]
name = "a"
own_share = 0.5
[[advertiser.campaign]]
name = "c"
rule = "linear"
knobs = {{ factor = {factor} }}
{value}
cap = {{ total = 2 }}
[[advertiser.campaign.creative]]
id = "b"
w = 300
h = 250
html = "<p>"
"""


def config_of(folder, value="value_click = 0.5", at="second_price", buy="none", factor=1.0):
    return parse_config(CONFIG.format(at=at, value=value, buy=buy, factor=factor), "c.toml", str(folder))


line = st.tuples(st.integers(0, 3_000_000), st.integers(0, 2_000_000), st.booleans())


@settings(derandomize=True, deadline=None, max_examples=20)
@given(st.lists(line, min_size=1, max_size=40), st.sampled_from(["second_price", "first_price"]), st.booleans())
def test_a_replay_is_what_its_lines_say(tmp_path_factory, lines, at, sale):
    """Against plain Python: who wins what at which price and value, what is clicked; nobody is known or capped."""
    folder = tmp_path_factory.mktemp("log")
    text = [f"x\t{int(c)}\t{p / 1e6:.6f}\t{r / 1e9:.9f}" for p, r, c in lines]
    (folder / "log.tsv").write_text("\n".join(["who\tclick\tprice_cpm\tpctr", *text]) + "\n")
    value = "value_conversion = 20.0\npcvr = 0.025" if sale else "value_click = 0.5"
    run = simulate(config_of(folder, value, at), len(lines), ledger="bids")
    worth = [int(500_000_000 * max(1, rate) / 10**9) for _, rate, _ in lines]
    bids, wins, events = run.ledger.bids, run.ledger.wins, run.ledger.events
    assert np.abs(bids["value_nano"] - worth).max() <= int(sale)  # two products in a row: a float's last bit
    worth = bids["value_nano"].tolist()
    won = [k for k, (price, _, _) in enumerate(lines) if 0 < worth[k] >= price]
    assert wins["auction_id"].tolist() == [k + 1 for k in won]
    paid = [lines[k][0] if at == "second_price" else worth[k] for k in won]
    assert wins["buyer_total_nano"].tolist() == paid
    assert wins["pctr_ppb"].tolist() == [max(1, lines[k][1]) for k in won]
    assert not wins["person_key"].any()
    seen, clicked = (events[events["kind"] == kind]["auction_id"].tolist() for kind in (10, 11))
    assert seen == [k + 1 for k in won] and clicked == [k + 1 for k in won if lines[k][2]]


def test_without_delays_a_click_is_known_before_the_next_visit(tmp_path):
    (tmp_path / "log.tsv").write_text(GOOD + "0.1\t0.01\t1\n" * 50)
    run = simulate(config_of(tmp_path), 50)
    sold, events = run.ledger.auctions, run.ledger.events
    assert events.size == 100
    for number in range(1, 50):
        mine = events[events["auction_id"] == number]
        following = sold[sold["auction_id"] == number + 1]
        assert mine["seq"].max() < following["seq"][0] and mine["ts_ns"].max() <= following["ts_ns"][0]


def test_the_rule_sees_the_rate_and_the_exchange_keeps_its_floor(tmp_path):
    (tmp_path / "log.tsv").write_text(GOOD + "0.1\t0.000154\t0\n2\t0.01\t0\n")
    config = config_of(tmp_path)
    config.auction.floor_cpm = 0.5
    config.advertiser[0].campaign[0].rule, config.advertiser[0].campaign[0].knobs = "mcpc", {"cpc_nano": 10**10}
    run = simulate(config, 2, ledger="bids")
    assert run.ledger.bids["gross_nano"].tolist() == [1_540_000, 100_000_000]
    assert run.ledger.wins["buyer_total_nano"].tolist() == [500_000, 2_000_000]


BAD = [
    ("", r"log.tsv:1: found nothing: expected a tab-separated header with price_cpm once"),
    ("price_cpm,pctr,click\n1,1,1\n", r":1: found price_cpm,pctr,click: expected .* price_cpm once"),
    ("price_cpm\tpctr\n1\t1\n", r":1: found price_cpm, pctr: expected .* click once"),
    (GOOD.replace("pctr", "click"), r":1: found .*: expected .* pctr once"),
    (GOOD, r"log.tsv: expected at least one line after the header"),
    (GOOD + "1\t0.1\t0\nx\t0.1\t0\n", r"log.tsv:3: price_cpm = 'x': expected a number from 0 to 1,000,000"),
    (GOOD + "-1\t0.1\t0\n", r":2: price_cpm = '-1': expected a number from 0"),
    (GOOD + "1000001\t0.1\t0\n", r":2: price_cpm = '1000001'"),
    (GOOD + "nan\t0.1\t0\n", r":2: price_cpm = 'nan'"),
    (GOOD + "1\tinf\t0\n", r":2: pctr = 'inf': expected a number from 0 to 1"),
    (GOOD + "1\t1.5\t0\n", r":2: pctr = '1.5': expected a number from 0 to 1"),
    (GOOD + "1\t0.5\t2\n", r":2: click = '2': expected 0 or 1"),
    (GOOD + "1\t0.5\t0.5\n", r":2: click = '0.5': expected 0 or 1"),
    (GOOD + "1\t0.5\n", r":2: click = None: expected 0 or 1"),
    (GOOD + "\n1\t0.5\t0\n", r":2: price_cpm = '': expected a number"),
    ("\xe9".encode("latin-1"), r"log.tsv cannot be read: not UTF-8"),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=range(len(BAD)))
def test_a_bad_log_is_one_line(tmp_path, text, said):
    path = tmp_path / "log.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=said) as error:
        read_log(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_limits_of_a_line(tmp_path):
    """The dearest price, a rate of 1, a rate of 0 (which is not "no rate"); prices round up."""
    path = tmp_path / "log.tsv"
    path.write_text("pctr\tprice_cpm\tclick\n1\t1000000\t1\n0\t0\t0.0\n0.000000001\t0.0000001\t1\n")
    assert read_log(path).tolist() == [[mk.PRICE_MAX_NANO, 10**9, 1], [0, 1, 0], [1, 1, 1]]
    with pytest.raises(ConfigError, match="nowhere.tsv cannot be read: No such file"):
        read_log(tmp_path / "nowhere.tsv")


def test_a_run_is_at_most_as_long_as_its_log(tmp_path, capsys):
    (tmp_path / "log.tsv").write_text(GOOD + "0.1\t0.01\t1\n" * 3)
    said = "auctions = 4: expected at most 3, the lines of population.log = 'log.tsv'"
    with pytest.raises(ConfigError, match=said):
        simulate(config_of(tmp_path), 4)
    (tmp_path / "c.toml").write_text(CONFIG.format(at="second_price", value="value_click = 0.5", buy="none", factor=1))
    assert main(["simulate", str(tmp_path / "c.toml"), "--auctions", "4", "--ledger", "none"]) == 2
    assert said in capsys.readouterr().err
    assert main(["simulate", str(tmp_path / "c.toml"), "--auctions", "3", "--ledger", "none"]) == 0


def test_a_log_does_not_leave_as_requests(tmp_path, capsys):
    """OpenRTB has no field for its rates, so the exchange would see another market than the one in the log."""
    (tmp_path / "log.tsv").write_text(GOOD + "0.1\t0.01\t1\n")
    people = Population(config_of(tmp_path), b"salt")
    with pytest.raises(ConfigError, match="population.log = 'log.tsv': a log's visits cannot be sent as requests"):
        people.request(people.at(0))
    (tmp_path / "c.toml").write_text("[population]\nlog = 'log.tsv'\n")
    assert main(["demo", "--config", str(tmp_path / "c.toml"), "--out", str(tmp_path / "out")]) == 2
    assert "population.log = 'log.tsv': a log is replayed by `simulate` only" in capsys.readouterr().err
