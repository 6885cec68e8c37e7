"""Every built-in rule bids and fares as its file in tests/fingerprints/ says, exactly."""

import json

import pytest

from exchange import bidding
from tests import fingerprints

REWRITE = "if that is meant: python -m tests.fingerprints, and look at the difference before you commit it"
LIBRARY = list(bidding.library())


def test_there_is_one_file_for_each_rule_and_none_besides():
    found = {path.stem for path in fingerprints.FOLDER.glob("*.json")}
    assert found == set(LIBRARY), f"missing {set(LIBRARY) - found}, of no rule {found - set(LIBRARY)}; {REWRITE}"


@pytest.mark.parametrize("name", LIBRARY)
def test_the_rule_is_what_it_was(name):
    path = fingerprints.path_of(name)
    assert path.exists(), f"no {path.name}; {REWRITE}"
    kept = path.read_text(encoding="utf-8")
    found = fingerprints.fingerprint(name)
    assert json.loads(kept) == json.loads(fingerprints.text(found)), f"{name} is no longer what it was; {REWRITE}"
    assert kept == fingerprints.text(found) + "\n", f"{path.name} is written in another way; {REWRITE}"


def test_the_field_is_a_market_for_the_truth():
    """A rule that tells the truth wins often, earns something and is held by its budget, so that pacing shows."""
    second, first = (fingerprints.played("truthful", play) for play in ("second_price", "first_price"))
    assert 100 < second["wins"] < 300 and second["surplus_nano"] > 0.05e9
    assert min(first["spend_nano"], second["spend_nano"]) > 0.19e9
    assert 0 <= first["surplus_nano"] < 5e6  # it pays its valuation, but for the last of its money
    for found in (second, first):
        assert found["billed"] <= found["wins"] <= found["asked"] <= fingerprints.AUCTIONS
        assert found["rent_per_person_nano"] * found["people"] <= found["spend_nano"] <= 0.2e9
