"""The command `rentier`: serve, simulate, report, sql, ledger, reconcile, explain, replay, demo, and so on.

Bad input is one line on stderr and exit code 2; a ledger that does not balance, or a measure that theory does not
expect, is exit code 1.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from exchange import __version__
from exchange.cli import Parser, Quit, books, events, learning, reading, running, sql
from exchange.people import command as people

EPILOG = """examples:
  rentier demo                                  the whole line for 10 seconds, then one screen
  rentier serve --config configs/demo.toml      an exchange on 127.0.0.1:8080
  rentier simulate configs/demo.toml --auctions 1000000 --seed 1
  rentier report LEDGER                         what it cost to rent, and re-rent, the people
  rentier sql LEDGER --views                    what can be asked of a ledger in SQL
  rentier explain REQUEST.json                  why this request sold as it did
  rentier new bidder my_bidder                  an own bidding rule, with a market to try it in and its test
  rentier theory E02                            second price earns what Vickrey says
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = parser().parse_args(argv)
    if "" not in sys.path:
        sys.path.insert(0, "")  # so that pkg.mod:Class finds what lies in the current folder, as with python -m
    from exchange.audience.people import PeopleError
    from exchange.config import ConfigError
    from exchange.rent.blocks import LedgerError

    try:
        code = int(args.run(args) or 0)
        sys.stdout.flush()
        return code
    except (ConfigError, LedgerError, PeopleError) as error:
        print(f"rentier {args.command}: {error}", file=sys.stderr)
        return 2
    except Quit as quit_:
        print(f"rentier {args.command}: {quit_}", file=sys.stderr)
        return quit_.code
    except BrokenPipeError:
        # whoever read our output has seen enough; nothing may be written to it at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        print(f"rentier {args.command}:{where}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = Parser(
        prog="rentier",
        description="A real-time ad exchange that logs what it costs to rent, and re-rent, a customer.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"rentier {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str, example: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        return sub

    for group in (running, reading, sql, books, events, learning):
        group.commands(command)
    people.add_people_commands(command, lambda args: print(people.text(args)))
    return top


if __name__ == "__main__":
    sys.exit(main())
