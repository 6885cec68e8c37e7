"""The terms of a campaign as its record has them: value, budgets, caps, flight."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from exchange import market as mk
from exchange.auction import value
from exchange.config import Campaign, ConfigError, Distribution

FAR_NS: Final = 2**62


def write_terms(me: Any, campaign: Campaign, where: str, table: list[int]) -> None:
    """Write a campaign's value, budgets, caps and flight into its record; `table` takes values to be drawn from."""
    drawn = campaign.value_cpm if isinstance(campaign.value_cpm, Distribution) else None
    if drawn is not None:
        me["value_kind"], me["value_a"], me["value_b"] = _distribution(drawn, table)
    elif campaign.value_cpm is not None:
        me["value_nano"] = min(mk.cpm_down(campaign.value_cpm), mk.PRICE_MAX_NANO)  # type: ignore[arg-type]
    else:
        worth = _exact(campaign.value_click or 0.0) or _exact(campaign.value_conversion or 0.0) * _exact(campaign.pcvr)
        me["value_nano"] = min(int(worth * _exact(campaign.pctr) * mk.NANO), mk.PRICE_MAX_NANO)
        event = campaign.value_click or campaign.value_conversion or 0.0
        me["value_event_nano"] = min(round(event * mk.NANO), mk.BUDGET_MAX_NANO)
        me["value_of"] = mk.BILL_CLICK if campaign.value_click else mk.BILL_CONVERSION
    me["pctr_ppb"], me["pcvr_ppb"] = round(campaign.pctr * 1e9), round(campaign.pcvr * 1e9)
    me["quality_ppm"], me["model"] = round(campaign.quality * 1e6), -1
    me["bill"] = mk.BILLS.index(campaign.bill)
    for key in ("budget", "daily"):
        plain = getattr(campaign, key)
        nano = mk.BUDGET_MAX_NANO if plain is None else round(plain * mk.NANO)
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


def _distribution(drawn: Distribution, table: list[int]) -> tuple[int, float, float]:
    """Kind and parameters of a drawn valuation, in nano where they are money."""
    if drawn.empirical is not None:
        first = len(table)
        table += [min(mk.cpm_down(cpm), mk.PRICE_MAX_NANO) for cpm in drawn.empirical]
        return value.EMPIRICAL, float(first), float(len(drawn.empirical))
    if drawn.uniform is not None:
        return value.UNIFORM, drawn.uniform[0] * 1e6, drawn.uniform[1] * 1e6
    if drawn.exponential is not None:
        return value.EXPONENTIAL, drawn.exponential * 1e6, 0.0
    assert drawn.lognormal is not None
    return value.LOGNORMAL, drawn.lognormal[0], drawn.lognormal[1]


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
