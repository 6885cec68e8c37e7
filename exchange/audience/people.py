"""The people store: who has which segments, who is on an advertiser's own list, and the key of a person.

Persons are known by `person_key`, a keyed 64-bit hash of their id; the id itself is never kept. Files are CSV
in UTF-8 (a byte order mark is allowed), read whole at start:

    user_id,segments              the header line is optional; any first line that begins with user_id or id is one
    u1,auto_intent,suv            one cell per segment,
    u2,"auto_intent|suv"          or one cell with bars between, or both
    u3,-suv,van                   a leading minus takes a segment away
    u4,-,urban                    a minus alone takes away all he had before

Blank lines and empty cells are skipped, a person who stands twice gets the union; what is said last of a person and a
segment counts. An own list needs the first column only. Errors name file and line.
"""

import csv
from array import array
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import blake2b
from io import TextIOWrapper
from pathlib import Path
from sys import intern
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

FILE_MAX_BYTES: Final = 1 << 30
PEOPLE_MAX: Final = 5_000_000  # distinct people in a store, rows of an own list
SEGMENTS_MAX: Final = 1_000  # of one person
NAME_MAX_CHARS: Final = 253  # of a segment or a user id
NAMES_MAX: Final = 1 << 20  # different segments
SALT_MAX_BYTES: Final = 64
ROWS_MAX: Final = 4 * PEOPLE_MAX  # of a people file
HEADERS: Final = ("user_id", "id")  # what the first cell of a header line says
CLEAR: Final = -1  # Mentions.codes: everything the person had before
_NOTHING: Final = -2  # an empty cell
_TOLD_EVERY: Final = 8_192  # rows between two words on progress
Progress = Callable[[int, int], None]  # bytes done, of all


class PeopleError(ValueError):
    """A people file or own list that cannot be used; the message is one line: file:line and what is wrong."""


@lru_cache(maxsize=16)
def _keyed(salt: bytes) -> blake2b:
    """The hash object of a salt, to be copied: keying it anew costs twice the whole key."""
    if not 0 < len(salt) <= SALT_MAX_BYTES:
        raise ValueError(f"a salt of {len(salt)} bytes: expected 1 to {SALT_MAX_BYTES}")
    return blake2b(key=salt, digest_size=8)


def person_key(salt: bytes, text: str) -> int:
    """The 64-bit key of a person's id under a ledger's salt: keyed BLAKE2b (RFC 7693), never 0.

    Key 0 means an unknown person, so a hash of 0 becomes 1. Raises ValueError for a salt not of 1..64 bytes.
    """
    keyed = _keyed(salt).copy()
    try:
        keyed.update(text.encode())
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can carry: an id like any other
        keyed.update(text.encode("utf-8", "surrogatepass"))
    return int.from_bytes(keyed.digest(), "little") or 1


class People:
    """Segments by person, in memory. `by_key` is what `Known` takes (table.py)."""

    __slots__ = ("by_key", "names")

    def __init__(self, by_key: dict[int, tuple[str, ...]]) -> None:
        self.by_key = by_key
        self.names = frozenset(name for names in set(by_key.values()) for name in names)

    def __len__(self) -> int:
        """Number of people with a segment."""
        return len(self.by_key)

    def segments(self, key: int) -> tuple[str, ...]:
        """The names of a person's segments, sorted; none for an unknown person."""
        return self.by_key.get(key, ())


class Mentions(Struct):
    """What a people file says, row by row: of whom (`keys`), in which line, and how many `codes` belong to it.

    A code is number << 1 | 1 if the segment is taken away, numbers counting `names`; or CLEAR.
    """

    path: Path
    keys: "array[int]"  # uint64
    lines: "array[int]"
    counts: "array[int]"
    codes: "array[int]"
    names: list[str]


def read_mentions(path: Path, key_of: Callable[[str], int], progress: Progress | None = None) -> Mentions:
    """Read a people file. `key_of` makes the key of a user id, e.g. `partial(person_key, salt)`.

    Raises PeopleError for a file that cannot be read, a malformed row, or more rows than ROWS_MAX.
    """
    said = Mentions(path, array("Q"), array("L"), array("H"), array("i"), [])
    known, codes = _Codes(), said.codes
    for where, cells in csv_rows(path, progress):
        before = len(codes)
        key = key_of(named(where, "user id", cells[0]))
        known.where = where
        for cell in cells[1:]:
            codes.extend(map(known.__getitem__, cell.split("|")))
        if known.gaps:
            known.gaps = 0
            codes[before:] = array("i", [code for code in codes[before:] if code != _NOTHING])
        count = len(codes) - before
        if not count:
            raise PeopleError(f"{where}: no segment: expected user_id,segment,.. or user_id,a|b|c")
        if count > SEGMENTS_MAX:
            raise PeopleError(f"{where}: {count} segments of one person: at most {SEGMENTS_MAX}")
        said.keys.append(key)
        said.counts.append(count)
        said.lines.append(int(where.rpartition(":")[2]))
        if len(said.keys) > ROWS_MAX:
            raise PeopleError(f"{where}: more than {ROWS_MAX} rows")
    said.names = list(known.numbers)
    return said


class _Codes(dict[str, int]):
    """The code of each part of a cell: read once, for files repeat theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[str, int] = {}
        self.where = ""
        self.gaps = 0  # empty parts met

    def __missing__(self, part: str) -> int:
        text = part.strip()
        if not text:
            self.gaps += 1
            return _NOTHING
        code = CLEAR
        if text != "-":
            less = text.startswith("-")
            name = intern(named(self.where, "segment", text[less:]))
            if name not in self.numbers and len(self.numbers) >= NAMES_MAX:
                raise PeopleError(f"{self.where}: segment {name!r}: more than {NAMES_MAX} different segments")
            code = self.numbers.setdefault(name, len(self.numbers)) << 1 | less
        if text == part:
            self[part] = code
        return code


def load_people(path: str | Path, key_of: Callable[[str], int]) -> People:
    """Read a people file into memory. Raises PeopleError as `read_mentions`, and beyond the limits atop this file."""
    said = read_mentions(Path(path), key_of)
    by_key: dict[int, tuple[str, ...]] = {}
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}  # equal sets of segments are kept once
    at = 0
    for key, line, count in zip(said.keys, said.lines, said.counts, strict=True):
        found = set(by_key.get(key, ()))
        for code in said.codes[at : at + count]:
            if code == CLEAR:
                found.clear()
            elif code & 1:
                found.discard(said.names[code >> 1])
            else:
                found.add(said.names[code >> 1])
        at += count
        if len(found) > SEGMENTS_MAX:
            raise PeopleError(f"{path}:{line}: {len(found)} segments of one person: at most {SEGMENTS_MAX}")
        names = tuple(sorted(found))
        by_key[key] = shared.setdefault(names, names)
        if len(by_key) > PEOPLE_MAX:
            raise PeopleError(f"{path}:{line}: more than {PEOPLE_MAX} people")
    return People({key: names for key, names in by_key.items() if names})


def load_own_list(
    path: str | Path,
    key_of: Callable[[str], int],
    read: Callable[[str], str] | None = None,
    headers: tuple[str, ...] = HEADERS,
    progress: Progress | None = None,
) -> NDArray[np.uint64]:
    """The keys of an advertiser's own customers, sorted, each once: uint64[n].

    Reads the first column of a CSV. `read` makes the text that names the person of a cell, ValueError where it cannot.
    Raises PeopleError as `read_mentions` does, and beyond PEOPLE_MAX rows.
    """
    keys = array("Q")
    for where, cells in csv_rows(Path(path), progress, headers):
        text = named(where, "user id", cells[0])
        try:
            keys.append(key_of(text if read is None else read(text)))
        except ValueError as error:
            raise PeopleError(f"{where}: {error}") from None
        if len(keys) > PEOPLE_MAX:
            raise PeopleError(f"{where}: more than {PEOPLE_MAX} rows")
    return np.unique(np.array(keys, np.uint64))


def named(where: str, what: str, text: str) -> str:
    """A checked user id or segment name."""
    text = text.strip()
    if not text:
        raise PeopleError(f"{where}: empty {what}")
    if len(text) > NAME_MAX_CHARS:
        raise PeopleError(f"{where}: {what} of {len(text)} characters: at most {NAME_MAX_CHARS}")
    if not text.isprintable():
        raise PeopleError(f"{where}: {what} {text!r} holds a control character")
    return text


def csv_rows(
    path: Path, progress: Progress | None = None, headers: tuple[str, ...] = HEADERS
) -> Iterator[tuple[str, list[str]]]:
    """The rows of a CSV that hold something, each with its `file:line`, without the header."""
    first = True
    reader = None
    try:
        size = path.stat().st_size
        if size > FILE_MAX_BYTES:
            raise PeopleError(f"{path}: {size} bytes: at most {FILE_MAX_BYTES}")
        with path.open("rb") as raw, TextIOWrapper(raw, "utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if progress is not None and reader.line_num % _TOLD_EVERY == 0:
                    progress(raw.tell(), size)
                if not first or cells[0].strip().lower() not in headers:
                    yield f"{path}:{reader.line_num}", cells
                first = False
    except OSError as error:
        raise PeopleError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise PeopleError(f"{path}:{_bad_line(path)}: not UTF-8: {error.reason}") from None
    except csv.Error as error:
        raise PeopleError(f"{path}:{reader.line_num if reader else 1}: not CSV: {error}") from None


def _bad_line(path: Path) -> int:
    """The number of the first line that is not UTF-8: text is decoded in blocks, so the reader cannot say."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1
