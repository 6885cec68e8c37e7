"""The command `rentier tournament`: its options, and what it writes."""

import argparse
import sys
from pathlib import Path
from typing import Final

VISITS: Final = 20_000  # of a play, unless told


def options(sub: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sub.add_argument("config", type=Path, help="TOML config: its campaigns are the field")
    sub.add_argument("--seeds", type=int, required=True, metavar="S", help="how often each rule plays")
    sub.add_argument("--auctions", type=int, default=VISITS, metavar="N", help=f"visits to auction (default {VISITS})")
    sub.add_argument("--rules", default="", metavar="A,B,./X.py:Y", help="more contenders than the built-in rules")
    sub.add_argument("--only", action="store_true", help="no others than those of --rules")
    sub.add_argument("--seat", default="", metavar="BRAND/CAMPAIGN", help="whose seat (default: the one 'challenger')")
    sub.add_argument("--seed", type=int, metavar="FIRST", help="the first seed, instead of the config's")
    sub.add_argument("--svg", type=Path, metavar="FILE", help="write a plot there")
    sub.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> str:
    """Play, and return what is to be printed: the same text for the same arguments. Raises ConfigError."""
    import msgspec

    from exchange.config import ConfigError, load_config
    from exchange.load.progress import Bar
    from exchange.tournament.plot import draw
    from exchange.tournament.run import plan, tournament
    from exchange.tournament.screen import render
    from exchange.tournament.table import table

    if args.svg is not None and not args.svg.parent.is_dir():
        raise ConfigError(f"--svg {args.svg}: no folder {args.svg.parent}")
    rules = [name.strip() for name in args.rules.split(",") if name.strip()]
    decided = plan(load_config(args.config), args.seeds, args.auctions, rules, args.only, args.seat, args.seed)
    sys.stderr.write(decided.statement() + "\n")
    with Bar("plays", show=not args.json) as bar:
        plays, slow = tournament(decided, bar.at)
    found = table(decided, plays, slow)
    if args.svg is not None:
        args.svg.write_text(draw(found), encoding="utf-8")
    return msgspec.json.encode(found).decode() if args.json else render(found)
