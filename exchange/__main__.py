"""The command `rentier`: serve, simulate, report, reconcile, explain, reserve, replay, demo, new, tournament, theory.

Bad input is one line on stderr and exit code 2; a ledger that does not balance, or a measure that theory does not
expect, is exit code 1.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exchange import __version__, compiled
from exchange.people import command as people
from exchange.tournament import command as tournament

if TYPE_CHECKING:
    from exchange.rent.ledger import Ledger

Command = Callable[[str, object, str, str], argparse.ArgumentParser]
EPILOG = """examples:
  rentier demo                                  the whole line for 10 seconds, then one screen
  rentier serve --config configs/demo.toml      an exchange on 127.0.0.1:8080
  rentier simulate configs/demo.toml --auctions 1000000 --seed 1
  rentier report LEDGER                         what it cost to rent, and re-rent, the people
  rentier explain REQUEST.json                  why this request sold as it did
  rentier new bidder my_bidder                  an own bidding rule, with a market to try it in and its test
  rentier theory E02                            second price earns what Vickrey says
"""


class Quit(Exception):  # noqa: N818 - it ends the command, it is not always an error
    """End the command with a message on stderr and an exit code."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


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
    top = argparse.ArgumentParser(
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

    _running(command)
    _reading(command)
    _learning(command)
    people.add_people_commands(command, lambda args: print(people.text(args)))
    command("warm", _warm, "Compile every kernel now, so that the next start is quick.", "rentier warm")
    return top


def _running(command: Command) -> None:
    """The commands that run an exchange, live or simulated."""
    _add_serve(command("serve", _serve, "Run the exchange.", "rentier serve --config configs/demo.toml --port 8080"))
    _add_simulate(
        command(
            "simulate",
            _simulate,
            "Hold auctions of a config's population, compiled, as fast as they go.",
            "rentier simulate configs/demo.toml --auctions 1000000 --seed 1 --ledger wins",
        )
    )
    _add_demo(
        command(
            "demo", _demo, "Run the whole line for some seconds and show what came of it.", "rentier demo --seconds 5"
        )
    )


def _reading(command: Command) -> None:
    """The commands that say what happened, and why."""
    sub = command("report", _report, "What it cost to rent the people of a ledger.", "rentier report demo-ledger")
    _ledger_and_json(sub)
    sub = command(
        "reconcile",
        _reconcile,
        "Check that every row of a ledger balances; exit 1 if not.",
        "rentier reconcile demo-ledger",
    )
    _ledger_and_json(sub)
    sub = command(
        "replay",
        _replay,
        "Feed a ledger's raw inputs again and compare every row.",
        "rentier replay ledger --config configs/demo.toml",
    )
    sub.add_argument("ledger", type=Path, help='folder of a ledger written with journal = "full"')
    sub.add_argument("--config", type=Path, required=True, help="the config it was written with")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command(
        "explain", _explain, "Show step by step how a bid request would be sold.", "rentier explain request.json"
    )
    sub.add_argument("request", type=Path, help="a JSON bid request")
    sub.add_argument("--config", type=Path, help="a config (default: the demo's)")
    sub.add_argument("--json", action="store_true", help="print JSON")
    _add_reserve(
        command(
            "reserve",
            _reserve,
            "Suggest a reserve price from the bids of a ledger, with its expected gain and how sure that is.",
            "rentier reserve ledger --by country --svg reserve.svg",
        )
    )


def _learning(command: Command) -> None:
    """The commands to learn and to try bidders with."""
    _add_theory(
        command(
            "theory",
            _theory,
            "Run closed forms of auction theory through the exchange; exit 1 where it disagrees.",
            "rentier theory E02 E30 --seed 7",
        )
    )
    _add_new(command("new", _new, "Start an own bidding rule, with a market and a test.", "rentier new bidder mine"))
    sub = command(
        "tournament",
        _tournament,
        "Play bidding rules against the campaigns of a config, on common random numbers, and rank them.",
        "rentier tournament configs/tournament.toml --seeds 10 --rules ./mine.py:Mine --svg plot.svg",
    )
    tournament.options(sub)


def _add_serve(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--config", type=Path, required=True, help="TOML config")
    sub.add_argument("--port", type=int, help="port, instead of the config's; 0 takes a free one")


def _add_simulate(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("config", type=Path, help="TOML config")
    sub.add_argument("--auctions", type=int, default=100_000, metavar="N", help="visits to auction (default 100000)")
    sub.add_argument("--seed", type=int, help="seed, instead of the config's")
    sub.add_argument("--ledger", choices=("none", "wins", "bids"), default="wins", help="what to write (default wins)")
    sub.add_argument("--out", type=Path, metavar="FOLDER", help="write the ledger there (default: memory only)")
    sub.add_argument("--json", action="store_true", help="print JSON")


def _ledger_and_json(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("ledger", type=Path, help="folder of a ledger; it may be in use")
    sub.add_argument("--json", action="store_true", help="print JSON")


def _add_theory(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("row", nargs="*", help="ids of rows in configs/theory, or FILE.toml (default: all rows)")
    sub.add_argument("--seed", type=int, default=0, help="of every draw (default 0)")
    sub.add_argument("--auctions", type=int, metavar="N", help="auctions a row, instead of each row's own number")
    sub.add_argument("--json", action="store_true", help="print JSON")


def _add_demo(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--seconds", type=float, default=10.0, help="how long traffic flows (default 10)")
    sub.add_argument("--qps", type=float, help="bid requests per second (default: the config's, 300)")
    sub.add_argument("--seed", type=int, help="seed, instead of the config's")
    sub.add_argument("--config", type=Path, help="a config, instead of the demo's own")
    sub.add_argument("--bidder", action="append", default=[], metavar="URL", help="your own bidder joins; repeatable")
    sub.add_argument("--own-list", type=Path, metavar="FILE.csv", help="user ids that are customers already")
    sub.add_argument("--requests", type=Path, metavar="DIR", help="send every bid request found below DIR instead")
    sub.add_argument("--out", type=Path, metavar="FOLDER", help="where the ledger goes (default: demo-ledger)")
    sub.add_argument("--json", action="store_true", help="print JSON")


def _add_new(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("what", choices=("bidder",), help="what to start")
    sub.add_argument("name", metavar="NAME", help="a Python name in lower case: NAME.py, NAME.toml, test_NAME.py")
    sub.add_argument("--folder", type=Path, default=Path(), metavar="DIR", help="where (default: here)")


def _add_reserve(sub: argparse.ArgumentParser) -> None:
    _ledger_and_json(sub)
    by = ("publisher", "domain", "size", "country", "media", "device", "hour")
    sub.add_argument("--by", choices=by, default="", help="a suggestion for each of the largest groups, too")
    sub.add_argument("--bootstrap", type=int, default=200, metavar="N", help="samples for the intervals (default 200)")
    sub.add_argument("--seed", type=int, default=0, help="of the samples (default 0)")
    sub.add_argument("--svg", type=Path, metavar="FILE", help="draw revenue against the reserve")


def announce_compiling() -> None:
    """Say once, on stderr, that a cold start compiles, and where the result is kept."""
    if compiled.is_cold():
        print(f"compiling the kernels, once (about 20 s), into {compiled.cache_folder()}", file=sys.stderr, flush=True)


def _serve(args: argparse.Namespace) -> int:
    from exchange.config import load_config
    from exchange.serve import run

    config = load_config(args.config)
    if args.port is not None:
        if not 0 <= args.port <= 65_535:
            raise Quit(f"--port {args.port}: expected 0 to 65535")
        config.server.address = f"{config.server.address.rpartition(':')[0]}:{args.port}"
    announce_compiling()
    return run(config, lambda line: print(line, flush=True))


def _simulate(args: argparse.Namespace) -> int:
    import msgspec

    from exchange.load.progress import Bar
    from exchange.simulate.run import simulate

    announce_compiling()
    if args.out is not None and args.out.exists() and any(args.out.iterdir()):
        raise Quit(f"--out {args.out}: expected a new or empty folder")
    with Bar("auctions", show=not args.json) as bar:
        run = simulate(args.config, args.auctions, args.seed, ledger=args.ledger, folder=args.out, progress=bar.at)
    rate = run.auctions / max(run.elapsed_s, 1e-9)
    for rule, why in run.venue.rules.slow.items():
        print(f"rule {rule} ran in Python, slower: {why}", file=sys.stderr)
    for rule, faults in run.venue.rules.faults.items():
        if faults:
            print(f"rule {rule} failed {faults:,} times; each time it made no bid", file=sys.stderr)
    if args.json:
        facts = {"visits": run.auctions, "elapsed_s": run.elapsed_s, "visits_per_s": rate, "summary": run.summary()}
        print(msgspec.json.encode(facts).decode())
        return 0
    from exchange.simulate.screen import render

    print(render(run))
    return 0


def _open_ledger(path: Path) -> "Ledger":
    from exchange.rent.ledger import Ledger

    if path.is_dir() and not any(path.glob("*.seg")):
        raise Quit(f"{path}: no *.seg files: expected the folder of a ledger")
    return Ledger(path)


def _report(args: argparse.Namespace) -> int:
    import msgspec

    from exchange.rent.report import render, summarise

    summary = summarise(_open_ledger(args.ledger))
    print(msgspec.json.encode(summary).decode() if args.json else render(summary))
    return 0


def _reconcile(args: argparse.Namespace) -> int:
    import msgspec

    from exchange.rent.reconcile import reconcile, render

    found = reconcile(_open_ledger(args.ledger))
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


def _explain(args: argparse.Namespace) -> int:
    from exchange.explain import explain_file

    announce_compiling()
    print(explain_file(args.request, args.config, args.json))
    return 0


def _theory(args: argparse.Namespace) -> int:
    import msgspec

    from exchange.config import SEED_MAX
    from exchange.load.progress import Bar
    from exchange.theory import pick, screen
    from exchange.theory.bench import counts

    for name, value, most in (
        ("seed", args.seed, SEED_MAX),
        ("auctions", 2 if args.auctions is None else args.auctions, 10**9),
    ):
        if not (0 if name == "seed" else 2) <= value <= most:
            raise Quit(f"--{name} {value}: expected {0 if name == 'seed' else 2} to {most}")
    rows, lines = pick.rows(args.row), []
    announce_compiling()
    if not args.json:
        print(screen.head())
    for row in rows:
        n, runs = counts(row.theory, args.auctions)
        with Bar("auctions", show=not args.json) as bar:
            found = row.run(args.seed, args.auctions, lambda share, b=bar, of=n * runs: b.at(share * of, of))  # type: ignore[misc]
        lines += found
        for k, line in enumerate(found if not args.json else ()):
            print("\n".join(screen.render(line, k == 0)), flush=True)
        if row.why_not and not args.json:
            print(f"      no closed form where theory is -: {row.why_not}")
    print(msgspec.json.encode(lines).decode() if args.json else screen.foot(lines))
    return 1 if any(line.within is False for line in lines) else 0


def _demo(args: argparse.Namespace) -> int:
    from exchange.load.demo import run

    announce_compiling()
    return run(args)


def _new(args: argparse.Namespace) -> int:
    from exchange.new import write_bidder

    print(write_bidder(args.name, args.folder))
    return 0


def _tournament(args: argparse.Namespace) -> int:
    announce_compiling()
    print(tournament.run(args))
    return 0


def _reserve(args: argparse.Namespace) -> int:
    import msgspec

    from exchange.reserve.plot import svg
    from exchange.reserve.screen import render
    from exchange.reserve.suggest import report

    for name, low, high in (("bootstrap", 20, 10_000), ("seed", 0, 2**63 - 1)):
        if not low <= (given := getattr(args, name)) <= high:
            raise Quit(f"--{name} {given}: expected {low} to {high}")
    found = report(_open_ledger(args.ledger), args.by, args.bootstrap, args.seed)
    if args.svg is not None:
        args.svg.write_text(svg(found.whole, found.currency), encoding="utf-8")
    print(msgspec.json.encode(found).decode() if args.json else render(found))
    return 0


def _warm(args: argparse.Namespace) -> int:
    from exchange.simulate.warm import warm

    announce_compiling()
    print(f"{warm()} kernels ready in {compiled.cache_folder()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
