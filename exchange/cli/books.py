"""The commands on a ledger's books: `rentier ledger ACTION`. An action is one line of ACTIONS."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from exchange.cli import Command, Quit, ledger_and_json, open_ledger, storage


class Action(NamedTuple):
    """One action: its options, and what it answers (the text to print, the exit code)."""

    name: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], tuple[str, int]]
    help: str
    example: str


def commands(command: Command) -> None:
    """The command `ledger`, with its actions."""
    top = command(
        "ledger",
        None,
        "Look after the books of a ledger.",
        "rentier ledger balance demo-ledger --by advertiser,week",
    )
    actions = top.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action in ACTIONS:
        sub = actions.add_parser(
            action.name,
            help=action.help,
            description=action.help,
            epilog=f"example:\n  {action.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        action.options(sub)
        sub.set_defaults(run=_printing(action.run))


def _printing(run: Callable[[argparse.Namespace], tuple[str, int]]) -> Callable[[argparse.Namespace], int]:
    """A command that prints what an action answers."""

    def printed(args: argparse.Namespace) -> int:
        text, code = run(args)
        print(text, end="" if text.endswith("\n") else "\n")
        return code

    return printed


def _balance_options(sub: argparse.ArgumentParser) -> None:
    ledger_and_json(sub)
    sub.add_argument(
        "--by",
        default="party",
        metavar="KEYS",
        help="advertiser, publisher, campaign, segment, day, week, month, party; several by commas (default party)",
    )


def _balance(args: argparse.Namespace) -> tuple[str, int]:
    import msgspec

    from exchange.books.postings import balance, render

    found = balance(open_ledger(args.ledger), tuple(args.by.split(",")))
    return (msgspec.json.encode(found).decode() if args.json else render(found)), 0 if found.balanced else 1


def _forget_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("ledger", type=Path, help="folder of a ledger that no exchange writes now")
    sub.add_argument("person", nargs="*", metavar="PERSON", help="the id that requests name him by (user.id, ...)")
    sub.add_argument("--file", type=Path, action="append", default=[], metavar="FILE", help="ids, one a line")
    sub.add_argument("--emails", action="store_true", help="they are e-mails, known by their SHA-256")
    sub.add_argument("--json", action="store_true", help="print JSON")


def _forget(args: argparse.Namespace) -> tuple[str, int]:
    import msgspec

    from exchange.forgetting import forget, texts_of

    open_ledger(args.ledger)
    ids = list(texts_of(args.person, args.file, args.emails))
    if not ids:
        raise Quit("PERSON: expected at least one id, or --file FILE")
    f = forget(args.ledger, ids)
    text = (
        f"forgotten: {f.people:,} asked for; {f.wins:,} wins and {f.auctions:,} auctions have nobody now, "
        f"{f.requests:,} raw requests are empty\n"
        f"{f.segments:,} segments, {f.lists:,} versions of own lists, {f.purchases:,} reported purchases cleared\n"
        "Files that the config names (people, own_list) and copies of the ledger are yours to mend."
    )
    return (msgspec.json.encode(f).decode() if args.json else text), 0


ACTIONS = (
    Action(
        "balance",
        _balance_options,
        _balance,
        "The trial balance: who was debited and credited what; exit 1 when the two differ.",
        "rentier ledger balance demo-ledger --by advertiser,week",
    ),
    *(Action(*action) for action in storage.ACTIONS),
    Action(
        "forget",
        _forget_options,
        _forget,
        "Forget people: their rows have nobody from now on, and every sum stays.",
        "rentier ledger forget demo-ledger user-4711",
    ),
)
