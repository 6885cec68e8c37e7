"""The commands that run an exchange, live or simulated: serve, simulate, demo."""

import argparse
import sys
from pathlib import Path

from exchange.cli import Command, Quit, announce_compiling


def commands(command: Command) -> None:
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


def _demo(args: argparse.Namespace) -> int:
    from exchange.load.demo import run

    announce_compiling()
    return run(args)
