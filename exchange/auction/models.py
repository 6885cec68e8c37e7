"""Click models: rates of clicks and conversions that a user's own code predicts, for every cell an auction can tell
apart, in one batch.

`campaign.model` names a class with `rates(contexts) -> (pctr, pcvr)` or `pctr(contexts) -> pctr`. It is asked when the
venue is built (and by `refresh`), never during an auction: the auction looks the cell up (`value.rates_of`).
contexts: CONTEXT[N_CELLS], in the order of `value.cell_of`; rates: float64[N_CELLS], 0 to 1.
"""

import difflib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange import bidding
from exchange import market as mk
from exchange.auction import value
from exchange.auction.tables import at_least
from exchange.config import ConfigError
from exchange.openrtb import codes

# One cell: index into openrtb.codes.DEVICES; media 1 banner, 2 video, 3 audio, 4 native; hour of the day; contacts =
# the least of its bucket (0, 1, 2 for 2-3, 4 for 4 and more); own = 1 on the advertiser's own list.
CONTEXT: Final = mk.shape([("device", "u1"), ("media", "u1"), ("hour", "u1"), ("contacts", "u1"), ("own", "u1")])
CONTACTS: Final = (0, 1, 2, 4)


def contexts() -> NDArray[np.void]:
    """Every cell once: CONTEXT[N_CELLS], row i is cell i."""
    device, media, hour, contacts, own = (axis.reshape(-1) for axis in np.indices(value.CELLS))
    found = np.zeros(value.N_CELLS, CONTEXT)
    found["device"], found["media"], found["hour"] = device, np.array(sorted(codes.MEDIA))[media], hour
    found["contacts"], found["own"] = np.array(CONTACTS)[contacts], own
    return found


class Models:
    """The click models of a venue, each asked once when the first campaign names it.

    table: int64[max(1, models), N_CELLS, 2], ppb: pctr, pcvr (UNSAID = the campaign's estimate). Campaigns that name
    the same model share a row.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._models: dict[str, tuple[str, Any]] = {}  # by text of the config: where it stands, the object
        self.table: NDArray[np.int64] = np.zeros((1, value.N_CELLS, 2), np.int64)

    def row_of(self, where: str, text: str) -> int:
        """Row of the model that campaign `where` names, -1 for "". Raises ConfigError, and then nothing changes."""
        if not text:
            return -1
        if text not in self._models:
            what = f"campaign {where}: model {text!r}"
            model = _made(what, text, self.folder)
            rates = _predicted(what, model, contexts())
            self.table = at_least(self.table, len(self._models) + 1)
            self.table[len(self._models)] = rates
            self._models[text] = what, model
        return list(self._models).index(text)

    def ask(self) -> list[NDArray[np.int64]]:
        """What every model says now. Raises ConfigError."""
        cells = contexts()
        return [_predicted(what, model, cells) for what, model in self._models.values()]

    def refresh(self, fresh: list[NDArray[np.int64]] | None = None) -> None:
        """Replace the table in place by what `ask` said, or asks now; when one fails nothing is replaced."""
        for row, rates in enumerate(self.ask() if fresh is None else fresh):
            self.table[row] = rates


def _made(what: str, text: str, folder: str) -> Any:
    """An object of the class that a config names. Raises ConfigError."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise ConfigError(f"{what}: expected pkg.mod:Class or ./file.py:Class")
    try:
        module = bidding.module_of(what, place, folder)
    except bidding.RuleError as error:
        raise ConfigError(str(error)) from None
    found = getattr(module, name, None)
    if not isinstance(found, type):
        near = difflib.get_close_matches(name, [n for n, each in vars(module).items() if isinstance(each, type)], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{what}: {place} has no class {name!r}{hint}")
    if not callable(getattr(found, "rates", None)) and not callable(getattr(found, "pctr", None)):
        raise ConfigError(f"{what}: it has neither rates(contexts) nor pctr(contexts)")
    try:
        return found()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything; it becomes one line
        raise ConfigError(f"{what}: {name}() failed: {_said(error)}") from error


def _predicted(what: str, model: Any, cells: NDArray[np.void]) -> NDArray[np.int64]:
    """int64[N_CELLS, 2]: what a model says of every cell, checked, in ppb. Raises ConfigError."""
    part = "rates" if callable(getattr(model, "rates", None)) else "pctr"
    try:
        answer = getattr(model, part)(cells.copy())
        pctr, pcvr = answer if part == "rates" else (answer, None)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything; it becomes one line
        raise ConfigError(f"{what}: {part}() failed: {_said(error)}") from error
    out = np.full((value.N_CELLS, 2), value.UNSAID, np.int64)
    for column, (name, rates) in enumerate((("pctr", pctr), ("pcvr", pcvr))):
        if rates is not None:
            out[:, column] = _checked(f"{what}: {part}(): {name}", rates)
    return out


def _checked(where: str, rates: Any) -> NDArray[np.int64]:
    """Rates in ppb, to the nearest; raises ConfigError unless they are N_CELLS finite numbers from 0 to 1."""
    expected = f"expected {value.N_CELLS:,} numbers from 0 to 1, one a context"
    try:
        found = np.asarray(rates, np.float64)
    except (TypeError, ValueError):
        raise ConfigError(f"{where} = {repr(rates)[:60]}: {expected}") from None
    if found.shape != (value.N_CELLS,):
        raise ConfigError(f"{where} has shape {found.shape}: {expected}")
    wrong = np.flatnonzero(~((found >= 0) & (found <= 1)))  # not so for nan either
    if wrong.size:
        raise ConfigError(f"{where}[{wrong[0]}] = {found[wrong[0]]}: {expected}")
    return np.rint(found * mk.ONE_PPB).astype(np.int64)


def _said(error: BaseException) -> str:
    """An exception as one line: its type and the first line of what it says."""
    first, *_ = [*str(error).splitlines(), ""]
    return f"{type(error).__name__}: {first}"[:200] if first else type(error).__name__
