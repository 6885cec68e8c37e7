"""docs/sql.md: its tables of views are those of the code, and each of its queries runs on a simulated ledger.

`python tests/test_sql_docs.py` writes the tables anew.
"""

import re
from pathlib import Path

import pytest

from exchange import Ledger
from exchange.rent.sql.views import VIEWS
from tests.sql_books import sealed_copy, write_books

PAGE = Path(__file__).resolve().parents[1] / "docs" / "sql.md"  # sql.md, blocks of language sql
QUERIES = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def tables() -> str:
    """The views as Markdown tables."""
    parts = []
    for view in VIEWS:
        rows = [f"| `{column.name}` | {column.unit} | {column.meaning} |" for column in view.columns]
        head = f"### {view.name}\n\nA row is {view.row}.\n\n| column | unit | meaning |\n|---|---|---|\n"
        parts.append(head + "\n".join(rows) + "\n")
    return "\n".join(parts)


def test_every_view_and_column_is_documented_as_it_is() -> None:
    """The page ends with the tables that the code makes its views of."""
    assert PAGE.read_text().endswith("## Views\n\n" + tables())


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_books(tmp_path_factory.mktemp("sql") / "live", steps=150)
    return sealed_copy(folder, folder.parent / "half", everything=False)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: " ".join(query.split())[:40])
def test_every_query_of_the_page_runs(query: str, ledger: Path) -> None:
    """Each query answers with rows, on a ledger with every kind of event in it."""
    assert Ledger(ledger).sql(query).rows


def test_the_page_has_a_dozen_queries() -> None:
    """The page shows how to ask, not only what there is."""
    assert len(QUERIES) >= 12


if __name__ == "__main__":
    text = PAGE.read_text()
    PAGE.write_text(text[: text.index("## Views\n\n")] + "## Views\n\n" + tables())
