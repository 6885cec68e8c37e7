"""The config: a TOML file becomes these Structs; every key is documented here and only here.

`load_config(path)` raises `ConfigError` with one line that names the key, the value and what was expected.
Money in a config is written as people write it: prices as CPM (`_cpm`), budgets in plain currency.
"""

import difflib
import hashlib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

Positive = Annotated[float, Meta(gt=0, le=1e15)]  # so never infinite
Finite = Annotated[float, Meta(ge=-1e15, le=1e15)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
SEED_MAX = 2**63 - 1
CapCount = Annotated[int, Meta(ge=1, le=60_000)]


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
    names_max: Annotated[int, Meta(ge=1024)] = 1_000_000  # publishers, domains, advertisers first seen in traffic
    notices_max: Annotated[int, Meta(ge=1)] = 10_000  # nurl/lurl/burl queued; more are dropped and counted
    flush_ms: Annotated[int, Meta(ge=10, le=60_000)] = 1_000  # open journal blocks are closed and synced this often


class Auction(Struct, forbid_unknown_fields=True):
    """[auction]: how the winner is found and what he pays (BidRequest.at overrides `format`)."""

    format: str = "second_price"  # second_price | first_price
    increment_cpm: Annotated[float, Meta(ge=0, le=1000)] = 0.0  # added to the runner-up; 0.01 is usual live
    runner_up: str = "other_seat"  # other_seat | next_bid: whose bid sets the second price
    floor_cpm: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.0  # least floor of every imp, ledger currency
    min_to_win: bool = True  # tell losers and rules what it would have taken


class Fees(Struct, forbid_unknown_fields=True):
    """[fees]: who takes part of the money; presets none | isba2020 | pmp2022 (rent/waterfall.py)."""

    sell: str = "none"  # how the clearing price is shared
    buy: str = "none"  # what comes on top for local campaigns


class Creative(Struct, forbid_unknown_fields=True):
    """[[advertiser.campaign.creative]]: one ad. Give `image`, `html` or `adm`; the click goes to `landing`."""

    id: Name
    type: str = "banner"  # banner | video | audio | native
    w: Annotated[int, Meta(ge=0, le=65_535)] = 0
    h: Annotated[int, Meta(ge=0, le=65_535)] = 0
    image: str = ""  # URL of the image (banner, native) or media file (video, audio)
    html: str = ""  # markup; ${CLICK_URL} and ${IMPRESSION_URL} are replaced
    adm: str = ""  # whole markup, used as it is but for macros
    landing: str = ""  # where the click link may go, nowhere else
    crid: str = ""  # default: id
    cat: list[str] = []  # IAB categories
    attr: list[int] = []  # creative attributes
    duration_s: Annotated[int, Meta(ge=0, le=3600)] = 15  # video and audio


class Cap(Struct, forbid_unknown_fields=True):
    """cap = { day = 3, total = 10 }: most contacts of this advertiser with one person, open holds included."""

    day: CapCount | None = None  # per UTC day
    total: CapCount | None = None


class Distribution(Struct, forbid_unknown_fields=True):
    """A value drawn per auction: CPM { uniform = [low, high] }, { exponential = mean }, { lognormal = [mu, sigma] }."""

    uniform: tuple[Finite, Finite] | None = None
    exponential: Positive | None = None
    lognormal: tuple[Finite, Finite] | None = None


class Campaign(Struct, forbid_unknown_fields=True):
    """[[advertiser.campaign]]: what an advertiser wants, for how much, bidding by which rule."""

    name: Name
    target: str = ""  # the audience, in the targeting language; empty = everyone
    rule: str = "truthful"  # a built-in name | pkg.mod:Class | ./file.py:Class
    knobs: dict[str, Any] = {}  # overrides of the rule's defaults
    value_cpm: Positive | Distribution | None = None  # valuation of 1,000 impressions
    value_click: Positive | None = None  # valuation of a click; needs pctr
    value_conversion: Positive | None = None  # valuation of a conversion; needs pctr and pcvr
    pctr: Share = 0.001  # the exchange's estimate of clicks per impression
    pcvr: Share = 0.02  # of conversions per click
    factors: dict[str, Positive] = {}  # value factor per segment of the person, multiplied
    budget: Positive | None = None  # total, plain currency
    daily: Positive | None = None  # per UTC day
    cap: Cap = field(default_factory=Cap)
    start: str = ""  # 2026-01-01T00:00:00Z; empty = always
    end: str = ""
    purpose: str = "prospect"  # prospect | winback | drive_to_store
    creative: list[Creative] = []


class Advertiser(Struct, forbid_unknown_fields=True):
    """[[advertiser]]: the brand; owns domains, its own-list and the contact counters."""

    name: Name
    domains: list[str] = []  # its sites; remote bids with these adomains are its bids
    own_list: str = ""  # CSV of user ids that are its customers already
    own_share: Share = 0.0  # share of [population] people that are its customers already
    campaign: list[Campaign] = []


class Endpoint(Struct, forbid_unknown_fields=True):
    """[[endpoint]]: a remote bidder that speaks OpenRTB over HTTP."""

    name: Name
    url: str  # http://host:port/path
    target: str = ""  # only requests of this audience are sent
    fees: str = "none"  # buy-side fee preset; remote bids arrive net
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
    ctr: Share = 0.002  # true clicks per seen impression, before placement and person factors
    view_delay_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 1_000
    click_delay_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 3_000
    floor_cpm: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.3  # mean placement floor, ledger currency; 0 = no floors


class Config(Struct, forbid_unknown_fields=True):
    """A whole config file."""

    exchange: Exchange = field(default_factory=Exchange)
    server: Server = field(default_factory=Server)
    auction: Auction = field(default_factory=Auction)
    fees: Fees = field(default_factory=Fees)
    rates: dict[Annotated[str, Meta(pattern="^[A-Z]{3}$")], Positive] = {}  # USD = 0.92: one dollar in ledger currency
    audiences: dict[str, str] = {}  # named targets, used as @name
    advertiser: list[Advertiser] = []
    endpoint: list[Endpoint] = []
    population: Population = field(default_factory=Population)
    folder: str = ""  # filled by load_config: relative paths start here


def shipped(name: str) -> Path:
    """Path of a config that comes with the exchange: in an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    places = [package / "configs" / name, package.parent / "configs" / name]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise ConfigError(f"{name}: no such config among those shipped in {places[0].parent} or {places[1].parent}")
    return found


def load_config(path: str | Path) -> Config:
    """Read and check a TOML config. Raises ConfigError (one line) for anything unusable."""
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse_config(text, str(path), str(path.resolve().parent))


def parse_config(text: bytes | str, name: str = "config", folder: str = ".") -> Config:
    """Check a TOML text; `name` stands in messages, `folder` is where its relative paths start."""
    try:
        config = msgspec.toml.decode(text, type=Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_explain(str(error), text)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{name}: not TOML: {error}") from None
    if config.folder:
        raise ConfigError(f"{name}: Object contains unknown field `folder`")
    config.folder = folder
    _check(config, name)
    return config


def config_hash(config: Config) -> str:
    """Hash of what decides money in a config: everything but where it lies, where it listens and where it writes."""
    plain: dict[str, Any] = msgspec.to_builtins(config)
    plain.pop("folder")
    plain["exchange"].pop("ledger")
    for key in ("address", "public_url"):
        plain["server"].pop(key)
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()[:16]


def _explain(message: str, text: bytes | str) -> str:
    """Turn a decoder message into one that shows the value and suggests the nearest key."""
    unknown = re.search(r"unknown field `([^`]+)`", message)
    if unknown:
        keys = {key for struct in _STRUCTS for key in struct.__struct_fields__}
        near = difflib.get_close_matches(unknown[1], keys, 1)
        return message + (f"; did you mean `{near[0]}`?" if near else "")
    at = re.search(r" - at `\$\.?([^`]*)`$", message)
    value: Any = tomllib.loads(text.decode() if isinstance(text, bytes) else text)
    for step in re.findall(r"\[(\d+)\]|([^.\[\]]+)", at[1] if at else ""):
        try:
            value = value[int(step[0])] if step[0] else value[step[1]]
        except (KeyError, IndexError, TypeError):
            return message
    return f"{message}; got {repr(value)[:60]}" if at and "..." not in at[1] else message


def _check(config: Config, name: str) -> None:
    """What types cannot say: choices, unique names, one value per campaign."""

    def choice(key: str, value: str, allowed: tuple[str, ...]) -> None:
        if value not in allowed:
            near = difflib.get_close_matches(value, allowed, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{name}: {key} = {value!r}: expected one of {', '.join(allowed)}{hint}")

    choice("exchange.journal", config.exchange.journal, ("wins", "bids", "full"))
    choice("auction.format", config.auction.format, ("second_price", "first_price"))
    choice("auction.runner_up", config.auction.runner_up, ("other_seat", "next_bid"))
    choice("population.preset", config.population.preset, ("web", "plain"))
    host, _, port = config.server.address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"{name}: server.address = {config.server.address!r}: expected host:port, port 0 to 65535")
    if config.server.awards_max & (config.server.awards_max - 1):
        raise ConfigError(f"{name}: server.awards_max = {config.server.awards_max}: expected a power of two")
    _unique(name, "advertiser.name", [a.name for a in config.advertiser])
    _unique(name, "endpoint.name", [e.name for e in config.endpoint])
    _unique(name, "advertiser.domains", [d for a in config.advertiser for d in a.domains])
    _check_texts(config, name)
    for code, rate in config.rates.items():
        if not RATE_MIN <= rate <= RATE_MAX:
            raise ConfigError(
                f"{name}: rates.{code} = {rate}: expected {RATE_MIN} to {RATE_MAX}; rates are in millionths"
            )
    for ix, endpoint in enumerate(config.endpoint):
        if not re.match(r"^http://[^/\s:]+(:\d{1,5})?(/\S*)?$", endpoint.url):
            raise ConfigError(f"{name}: endpoint[{ix}].url = {endpoint.url!r}: expected http://host:port/path")
    for advertiser in config.advertiser:
        _unique(name, f"campaign.name of {advertiser.name}", [c.name for c in advertiser.campaign])
        for campaign in advertiser.campaign:
            where = f"{name}: campaign {advertiser.name}/{campaign.name}"
            values = [campaign.value_cpm, campaign.value_click, campaign.value_conversion]
            if sum(v is not None for v in values) != 1:
                raise ConfigError(f"{where}: expected exactly one of value_cpm, value_click, value_conversion")
            if isinstance(campaign.value_cpm, Distribution) and (
                sum(getattr(campaign.value_cpm, f) is not None for f in Distribution.__struct_fields__) != 1
            ):
                raise ConfigError(f"{where}: value_cpm: expected exactly one of uniform, exponential, lognormal")
            choice(
                f"campaign {campaign.name}: purpose",
                campaign.purpose,
                ("prospect", "winback", "drive_to_store"),
            )
            if not campaign.creative:
                raise ConfigError(f"{where}: expected at least one [[advertiser.campaign.creative]]")
            _unique(name, f"creative.id of {campaign.name}", [c.id for c in campaign.creative])
            for creative in campaign.creative:
                choice(f"creative {creative.id}: type", creative.type, ("banner", "video", "audio", "native"))
                if creative.type == "banner" and not (creative.w and creative.h):
                    raise ConfigError(f"{where}: creative {creative.id}: a banner needs w and h")


def _check_texts(config: Config, name: str) -> None:
    """URLs that may leave the exchange, names that are shown, times that must fit together."""

    def refuse(key: str, value: object, expected: str) -> None:
        raise ConfigError(f"{name}: {key} = {value!r}: expected {expected}")

    server = config.server
    if server.public_url and not _WEB_URL.fullmatch(server.public_url):
        refuse("server.public_url", server.public_url, "http(s)://host, or nothing")
    if server.margin_ms >= server.timeout_ms:
        refuse("server.margin_ms", server.margin_ms, f"less than timeout_ms = {server.timeout_ms}")
    if not config.exchange.ledger.strip():
        refuse("exchange.ledger", config.exchange.ledger, "a folder")
    if config.exchange.currency in config.rates:
        refuse(f"rates.{config.exchange.currency}", config.rates[config.exchange.currency], "other currencies only")
    names = [("advertiser.name", a.name) for a in config.advertiser]
    names += [("campaign.name", c.name) for a in config.advertiser for c in a.campaign]
    names += [("endpoint.name", e.name) for e in config.endpoint]
    for key, text in names:
        if not text.isprintable() or (key == "endpoint.name" and text == "local"):
            refuse(key, text, "a printable name, for an endpoint not 'local'")
    for endpoint in config.endpoint:
        port = re.match(r"http://[^/:]+:(\d+)", endpoint.url)
        if port and int(port[1]) > 65_535:
            refuse("endpoint.url", endpoint.url, "a port up to 65535")
        if re.search(r"\bown\b", endpoint.target):
            refuse("endpoint.target", endpoint.target, "no leaf `own`: an endpoint has no customers of its own")
    for advertiser in config.advertiser:
        for campaign in advertiser.campaign:
            drawn = campaign.value_cpm
            if isinstance(drawn, Distribution) and drawn.uniform and not 0 <= drawn.uniform[0] <= drawn.uniform[1]:
                refuse(
                    f"campaign {campaign.name}: value_cpm.uniform", list(drawn.uniform), "[low, high], 0 <= low <= high"
                )
            for creative in campaign.creative:
                if creative.landing and not _WEB_URL.fullmatch(creative.landing):
                    refuse(f"creative {creative.id}: landing", creative.landing, "http(s)://host/path")


_WEB_URL = re.compile(r"https?://[!-~]+")


def _unique(name: str, key: str, values: list[str]) -> None:
    """Refuse a list with a name in it twice."""
    seen: set[str] = set()
    for value in values:
        if value.lower() in seen:
            raise ConfigError(f"{name}: {key} = {value!r} stands twice: names must be unique")
        seen.add(value.lower())


_STRUCTS = (
    Exchange,
    Server,
    Auction,
    Fees,
    Creative,
    Cap,
    Distribution,
    Campaign,
    Advertiser,
    Endpoint,
    Population,
    Config,
)
