"""What the commands share: how one is added, how one ends early, how a ledger is opened."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from exchange import compiled

if TYPE_CHECKING:
    from exchange.rent.ledger import Ledger

# (name, what runs it, one line of help, an example) -> the parser, to add arguments to
Command = Callable[[str, object, str, str], argparse.ArgumentParser]


class Quit(Exception):  # noqa: N818 - it ends the command, it is not always an error
    """End the command with a message on stderr and an exit code."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, exit code 2, and whose options may stand between positional arguments."""

    _mixing = False

    def error(self, message: str) -> NoReturn:
        """End with the message and nothing else: --help has the usage."""
        self.exit(2, f"{self.prog}: {message}\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As its parent; options first, then positional arguments, where one of those takes any number."""
        if self._mixing or not any(action.nargs == "*" for action in self._get_positional_actions()):
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False


def announce_compiling() -> None:
    """Say once, on stderr, that a cold start compiles, and where the result is kept."""
    if compiled.is_cold():
        print(
            f"compiling the kernels, once (about a minute), into {compiled.cache_folder()}", file=sys.stderr, flush=True
        )


def open_ledger(path: Path) -> "Ledger":
    """The ledger in a folder. Raises Quit when there is none, LedgerError for one that cannot be read."""
    from exchange.rent.damage import opened
    from exchange.rent.manifest import is_ledger

    if path.is_dir() and not is_ledger(path):
        raise Quit(f"{path}: no *.seg files: expected the folder of a ledger")
    return opened(path)


def ledger_and_json(sub: argparse.ArgumentParser) -> None:
    """The arguments of a command that reads a ledger."""
    sub.add_argument("ledger", type=Path, help="folder of a ledger; it may be in use")
    sub.add_argument("--json", action="store_true", help="print JSON")
