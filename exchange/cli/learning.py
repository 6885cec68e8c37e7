"""The commands to learn and to try bidders with: theory, new, tournament, warm."""

import argparse
from pathlib import Path

from exchange import compiled
from exchange.cli import Command, Quit, announce_compiling
from exchange.tournament import command as tournament


def commands(command: Command) -> None:
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
    command("warm", _warm, "Compile every kernel now, so that the next start is quick.", "rentier warm")


def _add_theory(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("row", nargs="*", help="ids of rows in configs/theory, or FILE.toml (default: all rows)")
    sub.add_argument("--seed", type=int, default=0, help="of every draw (default 0)")
    sub.add_argument("--auctions", type=int, metavar="N", help="auctions a row, instead of each row's own number")
    sub.add_argument("--json", action="store_true", help="print JSON")


def _add_new(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("what", choices=("bidder",), help="what to start")
    sub.add_argument("name", metavar="NAME", help="a Python name in lower case: NAME.py, NAME.toml, test_NAME.py")
    sub.add_argument("--folder", type=Path, default=Path(), metavar="DIR", help="where (default: here)")


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


def _new(args: argparse.Namespace) -> int:
    from exchange.new import write_bidder

    print(write_bidder(args.name, args.folder))
    return 0


def _tournament(args: argparse.Namespace) -> int:
    announce_compiling()
    print(tournament.run(args))
    return 0


def _warm(args: argparse.Namespace) -> int:
    from exchange.simulate.warm import warm

    announce_compiling()
    print(f"{warm()} kernels ready in {compiled.cache_folder()}")
    return 0
