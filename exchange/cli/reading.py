"""The commands that say what happened, and why: report, reconcile, replay, reserve, and those of explaining.py."""

import argparse
from pathlib import Path

from exchange.cli import Command, Quit, announce_compiling, explaining, ledger_and_json, open_ledger


def commands(command: Command) -> None:
    """The commands that say what happened, and why."""
    _add_report(
        command(
            "report",
            _report,
            "What it cost to rent the people of a ledger: summary, or the report NAME.",
            "rentier report waterfall demo-ledger --by publisher --html report.html --lang fr\n"
            '  rentier report summary demo-ledger --only "advertiser=Volante Cars"',
        )
    )
    sub = command(
        "reconcile",
        _reconcile,
        "Check that every row of a ledger balances; exit 1 if not.",
        "rentier reconcile demo-ledger",
    )
    ledger_and_json(sub)
    sub = command(
        "replay",
        _replay,
        "Feed a ledger's raw inputs again and compare every row.",
        "rentier replay ledger --config configs/demo.toml",
    )
    sub.add_argument("ledger", type=Path, help='folder of a ledger written with journal = "full"')
    sub.add_argument("--config", type=Path, required=True, help="the config it was written with")
    sub.add_argument("--json", action="store_true", help="print JSON")
    explaining.commands(command)
    _add_reserve(
        command(
            "reserve",
            _reserve,
            "Suggest a reserve price from the bids of a ledger, with its expected gain and how sure that is.",
            "rentier reserve ledger --by country --svg reserve.svg",
        )
    )


def _add_reserve(sub: argparse.ArgumentParser) -> None:
    ledger_and_json(sub)
    by = ("publisher", "domain", "size", "country", "media", "device", "hour")
    sub.add_argument("--by", choices=by, default="", help="a suggestion for each of the largest groups, too")
    sub.add_argument("--bootstrap", type=int, default=200, metavar="N", help="samples for the intervals (default 200)")
    sub.add_argument("--seed", type=int, default=0, help="of the samples (default 0)")
    sub.add_argument("--svg", type=Path, metavar="FILE", help="draw revenue against the reserve")


def _add_report(sub: argparse.ArgumentParser) -> None:
    from exchange.report.options import OPTIONS

    sub.add_argument("words", nargs="*", metavar="[NAME] LEDGER", help="report (default: summary) and ledger folder")
    sub.add_argument("--list", action="store_true", help="the reports, what each answers and may be split by")
    sub.add_argument(
        "--by", default="", metavar="A,B", help="split the main table, by advertiser, publisher, week, ..."
    )
    sub.add_argument("--only", action="append", default=[], metavar="KEY=NAME",
                     help="of an advertiser, publisher, segment or week alone: --only advertiser=NAME; another key: "
                          "both, the same key again: either")  # fmt: skip
    how = sub.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print JSON")
    for kind in ("csv", "html"):
        how.add_argument(
            f"--{kind}", nargs="?", const="-", metavar="FILE", help=f"write {kind.upper()} (default: print)"
        )
    sub.add_argument("--lang", default="en", help="en or fr")
    sub.add_argument("--small-cell", type=int, default=10, metavar="N",
                     help="export no group of fewer people (default 10; 0 = every group)")  # fmt: skip
    for argument in {a.name: a for own in OPTIONS.values() for a in own}.values():
        whose = ", ".join(name for name, own in OPTIONS.items() if argument in own)
        flag = f"--{argument.name.replace('_', '-')}"
        sub.add_argument(flag, type=str if argument.file else float, dest=f"own_{argument.name}",
                         metavar="FILE" if argument.file else "N",
                         help=f"{whose}: {argument.help}".replace("%", "%%"))  # fmt: skip


def _report(args: argparse.Namespace) -> int:
    from exchange import compiled
    from exchange.report import command

    compiled.without_scipy()
    kind = "json" if args.json else "csv" if args.csv else "html" if args.html else "screen"
    target = args.csv or args.html or "-"
    if target != "-" and Path(target).is_dir():
        raise Quit(f"--{kind} {target}: is a folder: expected a file to write; put --{kind} behind the ledger")
    given = {name.removeprefix("own_"): value for name, value in vars(args).items()
             if name.startswith("own_") and value is not None}  # fmt: skip
    try:
        text = (
            command.listed(args.lang) + "\n"
            if args.list
            else command.answer(args.words, kind, args.by, args.lang, args.small_cell, given, args.only)
        )
    except command.ReportError as error:
        raise Quit(str(error)) from None
    if target == "-":
        print(text, end="")
    else:
        Path(target).write_text(text, encoding="utf-8")
        print(f"{target}: {len(text.encode()):,} bytes")
    return 0


def _reconcile(args: argparse.Namespace) -> int:
    import msgspec

    from exchange.books.reconcile import reconcile, render

    found = reconcile(open_ledger(args.ledger))
    print(msgspec.json.encode(found).decode() if args.json else render(found))
    return 1 if found.differences else 0


def _replay(args: argparse.Namespace) -> int:
    import msgspec

    from exchange.config import load_config
    from exchange.simulate.replay import compare, render

    announce_compiling()
    found = compare(load_config(args.config), args.ledger)
    print(msgspec.json.encode(found).decode() if args.json else render(found))
    return 1 if found.differences else 0


def _reserve(args: argparse.Namespace) -> int:
    import msgspec

    from exchange.reserve.plot import svg
    from exchange.reserve.screen import render
    from exchange.reserve.suggest import report

    for name, low, high in (("bootstrap", 20, 10_000), ("seed", 0, 2**63 - 1)):
        if not low <= (given := getattr(args, name)) <= high:
            raise Quit(f"--{name} {given}: expected {low} to {high}")
    found = report(open_ledger(args.ledger), args.by, args.bootstrap, args.seed)
    if args.svg is not None:
        args.svg.write_text(svg(found.whole, found.currency), encoding="utf-8")
    print(msgspec.json.encode(found).decode() if args.json else render(found))
    return 0
