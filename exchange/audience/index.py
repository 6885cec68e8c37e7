"""The audience index: every target of the market as rows of bits, and a request as a vector of row ids.

For each value that some target mentions there is one row with the *final* answer (no leaf | in | not not-in),
so a single-valued attribute costs one AND. Segments, being many per person, have per include leaf a *group*:
lines without such a leaf, or with a leaf that lists one of the person's segments. Equal rows are stored once.
Values nobody mentions share one row. Sources: Whang et al. (2009), Indexing Boolean Expressions, for the
meaning of a missing attribute; the bit rows follow the filters of common ad routers.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.audience import rows as gather
from exchange.audience.language import Target, bare_domain
from exchange.audience.rows import MEDIA_MASKS, Rows, Value
from exchange.openrtb.codes import BANNER, MEDIA

HOUR_UNKNOWN: Final = -1  # `hour` of a person whose local time is not known
BANNERS: Final = 1 << BANNER  # the banner's bit in a set of media
INSECURE: Final = -1  # among a line's attributes: its markup loads over http; barred where imp.secure is 1
NEED_OWN: Final = 1  # Index.own_need
NEED_NOT_OWN: Final = 2
BLOCKED_MAX: Final = 1_024  # lists of refusals (badv, bcat, bseat) whose rows are remembered
BLOCKED_NAMES_MAX: Final = 256  # names in a list that is remembered

# One imp as `Index.query` reads it: (offered media as bits 1 << code, banner sizes, other sizes,
# battr). A size is width << 16 | height. Banner sizes decide which banners fit; all count for `size in`.
ImpView: TypeAlias = tuple[int, Sequence[int], Sequence[int], Sequence[int]]


class Line(Struct, kw_only=True):
    """One bit of the index: a creative of a campaign, or a remote endpoint (campaign = -1, media = 0)."""

    campaign: int = -1
    endpoint: int = -1
    advertiser: int = 0
    seat: str = ""
    target: Target = ()
    media: int = 0  # 1 banner, 2 video, 3 audio, 4 native, 0 = whatever is offered
    size: tuple[int, int] | None = None  # of a banner; other media fit any size
    cats: tuple[str, ...] = ()
    attrs: tuple[int, ...] = ()
    domains: tuple[str, ...] = ()  # the advertiser's own, for badv


@dataclass(slots=True, eq=False, repr=False)
class Index:
    """All targets as bits: arrays for the kernel, dictionaries for the query. Made by `build`."""

    n_lines: int
    rows: NDArray[np.uint64]  # [n_rows, W]; row 0 all zeros, row 1 all ones
    seg_in: NDArray[np.int32]  # [G, S+1] rows of include group g
    seg_default: NDArray[np.int32]  # [G] lines without an include leaf in group g
    seg_out: NDArray[np.int32]  # [S+1] lines that exclude the segment
    own_need: NDArray[np.uint8]  # [n_lines] 0 anybody, NEED_OWN, NEED_NOT_OWN
    seg_id: dict[str, int]  # 1..S
    country_row: dict[str | None, int]  # None and "" = missing
    country_other: int
    device_row: dict[str | None, int]
    device_other: int
    domain_row: dict[str | None, int]  # with and without "www.", lower case
    domain_other: int
    hour_row: list[int]  # 0..23, and HOUR_UNKNOWN
    media_row: list[int]  # by set of offered media
    fit_row: list[int]  # by set of offered media, a banner in it being without sizes
    banner_row: dict[int, int]  # by size: the banners of that size, and what fits everything
    fit_other: int  # for any other banner size: what fits everything
    size_row: dict[int, int]  # for `size in`
    size_other: int
    size_missing: int
    size_not_row: dict[int, int]  # for `size not in`
    cat_row: dict[str, int]
    attr_row: dict[int, int]
    badv_row: dict[str, int]
    seat_row: dict[str, int]  # local lines of a seat, for bseat
    seat_any_row: dict[str, int]  # the same and all endpoints, for wseat
    seat_other: int  # the endpoints, for a seat in wseat that is not ours
    seg_names: frozenset[str]  # the keys of seg_id, badv_row, cat_row: an intersection is the fast look-up
    badv_names: frozenset[str]
    cat_names: frozenset[str]
    bound: dict[int, tuple[int, ...]] = field(default_factory=dict)  # person key -> segment ids (`bind`)
    blocked: dict[tuple[Sequence[str], ...], tuple[int, ...]] = field(default_factory=dict)  # publishers repeat theirs

    @property
    def country_missing(self) -> int:
        """The row of an unknown country: what `not in` lets through and `in` does not."""
        return self.country_row[None]

    @property
    def device_missing(self) -> int:
        """The row of an unknown device."""
        return self.device_row[None]

    def query(
        self,
        country: str | None,
        device: str | None,
        domain: str | None,
        hour: int,
        segments: Iterable[str],
        badv: Sequence[str],
        bcat: Sequence[str],
        wseat: Sequence[str],
        bseat: Sequence[str],
        imps: Sequence[ImpView],
        known: Collection[int] = (),
    ) -> list[int]:
        """The request as the vector `q` of match.py; at most `capacity(len(imps))` long, whatever the lists.

        country: two letters, upper case; device: a name of codes.DEVICES; hour: 0..23 or HOUR_UNKNOWN;
        segments: names; known: segment ids of this index, each once; empty lists ask nothing.
        """
        if segments:
            known = {*known, *map(self.seg_id.__getitem__, self.seg_names.intersection(segments))}
        ids = sorted(known)
        nots = self._blocked(badv, bcat, bseat) if badv or bcat or bseat else ()
        q = [
            self.country_row.get(country, self.country_other),
            self.device_row.get(device, self.device_other),
            self.domain_row.get(domain and domain.lower(), self.domain_other),
            self.hour_row[hour],
            len(ids),
            len(nots),
            0,
            len(imps),
            *ids,
            *nots,
        ]
        if wseat:
            anys = {self.seat_any_row.get(seat, self.seat_other) for seat in wseat}
            q[6] = len(anys)
            q += anys
        for imp in imps:
            media, banner, other, battr = imp
            barred = battr and self.attr_row  # empty where no line has an attribute
            if len(banner) == 1 and media == BANNERS and not other and not barred and not self.size_not_row:
                size = banner[0]  # the usual imp: one banner size, nothing blocked
                fit, within = self.banner_row.get(size, self.fit_other), self.size_row.get(size, self.size_other)
                q += (self.media_row[BANNERS], 1, 1, 0, fit, within)
            else:
                self._imp(q, imp)
        return q

    def _blocked(self, badv: Sequence[str], bcat: Sequence[str], bseat: Sequence[str]) -> tuple[int, ...]:
        """The rows of the lines that the publisher refuses, each once."""
        lists = (tuple(badv), tuple(bcat), tuple(bseat))
        found = self.blocked.get(lists)
        if found is not None:
            return found
        rows = set(map(self.badv_row.__getitem__, self.badv_names.intersection(map(str.lower, badv))))
        rows.update(map(self.cat_row.__getitem__, self.cat_names.intersection(bcat)))
        rows.update(map(self.seat_row.__getitem__, self.seat_row.keys() & set(bseat)))
        found = tuple(rows)
        if len(badv) + len(bcat) + len(bseat) <= BLOCKED_NAMES_MAX:
            if len(self.blocked) >= BLOCKED_MAX:
                self.blocked.clear()
            self.blocked[lists] = found
        return found

    def _imp(self, q: list[int], imp: ImpView) -> None:
        """Append any imp to the query."""
        media, banner, other, battr = imp
        sizes = {*banner, *other}
        if media & BANNERS and banner:
            fits = {self.banner_row.get(size, self.fit_other) for size in banner}
            if media != BANNERS:
                fits.add(self.fit_row[media & ~BANNERS])
        else:
            fits = {self.fit_row[media]}
        within = {self.size_row.get(size, self.size_other) for size in sizes} or {self.size_missing}
        nots = {self.attr_row[attr] for attr in self.attr_row.keys() & battr}
        nots |= {self.size_not_row[size] for size in self.size_not_row.keys() & sizes}
        q += (self.media_row[media], len(fits), len(within), len(nots), *fits, *within, *nots)

    def capacity(self, imps: int) -> int:
        """Most integers a query of `imps` imps can hold: the limit of the buffer that carries it."""
        person = len(self.seg_id) + len(self.badv_row) + len(self.cat_row) + 2 * len(self.seat_row) + 1
        per_imp = len(self.banner_row) + len(self.size_row) + len(self.size_not_row) + len(self.attr_row)
        return 8 + person + imps * (4 + 3 + per_imp)

    def bind(self, people: Mapping[int, tuple[str, ...]]) -> None:
        """Keep for each person of a people store the ids of the segments that this index knows.

        `bound.get(person_key, ())` is then the `known` of a query. People with none are left out.
        """
        cache: dict[tuple[str, ...], tuple[int, ...]] = {}
        get, bound = self.seg_id.get, {}
        for key, names in people.items():
            ids = cache.get(names)
            if ids is None:
                ids = cache[names] = tuple(sorted({i for i in map(get, names) if i}))
            if ids:
                bound[key] = ids
        self.bound = bound

    def sizes(self) -> dict[str, int]:
        """How large the index is: lines, words, rows, groups, values per dictionary, bytes of arrays."""
        arrays = (self.rows, self.seg_in, self.seg_default, self.seg_out, self.own_need)
        return {
            "lines": self.n_lines,
            "words": self.rows.shape[1],
            "rows": self.rows.shape[0],
            "groups": self.seg_in.shape[0],
            "segments": len(self.seg_id),
            "countries": len(self.country_row) - 2,
            "devices": len(self.device_row) - 2,
            "domains": len(self.domain_row) - 2,
            "banner_sizes": len(self.banner_row),
            "target_sizes": len(self.size_row),
            "categories": len(self.cat_row),
            "attributes": len(self.attr_row),
            "blockable_domains": len(self.badv_row),
            "seats": len(self.seat_row),
            "bytes": sum(array.nbytes for array in arrays),
        }


def build(lines: Sequence[Line], segments: Iterable[str] = ()) -> Index:
    """The index of these lines: campaigns first, contiguous, then endpoints.

    segments: names that get an id although no target mentions them (the factors of a value).
    Raises ValueError for an index beyond ROWS_MAX_BYTES or a line beyond INCLUDES_MAX.
    """
    rows = Rows(len(lines))
    targets = [line.target for line in lines]
    country_row, country_other = gather.single(rows, targets, "country")
    device_row, device_other = gather.single(rows, targets, "device")
    domain_row, domain_other = gather.single(rows, targets, "domain")
    domain_row |= {f"www.{domain}": row for domain, row in domain_row.items() if domain}
    seg_id, seg_in, seg_default, seg_out = gather.segments(rows, targets, segments)
    size_row, size_other, size_not_row = gather.sizes(rows, targets)
    hour_row, media_row = gather.hours(rows, targets), gather.media(rows, targets)
    remote = rows.mask(i for i, line in enumerate(lines) if line.campaign < 0)
    anything = rows.mask(i for i, line in enumerate(lines) if not line.media)
    of_media = {code: rows.mask(i for i, line in enumerate(lines) if line.media == code) for code in MEDIA}
    fit_row = []
    for offered in range(MEDIA_MASKS):
        mask = remote | anything
        for code, fitting in of_media.items():
            if offered >> code & 1:
                mask |= fitting
        fit_row.append(rows.add(mask))
    seats = _collect(lines, lambda line: (line.seat,))
    cat_row = rows.table(_collect(lines, lambda line: {c for cat in line.cats for c in (cat, cat.split("-")[0])}))
    badv_row = rows.table(_collect(lines, lambda line: (d for domain in line.domains for d in _above(domain))))
    return Index(
        n_lines=len(lines),
        seg_in=seg_in,
        seg_default=seg_default,
        seg_out=seg_out,
        own_need=np.array([_own_need(target) for target in targets], np.uint8),
        seg_id=seg_id,
        country_row=country_row,
        country_other=country_other,
        device_row=device_row,
        device_other=device_other,
        domain_row=domain_row,
        domain_other=domain_other,
        hour_row=hour_row,
        media_row=media_row,
        fit_row=fit_row,
        banner_row=rows.table(_collect(lines, _banner_size), remote | anything),
        fit_other=rows.add(remote | anything),
        size_row=size_row,
        size_other=size_other,
        size_missing=size_other,
        size_not_row=size_not_row,
        cat_row=cat_row,
        attr_row=rows.table(_collect(lines, lambda line: line.attrs)),
        badv_row=badv_row,
        seat_row=rows.table(seats),
        seat_any_row=rows.table(seats, remote),
        seat_other=rows.add(remote),
        rows=rows.array(),
        seg_names=frozenset(seg_id),
        badv_names=frozenset(badv_row),
        cat_names=frozenset(cat_row),
    )


def _collect(lines: Sequence[Line], values: Callable[[Line], Iterable[Value]]) -> dict[Value, list[int]]:
    """Value -> the local lines that have it. Endpoints have none: their bids are screened when they come."""
    found: dict[Value, list[int]] = {}
    for i, line in enumerate(lines):
        if line.campaign >= 0:
            for value in values(line):
                found.setdefault(value, []).append(i)
    return found


def _banner_size(line: Line) -> tuple[int, ...]:
    """The size that a banner needs."""
    return (line.size[0] << 16 | line.size[1],) if line.media == BANNER and line.size else ()


def _above(domain: str) -> Iterable[str]:
    """A domain and all domains above it, each also with `www.`: what in badv blocks it."""
    labels = bare_domain(domain).split(".")
    for i in range(len(labels)):
        above = ".".join(labels[i:])
        yield above
        yield f"www.{above}"


def _own_need(target: Target) -> int:
    """What the target asks about the advertiser's own list."""
    for leaf in target:
        if leaf.attribute == "own":
            return NEED_OWN if leaf.op == "is" else NEED_NOT_OWN
    return 0
