"""First-party lists: who is an advertiser's own customer, in versions, each valid from a time on.

A version is one file of keys in the folder `lists` of a ledger, never changed again. In force at a time is, of those
valid by then, the one with the latest valid-from, of equals the later import: a list says nothing of auctions before
its time. A match is exact: the text on the list is the text that names the person in the request, or the SHA-256 of
his e-mail, trimmed and in lower case, where that is what names him.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.audience import kept, people
from exchange.audience.people import PeopleError
from exchange.audience.table import mark_of

FOLDER: Final = "lists"
MAGIC: Final = b"RNTLISTS"
VERSIONS_MAX: Final = 10_000  # of one advertiser
FAR_NS: Final = 2**62  # there is no next version
OF_EMAILS: Final = ("email", "sha256")
HEADERS: Final = (*people.HEADERS, *OF_EMAILS)  # first cells of a header line of a list of e-mails
_SHA256 = re.compile(r"[0-9a-f]{64}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
Keys = NDArray[np.uint64]


class Version(Struct, frozen=True):
    """One version of an advertiser's list."""

    advertiser: str
    version: int  # 1, 2, .. of this advertiser
    valid_from_ns: int
    people: int
    path: Path


class Change(Struct):
    """Who came on and who went off an advertiser's list; keys ascending."""

    advertiser: str
    version: int  # in force now; 0 = none
    added: Keys
    removed: Keys


def ident(cell: str) -> str:
    """An id as requests give it. Raises ValueError for the header of a list of e-mails: as ids they match nobody."""
    if cell.strip().lower() in OF_EMAILS:
        raise ValueError(f"{cell[:80]!r}: expected ids; --emails takes e-mails, --hashed takes their SHA-256")
    return cell


def hashed(cell: str) -> str:
    """The SHA-256 of an e-mail as a list gives it, in lower case. Raises ValueError when it is none."""
    text = cell.strip().lower()
    if not _SHA256.fullmatch(text):
        raise ValueError(f"{cell[:80]!r}: expected the SHA-256 of an e-mail, 64 hexadecimal digits")
    return text


def email(cell: str) -> str:
    """The SHA-256 of an e-mail, trimmed and in lower case, as hexadecimal digits. Raises ValueError when it is none."""
    text = cell.strip().lower()
    if not _EMAIL.fullmatch(text):
        raise ValueError(f"{cell[:80]!r}: expected an e-mail")
    return sha256(text.encode()).hexdigest()


def versions(folder: Path, salt: bytes, advertiser: str | None = None) -> list[Version]:
    """All versions in a ledger's folder, or an advertiser's, in the order in which they come into force.

    Raises PeopleError for a file that is not one, or that was written under another salt.
    """
    found = []
    for path in (folder / FOLDER).glob(f"{_stem(advertiser) if advertiser else '*'}.*.list"):
        found.append(_version(path, salt))
    return sorted(found, key=lambda each: (each.advertiser, each.valid_from_ns, each.version))


def _version(path: Path, salt: bytes) -> Version:
    """What a file says of itself."""
    facts = kept.facts_of(path, MAGIC)
    if facts["salt"] != mark_of(salt):
        raise PeopleError(f"{path}: written under another salt: expected the one that belongs to this ledger")
    return Version(facts["advertiser"], facts["version"], facts["valid_from_ns"], facts["arrays"][0][2], path)


def in_force(found: Iterable[Version], now_ns: int) -> Version | None:
    """Of one advertiser's versions the one in force at a time; None before the first."""
    valid = [each for each in found if each.valid_from_ns <= now_ns]
    return max(valid, key=lambda each: (each.valid_from_ns, each.version), default=None)


def keys_of(version: Version) -> Keys:
    """The people of a version: uint64[n], ascending, each once. Raises PeopleError when the file is damaged."""
    try:
        keys: Keys = kept.read(version.path, MAGIC)[1]["keys"]
    except FileNotFoundError:
        raise PeopleError(f"{version.path}: is gone: versions of a list are never taken away") from None
    return keys


def add(folder: Path, salt: bytes, advertiser: str, keys: Keys, valid_from_ns: int) -> Version:
    """Write the next version of an advertiser's list; hold `kept.lock`. Raises PeopleError beyond VERSIONS_MAX."""
    number = max((each.version for each in versions(folder, salt, advertiser)), default=0) + 1
    if number > VERSIONS_MAX:
        raise PeopleError(f"list of {advertiser}: more than {VERSIONS_MAX} versions")
    (folder / FOLDER).mkdir(exist_ok=True)
    path = folder / FOLDER / f"{_stem(advertiser)}.{number:06}.list"
    facts = {"salt": mark_of(salt), "advertiser": advertiser, "version": number, "valid_from_ns": valid_from_ns}
    kept.write(path, MAGIC, facts, {"keys": keys})
    return Version(advertiser, number, valid_from_ns, int(keys.size), path)


def _stem(advertiser: str) -> str:
    """The file name of an advertiser: names may hold what a file name may not."""
    return blake2b(advertiser.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _without(these: Keys, those: Keys) -> Keys:
    """These but for those; all ascending, each once, which makes it ten times as fast as numpy's own."""
    if not those.size:
        return these.copy()  # what is read of a file may not be written to: to numba that is another type
    place = np.searchsorted(those, these)
    place[place == those.size] = 0
    left: Keys = these[those[place] != these]
    return left


class Fresh(Struct):
    """Versions of some advertisers' lists, and the people of those that are or will be in force."""

    found: dict[str, list[Version]]
    people: dict[Version, Keys]


class Lists:
    """The lists of a ledger as time goes on. `always`: people on an advertiser's list whatever the versions say.

    Which versions are known is what the caller says by `know`; those of the start (`known`: all there are) count too.
    Raises PeopleError for a file that is not a list, or of another ledger.
    """

    def __init__(self, folder: Path, salt: bytes, always: Mapping[str, Keys] | None = None, known: bool = True) -> None:
        self.folder, self.salt = folder, salt
        self.always = dict(always or {})
        self.next_ns = FAR_NS  # when the next version that is known comes into force
        self.now: dict[str, Version] = {}  # in force
        self.found: dict[str, list[Version]] = {}  # known
        self._keys: dict[str, Keys] = {}
        self._read: dict[Version, Keys] = {}  # read when they became known
        self._there: dict[Path, Version] = {}
        self._stamps = (-1, -1)  # of the folder, when it was looked at last and before
        if known:
            for version in versions(folder, salt):
                self.found.setdefault(version.advertiser, []).append(version)

    def unknown(self) -> dict[str, int]:
        """The highest version of each advertiser who has one that is not known. Cheap while nothing is imported."""
        try:
            stamp = (self.folder / FOLDER).stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if self._stamps == (stamp, stamp):
            return {}
        # Looked at twice per stamp: what is imported just after the first look may have the same one.
        self._stamps = (stamp, self._stamps[0])
        highest: dict[str, int] = {}
        for version in self._look():
            highest[version.advertiser] = max(version.version, highest.get(version.advertiser, 0))
        return {advertiser: n for advertiser, n in highest.items() if n > self._last(advertiser)}

    def read(self, upto: Mapping[str, int], now_ns: int) -> Fresh:
        """Read the versions of these advertisers up to the given ones, for use from `now_ns` on; changes nothing.

        Raises PeopleError where one is not there, or what is needed of it is damaged.
        """
        fresh, there = Fresh({}, {}), self._look()
        for advertiser, version in upto.items():
            last = max(version, self._last(advertiser))
            mine = [each for each in there if each.advertiser == advertiser and each.version <= last]
            if len(mine) != last:
                raise PeopleError(f"list of {advertiser}: version {last}: expected one of {self.folder / FOLDER}")
            first = in_force(mine, now_ns)
            fresh.found[advertiser] = mine
            for each in mine:
                if each.valid_from_ns > now_ns or (each == first and each != self.now.get(advertiser)):
                    fresh.people[each] = self._read[each] if each in self._read else keys_of(each)
        return fresh

    def know(self, fresh: Fresh) -> None:
        """From now on these versions are known; `advance` brings them into force."""
        self.found.update(fresh.found)
        others = {each: keys for each, keys in self._read.items() if each.advertiser not in fresh.found}
        self._read = {**others, **fresh.people}

    def _look(self) -> list[Version]:
        """All versions that are there; a file is never changed, so each is asked once."""
        for path in (self.folder / FOLDER).glob("*.*.list"):
            if path not in self._there:
                self._there[path] = _version(path, self.salt)
        return list(self._there.values())

    def _last(self, advertiser: str) -> int:
        """The highest known version of an advertiser; 0 = none."""
        return max((each.version for each in self.found.get(advertiser, ())), default=0)

    def advance(self, now_ns: int) -> Sequence[Change]:
        """Bring into force what is valid at `now_ns`: who comes on and who goes off each list that changes."""
        changes = []
        for advertiser, mine in self.found.items():
            version = in_force(mine, now_ns)
            if version == self.now.get(advertiser):
                continue
            before = self._keys.get(advertiser, np.zeros(0, np.uint64))
            after = np.zeros(0, np.uint64) if version is None else self._people(version)
            stay = self.always.get(advertiser, np.zeros(0, np.uint64))
            added, removed = _without(after, before), _without(before, after)
            self._keys[advertiser] = after
            if version is None:
                del self.now[advertiser]
            else:
                self.now[advertiser] = version
            changes.append(
                Change(
                    advertiser,
                    0 if version is None else version.version,
                    _without(added, stay),
                    _without(removed, stay),
                )
            )
        later = [v.valid_from_ns for mine in self.found.values() for v in mine if v.valid_from_ns > now_ns]
        self.next_ns = min(later, default=FAR_NS)
        return changes

    def _people(self, version: Version) -> Keys:
        """The people of a version that comes into force: as read when it became known."""
        found = self._read.pop(version, None)
        return keys_of(version) if found is None else found
