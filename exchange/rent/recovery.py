"""Make a worker's ledger whole before it is written again: cut torn tails, close what a crash left open."""

import os
import zlib
from pathlib import Path
from typing import Final

from exchange.market import NANO
from exchange.rent import manifest as mf
from exchange.rent.blocks import CLOSED, END, HEADER_BYTES, LedgerError, Segment, header, inputs_in
from exchange.rent.chain import COUNTER, Chain, Part, Worker, last_numbers, look

LOST_MAX: Final = 100_000  # records that `recover` may cut; kill -9 costs one step, a power failure a few seconds
LOST_MAX_S: Final = 120  # and of how much time: twice the longest flush_ms


def recover(folder: Path, worker: int, cut: bool = False) -> tuple[int, int, dict[str, int], str]:
    """Make a worker's ledger whole before it is written again: cut torn tails, close what a crash left open.

    Returns (next seq, next auction counter, stream -> number of its last segment, what was cut behind a missing seq in
    words or ""). Only for the holder of the writer's lock. Raises LedgerError, and changes nothing, when more would be
    lost than a crash explains; `cut` = it is to be lost.
    """

    def build(tree: dict[int, dict[str, list[Part]]], manifest: mf.Manifest) -> tuple[Worker, dict[str, int], int]:
        parts = tree.get(worker, {})
        gone = manifest.dropped_of("auctions", worker)
        state = Worker(worker, parts, base=manifest.base(worker))
        return state, last_numbers(parts, manifest, worker), (gone.top_auction if gone else 0) & COUNTER

    state, numbers, top = look(folder, build)
    told = ""
    if not state.clean:
        if state.gap:
            lost = sum(state.cut.values())
            told = state.gap_in_words()
            why = _not_a_crash(state, lost)
            if why and not cut:
                raise LedgerError(
                    f"{told}; no crash leaves that ({why}): bring the file back, or lose {lost} records: "
                    f"rentier ledger seal {folder} --cut"
                )
            told += f"; {lost} records are cut"
        for name, chain in state.chains.items():
            numbers[name] -= _repair(chain)
    return state.last_seq + 1, max(top + 1, state.next_auction()), numbers, told


def _not_a_crash(state: Worker, lost: int) -> str:
    """Why neither kill -9 nor a power failure explains a gap, in words; "" = one of them can.

    What a power failure takes was written since the last sync: few records, of a short time, of a journal that was not
    closed, since closing syncs.
    """
    if lost > LOST_MAX:
        return f"more than {LOST_MAX} records"
    if ended := [
        chain.parts[-1].name for chain in state.chains.values() if chain.ended and sum(chain.keep) < chain.counted
    ]:
        return f"{ended[0]} was closed in order behind it"
    times = [chain.times_cut() for chain in state.chains.values()]
    since, until = min((a for a, _ in times), default=0), max((b for _, b in times), default=0)
    if until - since > LOST_MAX_S * NANO:
        return f"they span {(until - since) // NANO} s"
    return ""


def _repair(chain: Chain) -> int:
    """Close the last kept block of a stream, put the end mark behind it, and cut the file there.

    Segments of which nothing is kept are removed, the last one first. Returns how many.
    """
    kept = {id(part) for (part, _), n in zip(chain.blocks, chain.keep, strict=True) if n}
    removed = 0
    for part in reversed(chain.parts):
        if not isinstance(part, Segment) or id(part) in kept:
            break
        assert part.path is not None
        part.path.unlink()
        removed += 1
    for part in chain.parts[: len(chain.parts) - removed]:
        if not isinstance(part, Segment):
            continue  # what is sealed was safe by then
        held = [ix for ix, (segment, _) in enumerate(chain.blocks) if segment is part]
        whole = all(chain.keep[ix] == chain.blocks[ix][1].count for ix in held)
        if part is not chain.parts[-1 - removed] and whole:
            continue
        assert part.path is not None
        end = 0
        with part.path.open("r+b") as file:
            for ix in held:
                if not chain.keep[ix]:
                    continue
                block = chain.blocks[ix][1]
                payload = chain.payload(ix)
                used = chain.keep[ix] * chain.width if chain.width else inputs_in(payload, chain.keep[ix])[-1][1]
                raw = header(chain.stream, chain.worker, used, block.first_seq, chain.keep[ix],
                             zlib.crc32(payload[:used]), CLOSED, block.top_auction)  # fmt: skip
                file.seek(block.offset)
                file.write(raw)
                end = block.offset + HEADER_BYTES + used
            file.seek(end)
            file.write(header(chain.stream, chain.worker, 0, closed=END))
            file.truncate(end + HEADER_BYTES)
            file.flush()
            os.fsync(file.fileno())
    return removed
