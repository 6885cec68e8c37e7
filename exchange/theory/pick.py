"""Which rows `rentier theory` was asked for: ids of the shipped ones, or config files."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from exchange.config import ConfigError, shipped
from exchange.theory.bench import Row, shipped_rows


def folder() -> Path:
    """Where the shipped rows lie."""
    return shipped("demo.toml").parent / "theory"


def rows(asked: Sequence[str]) -> list[Row]:
    """The rows of these ids and files, in the order asked; all shipped ones when none is. Raises ConfigError."""
    if not asked:
        return shipped_rows(folder())
    known: dict[str, Row] = {}
    found = []
    for text in asked:
        if text.endswith(".toml"):
            found.append(Row(Path(text)))
            continue
        known = known or {row.theory.id.lower(): row for row in shipped_rows(folder())}
        if text.lower() not in known:
            near = difflib.get_close_matches(text.lower(), known, 1)
            hint = f"; did you mean {known[near[0]].theory.id!r}?" if near else ""
            ids = ", ".join(row.theory.id for row in known.values())
            raise ConfigError(f"{text!r}: expected FILE.toml or one of {ids}{hint}")
        found.append(known[text.lower()])
    return found
