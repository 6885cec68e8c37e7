"""The people and places that simulations and load draw from: one population, not two.

A *visit* is a person on a placement at a time; visit t is a pure function of (seed, t). The compiled `fill` turns it
into the opportunities and the match query that `trade` reads; `Population.request` turns the same visit into
OpenRTB JSON, and decoding that gives the same opportunities. *Truths* (is it seen, clicked, does that convert) belong
here and reach the exchange only as events. All shares below are chosen defaults, round figures of the open web's order.
With a log (log.py) visit t is its row t: floor, click rate and click are those of the row, everything is
seen, and nobody is known, for a log does not say who came.
"""

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from exchange import market as mk
from exchange.auction.positions import slot_rates
from exchange.auction.terms import date_ns
from exchange.auction.venue import Venue
from exchange.audience.people import SEGMENTS_MAX as PERSON_MAX
from exchange.audience.people import person_key
from exchange.audience.query import query_of
from exchange.audience.vocabulary import OTHER, Vocabulary
from exchange.config import Config, ConfigError
from exchange.openrtb import codes
from exchange.openrtb.countries import ALPHA_3, packed
from exchange.population.draw import (
    PERSON_RECORD,
    PLACEMENT_RECORD,
    SETTINGS,
    VISIT_RECORD,
    agrees,
    converts,
    returned,
    truth_of,
    uniforms,
    visit_at,
)
from exchange.population.log import read_log
from exchange.randomness import OWN, PERSON, PLACEMENT

Shares = tuple[tuple[Any, float], ...]
COUNTRIES: Final[Shares] = (("FR", 0.4), ("DE", 0.2), ("GB", 0.15), ("ES", 0.1), ("IT", 0.1), ("BE", 0.05))
DEVICES: Final[Shares] = (("phone", 0.52), ("desktop", 0.33), ("tablet", 0.09), ("ctv", 0.06))
DEVICE_TYPES: Final = {"phone": 4, "desktop": 2, "tablet": 5, "ctv": 3}
BANNER_SIZES: Final[Shares] = (
    ((300, 250), 0.42), ((728, 90), 0.18), ((320, 50), 0.2), ((160, 600), 0.08), ((970, 250), 0.12),
)  # fmt: skip
MEDIA: Final[Shares] = ((codes.BANNER, 0.76), (codes.VIDEO, 0.14), (codes.NATIVE, 0.07), (codes.AUDIO, 0.03))
# segment -> share of people that have it
SEGMENTS: Final[dict[str, float]] = {
    "urban": 0.55, "suburban": 0.3, "families": 0.28, "students": 0.12, "income_high": 0.18, "homeowner": 0.4,
    "sports": 0.3, "travel": 0.25, "travel_intent": 0.06, "auto": 0.22, "auto_intent": 0.04, "suv": 0.08,
    "fashion": 0.26, "beauty": 0.2, "gaming": 0.24, "food": 0.35, "pets": 0.22, "garden": 0.15, "tech": 0.27,
    "finance": 0.14, "credit_intent": 0.03, "news": 0.45, "music": 0.33, "fitness": 0.19,
}  # fmt: skip
SEGMENTS_MAX: Final = 32  # bits of PERSON_RECORD.segments
BLOCKED_CATS: Final = ("IAB25", "IAB26", "IAB7-39", "IAB9-9")
PER_SITE: Final = 4  # placements of one site
SECOND_IMP_SHARE: Final = 0.1  # placements that sell two banners on one page
SEEN_SIGMA: Final = 0.5  # log-sd of placements' true click rates
# What a person's device does to his true click rate (mean 1 over DEVICES), and how far the rate swings over the day
# about its mean, highest at CLICK_HOUR: so that a click model has something to learn. Neither in the plain preset.
DEVICE_LIFT: Final = {"phone": 1.2, "desktop": 0.82, "tablet": 1.1, "ctv": 0.1}
HOUR_SWING: Final = 0.5


def pick(u: NDArray[np.float64], shares: Shares) -> NDArray[np.int64]:
    """Index of the share that each uniform draw falls into."""
    edges = np.cumsum([share for _, share in shares])
    return np.minimum(np.searchsorted(edges / edges[-1], u, side="right"), len(shares) - 1)


class Population:
    """People, placements and truths of a config; `attach` ties them to a venue's index and names."""

    def __init__(self, config: Config, salt: bytes) -> None:
        self.config = config.population
        self.currency = config.exchange.currency
        self.plain = self.config.preset == "plain" or self.config.log != ""
        self.log = np.zeros((0, 3), np.int64)
        self.segment_names = [] if self.plain else list(SEGMENTS)
        self.seed = config.exchange.seed
        self.slots = slot_rates(config.auction)
        self.visit = np.zeros(1, VISIT_RECORD)
        self._make_people(salt)
        self._make_placements()
        settings = np.zeros(1, SETTINGS)
        settings["seed"], settings["people"] = self.seed, self.config.people
        settings["placements"] = self.config.placements
        settings["start_ns"] = date_ns(self.config.start, "population.start")
        settings["step_ns"] = mk.NANO / self.config.qps
        settings["person_power"] = 1.0 / (1.0 - self.config.person_skew)
        settings["view_rate"], settings["ctr"] = self.config.view_rate, self.config.ctr
        for share in ("cvr", "opt_in_share", "opt_out_share", "refund_share"):
            settings[share] = getattr(self.config, share)
        settings["floor_nano"] = mk.cpm_up(config.auction.floor_cpm)
        settings["format"] = mk.FORMATS[config.auction.format]
        settings["hour_swing"] = 0.0 if self.plain else HOUR_SWING
        settings["in_turn"] = self.config.visits == "in_turn"
        self.settings = settings

    def draws(self, n: int, purpose: int, entity: int) -> NDArray[np.float64]:
        """Two uniform draws for each of the first n people or placements: float64[n, 2]."""
        out = np.empty((n, 2))
        uniforms(self.seed, n, purpose, entity, out)
        return out

    def _make_people(self, salt: bytes) -> None:
        """Who the people are: key, country, device, segments."""
        n = self.config.people
        people = np.zeros(n, PERSON_RECORD)
        people["key"] = [person_key(salt, f"p{i}") for i in range(n)]
        people["ctr"] = 1.0
        if not self.plain:
            first = self.draws(n, PERSON, 0)
            people["country"], people["device"] = pick(first[:, 0], COUNTRIES), pick(first[:, 1], DEVICES)
            people["ctr"] = np.array([DEVICE_LIFT[device] for device, _ in DEVICES])[people["device"]]
            for bit, share in enumerate(SEGMENTS.values()):
                have = self.draws(n, PERSON, 1 + bit)[:, 0] < share
                people["segments"] |= (have.astype(np.uint32) << np.uint32(bit)).astype(np.uint32)
        self.people = people

    def _make_placements(self) -> None:
        """What the placements are: site, media, sizes, floor, true click rate."""
        n = self.config.placements
        kind, money, second = (self.draws(n, PLACEMENT, entity) for entity in range(3))
        places = np.zeros(n, PLACEMENT_RECORD)
        sizes = np.array([w << 16 | h for (w, h), _ in BANNER_SIZES], np.uint32)
        if self.plain:
            places["media"], places["size"], places["n_imps"], places["ctr"] = codes.BANNER, sizes[0], 1, 1.0
            places["floor_nano"] = mk.cpm_up(self.config.floor_cpm)
        else:
            media = np.array([code for code, _ in MEDIA], np.uint8)[pick(kind[:, 0], MEDIA)]
            places["media"] = media
            picked = sizes[pick(kind[:, 1], BANNER_SIZES)]
            places["size"] = np.where(media == codes.BANNER, picked, 0)
            places["size"][media == codes.VIDEO] = 640 << 16 | 360
            places["n_imps"] = np.where((second[:, 0] < SECOND_IMP_SHARE) & (media == codes.BANNER), 2, 1)
            places["size_2"] = np.where(places["n_imps"] == 2, sizes[pick(second[:, 1], BANNER_SIZES)], 0)
            # floors in steps of 0.01 CPM: exactly what JSON carries
            floor = np.round(-100 * self.config.floor_cpm * np.log1p(-money[:, 0] * 0.98)).astype(np.int64)
            places["floor_nano"] = floor * 10_000
            normal = np.sqrt(2.0) * _erfinv(2 * money[:, 1] - 1)
            places["ctr"] = np.exp(SEEN_SIGMA * normal - SEEN_SIGMA**2 / 2)
            places["blocks"] = second[:, 0] > 0.7
        self.places = places
        self.sites = [f"site{i // PER_SITE + 1}.example" for i in range(n)]
        self.publishers = [f"pub{i // PER_SITE // 3 + 1}" for i in range(n)]

    def place_view(self, placement: int) -> dict[str, Any]:
        """What a placement states of a request, as targets may ask it."""
        return {"publisher": self.publishers[placement], "domain": self.sites[placement]}

    def imp_views(self, placement: int) -> list[dict[str, Any]]:
        """The imps of a placement as targets may ask of them."""
        place = self.places[placement]
        name, code = codes.MEDIA[int(place["media"])], int(place["media"])
        sizes = [int(place["size"]), int(place["size_2"])][: int(place["n_imps"])]
        floor = max(int(place["floor_nano"]), int(self.settings["floor_nano"][0]))
        blocked = list(BLOCKED_CATS) if place["blocks"] else []
        found = []
        for size in sizes:
            text = f"{size >> 16}x{size & 0xFFFF}"
            fit = f"banner {text}" if code == codes.BANNER else name
            shown = [text] if size else []
            found.append(
                {"size": shown, "media": [name], "fit": [fit], "blocked": blocked, "floor": floor, "position": None}
            )
        return found

    def attach(self, venue: Venue) -> None:
        """Make the arrays that `fill` reads, in the terms of a venue's vocabulary and names, and mark own customers."""
        names = venue.names
        if self.config.log:
            self.log = read_log(Path(venue.config.folder) / self.config.log)
            self.settings["log"], self.settings["log_rows"] = self.log.ctypes.data, len(self.log)
        vocabulary = venue.targets.vocabulary
        heads = []
        for i in range(len(self.places)):
            place = self.places[i]
            heads.append(query_of(vocabulary, self.place_view(i), self.imp_views(i)))
            place["publisher"] = names.id("publisher", self.publishers[i])
            place["domain"] = names.id("domain", self.sites[i])
        room = SEGMENTS_MAX + (0 if venue.store is None or not len(venue.store) else PERSON_MAX)
        self.queries = np.zeros((len(heads), max(map(len, heads)) + room), np.int64)
        for query, head in zip(self.queries, heads, strict=True):
            query[: head.size] = head
        self.settings["queries"], self.settings["query_max"] = self.queries.ctypes.data, self.queries.shape[1]
        self.rows = self._rows(vocabulary)
        ids = vocabulary.ids["seg"]
        found = sorted((ids[name], bit) for bit, name in enumerate(self.segment_names) if name in ids)
        self.bits = np.array(found or [(0, 0)], np.int32).T.copy()
        self.mark_own(venue)

    def mark_own(self, venue: Venue) -> dict[str, NDArray[np.uint64]]:
        """Put each advertiser's `own_share` of the people on its own list. Returns their keys by advertiser."""
        marked = {}
        for ix, advertiser in enumerate(venue.config.advertiser):
            if advertiser.own_share > 0:
                mine = self.draws(self.config.people, OWN, ix)[:, 0] < advertiser.own_share
                marked[advertiser.name] = np.ascontiguousarray(self.people["key"][mine])
                venue.mark_own(advertiser.name, marked[advertiser.name])
        return marked

    def _rows(self, vocabulary: Vocabulary) -> NDArray[np.int32]:
        """int32[4, 32]: numbers of countries and devices, packed countries, device codes."""
        rows = np.zeros((4, 32), np.int32)
        if self.plain:
            return rows
        for c, (country, _) in enumerate(COUNTRIES):
            rows[0, c] = vocabulary.ids["country"].get(country, OTHER)
            rows[2, c] = packed(country)
        for d, (device, _) in enumerate(DEVICES):
            rows[1, d] = vocabulary.ids["device"].get(device, OTHER)
            rows[3, d] = codes.DEVICES.index(device)
        return rows

    def at(self, t: int) -> Any:
        """Visit t: a record with t, now_ns, person, placement, n_imps."""
        visit_at(self.settings, self.places, t, self.visit)
        return self.visit[0].copy()

    def truth(self, visit: Any, imp_ix: int, slot: int = 0) -> tuple[bool, bool]:
        """Is this impression seen, is it clicked, if sold in this position (0 = the best)."""
        who, where = self.people[int(visit["person"])], self.places[int(visit["placement"])]
        share = float(self.slots[slot] / self.slots[0])
        seen, clicked = truth_of(self.settings[0], where, who, int(visit["t"]), imp_ix, slot, share)
        return bool(seen), bool(clicked)

    def converts(self, visit: Any, imp_ix: int, slot: int = 0) -> bool:
        """Does a click on this impression become a conversion."""
        return bool(converts(self.settings[0], int(visit["t"]), imp_ix, slot))

    def agrees(self, visit: Any, imp_ix: int, slot: int = 0) -> tuple[bool, bool]:
        """Does a click on this impression become an opt in, and does he opt out again."""
        opts_in, opts_out = agrees(self.settings[0], int(visit["t"]), imp_ix, slot)
        return bool(opts_in), bool(opts_out)

    def returned(self, auction_id: int, imp_ix: int, slot: int, paid_nano: int, number: int) -> int:
        """What refund `number` of a billed award gives back, nano; 0 = there is none."""
        return int(returned(self.settings[0], auction_id, imp_ix, slot, paid_nano, number))

    def request(self, visit: Any, test_clock: bool = False) -> bytes:
        """A visit as an OpenRTB 2.6 bid request; with `test_clock` it carries its own time.

        Raises ConfigError with a log: OpenRTB has no field for its click rates.
        """
        if self.config.log:
            raise ConfigError(f"population.log = {self.config.log!r}: a log's visits cannot be sent as requests")
        person, place = self.people[visit["person"]], self.places[visit["placement"]]
        ix = int(visit["placement"])
        body: dict[str, Any] = {
            "id": f"v{int(visit['t'])}",
            "imp": [self._imp(place, k) for k in range(int(place["n_imps"]))],
            "site": {
                "id": f"s{ix // PER_SITE + 1}",
                "domain": self.sites[ix],
                "page": f"https://{self.sites[ix]}/{ix % PER_SITE + 1}",
                "publisher": {"id": self.publishers[ix]},
            },
            "user": {"id": f"p{int(visit['person'])}"},
            "cur": [self.currency],
        }
        if not self.plain:
            body["device"] = {
                "devicetype": DEVICE_TYPES[DEVICES[person["device"]][0]],
                "geo": {"country": ALPHA_3[COUNTRIES[person["country"]][0]]},
            }
            mine = [n for bit, n in enumerate(self.segment_names) if int(person["segments"]) >> bit & 1]
            if mine:
                body["user"]["data"] = [{"id": "hall", "segment": [{"id": name} for name in mine]}]
        if place["blocks"]:
            body["bcat"] = list(BLOCKED_CATS)
        if test_clock:
            body["ext"] = {"rentier": {"now_ns": int(visit["now_ns"])}}
        return msgspec.json.encode(body)

    def _imp(self, place: Any, k: int) -> dict[str, Any]:
        """One imp of a placement."""
        imp: dict[str, Any] = {
            "id": str(k + 1),
            "bidfloor": int(place["floor_nano"]) / 1e6,
            "bidfloorcur": self.currency,
        }
        size = int(place["size"] if k == 0 else place["size_2"])
        media = int(place["media"])
        if media == codes.BANNER:
            imp["banner"] = {"format": [{"w": size >> 16, "h": size & 0xFFFF}]}
        elif media == codes.VIDEO:
            imp["video"] = {"mimes": ["video/mp4"], "w": size >> 16, "h": size & 0xFFFF, "maxduration": 30}
        elif media == codes.AUDIO:
            imp["audio"] = {"mimes": ["audio/mp4"], "maxduration": 30}
        else:
            imp["native"] = {"request": '{"ver":"1.2","assets":[{"id":1,"required":1,"title":{"len":60}}]}'}
        return imp


def _erfinv(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse error function, Winitzki's (2008) approximation: relative error below 2e-3, enough to draw a spread."""
    a = 0.147
    x = np.clip(x, -1 + 1e-12, 1 - 1e-12)
    half = np.log1p(-x * x)
    first = 2 / (np.pi * a) + half / 2
    return np.asarray(np.sign(x) * np.sqrt(np.sqrt(first * first - half / a) - first))
