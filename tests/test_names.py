"""Names, salt and facts: the small files beside the journal."""

import os
from pathlib import Path

import pytest

from exchange.rent.blocks import JournalError, LedgerError
from exchange.rent.names import Names, note_budgets, read_meta, salt, write_meta


def test_names(tmp_path):
    names = Names(tmp_path, limit=6)
    odd = "tab\there\\n\nnew\rline  \u2028 é"
    assert [names.id("domain", t) for t in ("a.example", odd, "a.example")] == [1, 2, 1]
    assert names.id("seat", "a.example") == 1 and names.id("seat", "") == 0
    assert names.id("seat", "x" * 2000) == 0 and names.refused == 1
    with pytest.raises(JournalError, match="another process"):
        Names(tmp_path)
    assert Names(tmp_path, read_only=True).text("domain", 2) == odd
    names.close()
    with (tmp_path / "names.tsv").open("ab") as file:
        file.write(b"domain\t3\thalf a li")  # a crash
    assert Names(tmp_path, read_only=True).text("domain", 3) == ""
    names = Names(tmp_path, limit=6)
    assert names.id("domain", odd) == 2 and names.id("domain", "c.example") == 3
    assert [names.id("seat", t) for t in "bcd"] == [2, 3, 0] and names.refused == 1
    names.close()
    assert [Names(tmp_path, read_only=True).text("seat", k) for k in range(5)] == ["", "a.example", "b", "c", ""]
    (tmp_path / "names.tsv").write_bytes(b"domain\t2\tx\n")
    with pytest.raises(LedgerError, match="line 1: domain 2 is out of order"):
        Names(tmp_path)


def test_salt_and_meta(tmp_path):
    first = salt(tmp_path)
    assert len(first) == 32 and salt(tmp_path) == first
    assert (tmp_path / "salt").stat().st_mode & 0o777 == 0o600
    assert salt(tmp_path / "other") != first
    assert read_meta(tmp_path) == {}
    write_meta(tmp_path, {"currency": "EUR"})
    assert read_meta(tmp_path) == {"format": 2, "currency": "EUR"}
    (tmp_path / "meta.json").write_text("[]")
    with pytest.raises(LedgerError, match="expected a JSON object"):
        read_meta(tmp_path)


def test_facts_and_budgets_are_on_the_disk_when_written(tmp_path, monkeypatch):
    """After power loss there is what was synced: bytes of the file before its name, and the name of a new one."""
    synced: list[tuple[str, bytes]] = []
    plain = os.fsync

    def fsync(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        synced.append((path.name, b"" if path.is_dir() else path.read_bytes()))
        plain(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    write_meta(tmp_path, {"currency": "EUR"})
    assert synced == [("meta.json.new", (tmp_path / "meta.json").read_bytes()), (tmp_path.name, b"")]
    for budgets in ({1: 5}, {1: 7, 2: 9}):
        synced.clear()
        note_budgets(tmp_path, budgets)
        assert synced[0] == ("budgets.tsv", (tmp_path / "budgets.tsv").read_bytes())
        assert (synced[-1][0] == tmp_path.name) == (budgets == {1: 5})
    assert read_meta(tmp_path)["budgets_nano"] == {"1": 7, "2": 9}
