"""Kernels by themselves, for comparing two versions: `pytest bench/test_kernels.py` (pytest-benchmark)."""

import numpy as np
import pytest

from bench import kernels, sample
from bench.handler import NOW_NS, handle, line_of
from exchange import market as mk
from exchange.auction.batch import clear_many
from exchange.auction.sell import match_only, trade
from exchange.openrtb.validate import decode
from exchange.rent.waterfall import fee_set, split


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """A line with ten local campaigns, and one request's integers in its buffers."""
    made = line_of("local", tmp_path_factory.mktemp("bench"))
    assert handle(made, sample.requests(1), NOW_NS) == 1
    yield made
    made.venue.close()


def test_decode(benchmark):
    assert benchmark(decode, sample.request()).id.startswith("7b2c9a40")


def test_match(benchmark, line):
    benchmark(match_only, line.venue.record)
    found = line.venue.arrays["found"][0]
    assert sum(int(word).bit_count() for word in found) == sample.LOCAL


def test_sell_to_ten(benchmark, line):
    venue = line.venue
    venue.record["write"] = 0
    assert benchmark(trade, venue.record, NOW_NS, 0, 1) == 1
    assert venue.arrays["sold"]["n_bids"][0] == sample.LOCAL


def test_split(benchmark):
    fees = np.array([fee_set("isba2020", "isba2020")], mk.FEES)[0]
    out = np.zeros(10, np.int64)
    benchmark(split, fees, 1_234_567, 1, out)
    assert out[6:].sum() == 1_234_567


def test_clear_many(benchmark):
    n = 10_000
    bids, winner, price = kernels.bid_matrix(n), np.zeros(n, np.int32), np.zeros(n, np.int64)
    benchmark(clear_many, bids, 400_000, 10_000, 7, 1, winner, price)
    assert (price[winner >= 0] >= 400_000).all()
