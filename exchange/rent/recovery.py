"""Make a worker's ledger whole before it is written again: cut torn tails, close what a crash left open."""

import os
import zlib
from pathlib import Path
from typing import Final

from exchange.rent import manifest as mf
from exchange.rent.blocks import CLOSED, END, HEADER_BYTES, LedgerError, Segment, header, inputs_in
from exchange.rent.chain import COUNTER, Chain, Part, Worker, last_numbers, look

LOST_MAX: Final = 100_000  # records that `recover` may cut; kill -9 costs one step, a power failure a few seconds


def recover(folder: Path, worker: int) -> tuple[int, int, dict[str, int]]:
    """Make a worker's ledger whole before it is written again: cut torn tails, close what a crash left open.

    Returns (next seq, next auction counter, stream -> number of its last segment). Only for the holder of the
    writer's lock. Raises LedgerError, and changes nothing, when more than tails would be lost.
    """

    def build(tree: dict[int, dict[str, list[Part]]], manifest: mf.Manifest) -> tuple[Worker, dict[str, int], int]:
        parts = tree.get(worker, {})
        gone = manifest.dropped_of("auctions", worker)
        state = Worker(worker, parts, base=manifest.base(worker))
        return state, last_numbers(parts, manifest, worker), (gone.top_auction if gone else 0) & COUNTER

    state, numbers, top = look(folder, build)
    if not state.clean:
        lost = sum(state.cut.values())
        if lost > LOST_MAX:
            raise LedgerError(
                f"{folder}: a record of worker {worker} is missing after seq {state.last_seq}, and {lost} records"
                f" behind it would be lost, more than a crash can explain ({LOST_MAX}): look for missing segments"
            )
        for chain in state.chains.values():
            _repair(chain)
    return state.last_seq + 1, max(top + 1, state.next_auction()), numbers


def _repair(chain: Chain) -> None:
    """Close the last kept block of a stream, put the end mark behind it, and cut the file there."""
    for part in chain.parts:
        if not isinstance(part, Segment):
            continue  # what is sealed was safe by then
        held = [ix for ix, (segment, _) in enumerate(chain.blocks) if segment is part]
        whole = all(chain.keep[ix] == chain.blocks[ix][1].count for ix in held)
        if part is not chain.parts[-1] and whole:
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
