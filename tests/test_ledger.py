"""The read side against damage: an error that names the place, never wrong rows."""

import pytest

from exchange import market as m
from exchange.rent.blocks import LedgerError
from exchange.rent.ledger import Ledger
from tests.ledger_maker import ALL, FIXED, Maker, crashed, is_prefix, small


def test_every_flipped_byte_is_found(tmp_path):
    """In a closed ledger a changed byte is an error that names the file, or changes nothing that is read."""
    journal = small(tmp_path / "live", ALL)
    maker = Maker(journal)
    maker.run(5, seed=3)
    journal.append_input(maker.seq, 1, m.KIND_REQUEST, b"GET / HTTP/1.1")
    journal.close()
    ledger = Ledger(tmp_path / "live")
    whole = {name: getattr(ledger, name).copy() for name in FIXED}
    for path in sorted((tmp_path / "live").glob("*.seg")):
        data = path.read_bytes()
        silent = 0
        for at in (*range(96), *range(96, len(data), 5)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
            try:
                part = Ledger(tmp_path / "live")
                part.verify()
            except LedgerError as error:
                assert str(path) in str(error) and "at byte" in str(error)
            else:
                assert is_prefix(part, whole), (path, at)
                silent += 1
        path.write_bytes(data)
        assert silent < 64, (path, silent)  # the end mark's and spare fields only


def test_damage_before_the_tail_is_not_repaired_away(tmp_path, monkeypatch):
    monkeypatch.setattr("exchange.rent.recovery.LOST_MAX", 20)
    crashed(tmp_path, steps=150)
    victim = sorted((tmp_path / "dead").glob("auctions-*.seg"))
    victim[1].unlink()
    with pytest.raises(LedgerError, match=r"auctions-w0-000002\.seg: this segment is missing"):
        Ledger(tmp_path / "dead")
    for path in victim[2:]:
        path.unlink()
    before = {path.name: path.read_bytes() for path in (tmp_path / "dead").glob("*.seg")}
    with pytest.raises(LedgerError, match="no crash leaves that .more than 20 records"):
        small(tmp_path / "dead")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "dead").glob("*.seg")}


def test_a_wiped_header_before_the_last_segment_is_found(tmp_path):
    crashed(tmp_path, steps=150)
    path = tmp_path / "live" / "bids-w0-000002.seg"
    assert (tmp_path / "live" / "bids-w0-000003.seg").exists()
    data = path.read_bytes()
    second = 64 + int(Ledger(tmp_path / "live").workers[0].chains["bids"].blocks[0][1].size)
    path.write_bytes(data[:second] + bytes(64) + data[second + 64 :])
    with pytest.raises(LedgerError, match=rf"bids-w0-000002.seg at byte {second}: .* without a block"):
        Ledger(tmp_path / "live")


def test_a_block_that_forgot_it_was_closed_is_found(tmp_path):
    """Its rows would go unverified, and all behind them unread."""
    crashed(tmp_path, steps=12)
    path = tmp_path / "live" / "bids-w0-000001.seg"
    data = bytearray(path.read_bytes())
    at = m.BLOCK.fields["closed"][1]
    assert data[at] == 1
    data[at] = 0
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="at byte 0: block header: says unfinished, but a block follows"):
        Ledger(tmp_path / "live")


def test_a_look_while_the_writer_closes_the_block(tmp_path, monkeypatch):
    """The writer closes a block and opens the next between two reads of the scan: look again, no error."""
    from exchange.rent import blocks

    journal = small(tmp_path)
    maker = Maker(journal)
    maker.step([500, 400])
    plain, done = blocks._followed, []

    def late(segment, block, stream, dtype):
        if stream == "bids" and not done:
            done.append(True)
            journal.roll("bids")
            maker.step([500, 400])
        return plain(segment, block, stream, dtype)

    monkeypatch.setattr(blocks, "_followed", late)
    ledger = Ledger(tmp_path)
    assert done and len(ledger.bids) in (2, 4) and ledger.workers[0].last_seq >= 4
    journal.close()


def test_no_such_folder(tmp_path):
    with pytest.raises(LedgerError, match="no such ledger folder"):
        Ledger(tmp_path / "nowhere")
