"""Double entry and what reconcile says beside an offending row: balances by any partition, neighbours, own lists."""

import json

import numpy as np
import pytest

from exchange import market as m
from exchange.__main__ import main
from exchange.audience import lists
from exchange.books.postings import KEYS, Postings, balance, party_columns, render
from exchange.books.reconcile import reconcile
from exchange.books.reconcile import render as said
from exchange.rent.blocks import LedgerError
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.names import Names, salt
from tests.ledger_maker import START_NS, Maker
from tests.test_reconcile import opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("books")
    journal = Journal(path)
    Maker(journal).run(150, 4, refunds=0.4)
    journal.close()
    return path


def test_the_parties_of_every_posting(folder):
    """Billings credit what stands on the win; all refunds of a fully refunded award are its exact mirror."""
    ledger = Ledger(folder)
    found = Postings(ledger)
    parties = found.parties()
    assert np.array_equal(parties.sum(1), found.amounts) and found.refund.any()
    wins = party_columns(ledger.wins)
    left = {}
    for k in range(len(found)):
        win = int(found.win[k])
        if found.refund[k]:
            left[win] = left[win] - parties[k]
            assert (left[win] >= 0).all()
        else:
            assert np.array_equal(parties[k], wins[win])
            left[win] = parties[k].copy()
    given_back = [win for win, rest in left.items() if not rest.any()]
    assert given_back, "some awards were refunded whole"


@pytest.mark.parametrize("by", [(key,) for key in KEYS] + [("advertiser", "week"), ("party", "publisher", "day")])
def test_every_partition_adds_up(folder, by):
    ledger = Ledger(folder)
    found, events = balance(ledger, by), ledger.events
    paid = events["paid_nano"][np.isin(events["kind"], m.BILLING)].sum()
    back = -events["paid_nano"][events["kind"] == m.KIND_REFUND].sum()
    assert found.balanced and found.debit_nano == found.credit_nano == paid + back
    assert sum(line.debit_nano for line in found.lines) == found.debit_nano
    assert sum(line.credit_nano for line in found.lines) == found.credit_nano
    if "party" not in by:
        assert all(line.balance_nano == 0 for line in found.lines)
    else:
        advertisers = sum(line.balance_nano for line in found.lines if "advertiser" in line.keys)
        assert (
            advertisers
            == paid - back
            == -sum(line.balance_nano for line in found.lines if "advertiser" not in line.keys)
        )
    assert render(found).count("\n") == len(found.lines) + 5


def test_a_balance_that_is_off_says_so(folder, capsys):
    ledger = opened(Ledger(folder))
    ledger.events["paid_nano"][np.flatnonzero(ledger.events["kind"] == m.KIND_IMPRESSION)[2]] += 1
    found = balance(ledger)
    assert not found.balanced and found.debit_nano == found.credit_nano + 1 and "DIFFER" in render(found)
    for by in ("", "advertizer", "day,day"):
        with pytest.raises(LedgerError, match="expected one or more of advertiser"):
            balance(ledger, tuple(by.split(",")))
    assert main(["ledger", "balance", str(folder), "--by", "week", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["balanced"] is True
    assert main(["ledger", "balance", str(folder), "--by", "weak"]) == 2
    assert "--by weak: expected" in capsys.readouterr().err
    assert main(["ledger", "balance", str(folder)]) == 0 and "debits and credits agree" in capsys.readouterr().out


def test_an_offending_row_comes_with_its_award_and_its_customer(folder):
    """The third contact of somebody is broken: its win, and the contacts before and after, are named."""
    ledger = opened(Ledger(folder))
    events = ledger.events
    billed = (events["kind"] == m.KIND_IMPRESSION) & (events["person_key"] != 0)
    at = int(np.flatnonzero(billed & (events["contact_n"] == 3))[0])
    me = events[at].copy()
    events["contact_n"][at] = 9
    result = reconcile(ledger)
    first = result.differences[0]
    assert (first.invariant, first.seq, first.found) == ("I8", int(me["seq"]), "9")
    relations = {n.relation: n for n in first.neighbours}
    assert {"same award", "same customer before", "same customer after", "same imp"} <= relations.keys()
    assert "contact_n 4" in relations["same customer after"].what or "refund" in relations["same customer after"].what
    assert f"seq {relations['same customer before'].seq}: " in said(result)
    assert str(int(me["person_key"])) not in [word.strip(",") for word in said(result).split("person")[1:]]


def test_own_before_the_list_was_in_force_is_a_look_ahead(tmp_path):
    journal = Journal(tmp_path)
    maker = Maker(journal)
    for own in (1, 0, 1):
        maker.now = START_NS + maker.auction * 3600 * 10**9
        maker.step([900, 800], person=77, own=own)
    journal.close()
    names = Names(tmp_path)
    names.id("advertiser", "brand")
    names.close()
    ledger = Ledger(tmp_path)
    assert reconcile(ledger).count == 0 and "I14" in reconcile(ledger).skipped
    brand = ledger.names.text("advertiser", int(ledger.wins["advertiser"][0]))
    between = int(ledger.wins["ts_ns"][1])
    lists.add(tmp_path, salt(tmp_path), brand, np.array([5, 77], np.uint64), between)
    result = reconcile(Ledger(tmp_path))
    assert [(d.invariant, d.seq) for d in result.differences] == [("I14", int(ledger.wins["seq"][0]))]
    lists.add(tmp_path, salt(tmp_path), brand, np.array([77], np.uint64), START_NS)
    assert reconcile(Ledger(tmp_path)).count == 0
