"""Explain one bid request step by step: what it became, who may bid and why not, each bid's fate, the price, the split.

The request goes the real way (`Line.open`, the compiled step, the journal) on an empty ledger in a temporary folder:
nothing is spent and nobody has been met yet. Remote endpoints are listed, not called.
"""

import difflib
import shutil
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from exchange import market as mk
from exchange.auction import sell
from exchange.auction.ads import target_of
from exchange.auction.venue import Venue
from exchange.audience.language import explain as explain_target
from exchange.audience.lists import FOLDER as LISTS
from exchange.audience.table import LEARNT, STORE
from exchange.audience.target import View
from exchange.books.run_summary import Party
from exchange.config import Config, ConfigError, load_config, shipped
from exchange.explain import reasons
from exchange.explain.facts import (
    BidFate,
    EndpointFacts,
    Explained,
    ImpFacts,
    NotAsked,
    Place,
    Presets,
    ReserveFacts,
    Sale,
    Who,
)
from exchange.explain.screen import render
from exchange.explain.views import stored_segments, views_of
from exchange.facts.sources import anonymous
from exchange.line import Line
from exchange.links import Links
from exchange.opening import open_venue
from exchange.openrtb import codes
from exchange.openrtb.corpus import read_requests
from exchange.openrtb.encode import cpm
from exchange.openrtb.model import BidRequest
from exchange.openrtb.validate import BadRequest
from exchange.opportunity import UNSOLD_FLOOR_NANO, Opened
from exchange.rent.ledger import Ledger
from exchange.rent.names import SALT_BYTES

NO_LEDGER: Final = bytes(SALT_BYTES)  # the salt where there is no ledger: the same people every time


def explain_file(path: str | Path, config_path: str | Path | None, as_json: bool, campaign: str = "") -> str:
    """Explain the first bid request of a file (plain or wrapped), as text of at most 100 columns or as JSON.

    config_path None = the demo's config; campaign: only what concerns this one, ADVERTISER/CAMPAIGN or a name that
    only one campaign has. Raises ConfigError, OSError.
    """
    config_path = config_path or shipped("demo.toml")
    config = load_config(config_path)
    found = list(read_requests(Path(path)))
    if not found:
        raise ConfigError(f"{path}: no bid request in it")
    facts = explain(config, found[0][1], time.time_ns())
    facts.config, facts.file, facts.more = str(config_path), found[0][0], len(found) - 1
    if campaign:
        _narrow(facts, chosen(campaign, [f"{a.name}/{c.name}" for a in config.advertiser for c in a.campaign]))
    return msgspec.json.encode(facts).decode() if as_json else render(facts)


def chosen(text: str, names: list[str]) -> str:
    """The campaign that a text names: ADVERTISER/CAMPAIGN, or CAMPAIGN where only one has it. Raises ConfigError."""
    found = [name for name in names if text in (name, name.partition("/")[2])]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"--campaign {text}: {len(found)} have this name: expected one of {', '.join(found)}")
    near = difflib.get_close_matches(text, names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"--campaign {text}: none of the config's {len(names)} campaigns{hint}")


def _narrow(facts: Explained, campaign: str) -> None:
    """Leave in the facts only what concerns one campaign."""
    facts.campaign = campaign
    for imp in facts.imps:
        imp.asked = [name for name in imp.asked if name == campaign]
        imp.not_asked = [each for each in imp.not_asked if each.campaign == campaign]
        imp.bids = [bid for bid in imp.bids if bid.campaign == campaign]


def explain(config: Config, body: bytes, now_ns: int) -> Explained:
    """Hold the auction of one request at `now_ns` (or at its own ext.rentier.now_ns) and say all there is to know."""
    config = deepcopy(config)
    config.exchange.journal, config.server.test_clock = "bids", True
    ledger = Path(config.folder) / config.exchange.ledger
    with tempfile.TemporaryDirectory(prefix="rentier-explain-") as folder:
        _take_people(ledger, Path(folder))
        config.exchange.ledger = folder
        venue, key = open_venue(config)
        try:
            return _Case(config, venue, key, body, now_ns).explained(Path(folder))
        finally:
            venue.close()


def _take_people(ledger: Path, folder: Path) -> None:
    """Copy what a ledger knows of people, where there is one: keys, and so holdouts, are then those they have there."""
    if not (ledger / "salt").is_file():
        (folder / "salt").write_bytes(NO_LEDGER)
        return
    for name in ("salt", STORE, LEARNT):
        if (ledger / name).is_file():
            shutil.copyfile(ledger / name, folder / name)
    if (ledger / LISTS).is_dir():
        shutil.copytree(ledger / LISTS, folder / LISTS)


class _Case(Struct):
    """One request on its way through one throw-away venue."""

    config: Config
    venue: Venue
    salt: bytes
    body: bytes
    now_ns: int

    def explained(self, folder: Path) -> Explained:
        """All facts, in the order of the line."""
        facts = Explained(currency=self.config.exchange.currency)
        line = Line(self.venue, self.salt, Links(self.salt, ""))
        try:
            opened = line.open(self.body, self.now_ns)
        except BadRequest as error:
            facts.status, facts.errors, facts.id = 400, error.errors, error.id or ""
            return facts
        self.venue.renew_lists(opened.now_ns)
        facts.id, facts.quoted, facts.time = opened.request.id, opened.currency, reasons.date_text(opened.now_ns)
        rows = np.frombuffer(opened.opportunities, mk.OPPORTUNITY).copy()
        rows["test"] = 0  # here nothing counts anyway, and a test leaves no rows to read
        names = self.venue.names
        facts.test = opened.request.test == 1
        facts.format = _format_name(opened.format).replace("_", " ")
        cases = self._cases(opened, rows)
        facts.place = _place(cases[0].view, rows[0], names)
        facts.who = self._who(opened.request, int(rows[0]["person_key"]))
        why = reasons.Reasons(self.config, self.venue)
        facts.endpoints = self._endpoints(line, opened, cases)
        facts.imps = [self._imp(opened, k, rows[k], cases[k]) for k in range(opened.n_imps)]
        if not opened.currency:
            return facts
        self._load(opened, rows)
        values = []
        for k, imp in enumerate(facts.imps):
            self._ask(why, imp, cases[k])
            self._sell(opened.now_ns, k)
            imp.reserves = self._reserves()
            imp.floor_nano = int(self.venue.arrays["opportunities"]["floor_nano"][k])  # as reserves have raised it
            values.append(self._values())
        self.venue.close()
        ledger = Ledger(folder)
        for k, imp in enumerate(facts.imps):
            self._fates(ledger, imp, k, values[k])
            self._sale(ledger, imp, k, line.rates[opened.currency])
        facts.status = 200 if any(imp.sale for imp in facts.imps) else 204
        return facts

    # ---- before the auction ------------------------------------------------------------------------------------

    def _who(self, request: BidRequest, key: int) -> Who:
        """Who the person is to the exchange, and the segments that count."""
        given: list[str] = []
        nameless = anonymous(request, request.user, request.device)
        if request.user is not None and not nameless:
            given = [s.id or s.name for data in request.user.data for s in data.segment]
        own = [
            advertiser.name
            for advertiser in self.config.advertiser
            if reasons.contact_of(self.venue, key, self.venue.names.id("advertiser", advertiser.name))["flags"] & mk.OWN
        ]
        stored = stored_segments(self.venue, key)
        return Who(known=key != 0, why=_named_by(request, nameless), segments=given, stored=stored, own=own)

    def _cases(self, opened: Opened, rows: Any) -> list[reasons.Case]:
        """The imps as targets and blocks see them."""
        floors = [int(row["floor_nano"]) for row in rows]
        key = int(rows[0]["person_key"])
        views = views_of(self.venue, opened, key, floors)
        private = [imp.pmp is not None and imp.pmp.private_auction == 1 for imp in opened.request.imp]
        return [
            reasons.Case(opened.request, view, key, opened.now_ns, alone)
            for view, alone in zip(views, private, strict=True)
        ]

    def _endpoints(self, line: Line, opened: Opened, cases: list[reasons.Case]) -> list[EndpointFacts]:
        """Which endpoints would be asked, by the compiled match."""
        eligible, found = line.eligible(opened), []
        for e, endpoint in enumerate(self.config.endpoint):
            tree = target_of(endpoint.target, self.config.audiences, endpoint.name, relative=False).tree
            failing = [explain_target(tree, case.view).lacks for case in cases]
            why = "" if e in eligible else f"target: {failing[0] or 'met by none of the imps'}"
            found.append(EndpointFacts(endpoint.name, endpoint.url, e in eligible, why))
        return found

    def _reserves(self) -> list[ReserveFacts]:
        """The reserves of the config that applied to the imp just sold, and to whose bids."""
        arrays, found = self.venue.arrays, []
        for r, reserve in enumerate(self.config.auction.reserve):
            if arrays["applying"][r]:
                floor = int(arrays["reserves"]["floor_nano"][r])
                found.append(ReserveFacts(reserve.seat or "", reserve.target or "", floor))
        return found

    def _imp(self, opened: Opened, k: int, row: Any, case: reasons.Case) -> ImpFacts:
        """What is for sale, and from which price on."""
        imp, floor = opened.request.imp[k], int(row["floor_nano"])
        seller = f"{imp.bidfloor:g} {imp.bidfloorcur or 'USD'}" if imp.bidfloor > 0 else "none"
        if floor >= UNSOLD_FLOOR_NANO:
            seller += ", a currency without a rate: no bid reaches it"
        media, sizes = list(case.view["media"]), list(case.view["size"])
        if case.private:
            media.append("private auction")
        return ImpFacts(id=imp.id, media=media, sizes=sizes, seller_floor=seller, floor_nano=floor)

    # ---- the auction -------------------------------------------------------------------------------------------

    def _load(self, opened: Opened, rows: Any) -> None:
        """Put the request where the compiled step reads it."""
        query = np.frombuffer(opened.query, np.int64)
        self.venue.arrays["query"][: query.size] = query
        self.venue.arrays["opportunities"][: rows.size] = rows

    def _ask(self, why: reasons.Reasons, imp: ImpFacts, case: reasons.Case) -> None:
        """Who is asked for this imp and who is not, as things stand before it."""
        for c, name in enumerate(self.venue.campaign_names):
            found = why.of(c, case)
            if found.reasons:
                imp.not_asked.append(NotAsked(name, found.reasons[0], found.leaves, found.reasons))
            else:
                imp.asked.append(name)

    def _sell(self, now_ns: int, k: int) -> None:
        """Sell imp k; imp by imp, so that what each leaves behind can be looked at."""
        while sell.trade(self.venue.record, now_ns, k, k + 1) <= k:
            self.venue.make_room()

    def _values(self) -> dict[str, int]:
        """What the imp just sold was worth to each campaign that was asked, nano."""
        values: dict[str, int] = {}
        for bid in self.venue.arrays["bids"][: self.venue.n_campaigns]:
            values.setdefault(self.venue.campaign_names[bid["campaign"]], int(bid["value_nano"]))
        return values

    def _fates(self, ledger: Ledger, imp: ImpFacts, k: int, values: dict[str, int]) -> None:
        """Read the bids of an imp back from the journal."""
        rules = {f"{a.name}/{c.name}": c.rule for a in self.config.advertiser for c in a.campaign}
        for row in ledger.bids[ledger.bids["imp_ix"] == k]:
            name = ledger.names.text("campaign", int(row["campaign"]))
            if row["fate"] == codes.HOLDOUT:  # it was not asked: `reasons` says why
                continue
            gross, net, fate = int(row["gross_nano"]), int(row["net_nano"]), int(row["fate"])
            imp.bids.append(BidFate(name, rules[name], values[name], gross, net, fate, *codes.FATES[fate]))

    def _sale(self, ledger: Ledger, imp: ImpFacts, k: int, rate_ppm: int) -> None:
        """Read the wins of an imp back from the journal, if it was sold."""
        record = self.venue.record[0]
        for row in ledger.wins[ledger.wins["imp_ix"] == k]:
            total = int(row["buyer_total_nano"])
            amounts = {party: int(row[f"{party}_nano"]) for party in mk.PARTIES}
            lost = bool(row["flags"] & mk.FLAG_LOST)
            sold = self.venue.arrays["sold"][k, 0 if lost else row["slot"]]
            sale = Sale(
                campaign=ledger.names.text("campaign", int(row["campaign"])),
                creative=ledger.names.text("creative", int(row["creative"])),
                format=_format_name(int(row["price_rule"])),
                slot=int(row["slot"]),
                lost=lost,
                bill=mk.BILLS[row["bill"]],
                pays_bid=_pays_bid(row, int(record["soft_floor_nano"])),
                bid_nano=int(row["bid_nano"]),
                second_nano=int(row["second_nano"]),
                floor_nano=int(row["floor_nano"]),
                increment_nano=int(record["increment_nano"]),
                soft_floor_nano=int(record["soft_floor_nano"]),
                clearing_nano=int(row["clearing_nano"]),
                buyer_total_nano=total,
                quoted_cpm=cpm(mk.quote_down(int(sold["clearing_nano"]), rate_ppm)),
                own=bool(row["flags"] & mk.FLAG_OWN),
                parties=[Party(party, nano, nano / total if total else 0.0) for party, nano in amounts.items()],
                fees=Presets(self.config.fees.sell, self.config.fees.buy),
            )
            if imp.sale is None:
                imp.sale = sale
            else:
                imp.lower.append(sale)


def _format_name(number: int) -> str:
    """The name of a format by its number."""
    return next(name for name, code in mk.FORMATS.items() if code == number)


def _pays_bid(row: Any, soft_floor_nano: int) -> bool:
    """Did this winner pay its own bid because the format says so."""
    if row["price_rule"] == mk.SOFT_FLOOR:
        return bool(row["bid_nano"] == row["clearing_nano"] < soft_floor_nano)
    return row["price_rule"] in (mk.FIRST_PRICE, mk.ALL_PAY)


def _place(view: View, row: Any, names: Any) -> Place:
    """Where and when, as the auction sees it."""
    return Place(
        country=view["country"],
        device=view["device"],
        domain=names.text("domain", int(row["domain"])),
        publisher=names.text("publisher", int(row["publisher"])),
        hour=int(row["hour"]),
    )


def _named_by(request: BidRequest, nameless: bool) -> str:
    """Which field names the person, or what forbids to look."""
    user, device, regs = request.user, request.device, request.regs
    if nameless:
        if device is not None and (device.lmt or device.dnt):
            return "device.lmt" if device.lmt else "device.dnt"
        return "regs.coppa" if regs is not None and regs.coppa else "regs.gdpr without a consent text"
    if user is not None and (user.id or user.buyeruid):
        return "user.id" if user.id else "user.buyeruid"
    if user is not None and any(e.uids for e in user.eids or (user.ext.eids if user.ext is not None else ())):
        return "user.eids"
    if device is not None and device.ifa:
        return "device.ifa"
    return "no user.id, buyeruid, eids or device.ifa"
