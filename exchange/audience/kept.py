"""Arrays that are kept beside a ledger: one file with magic, facts, arrays and a checksum, replaced in one step.

    magic (8 bytes) | format u4 | crc32 u4 of all that follows | bytes of facts u8 | bytes of arrays u8
    facts: JSON, among them "arrays": [[name, dtype, entries], ..] | the arrays one after the other, little-endian

A reader sees the old file or the new one: the new one is written and synced beside it, then renamed. Whoever changes
what he has read first takes the `lock` of the folder.
"""

import contextlib
import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from exchange.audience.people import PeopleError

FORMAT: Final = 1
MAGIC_BYTES: Final = 8
_HEAD: Final = struct.Struct("<8sIIQQ")
Arrays = dict[str, NDArray[Any]]


def write(path: Path, magic: bytes, facts: dict[str, Any], arrays: Arrays) -> None:
    """Write facts and arrays, whole or not at all. Raises OSError when the disk refuses."""
    shapes = [[name, array.dtype.str, int(array.size)] for name, array in arrays.items()]
    head = msgspec.json.encode({**facts, "arrays": shapes})
    parts = [np.ascontiguousarray(array).view(np.uint8).data for array in arrays.values()]
    size = sum(part.nbytes for part in parts)
    crc = zlib.crc32(head, zlib.crc32(struct.pack("<QQ", len(head), size)))
    for part in parts:
        crc = zlib.crc32(part, crc)
    fresh = path.with_name(path.name + ".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(_HEAD.pack(magic, FORMAT, crc, len(head), size))
        file.write(head)
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path, magic: bytes) -> tuple[dict[str, Any], Arrays]:
    """Read facts and arrays. Raises PeopleError for a file that is not whole, or not one of ours; FileNotFoundError."""
    data = memoryview(path.read_bytes())
    if len(data) < _HEAD.size or bytes(data[:MAGIC_BYTES]) != magic:
        raise PeopleError(f"{path}: expected a file that begins with {magic.decode()}")
    _, format_, crc, head, size = _HEAD.unpack_from(data)
    if format_ != FORMAT:
        raise PeopleError(f"{path}: format {format_}, expected {FORMAT}: written by another version")
    if len(data) != _HEAD.size + head + size:
        raise PeopleError(f"{path}: {len(data)} bytes, expected {_HEAD.size + head + size}: damaged, import it again")
    if zlib.crc32(data[16:]) != crc:
        raise PeopleError(f"{path}: the checksum disagrees: damaged, import it again")
    facts = msgspec.json.decode(bytes(data[_HEAD.size : _HEAD.size + head]))
    arrays, at = {}, _HEAD.size + head
    for name, dtype, entries in facts.pop("arrays"):
        arrays[name] = np.frombuffer(data, dtype, entries, at)
        at += arrays[name].nbytes
    return facts, arrays


def facts_of(path: Path, magic: bytes) -> dict[str, Any]:
    """The facts of a file alone, its arrays unread and unchecked. Raises PeopleError as `read` does."""
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or head[:MAGIC_BYTES] != magic:
            raise PeopleError(f"{path}: expected a file that begins with {magic.decode()}")
        text = file.read(min(_HEAD.unpack(head)[3], path.stat().st_size))
    try:
        facts: dict[str, Any] = msgspec.json.decode(text)
        return facts
    except ValueError:
        raise PeopleError(f"{path}: its facts cannot be read: damaged, import it again") from None


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Be the only one who changes what is known of the people of a ledger. Raises PeopleError while another does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "people.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PeopleError(f"{path}: another process is changing what is known of the people") from None
        yield
    finally:
        os.close(fd)
