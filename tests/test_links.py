"""Signed links: a token says what it was made of; any other text is refused."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import metrics
from exchange.links import BadToken, Links
from exchange.openrtb.macros import MACROS

KEY = bytes(range(32))
LINKS = Links(KEY, "https://rent.example/")
NOW_S = 1_800_000_000
AWARDS = st.tuples(
    st.integers(0, 2**64 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 255),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(NOW_S, 2**32 - 1),
)
FIXED = settings(derandomize=True, deadline=None, max_examples=200)


def reason(token, now_s=NOW_S, links=LINKS):
    with pytest.raises(BadToken) as caught:
        links.read(token, now_s)
    assert caught.value.reason in metrics.LINK_REFUSALS
    return caught.value.reason


@FIXED
@given(AWARDS)
def test_a_token_says_what_it_was_made_of(award):
    token = LINKS.token(*award)
    auction_id, serial, imp_ix, slot, creative, expires_s = award
    read = LINKS.read(token, expires_s)
    assert read == (auction_id, serial, expires_s, creative, imp_ix, slot)
    assert (read.auction_id, read.slot, read.expires_s) == (auction_id, slot, expires_s)
    assert LINKS.read(token.encode(), NOW_S) == read and LINKS.token(*award) == token
    assert len(token) == 52 and token.isascii() and token.replace("-", "").replace("_", "").isalnum()
    if expires_s < 2**32 - 1:
        assert reason(token, expires_s + 1) == "expired"
    assert reason(token, links=Links(KEY[::-1], "")) == "forged"


@FIXED
@given(AWARDS, st.integers(0, 51), st.integers(1, 127))
def test_any_changed_character_is_refused(award, at, other):
    token = bytearray(LINKS.token(*award).encode())
    token[at] = (token[at] + other) % 128
    assert reason(bytes(token)) in ("forged", "malformed")


def test_every_flipped_bit_is_refused():
    token = LINKS.token(1 << 48, 7, 1, 0, 3, NOW_S).encode()
    for bit in range(len(token) * 8):
        flipped = bytearray(token)
        flipped[bit // 8] ^= 1 << bit % 8
        assert reason(bytes(flipped)) in ("forged", "malformed")


@FIXED
@given(st.one_of(st.binary(max_size=80), st.text(max_size=80), st.binary(min_size=52, max_size=52)))
def test_random_text_is_refused_and_crashes_nothing(text):
    assert reason(text) in ("forged", "malformed")


def test_base64_as_others_write_it_is_refused():
    token = next(t for n in range(99) if {"-", "_"} <= set(t := LINKS.token(n, 0, 0, 0, 0, NOW_S)))
    assert reason(token.replace("-", "+").replace("_", "/")) == "malformed"
    for other in (token + "=", token[:-1], token[:-1] + "=", token[:26] + "\n" + token[26:-1], ""):
        assert reason(other) == "malformed"


def test_what_does_not_fit_is_an_error():
    with pytest.raises(struct.error):
        LINKS.token(2**64, 0, 0, 0, 0, 0)
    for key in (b"short", b"x" * 65):
        with pytest.raises(ValueError, match="16 to 64 bytes"):
            Links(key, "")
    assert LINKS.impression_url("T") == "https://rent.example/i?t=T"
    assert LINKS.click_url("T") == "https://rent.example/c?t=T"


def test_the_macros_of_an_award_are_its_links_and_their_token():
    assert LINKS.macros("T") == {
        "IMPRESSION_URL": "https://rent.example/i?t=T",
        "CLICK_URL": "https://rent.example/c?t=T",
        "CONVERSION_URL": "https://rent.example/t?t=T",
        "OPT_IN_URL": "https://rent.example/o?t=T",
        "OPT_OUT_URL": "https://rent.example/u?t=T",
        "AWARD_TOKEN": "T",
    }
    assert LINKS.macros("T").keys() < MACROS.keys()


def test_a_token_without_a_time_never_expires():
    token = LINKS.token(1, 2, 0, 0, 3, 1)
    assert LINKS.read(token).expires_s == 1 and reason(token, 2) == "expired"
