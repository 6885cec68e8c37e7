"""Send every bid request found in files below a folder, one after the other, and list what was refused and why.

Everything sold is viewed at once, through its impression link, so that the ledger has rents to show.

Which texts are bid requests is `openrtb.corpus`'s rule. Nothing here asks whether a request *should* be accepted.
"""

import http.client
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from exchange.openrtb.corpus import read_requests
from exchange.openrtb.response import BidResponse

TIMEOUT_S: Final = 10.0
SUFFIXES: Final = ("", ".json", ".txt", ".jsonl", ".ndjson")
REASONS_SHOWN: Final = 3  # of one request; all are in the JSON
_DECODE: Final = msgspec.json.Decoder(BidResponse).decode


class Refusal(Struct):
    """A request that was refused: where it stood, the HTTP status, and each problem the exchange named."""

    label: str  # path below the folder, #n when a file holds several
    status: int
    errors: list[dict[str, Any]]  # path, value, reason

    def line(self) -> str:
        """One line: which, where, why."""
        shown = [f"{e.get('path')}: {e.get('reason')}" for e in self.errors[:REASONS_SHOWN]]
        more = len(self.errors) - len(shown)
        return f"{self.label}: {self.status} {'; '.join(shown)}{f' (and {more} more)' if more > 0 else ''}"


class Sent(Struct):
    """What became of the requests of a folder."""

    files: int
    requests: int
    sold: int  # 200
    no_bid: int  # 204
    refused: list[Refusal]
    faults: list[str]  # no answer, or one that no bid request should get (5xx)
    sample: bytes  # the first request that was accepted, the sold ones first

    @property
    def accepted(self) -> int:
        """Requests the exchange held an auction for."""
        return self.sold + self.no_bid


def found_below(folder: Path) -> list[tuple[str, bytes]]:
    """Every bid request below a folder (or in one file) as (label, body), by path. Raises OSError."""
    if folder.is_file():
        return list(read_requests(folder))
    if not folder.is_dir():
        raise FileNotFoundError(2, "no such folder", str(folder))
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            below = path.parent.relative_to(folder).as_posix()
            prefix = "" if below == "." else f"{below}/"
            found += [(prefix + label, body) for label, body in read_requests(path)]
    return found


def send_all(address: str, requests: list[tuple[str, bytes]], progress: Callable[[float, float], None]) -> Sent:
    """Post every request to the exchange at host:port, each after the answer to the one before."""
    sent = Sent(len({label.partition("#")[0] for label, _ in requests}), len(requests), 0, 0, [], [], b"")
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
    sold = False
    for ix, (label, body) in enumerate(requests):
        try:
            connection.request("POST", "/openrtb2/auction", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            status, answer = response.status, response.read()
            if status == 200:
                _view(connection, f"http://{address}/", answer)
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # the next request connects anew
            sent.faults.append(f"{label}: no answer: {type(error).__name__}: {error}")
            continue
        if status in (200, 204):
            sent.sold += status == 200
            sent.no_bid += status == 204
            if not sent.sample or (status == 200 and not sold):
                sent.sample, sold = body, status == 200
        elif 400 <= status < 500:
            sent.refused.append(Refusal(label, status, _errors(answer)))
        else:
            sent.faults.append(f"{label}: {status} {answer[:200].decode('utf-8', 'replace')}")
        progress(ix + 1, len(requests))
    connection.close()
    return sent


def _view(connection: http.client.HTTPConnection, own: str, answer: bytes) -> None:
    """Call the impression link of every bid of a response; links that are not the exchange's own are left alone."""
    for seat in _DECODE(answer).seatbid:
        for bid in seat.bid:
            if bid.burl.startswith(own):
                connection.request("GET", f"/{bid.burl.removeprefix(own)}")
                connection.getresponse().read()


def _errors(answer: bytes) -> list[dict[str, Any]]:
    """The problems in the body of a refusal: under `ext.errors` from the auction, `errors` from the protocol."""
    try:
        body = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return [{"path": "", "value": "", "reason": answer[:200].decode("utf-8", "replace")}]
    errors = body.get("errors") or body.get("ext", {}).get("errors") if isinstance(body, dict) else None
    return errors if isinstance(errors, list) else []


def render(sent: Sent) -> list[str]:
    """Lines for the screen: refusals one a line, then the counts."""
    lines = [f"refused  {refusal.line()}" for refusal in sent.refused]
    lines += [f"FAULT    {fault}" for fault in sent.faults]
    if lines:
        lines.append("")
    lines.append(
        f"{sent.requests} bid requests in {sent.files} files: accepted {sent.accepted} "
        f"(200 sold {sent.sold}, 204 no bid {sent.no_bid}), refused {len(sent.refused)}, faults {len(sent.faults)}"
    )
    return lines
