"""The command `rentier events`: the key for POST /events, and posting events from a file."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from exchange.cli import Command, Quit

BODY_BYTES: Final = 60_000  # of one POST: below the default of server.body_max_bytes
PATIENCE_S: Final = 30.0


def commands(command: Command) -> None:
    """The commands about events of awards."""
    top = command(
        "events",
        _events,
        "Tell an exchange what became of awards: conversions, opt-ins, opt-outs, refunds.",
        "rentier events post http://127.0.0.1:8080 refunds.jsonl --ledger demo-ledger",
    )
    actions = top.add_subparsers(dest="action", required=True, metavar="ACTION")
    sub = actions.add_parser("key", help="print the key that POST /events asks for; keep it as secret as a password")
    sub.add_argument("ledger", type=Path, help="folder of the exchange's ledger")
    sub = actions.add_parser("post", help="send the events of a file, one JSON object a line")
    sub.add_argument("url", help="the exchange, as http://127.0.0.1:8080")
    sub.add_argument("file", type=Path, metavar="FILE.jsonl", help='lines of {"token": "...", "event": "refund", ...}')
    key = sub.add_mutually_exclusive_group(required=True)
    key.add_argument("--ledger", type=Path, metavar="FOLDER", help="take the key from this ledger")
    key.add_argument("--key-file", type=Path, metavar="FILE", help="a file that holds the key")
    sub.add_argument("--json", action="store_true", help="print each event's outcome as a line of JSON")


def _events(args: argparse.Namespace) -> int:
    if args.action == "key":
        print(_key(args.ledger))
        return 0
    key = args.key_file.read_text().strip() if args.key_file is not None else _key(args.ledger)
    counts: dict[str, int] = {}
    line = 0
    for lines in _portions(args.file):
        for outcome in _post(args.url, key, lines, args.file, line):
            line += 1
            word = outcome.get("refusal") or outcome["outcome"]
            counts[word] = counts.get(word, 0) + 1
            if args.json:
                print(_encode({"line": line, **outcome}))
            elif "reason" in outcome:
                print(f"{args.file}:{line}: {word}: {outcome['reason']}", file=sys.stderr)
    if not args.json:
        print(f"posted {line:,} events: " + (", ".join(f"{n:,} {word}" for word, n in counts.items()) or "none"))
    return 0 if set(counts) <= {"recorded", "repeat", "unpaid"} else 1


def _key(folder: Path) -> str:
    """The key of a ledger. Raises Quit where there is none."""
    from exchange.events import key_of
    from exchange.rent.names import salt

    if not (folder / "salt").is_file():
        raise Quit(f"{folder}: no salt in it: expected the folder of a ledger")
    return key_of(salt(folder))


def _portions(path: Path) -> Iterator[list[str]]:
    """The lines of a file, so many at a time as one POST may have."""
    from exchange.events import EVENTS_MAX

    portion: list[str] = []
    size = 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            raise Quit(f"{path}:{number}: an empty line: expected one JSON object a line")
        if portion and (len(portion) == EVENTS_MAX or size + len(line) > BODY_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(line)
        size += len(line.encode()) + 1
    if portion:
        yield portion


def _post(url: str, key: str, lines: list[str], path: Path, before: int) -> list[dict[str, Any]]:
    """Send some lines as one POST. Returns the outcomes. Raises Quit, and then none of these lines was carried out."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from urllib.parse import urlsplit

    import msgspec

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Quit(f"{url}: expected the exchange's address, as http://127.0.0.1:8080")
    to = (HTTPSConnection if parts.scheme == "https" else HTTPConnection)(parts.netloc, timeout=PATIENCE_S)
    body = ('{"events":[' + ",".join(lines) + "]}").encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        to.request("POST", parts.path.rstrip("/") + "/events", body, headers)
        answer = to.getresponse()
        status, text = answer.status, answer.read()
    except (OSError, HTTPException) as error:
        # it may have arrived: sending the file again pays nothing twice
        raise Quit(f"{url}: {error or type(error).__name__}: expected a running exchange") from None
    finally:
        to.close()
    try:
        found = msgspec.json.decode(text) if text else {}
    except msgspec.DecodeError:
        found = {}
    if status != 200 or "outcomes" not in found:
        first = (found.get("errors") or [{"path": "", "value": "", "reason": text.decode("utf-8", "replace")[:200]}])[0]
        said = f"{first['path']} = {first['value']}: {first['reason']}" if first["path"] else first["reason"]
        raise Quit(f"{path}: lines {before + 1} to {before + len(lines)}: HTTP {status}: {said}")
    return list(found["outcomes"])


def _encode(value: dict[str, Any]) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
