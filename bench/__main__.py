"""`python -m bench`: every promise about speed as a ratio, against a reference in the same run.

python -m bench [--rounds 5] [--only NAME] [--json] [--check]
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from bench.ratio import Result, table
from exchange import compiled

ROUNDS_MIN: Final = 5


def _handler(rounds: int) -> list[Result]:
    from bench import handler

    return handler.measure(rounds)


def _clearing(rounds: int) -> list[Result]:
    from bench import kernels

    return kernels.clearing(rounds)


def _simulation(rounds: int) -> list[Result]:
    from bench import kernels

    return kernels.simulation(rounds)


def _journal(rounds: int) -> list[Result]:
    from bench import kernels

    return kernels.journal(rounds)


def _rules(rounds: int) -> list[Result]:
    from bench import rules

    return rules.measure(rounds)


def _targeting(rounds: int) -> list[Result]:
    from bench import targeting

    return targeting.results(rounds)


def _people(rounds: int) -> list[Result]:
    from bench import people

    return people.measure(rounds)


def _ledger(rounds: int) -> list[Result]:
    from bench import ledger

    return ledger.measure(rounds)


def _servers(*names: str) -> Callable[[int], list[Result]]:
    def run(rounds: int) -> list[Result]:
        from bench import servers

        return servers.measure(list(names), rounds)

    return run


ITEMS: Final[dict[str, Callable[[int], list[Result]]]] = {
    "handler": _handler,
    "clearing": _clearing,
    "simulation": _simulation,
    "rules": _rules,
    "targeting": _targeting,
    "people": _people,
    "journal": _journal,
    "ledger": _ledger,
    "servers": _servers("nobody", "local", "remote"),
}
PARTS: Final[dict[str, Callable[[int], list[Result]]]] = {
    "nobody": _servers("nobody"),
    "local": _servers("local"),
    "remote": _servers("remote"),
}


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ratios against references of the same run.")
    parser.add_argument("--rounds", type=int, default=ROUNDS_MIN, help="interleaved rounds, at least 5")
    parser.add_argument("--only", choices=[*ITEMS, *PARTS], help="one group (nobody, local, remote: one server)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="exit 1 when a ratio misses what is demanded")
    args = parser.parse_args()
    if args.rounds < ROUNDS_MIN:
        parser.error(f"--rounds {args.rounds}: expected at least {ROUNDS_MIN}")
    if compiled.is_cold():
        print("compiling the kernels, once", file=sys.stderr)
    if args.only in (None, "servers", *PARTS) and len(os.sched_getaffinity(0)) < 2:
        print("one core only: servers and client share it, their ratios are of little use", file=sys.stderr)
    chosen = [({**ITEMS, **PARTS})[args.only]] if args.only else list(ITEMS.values())
    results: list[Result] = []
    for measure in chosen:
        results += measure(args.rounds)
    if args.json:
        rows = [{**msgspec.structs.asdict(r), "ratio": r.ratio, "met": r.met} for r in results]
        print(msgspec.json.format(msgspec.json.encode(rows), indent=1).decode())
    else:
        print(table(results))
    return 1 if args.check and not all(result.met for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
