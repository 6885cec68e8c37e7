"""Draws: the generator of the paper, one number per (auction, imp, entity, purpose), uniform and independent."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import randomness
from exchange.population import uniforms
from tests import naive_terms as naive

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)


def words(*numbers: int) -> tuple[int, ...]:
    """The compiled generator on a counter of four words and a key of two."""
    return tuple(int(w) for w in randomness.philox(*(np.uint64(n) for n in numbers)))


def test_the_known_answers_of_the_paper():
    """Random123 kat_vectors, philox4x32 10 rounds: counter, key, answer."""
    known = [
        ((0,) * 6, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 6, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ]
    for given_, answer in known:
        assert words(*given_) == answer
        assert tuple(naive.philox(list(given_[:4]), list(given_[4:]))) == answer


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 65_535), U64, st.integers(1, 8))
def test_a_draw_is_the_same_compiled_and_naive(seed, auction, imp, entity, purpose):
    drawn = randomness.draw(seed, auction, imp, np.uint64(entity), purpose)
    assert [int(w) for w in drawn] == naive.draw(seed, auction, imp, entity, purpose)


@settings(derandomize=True, deadline=None)
@given(U32, U32)
def test_unit_is_below_one_and_exact(high, low):
    u = randomness.unit(np.uint64(high), np.uint64(low))
    assert 0.0 <= u < 1.0 and u == naive.unit(high, low)


def test_each_thing_that_is_drawn_has_its_own_number():
    purposes = [n for name, n in vars(randomness).items() if name.isupper() and not name.startswith("_")]
    assert sorted(purposes) == list(range(1, 16))


def test_neighbours_are_uniform_and_uncorrelated():
    """100,000 draws at consecutive counters: 100 cells by chi-square, lag and pair correlation near 0."""
    n = 100_000
    out = np.empty((n, 2))
    uniforms(12345, n, randomness.PERSON, 0, out)
    for column in out.T:
        counts = np.bincount((column * 100).astype(int), minlength=100)
        assert ((counts - n / 100) ** 2 / (n / 100)).sum() < 148.2  # p = 0.001, 99 degrees of freedom
        assert abs(np.corrcoef(column[1:], column[:-1])[0, 1]) < 4 / np.sqrt(n)
    assert abs(np.corrcoef(out.T)[0, 1]) < 4 / np.sqrt(n)
    other = np.empty((n, 2))
    uniforms(12345, n, randomness.PERSON, 1, other)
    assert abs(np.corrcoef(out[:, 0], other[:, 0])[0, 1]) < 4 / np.sqrt(n)
