"""`python -m bench.targeting`: the targeting workload, measured or written out.

python -m bench.targeting [--campaigns 10000 100000] [--rates low medium high] [--million] [--json] [--check]
python -m bench.targeting write FOLDER --rate medium --campaigns 10000 --requests 1000
"""

import argparse
import sys
from pathlib import Path
from statistics import median

import msgspec

from bench import ratio
from bench.targeting import load, measure, table, text
from bench.targeting.workload import generate
from exchange import compiled


def _positive(text_: str) -> int:
    number = int(text_)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text_}: expected at least 1")
    return number


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.targeting", description="The public targeting workload.")
    parser.add_argument("--campaigns", type=_positive, nargs="+", default=[measure.FEW, 10_000, 100_000])
    parser.add_argument("--rates", nargs="+", choices=list(table.RATES), default=list(table.RATES))
    parser.add_argument("--requests", type=_positive, default=1_000)
    parser.add_argument("--rounds", type=_positive, default=5)
    parser.add_argument("--million", action="store_true", help="one more row: a million campaigns, medium")
    parser.add_argument(
        "--adding", action="store_true", help="also p99 while campaigns are added, of the last --campaigns"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="exit 1 when something demanded is missed")
    commands = parser.add_subparsers(dest="command")
    write = commands.add_parser("write", help="write the workload as text")
    write.add_argument("folder", type=Path)
    write.add_argument("--rate", choices=list(table.RATES), default="medium")
    write.add_argument("--campaigns", type=_positive, default=10_000)
    write.add_argument("--requests", type=_positive, default=1_000)
    write.add_argument("--seed", type=int, default=table.SEED)
    return parser.parse_args()


def _cells(args: argparse.Namespace) -> list[measure.Cell]:
    """Measure, telling on stderr how far it is."""
    wanted = [(rate, n, args.requests) for n in args.campaigns for rate in args.rates]
    if args.million:
        wanted.append(("medium", measure.MILLION, min(args.requests, measure.MILLION_REQUESTS)))
    cells = []
    measure.warm()
    for rate, campaigns, requests in wanted:
        print(f"{rate}, {campaigns} campaigns", file=sys.stderr)
        cells.append(measure.measure(rate, campaigns, requests, args.rounds))
    return cells


def _json(cells: list[measure.Cell], adding: list[ratio.Result]) -> str:
    """All that was measured."""
    more = [{"bits_times": c.bits_times, "plain_times": c.plain_times, "misses": c.misses()} for c in cells]
    rows = [{**msgspec.structs.asdict(c), **extra} for c, extra in zip(cells, more, strict=True)]
    found = {"cells": rows, "adding": [{**msgspec.structs.asdict(r), "ratio": r.ratio} for r in adding]}
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode()


def _more(cells: list[measure.Cell]) -> list[str]:
    """What the table has no room for: the references' times, and what takes the memory."""
    lines = []
    for c in cells:
        bits = f"rows per value {median(c.bits):.1f} us, " if c.bits else ""
        sizes = ", ".join(f"{name} {mb:.1f}" for name, mb in c.sizes_mb.items() if mb >= 0.05)
        lines.append(f"{c.campaigns} {c.rate}: {bits}one by one {median(c.plain):.1f} us; MB: {sizes}")
    return lines


def main() -> int:
    """Measure and print, or write; returns the exit code."""
    args = _arguments()
    if args.command == "write":
        for path in text.write(generate(args.rate, args.campaigns, args.requests, args.seed), args.folder):
            print(path)
        return 0
    if compiled.is_cold():
        print("compiling the kernels, once", file=sys.stderr)
    try:
        cells = _cells(args)
        adding = [load.measure(args.rounds, campaigns=args.campaigns[-1])] if args.adding else []
    except measure.Disagreement as error:
        print(error, file=sys.stderr)
        return 1
    if args.json:
        print(_json(cells, adding))
    else:
        print(measure.table(cells))
        print("\n".join(_more(cells)))
        if adding:
            print(ratio.table(adding))
    misses = [miss for cell in cells for miss in cell.misses()]
    misses += [f"{r.name} {r.ratio:.2f}, demanded <= {r.demanded}" for r in adding if not r.met]
    for miss in misses:
        print(f"MISS {miss}", file=sys.stderr)
    return 1 if args.check and misses else 0


if __name__ == "__main__":
    sys.exit(main())
