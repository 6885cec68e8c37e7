"""The keys of a config, each documented here and only here.

Money in a config is written as people write it: prices as CPM (`_cpm`), budgets in plain currency.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct, field

Positive = Annotated[float, Meta(gt=0, le=1e15)]  # so never infinite
Finite = Annotated[float, Meta(ge=-1e15, le=1e15)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Price = Annotated[float, Meta(ge=0, le=1_000_000)]
FORMATS = ("second_price", "first_price", "soft_floor", "posted_price", "all_pay", "gsp", "vcg", "myerson")
SEED_MAX = 2**63 - 1
CapCount = Annotated[int, Meta(ge=1, le=60_000)]
SlotRate = Annotated[float, Meta(ge=0.0001, le=1_000)]  # kept in millionths
FeeWeight = Annotated[int, Meta(ge=0, le=10_000)]


RATE_MIN = 0.0005  # a rate is kept in millionths: below this it would be off by more than 0.1 %
RATE_MAX = 10_000.0


class ConfigError(ValueError):
    """A config that cannot be used; the message is one line: file, key, value, what was expected."""


class Exchange(Struct, forbid_unknown_fields=True):
    """[exchange]: what the venue is."""

    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "EUR"  # the one ledger currency (ISO 4217)
    ledger: str = "ledger"  # folder of the journal, beside it the names and the salt
    journal: str = "bids"  # wins = auctions, wins, events | bids = also every bid | full = also raw inputs
    people: str = ""  # CSV of user ids and their segments, known before any request says so
    seed: Annotated[int, Meta(ge=0, le=SEED_MAX)] = 0  # of every draw: ties, rules' own draws, the population
    shards: Annotated[int, Meta(ge=1, le=1)] = 1  # sub-markets by person; one until shards exist


class Server(Struct, forbid_unknown_fields=True):
    """[server]: the HTTP side. `timeout_ms` is the longest an auction may take, whatever tmax says."""

    address: str = "127.0.0.1:8080"  # host:port; port 0 takes a free one
    public_url: str = ""  # how the outside reaches us, for links; empty = http://<address>
    timeout_ms: Annotated[int, Meta(ge=1, le=60_000)] = 120
    margin_ms: Annotated[int, Meta(ge=0, le=10_000)] = 10  # taken off the deadline for our own work
    test_clock: bool = False  # accept ext.rentier.now_ns and ?now_ns= (tests and replays only)
    body_max_bytes: Annotated[int, Meta(ge=1024, le=16_777_216)] = 65_536
    header_max_bytes: Annotated[int, Meta(ge=512, le=1_048_576)] = 16_384
    imps_max: Annotated[int, Meta(ge=1, le=256)] = 64  # imps in one request
    connections_max: Annotated[int, Meta(ge=1, le=65_536)] = 2_048
    in_flight_max: Annotated[int, Meta(ge=1, le=65_536)] = 1_024  # auctions waiting for remote answers; more get 503
    read_timeout_ms: Annotated[int, Meta(ge=100)] = 5_000  # from the first byte of a request to its last
    idle_timeout_ms: Annotated[int, Meta(ge=100)] = 75_000  # a silent keep-alive connection
    drain_timeout_ms: Annotated[int, Meta(ge=0)] = 5_000  # on SIGTERM: how long in-flight auctions may finish
    hold_s: Annotated[int, Meta(ge=1, le=86_400)] = 300  # a hold without its impression is released
    link_ttl_s: Annotated[int, Meta(ge=1, le=2_592_000)] = 3_600  # signed links expire
    awards_max: Annotated[int, Meta(ge=1024, le=16_777_216)] = 262_144  # awards remembered, power of two
    people_max: Annotated[int, Meta(ge=1024, le=33_554_432)] = 4_194_304  # people with contacts remembered
    campaigns_max: Annotated[int, Meta(ge=1, le=16_777_216)] = 1_000_000  # of a run, ended ones included
    names_max: Annotated[int, Meta(ge=1024)] = 1_000_000  # publishers, domains, advertisers first seen in traffic
    notices_max: Annotated[int, Meta(ge=1)] = 10_000  # nurl/lurl/burl queued; more are dropped and counted
    flush_ms: Annotated[int, Meta(ge=10, le=60_000)] = 1_000  # open journal blocks are closed and synced this often


class Distribution(Struct, forbid_unknown_fields=True):
    """A value drawn per auction, CPM: { uniform = [low, high] } or another of these keys."""

    uniform: tuple[Finite, Finite] | None = None
    exponential: Positive | None = None
    lognormal: tuple[Finite, Finite] | None = None
    empirical: Annotated[list[Price], Meta(min_length=1, max_length=65_536)] | None = None  # each equally likely


class Reserve(Struct, forbid_unknown_fields=True):
    """[[auction.reserve]]: a floor for some bids; the highest floor that applies to a bid counts."""

    seat: str = ""  # only bids of this buyer: an advertiser's name, or a remote bid's seat; empty = all
    target: str = ""  # only for this audience, in the targeting language; empty = everyone
    floor_cpm: Price | None = None  # ledger currency; or
    values: Distribution | None = None  # the buyers' values: the floor is Myerson's optimum for them


class Auction(Struct, forbid_unknown_fields=True):
    """[auction]: how the winner is found and what he pays (BidRequest.at overrides `format`)."""

    format: str = "second_price"  # or first_price | soft_floor | posted_price | all_pay | gsp | vcg | myerson
    increment_cpm: Annotated[float, Meta(ge=0, le=1000)] = 0.0  # added to the runner-up; 0.01 is usual live
    runner_up: str = "other_seat"  # other_seat | next_bid: whose bid sets the second price
    floor_cpm: Price = 0.0  # least floor of every imp, ledger currency
    soft_floor_cpm: Price = 0.0  # soft_floor: a winner below it pays his bid
    slots: Annotated[list[SlotRate], Meta(max_length=16)] = []  # gsp, vcg: click rate of each position; empty = one
    reserve: Annotated[list[Reserve], Meta(max_length=256)] = []
    min_to_win: bool = True  # tell losers and rules what it would have taken


class FeeSet(Struct, forbid_unknown_fields=True):
    """[fees.set.NAME]: shares of one's own, by whole-number weights; as `sell` the last four, as `buy` the others."""

    addon_bps: Annotated[int, Meta(ge=0, le=100_000)] = 0  # on top of the clearing price, in 1/10,000 of it
    fixed_cpm: Annotated[float, Meta(ge=0, le=1_000)] = 0.0  # on top of that, ledger currency
    agency: FeeWeight = 0
    dsp: FeeWeight = 0
    data: FeeWeight = 0  # goes to verify for a campaign that targets no segments
    verify: FeeWeight = 0
    tax: FeeWeight = 0
    fx: FeeWeight = 0
    publisher: FeeWeight = 0
    exchange: FeeWeight = 0
    supply_tech: FeeWeight = 0
    hidden: FeeWeight = 0


class Fees(Struct, forbid_unknown_fields=True):
    """[fees]: who takes part of the money; presets none | isba2020 | pmp2022 (rent/waterfall.py), or own sets."""

    sell: str = "none"  # how the clearing price is shared
    buy: str = "none"  # what comes on top for local campaigns, unless their advertiser has a set of its own
    set: dict[str, FeeSet] = {}  # own sets by name
    fx_bps: Annotated[int, Meta(ge=0, le=10_000)] = 0  # on top for an advertiser of another currency, to `fx`


class Creative(Struct, forbid_unknown_fields=True):
    """[[advertiser.campaign.creative]]: one ad. Give `image`, `html` or `adm`; the click goes to `landing`."""

    id: Name
    type: str = "banner"  # banner | video | audio | native
    w: Annotated[int, Meta(ge=0, le=65_535)] = 0
    h: Annotated[int, Meta(ge=0, le=65_535)] = 0
    image: str = ""  # URL of the image (banner, native) or media file (video, audio)
    html: str = ""  # markup; ${CLICK_URL}, ${IMPRESSION_URL} and ${CONVERSION_URL} are replaced
    adm: str = ""  # whole markup, used as it is but for macros
    landing: str = ""  # where the click link may go, nowhere else
    crid: str = ""  # default: id
    cat: list[str] = []  # IAB categories
    attr: list[int] = []  # creative attributes
    duration_s: Annotated[int, Meta(ge=0, le=3600)] = 15  # video and audio
    weight: Annotated[int, Meta(ge=1, le=1_000)] = 1  # share of turns among the campaign's ads that fit


class Cap(Struct, forbid_unknown_fields=True):
    """cap = { day = 3, total = 10 }: most ads of this advertiser that one person is shown, open holds included."""

    hour: CapCount | None = None  # per UTC hour
    day: CapCount | None = None  # per UTC day
    week: CapCount | None = None  # per week, from Monday 0:00 UTC
    total: CapCount | None = None
    campaign: CapCount | None = None  # in total, counting this campaign's ads only


class Campaign(Struct, forbid_unknown_fields=True):
    """[[advertiser.campaign]]: what an advertiser wants, for how much, bidding by which rule."""

    name: Name
    target: str = ""  # the audience, in the targeting language; empty = everyone
    rule: str = "truthful"  # a built-in name | an installed rule's | pkg.mod:Class | ./file.py:Class
    knobs: dict[str, Any] = {}  # overrides of the rule's defaults
    value_cpm: Positive | Distribution | None = None  # valuation of 1,000 impressions
    value_click: Positive | None = None  # valuation of a click; needs pctr
    value_conversion: Positive | None = None  # valuation of a conversion; needs pctr and pcvr
    pctr: Share = 0.001  # the exchange's estimate of clicks per impression
    pcvr: Share = 0.02  # of conversions per click
    model: str = ""  # click model that fills pctr and pcvr in batches: pkg.mod:Class | ./file.py:Class
    bill: str = "impression"  # impression | click | conversion: what it pays for
    quality: Annotated[float, Meta(ge=0.0001, le=8)] = 1.0  # weight of its bids in the ranking of gsp and vcg
    factors: dict[str, Positive] = {}  # value factor per segment of the person, multiplied
    budget: Positive | None = None  # total, plain currency
    daily: Positive | None = None  # per UTC day
    pacing: str = "fast"  # fast = as money allows | even = released evenly over the day, and over start..end
    cap: Cap = field(default_factory=Cap)
    start: str = ""  # 2026-01-01T00:00:00Z; empty = always
    end: str = ""
    purpose: str = "prospect"  # prospect | winback | drive_to_store
    creative: list[Creative] = []


class People(Struct, forbid_unknown_fields=True):
    """[people]: what is remembered of people between requests (docs/people.md)."""

    remember: bool = False  # segments that a request states are added to the store
    segments_max: Annotated[int, Meta(ge=1, le=1_000)] = 1_000  # of one person in the store; more are not remembered
    rules_at_start: bool = False  # evaluate the [[segment]]s when the exchange starts


class Segment(Struct, forbid_unknown_fields=True):
    """[[segment]]: a segment by rule, found in the journal."""

    name: Annotated[str, Meta(min_length=1, max_length=253)]
    rule: str  # contacts >= 3 and last_contact_days >= 30
    advertiser: str = ""  # whose contacts, clicks, conversions; empty = of all together
    within_days: Annotated[int, Meta(ge=0, le=3_650)] = 0  # contacts, clicks, conversions of the last days; 0 = all


class Advertiser(Struct, forbid_unknown_fields=True):
    """[[advertiser]]: the brand; owns domains, its own-list and the contact counters."""

    name: Name
    domains: list[str] = []  # its sites; remote bids with these adomains are its bids
    own_list: str = ""  # CSV of user ids that are its customers already
    own_share: Share = 0.0  # share of [population] people that are its customers already
    fees: str = ""  # buy-side fee set of its campaigns; empty = fees.buy
    currency: Annotated[str, Meta(pattern="^([A-Z]{3})?$")] = ""  # of its value_*, budget, daily; empty = the ledger's
    holdout: Share = 0.0  # share of people, by hash, who are never shown its ads: what incrementality is measured by
    campaign: list[Campaign] = []


class Endpoint(Struct, forbid_unknown_fields=True):
    """[[endpoint]]: a remote bidder that speaks OpenRTB over HTTP."""

    name: Name
    url: str  # http://host:port/path
    target: str = ""  # only requests of this audience are sent
    fees: str = "none"  # buy-side fee set; remote bids arrive net
    qps: Annotated[int, Meta(ge=0)] = 0  # calls per second, 0 = no limit
    max_in_flight: Annotated[int, Meta(ge=1, le=4096)] = 64
    notice_hosts: list[str] = []  # hosts its nurl/burl/lurl may call; empty = its own


class Population(Struct, forbid_unknown_fields=True):
    """[population]: the people and places that `simulate`, `load` and `demo` draw from."""

    people: Annotated[int, Meta(ge=1, le=100_000_000)] = 20_000
    placements: Annotated[int, Meta(ge=1, le=1_000_000)] = 400
    preset: str = "web"  # web = mixed formats and devices | plain = one banner slot, no segments
    qps: Annotated[float, Meta(gt=0, le=10_000_000)] = 300.0  # arrivals per second of simulated time
    start: str = "2026-01-05T00:00:00Z"  # when simulated time begins
    person_skew: Annotated[float, Meta(ge=0, lt=1)] = 0.8  # how unequal people's visits are; 0 = equal
    view_rate: Share = 0.9  # sold impressions that are seen
    ctr: Share = 0.002  # true clicks per seen impression, before the factors of placement, device and hour (web)
    cvr: Share = 0.02  # true conversions per click
    organic_rate: Share = 0.0  # people who buy from an advertiser anyway, ads or none, during a simulation
    organic_own_rate: Share | None = None  # of its own customers; default: organic_rate
    uplift: Share = 0.0  # people who buy because they have seen an ad of an advertiser, without a click
    visits: str = "random"  # random = by skew | in_turn = visit t is person t modulo people
    log: str = ""  # a log to replay instead: TSV, a line a visit, columns price_cpm (the floor), pctr, click
    view_delay_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 1_000
    click_delay_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 3_000
    conversion_delay_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 60_000
    floor_cpm: Price = 0.3  # mean placement floor, ledger currency; 0 = no floors


THEORY_FORMS = (
    "auction", "revenue_equivalence", "equilibrium_bid", "reserve", "shading", "pacing", "goods", "regret",
    "difference", "stated", "occupancy",
)  # fmt: skip
MEASURES = (
    "revenue", "buyer", "spend", "publisher", "welfare", "surplus", "sale_rate", "share", "price", "winning_value",
    "bid", "bid_to_value", "event_price", "multiplier", "anarchy", "regret", "torn", "rerent",
)  # fmt: skip
Measure = Annotated[str, Meta(min_length=1, max_length=300)]


class Theory(Struct, forbid_unknown_fields=True):
    """[theory]: what `rentier theory` expects of this config."""

    id: Name  # as in `rentier theory ID`
    setting: str = ""  # one line: the market in the words of a textbook
    form: str = "auction"  # the closed form (THEORY_FORMS)
    measure: Measure = "revenue"  # one of MEASURES; of one campaign: bid@brand/campaign
    also: list[Measure] = []  # further measures of the same runs
    expected: Finite | None = None  # of `measure`, where no form computes it
    tolerance: Annotated[float, Meta(ge=0)] = 0.001  # at `auctions` and `runs`; fewer widen it by the root
    auctions: Annotated[int, Meta(ge=1, le=100_000_000)] = 1_000_000  # of each run
    runs: Annotated[int, Meta(ge=1, le=10_000)] = 1  # independent runs, where auctions of one run depend on each other
    middle: Annotated[float, Meta(gt=0, le=1)] = 1.0  # share of a run that is measured, from its middle
    horizons: list[Annotated[int, Meta(ge=1)]] = []  # regret: lengths of runs; budgets go with them
    against: str = ""  # difference: the config that is subtracted
    source: str = ""


class Config(Struct, forbid_unknown_fields=True):
    """A whole config file."""

    exchange: Exchange = field(default_factory=Exchange)
    server: Server = field(default_factory=Server)
    auction: Auction = field(default_factory=Auction)
    fees: Fees = field(default_factory=Fees)
    rates: dict[Annotated[str, Meta(pattern="^[A-Z]{3}$")], Positive] = {}  # USD = 0.92: one dollar in ledger currency
    audiences: dict[str, str] = {}  # named targets, used as @name
    people: People = field(default_factory=People)
    segment: list[Segment] = []
    advertiser: list[Advertiser] = []
    endpoint: list[Endpoint] = []
    population: Population = field(default_factory=Population)
    theory: Theory | None = None
    folder: str = ""  # filled by load_config: relative paths start here


STRUCTS = (
    Exchange,
    Server,
    Auction,
    Fees,
    FeeSet,
    Creative,
    Cap,
    Reserve,
    Distribution,
    Campaign,
    People,
    Segment,
    Advertiser,
    Endpoint,
    Population,
    Theory,
    Config,
)
