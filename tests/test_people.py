"""The people store, own lists and the key of a person."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.audience import people
from exchange.audience.people import PeopleError, load_own_list, load_people, person_key

KEY = partial(person_key, b"salt of a test")


@pytest.fixture
def csv(tmp_path):
    def write(content):
        path = tmp_path / "people.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_every_form_of_row(csv):
    store = load_people(
        csv('user_id,segments\n\nu1,auto,suv\nu2,"suv|urban"\nu3,"a|b",c\n u4 , x , ,\nu1,urban|suv\n,,\n'), KEY
    )
    assert len(store) == 4
    assert store.segments(KEY("u1")) == ("auto", "suv", "urban")
    assert store.segments(KEY("u2")) == ("suv", "urban")
    assert store.segments(KEY("u3")) == ("a", "b", "c")
    assert store.segments(KEY("u4")) == ("x",)
    assert store.segments(KEY("nobody")) == ()
    assert store.names == {"auto", "suv", "urban", "a", "b", "c", "x"}
    assert KEY("user_id") not in store.by_key


def test_header_is_optional_and_only_first(csv):
    assert len(load_people(csv("u1,a\nu2,b\n"), KEY)) == 2
    assert len(load_people(csv("\ufeffUser_Id,seg\nu1,a\n"), KEY)) == 1
    assert KEY("user_id") in load_people(csv("u1,a\nuser_id,b\n"), KEY).by_key
    assert len(load_people(csv(""), KEY)) == 0


def test_equal_segments_are_kept_once(csv):
    store = load_people(csv("u1,a,b\nu2,b|a\n"), KEY)
    assert store.segments(KEY("u1")) is store.segments(KEY("u2"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("u1,a\nu2\n", "people.csv:2: no segment"),
        ("u1,a\nu2,|,\n", "people.csv:2: no segment"),
        ("u1,a\n ,b\n", "people.csv:2: empty user id"),
        (f"u1,{'x' * 254}\n", "people.csv:1: segment of 254 characters: at most 253"),
        (f"{'x' * 254},a\n", "people.csv:1: user id of 254 characters: at most 253"),
        ("u1,a\n\nu2,b\x07\n", r"people.csv:3: segment 'b\x07' holds a control character"),
        ('u1,a\nu2,"b\n', "people.csv:2: not CSV"),
        ('u1,"a"b\n', "people.csv:1: not CSV"),
        (b"u1,a\nu2,b\nu3,\xff\n", "people.csv:3: not UTF-8"),
        ("u1," + ",".join(f"s{i}" for i in range(1001)), "people.csv:1: 1001 segments of one person: at most 1000"),
    ],
)
def test_malformed_rows_name_file_and_line(csv, content, message):
    with pytest.raises(PeopleError) as refused:
        load_people(csv(content), KEY)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_missing_file_and_limits(csv, tmp_path, monkeypatch):
    with pytest.raises(PeopleError, match=r"none\.csv: cannot be read: No such file"):
        load_people(tmp_path / "none.csv", KEY)
    path = csv("u1,a\nu2,a\nu3,a\n")
    monkeypatch.setattr(people, "PEOPLE_MAX", 2)
    with pytest.raises(PeopleError, match=r":3: more than 2 people"):
        load_people(path, KEY)
    with pytest.raises(PeopleError, match=r":3: more than 2 rows"):
        load_own_list(path, KEY)
    monkeypatch.setattr(people, "FILE_MAX_BYTES", 4)
    with pytest.raises(PeopleError, match=r"15 bytes: at most 4"):
        load_own_list(path, KEY)


def test_own_list(csv):
    keys = load_own_list(csv("user_id\nu2\n\nu1,paris,42\n u2 \nu3\n"), KEY)
    assert keys.dtype == np.uint64
    assert keys.tolist() == sorted(KEY(name) for name in ("u1", "u2", "u3"))
    assert load_own_list(csv("user_id\n"), KEY).shape == (0,)
    with pytest.raises(PeopleError, match=r":2: empty user id"):
        load_own_list(csv("u1\n,x\n"), KEY)


def test_person_key_is_keyed_blake2b():
    """Ledgers outlive versions: the key of an id under a salt may never change."""
    assert person_key(b"a", "u1") != person_key(b"b", "u1")
    assert person_key(b"a", "u1") == person_key(b"a", "u1")
    assert person_key(b"a", "ü1") == 0xCB3CD8BE54296177
    for salt in (b"", b"x" * 65):
        with pytest.raises(ValueError, match="expected 1 to 64"):
            person_key(salt, "u1")


def test_person_key_is_never_zero(monkeypatch):
    class Zero:
        def copy(self):
            return self

        def update(self, data):
            assert data == b"u1"

        def digest(self):
            return bytes(8)

    monkeypatch.setattr(people, "_keyed", lambda salt: Zero())
    assert person_key(b"a", "u1") == 1


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(alphabet=st.characters(codec=None), max_size=20))
def test_person_key_takes_any_text(text):
    assert 0 < person_key(b"a", text) < 1 << 64
    assert person_key(b"a", text + "\ud800") != person_key(b"a", text)
