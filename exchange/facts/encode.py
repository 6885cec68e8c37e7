"""A bid request as the query `q` of audience/query.py, in a few microseconds.

Only attributes that some target mentions are read; the others stay as `query.blank` has them. What publishers repeat
is remembered by its texts: slots, categories, domains, lists of refusals. All of it is forgotten when the vocabulary
grows, for a value that was OTHER may have a number now. `query.query_of` is the twin that reads views instead.

The buffer that carries a query has room for `lists_max` integers of a request's lists and `lists_per_imp_max` of an
imp's. Lists beyond that (thousands of values, all of them ours) are cut, on the safe side: where not all who are barred
can be listed, nobody is admitted, and where an imp's lists are cut, no creative fits it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from struct import Struct as Packer
from typing import Any, Final

from exchange.audience import query as qy
from exchange.audience.attributes import ATTRIBUTES, HOURS, SET, TEXT
from exchange.audience.language import bare_domain
from exchange.audience.target import given
from exchange.audience.vocabulary import FIRST, OTHER, Vocabulary
from exchange.facts.sources import IMP, PERSON, Parts, cats_of, hour_of_week, refused_of, with_parents
from exchange.openrtb.model import BidRequest, Data, Imp, User

MEMO_MAX: Final = 4_096  # slots, domains, category lists and lists of refusals remembered, of each
NAMES_MAX: Final = 256  # texts in a list that is remembered
SIDES_MAX: Final = 1_536  # advertisers listed as barred, and as wanted: with categories and domains below LISTS_MAX
CATEGORIES_MAX: Final = 512
NOBODY: Final = 0  # the number of no advertiser: what a wseat without one of ours admits
_PACKERS: Final = [Packer(f"={n}q") for n in range(512)]
_N_PACKERS: Final = len(_PACKERS)
_PACK_HEAD: Final = _PACKERS[qy.IMP_SLOTS].pack
_PACK_ONE: Final = _PACKERS[1].pack
_BLANK: Final = qy.blank()
_REST: Final = tuple(_BLANK[qy.IMP_SLOTS :])  # the head behind the slots of the request
_RECORD: Final = _BLANK[qy.IMP_SLOTS : qy.ADVERTISER_SLOTS]
_FLOOR: Final = qy.SLOT["floor"] - qy.IMP_SLOTS
_FIT: Final = qy.FIT - qy.IMP_SLOTS
_HOUR: Final = qy.SLOT["hour"]
_AGE: Final = qy.SLOT["age"]
_CATEGORY: Final = qy.SLOT["category"]
_UNDER: Final = qy.SLOT["under"]

Numbers = tuple[int, ...]


class _Slot:
    """An imp encoded but for its floor: its lists, its record, where in that they are named; packed for a lone imp."""

    __slots__ = ("after", "before", "lists", "n_lists", "named", "record", "whole")

    def __init__(self, lists: list[int], record: list[int], named: list[int]) -> None:
        self.lists, self.record, self.named = lists, record, named
        alone = [*_REST, *lists, *self.placed(qy.HEAD)]
        cut = len(alone) - qy.IMP_WIDTH + _FLOOR
        self.before, self.whole, self.after = pack(alone[:cut]), pack(alone), pack(alone[cut + 1 :])
        self.n_lists = len(lists)

    def placed(self, first: int) -> list[int]:
        """The record of the imp whose lists begin at q[first]."""
        record = self.record.copy()
        for at in self.named:
            record[at] += first
        return record


class Encoder:
    """Encodes requests for one vocabulary. `sellers` must be told whom badv, bseat and wseat may name."""

    def __init__(self, vocabulary: Vocabulary, lists_max: int = 4_096, lists_per_imp_max: int = 512) -> None:
        self.vocabulary = vocabulary
        self.lists_max, self.lists_per_imp_max = lists_max, lists_per_imp_max
        self.version = -1
        self.domains: Mapping[str, Collection[int]] = {}
        self.seats: Mapping[str, Collection[int]] = {}
        self._renew()

    def sellers(self, domains: Mapping[str, Collection[int]], seats: Mapping[str, Collection[int]]) -> None:
        """Set the advertisers by domain (`refusers`) and by seat; numbers count from 1. Call on change."""
        self.domains, self.seats = domains, seats
        self.domain_names = frozenset(domains)
        self._barred: dict[tuple[Sequence[str], Sequence[str]], Numbers] = {}

    def _renew(self) -> None:
        """Forget what is remembered, and read what is mentioned by now."""
        vocabulary, mentioned = self.vocabulary, asked_about(self.vocabulary)
        self.version = vocabulary.version
        self.texts = [
            (qy.SLOT[a.name], vocabulary.ids[a.name], PERSON[a.name])
            for a in ATTRIBUTES
            if a.level == "request" and a.kind == TEXT and a.name in mentioned
        ]
        self.of_imp = [
            (a, qy.SLOT[a.name] - qy.IMP_SLOTS) for a in ATTRIBUTES if a.level == "imp" and a.name in mentioned
        ]
        self.hour, self.age, self.floor = "hour" in mentioned, "age" in mentioned, "floor" in mentioned
        self.seg_ids = vocabulary.ids["seg"]
        self.seg, self.category, self.under = "seg" in mentioned, "category" in mentioned, "under" in mentioned
        self.blocked, self.deal, self.viewability = (each in mentioned for each in ("blocked", "deal", "viewability"))
        self._slots: dict[tuple[Any, ...], _Slot] = {}
        self._cats: dict[tuple[str, ...], Numbers] = {}
        self._unders: dict[str, Numbers] = {}
        self._refused: dict[tuple[str, ...], Numbers] = {}
        self.sellers(self.domains, self.seats)

    def encode(
        self, request: BidRequest, parts: Parts, floors_nano: Sequence[int], known: Collection[str] = ()
    ) -> bytes:
        """The query of a request: int64 in native order.

        floors_nano: of each imp, in the ledger's currency. known: segments of the person from elsewhere, by name.
        """
        if self.vocabulary.version != self.version:
            self._renew()
        head = [0] * qy.IMP_SLOTS
        for slot, ids, of in self.texts:
            value = of(parts)
            if value:
                head[slot] = ids.get(value, OTHER)
        if self.hour:
            head[_HOUR] = FIRST + hour_of_week(parts.minute)
        age = PERSON["age"](parts) if self.age else None
        head[_AGE] = qy.NO_NUMBER if age is None else age
        imps = request.imp
        head[qy.N_IMPS] = n_imps = len(imps)
        refused = self._bcat(request.bcat) if self.blocked and request.bcat else ()
        if n_imps == 1:
            one = self._slot(request, imps[0], refused)
            middle = one.before + _PACK_ONE(floors_nano[0]) + one.after if self.floor else one.whole
            first = qy.HEAD + one.n_lists
        else:
            middle, first = self._imps(request, floors_nano, refused)
        head[qy.IMPS] = first
        at = lists = first + n_imps * qy.IMP_WIDTH
        rest: list[int] = []
        if request.badv or request.bseat or request.wseat:
            at = self._sides(request, head, rest, at)
        if self.category or self.under:
            at = self._sets(parts, head, rest, at)
        head[qy.SEG] = at  # also where nobody asks: the people store adds to it
        user = parts.user
        if self.seg and (known or user is not None and user.data):
            numbers = self._segments(user, known)
            n = len(numbers)
            if at + n > lists + self.lists_max:
                n = lists + self.lists_max - at
                del numbers[n:]
            head[qy.SEG + 1] = n
            at += n
            rest += numbers
        head[qy.LENGTH] = at
        packed = _PACK_HEAD(*head) + middle
        if not rest:
            return packed
        n = len(rest)
        return packed + (_PACKERS[n].pack(*rest) if n < _N_PACKERS else pack(rest))

    def _segments(self, user: User | None, known: Collection[str]) -> list[int]:
        """The numbers of a person's segments, as `numbers_of` has them."""
        get = self.seg_ids.get
        data = user.data if user is not None else ()
        found: list[int] = []
        for each in data:
            for segment in each.segment:
                number = get(segment.id or segment.name)
                if number is not None:
                    found.append(number)
        if known:
            found += [number for name in known if (number := get(name)) is not None]
        if len(found) > 1:
            return sorted({*found})
        return found or ([OTHER] if known or _named(data) else [])

    # ---- lists of the request ----------------------------------------------------------------------------

    def _sides(self, request: BidRequest, head: list[int], rest: list[int], at: int) -> int:
        """Write whom the publisher refuses and admits. Returns where the next list lies."""
        barred = self._advertisers_barred(request.badv, request.bseat)
        if len(barred) > SIDES_MAX:
            barred, wanted = (), [NOBODY]
        elif request.wseat:
            wanted = sorted({each for seat in request.wseat for each in self.seats.get(seat, ())}) or [NOBODY]
        else:
            wanted = []
        head[qy.BARRED], head[qy.BARRED + 1] = at, len(barred)
        rest += barred
        at += len(barred)
        wanted = wanted[:SIDES_MAX]
        head[qy.WANTED], head[qy.WANTED + 1] = at, len(wanted)
        rest += wanted
        return at + len(wanted)

    def _advertisers_barred(self, badv: tuple[str, ...], bseat: tuple[str, ...]) -> Numbers:
        found = self._barred.get((badv, bseat))
        if found is None:
            named = self.domain_names.intersection(map(str.lower, badv))
            barred = {each for name in named for each in self.domains[name]}
            barred.update(each for seat in bseat for each in self.seats.get(seat, ()))
            found = tuple(sorted(barred))
            _keep(self._barred, (badv, bseat), found, len(badv) + len(bseat))
        return found

    def _sets(self, parts: Parts, head: list[int], rest: list[int], at: int) -> int:
        """Write the place's categories and the domains above it. Returns where the next list lies."""
        if self.category and (cats := cats_of(parts)):
            found = self._cats.get(cats)
            if found is None:
                found = self._numbers("category", with_parents(cats))[:CATEGORIES_MAX]
                _keep(self._cats, cats, found, len(cats))
            head[_CATEGORY], head[_CATEGORY + 1] = at, len(found)
            rest += found
            at += len(found)
        if self.under and (domain := PERSON["domain"](parts)):
            found = self._unders.get(domain)
            if found is None:
                found = self._numbers("under", given("under", {"domain": domain}))
                _keep(self._unders, domain, found, 1)
            head[_UNDER], head[_UNDER + 1] = at, len(found)
            rest += found
            at += len(found)
        return at

    def _bcat(self, bcat: tuple[str, ...]) -> Numbers:
        """What of ours is blocked in every imp."""
        found = self._refused.get(bcat)
        if found is None:
            found = tuple(self._tags(map(str.upper, bcat)))
            _keep(self._refused, bcat, found, len(bcat))
        return found

    def _tags(self, tags: Iterable[str]) -> list[int]:
        """The numbers of tags of our creatives: what else is blocked does not matter."""
        return [number for number in qy.numbers_of(self.vocabulary, "blocked", tags) if number != OTHER]

    def _numbers(self, attribute: str, values: Iterable[str]) -> Numbers:
        return tuple(qy.numbers_of(self.vocabulary, attribute, values))

    # ---- imps --------------------------------------------------------------------------------------------

    def _imps(self, request: BidRequest, floors_nano: Sequence[int], refused: Numbers) -> tuple[bytes, int]:
        """The rest of the head, the lists and records of several imps; and where the records begin."""
        lists, records, first = [*_REST], [], qy.IMP_SLOTS
        for imp, floor_nano in zip(request.imp, floors_nano, strict=True):
            each = self._slot(request, imp, refused)
            record = each.placed(first + len(lists))
            if self.floor:
                record[_FLOOR] = floor_nano
            lists += each.lists
            records += record
        return pack(lists + records), first + len(lists)

    def _slot(self, request: BidRequest, imp: Imp, refused: Numbers) -> _Slot:
        """An imp encoded, remembered by all that is read of it; but not one with measures, which seldom repeat."""
        banner, video, audio, native, pmp = imp.banner, imp.video, imp.audio, imp.native, imp.pmp
        if imp.metric and self.viewability:
            return self._made(request, imp, refused)
        key: tuple[Any, ...]
        formats: Any = ()
        if banner is not None:
            if banner.format:
                formats = tuple([(each.w, each.h) for each in banner.format])
            key = (banner.w, banner.h, banner.pos, imp.secure, formats, banner.battr, refused)
        else:
            key = (imp.secure, refused)
        if video is not None or audio is not None or native is not None or pmp is not None:
            deals = tuple([each.id for each in pmp.deals]) if pmp is not None and self.deal else ()
            key += (
                video and (video.w, video.h, video.pos), video and video.battr, audio and audio.battr,
                native and native.battr, deals, pmp is not None and pmp.private_auction == 1,
            )  # fmt: skip
        found = self._slots.get(key)
        if found is None:
            found = self._made(request, imp, refused)
            _keep(self._slots, key, found, sum(len(part) for part in key if isinstance(part, tuple)))
        return found

    def _made(self, request: BidRequest, imp: Imp, refused: Numbers) -> _Slot:
        """An imp encoded attribute by attribute."""
        lists: list[int] = []
        record, named = _RECORD.copy(), []
        for attribute, at in self.of_imp:
            name = attribute.name
            if attribute.kind == SET:
                if name == "blocked":
                    numbers = sorted({*refused, *self._tags(refused_of(imp))})
                else:
                    numbers = qy.numbers_of(self.vocabulary, name, IMP[name](request, imp, 0))
                record[at], record[at + 1] = len(lists), len(numbers)
                named.append(at)
                lists += numbers
            elif name == "floor":
                continue  # written for each imp
            elif attribute.kind in (TEXT, HOURS):
                value = IMP[name](request, imp, 0)
                record[at] = self.vocabulary.ids[name].get(value, OTHER) if value else 0
            else:
                number = IMP[name](request, imp, 0)
                record[at] = qy.NO_NUMBER if number is None else number
        if len(lists) > self.lists_per_imp_max:
            self._cut(record, named)
            del lists[self.lists_per_imp_max :]
        return _Slot(lists, record, named)

    def _cut(self, record: list[int], named: list[int]) -> None:
        """Shorten what lies beyond an imp's room, and let no creative fit it: not all that is barred may be told."""
        for at in named:
            record[at] = min(record[at], self.lists_per_imp_max)
            record[at + 1] = 0 if at == _FIT else min(record[at + 1], self.lists_per_imp_max - record[at])


def asked_about(vocabulary: Vocabulary) -> set[str]:
    """The attributes that a query carries: those of targets; segments and refusals also where values or ads ask."""
    return vocabulary.mentioned | {name for name in ("seg", "blocked") if vocabulary.ids[name]}


def refusers(domains: Mapping[int, Iterable[str]]) -> dict[str, tuple[int, ...]]:
    """Advertisers by the entries of badv that refuse them: a domain of theirs or one above, also with `www.`.

    domains: of each advertiser, by its number.
    """
    found: dict[str, set[int]] = {}
    for advertiser, its in domains.items():
        for domain in its:
            for above in given("under", {"domain": bare_domain(domain)}):
                for entry in (above, f"www.{above}"):
                    found.setdefault(entry, set()).add(advertiser)
    return {entry: tuple(sorted(advertisers)) for entry, advertisers in found.items()}


def pack(numbers: Sequence[int]) -> bytes:
    """Integers as int64 bytes."""
    n = len(numbers)
    return _PACKERS[n].pack(*numbers) if n < len(_PACKERS) else Packer(f"={n}q").pack(*numbers)


def _named(data: tuple[Data, ...]) -> bool:
    """Whether any segment has a name: one without says nothing."""
    for each in data:
        for segment in each.segment:
            if segment.id or segment.name:
                return True
    return False


def _keep(memo: dict[Any, Any], key: Any, value: Any, names: int) -> None:
    """Remember a value, unless its key is long; a full memory starts anew."""
    if names <= NAMES_MAX:
        if len(memo) >= MEMO_MAX:
            memo.clear()
        memo[key] = value
