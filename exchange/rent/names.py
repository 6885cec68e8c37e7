"""Names and their numbers, the salt, and the facts of a ledger: the small files beside the journal.

`names.tsv` is append-only, one line a name: kind, id, text (tab, newline, return and backslash escaped). Ids count
from 1 per kind and are never re-used; 0 means unknown. Kinds in use: publisher, domain, advertiser, seat.
`salt` holds 32 random bytes that key the hash of people; it is created on first run and readable by its owner only.
`meta.json` says what the ledger is: format version, currency, config hash, campaigns with their budgets.
`budgets.tsv` has the budgets that were given since it was written: campaign id, nano, a line each.
"""

import contextlib
import fcntl
import json
import os
import re
from pathlib import Path
from typing import Any, Final

from exchange.rent.blocks import FORMAT, JournalError, LedgerError
from exchange.rent.manifest import sync_folder

NAMES_MAX: Final = 1_000_000
TEXT_MAX: Final = 1_024  # characters of a name
SALT_BYTES: Final = 32
BUDGETS: Final = "budgets.tsv"
_ESCAPES: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_PLAIN: Final = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}
_TABLE: Final = str.maketrans(_ESCAPES)


class Names:
    """Texts <-> u32 ids, per kind; `limit` names in all.

    `folder` None = memory only. `read_only` looks at a ledger that another process may be writing; `only`
    one kind is then looked at. Raises JournalError when another writer holds the file, LedgerError for a line that is
    not a name.
    """

    def __init__(
        self, folder: Path | str | None, limit: int = NAMES_MAX, read_only: bool = False, only: str = ""
    ) -> None:
        self.limit = limit
        self._only = only
        self.total = 0
        self.refused = 0  # names that got 0: over the limit, or too long
        self._ids: dict[tuple[str, str], int] = {}
        self._texts: dict[str, list[str]] = {}
        self._fd = -1
        if folder is None:
            return
        path = Path(folder) / "names.tsv"
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self.close()
                raise JournalError(f"{path}: being written by another process") from error
        if path.exists():
            whole = self._load(path)
            if not read_only:
                os.ftruncate(self._fd, whole)  # a line that a crash left half written

    def id(self, kind: str, text: str) -> int:
        """The id of a name; registers it on first sight; 0 for "", too long a text, or when the limit is reached."""
        return self._ids.get((kind, text)) or self._register(kind, text)

    def known(self, kind: str, text: str) -> int:
        """The id of a name that is registered already; 0 for any other."""
        return self._ids.get((kind, text), 0)

    def text(self, kind: str, id: int) -> str:
        """The text of an id; "" when there is none."""
        texts = self._texts.get(kind, [])
        return texts[id - 1] if 0 < id <= len(texts) else ""

    def all(self) -> list[tuple[str, int, str]]:
        """Every name as (kind, id, text), kind by kind in order of ids."""
        return [(kind, id_, text) for kind, texts in self._texts.items() for id_, text in enumerate(texts, 1)]

    def sync(self) -> None:
        """Write the names to the disk; do it before `Journal.sync`, whose rows refer to them."""
        if self._fd >= 0:
            os.fsync(self._fd)

    def close(self) -> None:
        """Give the file back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _register(self, kind: str, text: str) -> int:
        """Give a new name its id and write it down."""
        if not text:
            return 0
        if self.total >= self.limit or len(text) > TEXT_MAX:
            self.refused += 1
            return 0
        id_ = len(self._texts.get(kind, ())) + 1
        if self._fd >= 0:
            line = f"{kind}\t{id_}\t{text.translate(_TABLE)}\n".encode("utf-8", "surrogatepass")
            self._write(line)
        self._add(kind, text)
        return id_

    def _write(self, line: bytes) -> None:
        """Append a line whole; a full disk takes back the part of it that fitted."""
        size = os.fstat(self._fd).st_size
        try:
            fitted = os.write(self._fd, line) == len(line)
        except OSError as error:
            raise JournalError(f"names.tsv: cannot be written: {error.strerror}") from error
        if not fitted:
            os.ftruncate(self._fd, size)
            raise JournalError("names.tsv: cannot be written: no room for another name")

    def _add(self, kind: str, text: str) -> None:
        """Remember a name under the next id of its kind."""
        texts = self._texts.setdefault(kind, [])
        texts.append(text)
        self._ids[kind, text] = len(texts)
        self.total += 1

    def _load(self, path: Path) -> int:
        """Read the file; return the bytes of its whole lines."""
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if self._only:
            wanted = re.findall(rb"^%s\t.*\n" % self._only.encode(), data[:whole], re.MULTILINE)
            data = b"".join(wanted)
            whole = len(data)
        for number, line in enumerate(data[:whole].split(b"\n")[:-1], 1):
            try:
                kind, id_, text = line.decode("utf-8", "surrogatepass").split("\t")
                right = int(id_) == len(self._texts.get(kind, ())) + 1
            except ValueError as error:
                raise LedgerError(f"{path} line {number}: not a name: {error}") from error
            if not right:
                raise LedgerError(f"{path} line {number}: {kind} {id_} is out of order")
            self._add(kind, _unescape(text))
        return whole


def _unescape(text: str) -> str:
    """Undo the escapes of a field."""
    if "\\" not in text:
        return text
    out, chars = [], iter(text)
    for char in chars:
        out.append(_PLAIN.get(next(chars, ""), "") if char == "\\" else char)
    return "".join(out)


def salt(folder: Path | str) -> bytes:
    """The ledger's salt, 32 bytes; created on first run. Raises LedgerError when the file is not one."""
    path = Path(folder) / "salt"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _create_salt(path)
    found = path.read_bytes()
    if len(found) != SALT_BYTES:
        raise LedgerError(f"{path}: {len(found)} bytes, expected {SALT_BYTES}")
    return found


def _create_salt(path: Path) -> None:
    """Create the salt whole or not at all: the link fails when another process was first, which is as good."""
    fresh = path.with_name(f"salt.{os.getpid()}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(os.urandom(SALT_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()


def write_meta(folder: Path | str, facts: dict[str, Any]) -> None:
    """Write `meta.json` in one step; the format version is added. Its budgets take the place of `budgets.tsv`.

    It is on the disk on return.
    """
    path = Path(folder) / "meta.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name("meta.json.new")
    with fresh.open("wb") as file:
        file.write((json.dumps({"format": FORMAT, **facts}, indent=1) + "\n").encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)  # before the budgets that it takes the place of go
    path.with_name(BUDGETS).unlink(missing_ok=True)


def read_meta(folder: Path | str) -> dict[str, Any]:
    """Read `meta.json`; {} when there is none. Raises LedgerError when it is not a JSON object."""
    path = Path(folder) / "meta.json"
    try:
        facts: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise LedgerError(f"{path}: not JSON: {error}") from error
    if not isinstance(facts, dict):
        raise LedgerError(f"{path}: expected a JSON object")
    given = path.with_name(BUDGETS)
    if given.exists():
        budgets = facts.setdefault("budgets_nano", {})
        for line in given.read_text(encoding="ascii").split("\n")[:-1]:  # a last line without its end was not written
            campaign, _, nano = line.partition("\t")
            budgets[campaign] = max(budgets.get(campaign, 0), int(nano))
    return facts


def lost(folder: Path | str) -> list[str]:
    """A line for each small file without which a ledger that has rows cannot be read: names.tsv, meta.json."""
    paths = (Path(folder) / name for name in ("names.tsv", "meta.json"))
    return [f"{path}: this file is missing" for path in paths if not path.exists()]


def note_budgets(folder: Path | str, budgets: dict[int, int]) -> None:
    """Write down budgets (nano by campaign id) before they hold; the largest a campaign ever had is what counts.

    They are on the disk on return.
    """
    lines = "".join(f"{campaign}\t{nano}\n" for campaign, nano in budgets.items())
    path = Path(folder) / BUDGETS
    new = not path.exists()
    with path.open("ab", buffering=0) as file:
        file.write(lines.encode("ascii"))
        os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)
