"""rentier sql: what it prints, what it refuses, and that it reads a ledger that another process writes."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from exchange import Ledger
from exchange.__main__ import main
from tests.sql_books import sealed_copy, write_books

ROOT = Path(__file__).resolve().parents[1]
WRITER = """
import sys
from pathlib import Path
from exchange.rent.seal import seal
from tests.sql_books import Books
books = Books(Path(sys.argv[1]), seed=4, block_rows=16, segment_bytes=1 << 14)
print("ready", flush=True)
for step in range(20_000):
    books.step()
    if step % 40 == 39:
        seal(Path(sys.argv[1]))
        print(books.seq, flush=True)
"""


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_books(tmp_path_factory.mktemp("sql") / "live", seed=2, steps=150)
    return sealed_copy(folder, folder.parent / "half", everything=False)


def test_it_prints_a_table_and_says_what_it_left_out(books: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", str(books), "select serial, 1 as one from wins order by all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["serial", "one"] and len(lines) == 103
    assert lines[-1] == "(the first 100 rows; there are more)"
    assert main(["sql", str(books), "select serial from wins order by all", "--max-rows", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "(the first 2 rows; there are more)"


def test_json_and_csv_print_everything_exactly(books: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "select time, advertiser, deal, seen, total_nano, total, week from wins order by worker, seq"
    rows = Ledger(books).sql(query).rows
    assert main(["sql", str(books), query, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["advertiser"], row["deal"], row["seen"], row["total_nano"], row["total"]) for row in found] == [
        row[1:6] for row in rows
    ]
    assert [row["time"] for row in found] == [row[0].isoformat() for row in rows] and found[0]["week"] == "2026-01-05"
    assert main(["sql", str(books), query, "--csv"]) == 0
    table = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert table[0] == query.split("select ")[1].split(" from")[0].split(", ") and len(table) == len(rows) + 1
    assert table[1][2] == (rows[0][2] or "") and int(table[1][4]) == rows[0][4]
    assert main(["sql", str(books), query, "--json", "--max-rows", "3"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert main(["sql", str(books), "select 1 as one where false", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_views_lists_every_column_with_unit_and_meaning(books: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", str(books), "--views"]) == 0
    text = capsys.readouterr().out
    assert main(["sql", "--views"]) == 0 and capsys.readouterr().out == text
    assert main(["sql"]) == 2 and "expected the folder of a ledger and a query" in capsys.readouterr().err
    ledger, columns = Ledger(books), 0
    for part in text.split("\n\n")[:-1]:
        names = [row[0] for row in ledger.sql(f"describe {part.partition(':')[0]}").rows]
        assert [line.split()[0] for line in part.splitlines()[1:]] == names
        assert all(line.endswith("]") for line in part.splitlines()[1:])
        columns += len(names)
    assert columns > 150
    assert main(["sql", str(books), "--views", "--json"]) == 0
    assert {
        "view": "wins",
        "column": "pctr",
        "unit": "clicks per impression",
        "meaning": "the exchange's estimate",
    } in (json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["select advertizer from wins"], "did you mean 'advertiser'?"),
        (["copy wins to 'x.csv'"], "expected a SELECT"),
        ([], "expected a query"),
        (["select 1", "--views"], "--views takes no query"),
        (["select 1", "--max-rows", "0"], "--max-rows 0: expected 1 or more"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, books: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sql", str(books), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("rentier sql: ") and says in err and err.count("\n") == 1


def test_it_reads_while_another_process_writes_and_seals(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, env=environment,
                              text=True)  # fmt: skip
    try:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        seen = sealed = 0
        for _ in range(8):
            acknowledged = int(writer.stdout.readline())
            ledger = Ledger(folder)
            top, n, serials, highest = ledger.sql(
                "select (select max(seq) from (select seq from wins union all select seq from bids union all "
                "select seq from auctions union all select seq from events)), "
                "count(*), count(distinct serial), max(serial) from wins"
            ).rows[0]
            assert top >= acknowledged and n == serials == highest + 1 and n >= seen
            debit, credit = ledger.sql("select sum(debit_nano), sum(credit_nano) from postings").rows[0]
            assert debit == credit
            orphans = ledger.sql("select count(*) from events anti join wins using (worker, serial)").rows
            assert orphans == [(0,)]
            seen, sealed = n, len(list((folder / "sealed").glob("*.parquet")))
        assert seen > 50 and sealed > 2 and writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
