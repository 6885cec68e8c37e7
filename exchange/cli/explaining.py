"""The commands that say why, and how many: explain, audience."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exchange.cli import Command, Quit, announce_compiling, open_ledger

if TYPE_CHECKING:
    from exchange.config import Config
    from exchange.reach.crowd import Crowd

METRICS_MAX_BYTES: Final = 1 << 26
TIMEOUT_S: Final = 10.0


def commands(command: Command) -> None:
    """The commands `explain` and `audience`."""
    sub = command(
        "explain",
        _explain,
        "Show step by step how a bid request would be sold, and why campaigns are not asked.",
        "rentier explain request.json --config configs/demo.toml",
    )
    sub.add_argument("request", type=Path, nargs="?", help="a JSON bid request")
    sub.add_argument("--config", type=Path, help="a config (default: the demo's)")
    sub.add_argument("--campaign", default="", metavar="NAME", help="only this one, with every reason")
    sub.add_argument(
        "--metrics",
        metavar="URL",
        help="why campaigns are not asked, as a running exchange counts it at URL/metrics; or a file of that",
    )
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command(
        "audience",
        _audience,
        "How many people an audience reaches, what it shares with the named ones, and what its people have cost.",
        "rentier audience @city_suv --config market.toml --ledger ledger",
    )
    sub.add_argument(
        "expression",
        metavar="EXPRESSION",
        help="such as 'seg one of [suv] and not (country in [DE])'; @NAME is one of [audiences]",
    )
    sub.add_argument("--config", type=Path, help="whose [audiences] and [population] (default: the demo's)")
    sub.add_argument(
        "--people", type=Path, metavar="FILE", help="count the people of this CSV instead: user_id,segment,.."
    )
    sub.add_argument("--ledger", type=Path, metavar="FOLDER", help="count those known beside it, and what they cost")
    sub.add_argument("--json", action="store_true", help="print JSON")


def _explain(args: argparse.Namespace) -> int:
    import msgspec

    if (args.request is None) == (args.metrics is None):
        raise Quit("expected a bid request, or --metrics URL")
    if args.metrics is not None:
        from exchange.explain.counters import counters, render

        found = counters(_fetched(args.metrics), args.metrics, args.campaign)
        print(msgspec.json.encode(found).decode() if args.json else render(found))
        return 0
    from exchange.explain import explain_file

    announce_compiling()
    print(explain_file(args.request, args.config, args.json, args.campaign))
    return 0


def _fetched(source: str) -> str:
    """The text of a URL or a file. Raises Quit."""
    if not source.startswith(("http://", "https://")):
        return Path(source).read_text(encoding="utf-8", errors="replace")
    from http.client import HTTPException
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(source, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http or https, as checked above
            return str(answer.read(METRICS_MAX_BYTES).decode("utf-8", "replace"))
    except (URLError, HTTPException, ValueError) as error:
        raise Quit(f"--metrics {source}: {getattr(error, 'reason', error)}") from None


def _audience(args: argparse.Namespace) -> int:
    import msgspec

    from exchange.audience.language import TargetError, read_target
    from exchange.audience.table import STORE
    from exchange.config import load_config, shipped
    from exchange.reach.audience import reach, render

    alone = args.config is None and (args.people is not None or args.ledger is not None)
    config = None if alone else load_config(args.config or shipped("demo.toml"))
    audiences = {} if config is None else config.audiences
    try:
        read_target(args.expression, audiences)
    except TargetError as error:
        raise Quit(error.detail) from None
    ledger = args.ledger
    if ledger is not None and not any(ledger.glob("*.seg")):
        if not (ledger / STORE).exists():
            open_ledger(ledger)
        ledger = None  # people were imported, nothing was sold yet
    found = reach(args.expression, audiences, _crowd(args, config), ledger)
    print(msgspec.json.encode(found).decode() if args.json else render(found))
    return 0


def _crowd(args: argparse.Namespace, config: "Config | None") -> "Crowd":
    """The people that the options name: a file's, else those known beside the ledger, else the config's simulated."""
    from exchange.load.progress import Bar
    from exchange.reach import crowd
    from exchange.rent.names import SALT_BYTES

    key = bytes(SALT_BYTES) if args.ledger is None else crowd.salt_of(args.ledger)
    if args.people is not None:
        with Bar("bytes", show=not args.json) as bar:
            return crowd.of_file(args.people, key, bar.at)
    known = [] if args.ledger is None else [crowd.of_store(args.ledger, key)]
    if config is None:
        if not len(known[0]):
            raise Quit(f"{args.ledger}: nobody is known beside it: expected --people FILE or --config FILE")
        return known[0]
    if config.exchange.people:
        known.append(crowd.of_file(Path(config.folder) / config.exchange.people, key))
    name = args.config.name if args.config is not None else "demo.toml"
    return crowd.of_population(config, key, f"the simulated population of {name}", known)
