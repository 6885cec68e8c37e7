"""What the types of the keys cannot say: choices, unique names, one value per campaign, texts that may leave."""

import difflib
import re

from exchange.config.keys import (
    FORMATS,
    MEASURES,
    RATE_MAX,
    RATE_MIN,
    THEORY_FORMS,
    Advertiser,
    Config,
    ConfigError,
    Distribution,
    Theory,
)


def check(config: Config, name: str) -> None:
    """What types cannot say: choices, unique names, one value per campaign."""

    _choice(name, "exchange.journal", config.exchange.journal, ("wins", "bids", "full"))
    _choice(name, "auction.format", config.auction.format, FORMATS)
    _choice(name, "auction.runner_up", config.auction.runner_up, ("other_seat", "next_bid"))
    _choice(name, "population.preset", config.population.preset, ("web", "plain"))
    _choice(name, "population.visits", config.population.visits, ("random", "in_turn"))
    host, _, port = config.server.address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"{name}: server.address = {config.server.address!r}: expected host:port, port 0 to 65535")
    if config.server.awards_max & (config.server.awards_max - 1):
        raise ConfigError(f"{name}: server.awards_max = {config.server.awards_max}: expected a power of two")
    campaigns = sum(len(a.campaign) for a in config.advertiser)
    if campaigns > config.server.campaigns_max:
        raise ConfigError(
            f"{name}: server.campaigns_max = {config.server.campaigns_max}: expected at least the {campaigns} there are"
        )
    _unique(name, "advertiser.name", [a.name for a in config.advertiser])
    _check_segments(config, name)
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
    for ix, reserve in enumerate(config.auction.reserve):
        where = f"{name}: auction.reserve[{ix}]"
        if (reserve.floor_cpm is None) == (reserve.values is None):
            raise ConfigError(f"{where}: expected exactly one of floor_cpm, values")
        _check_distribution(f"{where}: values", reserve.values)
        if re.search(r"\bown\b", reserve.target):
            raise ConfigError(f"{where}: target = {reserve.target!r}: expected no leaf `own`: it is for every buyer")
    if list(config.auction.slots) != sorted(config.auction.slots, reverse=True):
        raise ConfigError(f"{name}: auction.slots = {config.auction.slots}: expected click rates, the best first")
    for advertiser in config.advertiser:
        if advertiser.currency not in ("", config.exchange.currency, *config.rates):
            known = ", ".join((config.exchange.currency, *sorted(config.rates)))
            raise ConfigError(
                f"{name}: advertiser {advertiser.name}: currency = {advertiser.currency!r}: expected one of {known}, "
                "or its rate in [rates]"
            )
        _check_campaigns(advertiser, name)
    _unique(name, "advertiser/campaign", [f"{a.name}/{c.name}" for a in config.advertiser for c in a.campaign])
    if config.theory is not None:
        _check_theory(config, config.theory, name)


def _check_segments(config: Config, name: str) -> None:
    """Segments by rule: names that a people file could give, advertisers that there are."""
    _unique(name, "segment.name", [segment.name for segment in config.segment])
    advertisers = tuple(advertiser.name for advertiser in config.advertiser)
    for segment in config.segment:
        text = segment.name
        if not text.isprintable() or text != text.strip() or text.startswith("-") or "|" in text:
            raise ConfigError(
                f"{name}: segment.name = {text!r}: expected a printable name without |, a leading - or outer spaces"
            )
        if segment.advertiser:
            _choice(name, f"segment {text}: advertiser", segment.advertiser, advertisers)


def _check_theory(config: Config, theory: Theory, name: str) -> None:
    """Known forms and measures, of campaigns that there are; what a form needs."""
    _choice(name, "theory.form", theory.form, THEORY_FORMS)
    known = {f"{a.name}/{c.name}" for a in config.advertiser for c in a.campaign}
    for text in (theory.measure, *theory.also):
        measure, at, campaign = text.partition("@")
        _choice(name, "theory.measure", measure, MEASURES)
        if at and campaign not in known:
            raise ConfigError(f"{name}: theory.measure = {text!r}: expected a campaign of this config behind the @")
    for form, key in (
        ("difference", "against"),
        ("regret", "horizons"),
        ("stated", "expected"),
        ("regret", "expected"),
    ):
        if theory.form == form and getattr(theory, key) in ("", [], None):
            raise ConfigError(f"{name}: theory.{key} is missing: expected with form = {form!r}")


def _choice(name: str, key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is none of those allowed."""
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{name}: {key} = {value!r}: expected one of {', '.join(allowed)}{hint}")


def _check_distribution(where: str, drawn: Distribution | None) -> None:
    """Refuse a distribution that is none, or two."""
    if drawn is None:
        return
    fields = Distribution.__struct_fields__
    if sum(getattr(drawn, f) is not None for f in fields) != 1:
        raise ConfigError(f"{where}: expected exactly one of {', '.join(fields)}")
    if drawn.uniform and not 0 <= drawn.uniform[0] <= drawn.uniform[1]:
        raise ConfigError(f"{where}.uniform = {list(drawn.uniform)}: expected [low, high], 0 <= low <= high")


def _check_campaigns(advertiser: Advertiser, name: str) -> None:
    """One value per campaign, known words, creatives that can be shown."""
    _unique(name, f"campaign.name of {advertiser.name}", [c.name for c in advertiser.campaign])
    for campaign in advertiser.campaign:
        where = f"{name}: campaign {advertiser.name}/{campaign.name}"
        values = [campaign.value_cpm, campaign.value_click, campaign.value_conversion]
        if sum(v is not None for v in values) != 1:
            raise ConfigError(f"{where}: expected exactly one of value_cpm, value_click, value_conversion")
        if isinstance(campaign.value_cpm, Distribution):
            _check_distribution(f"{where}: value_cpm", campaign.value_cpm)
        _choice(name, f"campaign {campaign.name}: purpose", campaign.purpose, PURPOSES)
        _choice(name, f"campaign {campaign.name}: bill", campaign.bill, ("impression", "click", "conversion"))
        _choice(name, f"campaign {campaign.name}: pacing", campaign.pacing, ("fast", "even"))
        if (
            campaign.pacing == "even"
            and campaign.daily is None
            and not (campaign.budget is not None and campaign.start and campaign.end)
        ):
            raise ConfigError(f'{where}: pacing = "even": expected daily, or budget with start and end')
        if not campaign.creative:
            raise ConfigError(f"{where}: expected at least one [[advertiser.campaign.creative]]")
        _unique(name, f"creative.id of {campaign.name}", [c.id for c in campaign.creative])
        for creative in campaign.creative:
            _choice(name, f"creative {creative.id}: type", creative.type, ("banner", "video", "audio", "native"))
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
    for advertiser in config.advertiser:
        for campaign in advertiser.campaign:
            for creative in campaign.creative:
                if creative.landing and not _WEB_URL.fullmatch(creative.landing):
                    refuse(f"creative {creative.id}: landing", creative.landing, "http(s)://host/path")


PURPOSES = ("prospect", "winback", "drive_to_store")
_WEB_URL = re.compile(r"https?://[!-~]+")


def _unique(name: str, key: str, values: list[str]) -> None:
    """Refuse a list with a name in it twice."""
    seen: set[str] = set()
    for value in values:
        if value.lower() in seen:
            raise ConfigError(f"{name}: {key} = {value!r} stands twice: names must be unique")
        seen.add(value.lower())
