"""The commands `rentier people` and `rentier list`: their options, and what they say."""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from exchange.audience.table import Table
    from exchange.config import Config

SEGMENTS_SHOWN: Final = 10
Command = Callable[[str, object, str, str], argparse.ArgumentParser]
Where = tuple["Config | None", Path]  # the config, if one was given; the ledger's folder


def add_people_commands(command: Command, run: object) -> None:
    """Add `people` and `list` to the command line; `run(args)` prints what `text` returns."""
    top = command("people", run, "What is known of people.", "rentier people import people.csv --config market.toml")
    people = top.add_subparsers(dest="action", required=True, metavar="ACTION")
    sub = people.add_parser("import", help="add a CSV of user ids and their segments to what is known")
    sub.add_argument("file", type=Path, metavar="FILE.csv", help="user_id,segment,.. or user_id,a|b|c; -c takes away")
    sub.add_argument("--replace", action="store_true", help="whoever the file mentions has only what it says")
    _place(sub)
    sub = people.add_parser("show", help="how many people, segments and bytes")
    _place(sub)
    sub = people.add_parser("segments", help="find the segments by rule ([[segment]]) in the journal")
    sub.add_argument("--at", metavar="TIME", help="as of then: later rows do not count (default: now)")
    _place(sub)
    top = command(
        "list", run, "Who is an advertiser's own customer.", "rentier list import Halle ids.csv --config market.toml"
    )
    lists = top.add_subparsers(dest="action", required=True, metavar="ACTION")
    sub = lists.add_parser("import", help="a new version of an advertiser's list")
    sub.add_argument("advertiser", metavar="ADVERTISER", help="the brand, as the config names it")
    sub.add_argument("file", type=Path, metavar="FILE", help="CSV, its first column who is on the list")
    sub.add_argument("--empty", action="store_true", help="the file may name nobody: all go off the list")
    sub.add_argument("--valid-from", metavar="TIME", help="when it comes into force (default: now)")
    kind = sub.add_mutually_exclusive_group()
    kind.add_argument("--hashed", action="store_true", help="the file has the SHA-256 of e-mails, 64 hex digits")
    kind.add_argument("--emails", action="store_true", help="the file has e-mails; their SHA-256 is what is matched")
    _place(sub)
    sub = lists.add_parser("show", help="the versions of the lists")
    sub.add_argument("advertiser", nargs="?", metavar="ADVERTISER", help="only this one's")
    sub.add_argument("--at", metavar="TIME", help="what is in force then (default: now)")
    _place(sub)


def _place(sub: argparse.ArgumentParser) -> None:
    """The options that say which ledger, and how to answer."""
    sub.add_argument("--config", type=Path, help="the config whose ledger it is")
    sub.add_argument("--ledger", type=Path, metavar="FOLDER", help="the ledger's folder, instead of the config's")
    sub.add_argument("--json", action="store_true", help="print JSON")


def text(args: argparse.Namespace) -> str:
    """Do what the command says, and return what is to be printed. Raises PeopleError, ConfigError, LedgerError."""
    import msgspec

    actions: dict[tuple[str, str], Callable[[argparse.Namespace, Where], tuple[dict[str, Any], str]]] = {
        ("people", "import"): _import,
        ("people", "show"): _show,
        ("people", "segments"): _segments,
        ("list", "import"): _import_list,
        ("list", "show"): _show_lists,
    }
    facts, said = actions[args.command, args.action](args, _where(args))
    return msgspec.json.encode(facts).decode() if args.json else said


def _where(args: argparse.Namespace) -> Where:
    """The config and the ledger's folder that the options name."""
    from exchange.audience.people import PeopleError
    from exchange.config import load_config

    config = None if args.config is None else load_config(args.config)
    if args.ledger is not None:
        return config, args.ledger
    if config is None:
        raise PeopleError("whose people? expected --config FILE.toml or --ledger FOLDER")
    return config, Path(config.folder) / config.exchange.ledger


def _salt(folder: Path, make: bool) -> bytes:
    """The salt of a ledger; `make`: a first one, where there is none."""
    from exchange.audience.people import PeopleError
    from exchange.rent.names import salt

    if not make and not (folder / "salt").exists():
        raise PeopleError(f"{folder}: no salt in it: expected the folder of a ledger, or of an import")
    return salt(folder)


def _time_ns(given: str | None, option: str) -> int:
    """A time that was given, or now."""
    from exchange.auction.terms import date_ns

    return time.time_ns() if given is None else date_ns(given, option)


def _when(at_ns: int) -> str:
    """A time as people write it, to the second where that says it all."""
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{at_ns % 10**9:09}Z" if at_ns % 10**9 else f"{moment}Z"


# ---- people ----------------------------------------------------------------------------------------------------


def _about(table: "Table") -> dict[str, Any]:
    """What is known, in figures."""
    from exchange.audience.table import bytes_per_person

    keys, runs = bytes_per_person(table)
    return {
        "people": len(table),
        "segments": len(table.names),
        "segments_per_person": table.numbers.size / max(1, len(table)),
        "bytes_per_person": keys + runs,
        "version": table.version,
    }


def _line(about: dict[str, Any]) -> str:
    return (
        f"{about['people']:,} people, {about['segments']:,} segments, {about['segments_per_person']:.1f} a person, "
        f"{about['bytes_per_person']:.1f} bytes a person in memory (version {about['version']})"
    )


def _import(args: argparse.Namespace, where: Where) -> tuple[dict[str, Any], str]:
    from exchange.audience import kept, table
    from exchange.audience.people import person_key, read_mentions
    from exchange.load.progress import Bar

    folder = where[1]
    with kept.lock(folder):
        key = _salt(folder, True)
        before = table.read(folder / table.STORE, key)
        with Bar("bytes", show=not args.json) as bar:
            said = read_mentions(args.file, partial(person_key, key), bar.at)
        after = table.changed(before, said, args.replace)
        learnt = table.read(folder / table.LEARNT, key)
        if len(learnt):  # what the file takes away, no request has said
            table.write(folder / table.LEARNT, key, table.left_of(learnt, said, args.replace))
        after = table.write(folder / table.STORE, key, after)
    about = _about(after)
    facts = {"rows": len(said.keys), "people_before": len(before), **about}
    return facts, f"{len(said.keys):,} rows read; {len(before):,} people were known\n{_line(about)}"


def _show(args: argparse.Namespace, where: Where) -> tuple[dict[str, Any], str]:
    from exchange.audience import table

    folder = where[1]
    found = table.read(folder / table.STORE, _salt(folder, False))
    about, counts = _about(found), found.counts()
    rows = [f"{n:>12,}  {name}" for name, n in list(counts.items())[:SEGMENTS_SHOWN]]
    if len(counts) > SEGMENTS_SHOWN:
        rows.append(f"{len(counts) - SEGMENTS_SHOWN:>12,}  more segments")
    return {**about, "people_by_segment": counts}, "\n".join([_line(about), *rows])


def _segments(args: argparse.Namespace, where: Where) -> tuple[dict[str, Any], str]:
    from exchange.audience.people import PeopleError
    from exchange.audience.rules import read_rules, renew
    from exchange.rent.ledger import Ledger

    config, folder = where
    if config is None or not config.segment:
        raise PeopleError("no [[segment]] in the config: expected --config FILE.toml with at least one")
    rules, at_ns = read_rules(config.segment), _time_ns(args.at, "--at")
    ledger = Ledger(folder)
    known = partial(ledger.names.known, "advertiser")
    counts, after = renew(folder, _salt(folder, False), rules, ledger.auctions, ledger.events, known, at_ns)
    about = _about(after)
    rows = [f"{n:>12,}  {name}" for name, n in counts.items()]
    return {"at": _when(at_ns), "people_by_rule": counts, **about}, "\n".join(
        [f"as of {_when(at_ns)}:", *rows, _line(about)]
    )


# ---- lists -----------------------------------------------------------------------------------------------------


def _import_list(args: argparse.Namespace, where: Where) -> tuple[dict[str, Any], str]:
    from exchange.audience import kept, lists
    from exchange.audience.people import HEADERS, PeopleError, load_own_list, person_key
    from exchange.load.progress import Bar

    config, folder = where
    _check_advertiser(args.advertiser, None if config is None else [brand.name for brand in config.advertiser])
    read = lists.hashed if args.hashed else lists.email if args.emails else lists.ident
    headers = HEADERS if read is lists.ident else lists.HEADERS
    with kept.lock(folder):
        key = _salt(folder, True)
        with Bar("bytes", show=not args.json) as bar:
            keys = load_own_list(args.file, partial(person_key, key), read, headers, bar.at)
        if not keys.size and not args.empty:
            raise PeopleError(f"{args.file}: nobody in it: expected at least one person, or --empty to clear the list")
        last_ns = _last_auction_ns(folder)
        from_ns = _time_ns(args.valid_from, "--valid-from")  # now: read behind the last auction, as others are held
        if from_ns >= lists.FAR_NS:
            raise PeopleError(f"--valid-from {args.valid_from}: expected before {_when(lists.FAR_NS)}")
        if from_ns <= last_ns:
            raise PeopleError(
                f"--valid-from {_when(from_ns)}: expected later than {_when(last_ns)}, the ledger's last auction: "
                "no auction may have known a list before it came"
            )
        made = lists.add(folder, key, args.advertiser, keys, from_ns)
    since = _when(from_ns)
    facts = {"advertiser": made.advertiser, "version": made.version, "people": made.people, "valid_from": since}
    return facts, f"{made.advertiser}: version {made.version}, {made.people:,} people, valid from {since}"


def _check_advertiser(name: str, names: list[str] | None) -> None:
    """Refuse a brand that nobody knows (None: anybody's guess): a list by a wrong name would never count."""
    import difflib

    from exchange.audience.people import PeopleError

    if not name or len(name) > 128 or not name.isprintable():
        raise PeopleError(f"ADVERTISER {name[:80]!r}: expected a printable name of 1 to 128 characters")
    if names is not None and name not in names:
        near = difflib.get_close_matches(name, names, 1)
        raise PeopleError(
            f"ADVERTISER {name!r}: expected one of {', '.join(names) or 'none, for no advertiser is known'}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )


def _last_auction_ns(folder: Path) -> int:
    """When the last auction of a ledger was held; -1 = there is none."""
    from exchange.rent.ledger import Ledger

    return Ledger(folder).last_ns("auctions")


def _show_lists(args: argparse.Namespace, where: Where) -> tuple[dict[str, Any], str]:
    from exchange.audience import lists

    (config, folder), at_ns = where, _time_ns(args.at, "--at")
    found: dict[str, list[lists.Version]] = {}
    for version in lists.versions(folder, _salt(folder, False)):
        found.setdefault(version.advertiser, []).append(version)
    if args.advertiser is not None:
        brands = [] if config is None else [brand.name for brand in config.advertiser]
        _check_advertiser(args.advertiser, list(dict.fromkeys([*brands, *found])))
        found = {name: mine for name, mine in found.items() if name == args.advertiser}
    rows, facts = [], []
    for advertiser, mine in found.items():
        now = lists.in_force(mine, at_ns)
        rows.append(advertiser)
        for each in mine:
            mark = "in force" if each == now else "to come" if each.valid_from_ns > at_ns else ""
            since = _when(each.valid_from_ns)
            facts.append(
                {
                    "advertiser": advertiser,
                    "version": each.version,
                    "people": each.people,
                    "valid_from": since,
                    "in_force": each == now,
                }
            )
            rows.append(f"  version {each.version:>4}  {each.people:>12,} people  from {since}  {mark}".rstrip())
    return {"at": _when(at_ns), "versions": facts}, "\n".join(rows) or f"{folder}: no lists"
