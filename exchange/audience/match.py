"""The matching kernel: which lines may bid on each imp of one request, as bits.

A *line* is one bit: a (campaign, creative) pair or a remote endpoint; bit `line & 63` of word `line >> 6`.
The index (`index.py`) holds one row of W words per value a target mentions. A request is the int32 vector `q`
of row ids and segment ids, written by `Index.query` (live) or by the population (simulated):

    q[0]  country row      q[1]  device row      q[2]  domain row      q[3]  hour row
    q[4]  n_segs           q[5]  n_not           q[6]  n_any           q[7]  n_imps
    q[8:] n_segs segment ids (1..S, ascending, distinct), n_not rows to clear (badv, bcat, bseat),
          n_any rows of which one must hold (wseat; n_any = 0 asks nothing),
    then per imp:
          media row, n_fit, n_size, n_imp_not, the fit rows (one must hold), the size rows (one must hold),
          the rows to clear (battr, `size not in`)

Row 0 is all zeros and row 1 all ones, so "nobody" and "everybody" need no special case. An imp without a fit
row or without a size row matches nobody: the query always writes at least one of each.
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

COUNTRY: Final = 0
DEVICE: Final = 1
DOMAIN: Final = 2
HOUR: Final = 3
N_SEGS: Final = 4
N_NOT: Final = 5
N_ANY: Final = 6
N_IMPS: Final = 7
HEAD: Final = 8  # first segment id
IMP_HEAD: Final = 4  # media row, n_fit, n_size, n_imp_not

U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]


@njit(cache=True, nogil=True, inline="always")
def _any_of(rows: U64, q: I32, at: int, n: int, w: int) -> np.uint64:
    """Word `w` of the union of the `n` rows named from q[at]."""
    word = np.uint64(0)
    for i in range(at, at + n):
        word |= rows[q[i], w]
    return word


@njit(cache=True, nogil=True)
def match(rows: U64, seg_in: I32, seg_default: I32, seg_out: I32, alive: U64, q: I32, out: U64) -> None:
    """Write into out[imp] the lines that may bid on each imp of the request `q`.

    rows uint64[n_rows, W], seg_in int32[G, S+1], seg_default int32[G], seg_out int32[S+1]: the index.
    alive uint64[W]: 1 = neither paused, nor out of money, nor outside its flight. q: layout atop this file.
    out uint64[>= n_imps, W], overwritten. Nothing is checked: ids must be the index's own, q whole and out
    large enough (`Index.capacity`, `[server] imps_max`). Residual needs (own, caps, money) are `sell`'s.
    """
    n_segs, n_not, n_any, n_imps = q[N_SEGS], q[N_NOT], q[N_ANY], q[N_IMPS]
    nots = HEAD + n_segs
    anys = nots + n_not
    for w in range(rows.shape[1]):
        person = alive[w] & rows[q[COUNTRY], w] & rows[q[DEVICE], w] & rows[q[DOMAIN], w] & rows[q[HOUR], w]
        for g in range(seg_in.shape[0]):
            group = rows[seg_default[g], w]
            for i in range(HEAD, nots):
                group |= rows[seg_in[g, q[i]], w]
            person &= group
        for i in range(HEAD, nots):
            person &= ~rows[seg_out[q[i]], w]
        person &= ~_any_of(rows, q, nots, n_not, w)
        if n_any:
            person &= _any_of(rows, q, anys, n_any, w)
        at = anys + n_any
        for imp in range(n_imps):
            n_fit, n_size, n_imp_not = q[at + 1], q[at + 2], q[at + 3]
            word = person & rows[q[at], w]
            at += IMP_HEAD
            word &= _any_of(rows, q, at, n_fit, w)
            at += n_fit
            word &= _any_of(rows, q, at, n_size, w)
            at += n_size
            out[imp, w] = word & ~_any_of(rows, q, at, n_imp_not, w)
            at += n_imp_not
