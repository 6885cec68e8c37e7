"""The waterfall in SQL: buyer's total and party amounts from clearing price, fee set and the data flag.

The same integers as `waterfall.split`: total = fixed + clearing + clearing * addon // base, of which clearing * fx_bps
// 10000 go to `fx` before each side is split by weight and largest remainder, ties to the first party. The units that
rounding left go to the parties before whom fewer stand than units are left: those with a larger remainder, or with an
equal one and an earlier place.
Products stay within int64: amounts are at most 10^13, weights 10^4.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from exchange.market import BUY_PARTIES, FLAG_DATA, PARTIES
from exchange.rent.names import Names
from exchange.rent.waterfall import fees_of

TERMS: Final = ("base", "addon", "fixed_nano", "fx_bps", "buy", "sell", *(f"w{k}" for k in range(len(PARTIES))))
_FX: Final = PARTIES.index("fx")
_DATA: Final = PARTIES.index("data")
_VERIFY: Final = PARTIES.index("verify")


def fee_rows(names: Names) -> dict[str, NDArray[np.int64]]:
    """The fee sets of a ledger as columns: id, TERMS (`buy`, `sell`: sums of weights), in order of ids."""
    rows = []
    for kind, ident, text in names.all():
        if kind == "fees":
            fees = fees_of(text)
            weights = [int(weight) for weight in (*fees["buy"], *fees["sell"])]
            # nothing comes on top where nobody receives it, so any sum above 0 does
            sides = [max(1, sum(weights[: len(BUY_PARTIES)])), sum(weights[len(BUY_PARTIES) :])]
            rows.append([ident, *(int(fees[name]) for name in TERMS[:4]), *sides, *weights])
    table = np.array(rows, np.int64).reshape(len(rows), 1 + len(TERMS))
    return {name: table[:, ix].copy() for ix, name in enumerate(("id", *TERMS))}


def fee_lists() -> str:
    """The statement that makes raw_fees of the registered columns `given_fees`: one row, a list per term, by id."""
    lists = ", ".join(f"list({name} ORDER BY id) AS {name}" for name in TERMS)
    return f"CREATE TABLE raw_fees AS SELECT {lists} FROM given_fees"


def split(rows: str, fees: dict[str, NDArray[np.int64]]) -> str:
    """A query of `rows` (a query with clearing_nano, fees, flags) with buyer_total_nano and the parties' columns.

    `fees` as `fee_rows` gives them. A term on which all sets agree is written as a number: looking it up costs more
    than dividing by it, and parties that never receive anything cost nothing.
    """
    same = {name: int(fees[name][0]) for name in TERMS if len(fees["id"]) and (fees[name] == fees[name][0]).all()}
    term = {name: str(same.get(name, f"f_{name}")) for name in TERMS}
    looked_up = "".join(f", f.{name}[r.fees::BIGINT] AS f_{name}" for name in TERMS if name not in same)
    query = f"SELECT r.*{looked_up} FROM ({rows}) AS r, raw_fees AS f"
    extra = f"{term['fixed_nano']} + clearing_nano * {term['addon']} // {term['base']}"
    query = f"SELECT *, {extra} AS on_top_nano, clearing_nano * {term['fx_bps']} // 10000 AS fx_first FROM ({query})"
    query = f"SELECT *, on_top_nano - fx_first AS shared_nano FROM ({query})"
    parts = ["0"] * len(PARTIES)
    dropped = [*(f"f_{name}" for name in TERMS if name not in same), "on_top_nano", "fx_first", "shared_nano"]
    sides = (("buy", "shared_nano", 0, len(BUY_PARTIES)), ("sell", "clearing_nano", len(BUY_PARTIES), len(PARTIES)))
    quotients, lefts = [], []
    for side, amount, first, last in sides:
        live = [k for k in range(first, last) if term[f"w{k}"] != "0"]
        for k in live:
            quotients += [
                f"{amount} * {term[f'w{k}']} {sign} {term[side]} AS {to}{k}" for sign, to in (("//", "q"), ("%", "r"))
            ]
            dropped += [f"q{k}", f"r{k}"]
            before = [f"(r{j} {'>=' if j < k else '>'} r{k})::BIGINT" for j in live if j != k]
            parts[k] = f"q{k} + ({' + '.join(before)} < left_{side})::BIGINT" if before else f"q{k}"
        lefts.append(f"{' - '.join([amount, *(f'q{k}' for k in live)])} AS left_{side}")
        dropped.append(f"left_{side}")
    query = f"SELECT *, {', '.join(quotients)} FROM ({query})"
    query = f"SELECT *, {', '.join(lefts)} FROM ({query})"
    data = f"(flags & {FLAG_DATA}) <> 0"
    amounts = list(parts)
    amounts[_FX] = f"{parts[_FX]} + fx_first"
    amounts[_DATA] = f"CASE WHEN {data} THEN {parts[_DATA]} ELSE 0 END"
    amounts[_VERIFY] = f"{parts[_VERIFY]} + CASE WHEN {data} THEN 0 ELSE {parts[_DATA]} END"
    columns = ", ".join(f"({amount})::BIGINT AS {party}_nano" for amount, party in zip(amounts, PARTIES, strict=True))
    return (
        f"SELECT * EXCLUDE ({', '.join(dropped)}), clearing_nano + on_top_nano AS buyer_total_nano, {columns} "
        f"FROM ({query})"
    )
