"""The terms of a campaign as its record has them: value, budgets, caps, flight."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import log
from typing import Any, Final

from exchange import market as mk
from exchange.auction import value
from exchange.config import Campaign, ConfigError, Distribution

FAR_NS: Final = 2**62


def write_terms(
    me: Any, campaign: Campaign, where: str, table: list[int], rate_ppm: int = mk.RATE_ONE_PPM
) -> None:
    """Write a campaign's value, budgets, caps and flight into its record; `table` takes values to be drawn from.

    rate_ppm: what one unit of its advertiser's currency is worth in the ledger's, in millionths; values and budgets are
    converted by it, rounded down.
    """
    drawn = campaign.value_cpm if isinstance(campaign.value_cpm, Distribution) else None
    if drawn is not None:
        me["value_kind"], me["value_a"], me["value_b"] = _distribution(drawn, table, rate_ppm)
    elif campaign.value_cpm is not None:
        me["value_nano"] = min(_cpm(campaign.value_cpm, rate_ppm), mk.PRICE_MAX_NANO)  # type: ignore[arg-type]
    else:
        worth = _exact(campaign.value_click or 0.0) or _exact(campaign.value_conversion or 0.0) * _exact(campaign.pcvr)
        rate = Decimal(rate_ppm) / mk.RATE_ONE_PPM
        me["value_nano"] = min(int(worth * _exact(campaign.pctr) * mk.NANO * rate), mk.PRICE_MAX_NANO)
        event = campaign.value_click or campaign.value_conversion or 0.0
        me["value_event_nano"] = min(_plain(event, rate_ppm), mk.BUDGET_MAX_NANO)
        me["value_of"] = mk.BILL_CLICK if campaign.value_click else mk.BILL_CONVERSION
    me["pctr_ppb"], me["pcvr_ppb"] = round(campaign.pctr * 1e9), round(campaign.pcvr * 1e9)
    me["quality_ppm"], me["model"] = round(campaign.quality * 1e6), -1
    me["bill"] = mk.BILLS.index(campaign.bill)
    for key in ("budget", "daily"):
        plain = getattr(campaign, key)
        nano = mk.BUDGET_MAX_NANO if plain is None else _plain(plain, rate_ppm)
        if nano > mk.BUDGET_MAX_NANO:
            raise ConfigError(f"campaign {where}: {key} = {plain}: expected at most {mk.BUDGET_MAX_NANO // mk.NANO}")
        me[key] = nano
    me["available"] = me["budget"]
    for window in ("hour", "day", "week", "total", "campaign"):
        me[f"cap_{window}"] = getattr(campaign.cap, window) or 0
    if campaign.pacing == "even":
        me["even"] = mk.EVEN_DAY if campaign.daily is not None else 0
        if campaign.budget is not None and campaign.start and campaign.end:
            me["even"] |= mk.EVEN_FLIGHT
    me["start_ns"] = date_ns(campaign.start, f"campaign {where}: start") if campaign.start else 0
    me["end_ns"] = date_ns(campaign.end, f"campaign {where}: end") if campaign.end else FAR_NS
    if me["end_ns"] <= me["start_ns"]:
        raise ConfigError(f"campaign {where}: end = {campaign.end!r}: expected a time after start = {campaign.start!r}")
    me["purpose"] = mk.PURPOSES.index(campaign.purpose)
    me["day"] = -1


def _exact(number: float) -> Decimal:
    """The number as it was written: 0.9 x 0.018 is 0.0162, and not a little less."""
    return Decimal(repr(number))


def _plain(amount: float, rate_ppm: int) -> int:
    """Plain currency as nano; of another currency converted, rounded down."""
    if rate_ppm == mk.RATE_ONE_PPM:
        return round(amount * mk.NANO)
    return int(_exact(amount) * mk.NANO * rate_ppm / mk.RATE_ONE_PPM)


def _cpm(cpm: float, rate_ppm: int) -> int:
    """A CPM as nano per impression, rounded down."""
    if rate_ppm == mk.RATE_ONE_PPM:
        return mk.cpm_down(cpm)
    return int(_exact(cpm) * rate_ppm)  # nano per impression are millionths of a CPM


def _distribution(drawn: Distribution, table: list[int], rate_ppm: int) -> tuple[int, float, float]:
    """Kind and parameters of a drawn valuation, in nano where they are money."""
    rate = rate_ppm / mk.RATE_ONE_PPM
    if drawn.empirical is not None:
        first = len(table)
        table += [min(_cpm(cpm, rate_ppm), mk.PRICE_MAX_NANO) for cpm in drawn.empirical]
        return value.EMPIRICAL, float(first), float(len(drawn.empirical))
    if drawn.uniform is not None:
        return value.UNIFORM, drawn.uniform[0] * 1e6 * rate, drawn.uniform[1] * 1e6 * rate
    if drawn.exponential is not None:
        return value.EXPONENTIAL, drawn.exponential * 1e6 * rate, 0.0
    assert drawn.lognormal is not None
    return value.LOGNORMAL, drawn.lognormal[0] + log(rate), drawn.lognormal[1]


def date_ns(text: str, where: str) -> int:
    """An ISO 8601 date and time as ns since 1970; without a zone it is UTC. Raises ConfigError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{where} = {text!r}: expected a date like 2026-01-31T08:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return max(0, min(since * 1_000, FAR_NS))
