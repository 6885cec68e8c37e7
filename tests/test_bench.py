"""The benchmarks run: on a small scale, without a look at the clock's figures."""

from pathlib import Path

from bench import ledger


def test_sealing_is_measured_by_the_segments_of_wins() -> None:
    """Each win row costs something, and takes less room than the bar even where there are few."""
    spent_us, size = ledger._sealed(ledger.SIM8, 3_000, 1)
    assert spent_us > 0 and 8 < size < 2 * ledger.SEALED_BYTES


def test_appending_counts_auctions_wins_and_events(tmp_path: Path) -> None:
    """At least a record a visit, with a ledger; none without."""
    assert ledger._run(tmp_path / "ledger", 500)[1] > 500 and ledger._run(None, 500)[1] == 0
