"""Why campaigns are not asked, from what /metrics has counted on a sample of the requests, as a table."""

from typing import Final

from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from exchange.config import ConfigError
from exchange.explain.steps import chosen
from exchange.metrics import SAMPLE_EVERY

METRIC: Final = "rentier_campaign_reasons"  # the parser takes _total away
ASKED: Final = "asked"
WIDTH: Final = 100  # columns
LISTED: Final = 60  # campaigns on the screen; JSON has them all


class Looked(Struct):
    """One campaign: how often it was looked at, in which share of these it was asked, the share of each reason."""

    campaign: str
    looks: int
    asked: float
    reasons: dict[str, float]  # the largest first


def counters(text: str, source: str, campaign: str = "") -> list[Looked]:
    """The campaigns in a text of /metrics, those asked least first; `campaign`: this one only.

    Raises ConfigError for a text without the metric, or without the campaign.
    """
    found: dict[str, dict[str, int]] = {}
    try:
        families = {family.name: family for family in text_string_to_metric_families(text)}
    except ValueError as error:
        raise ConfigError(f"{source}: not a text of /metrics: {error}") from None
    if METRIC not in families:
        raise ConfigError(f"{source}: no {METRIC}_total in it: expected the text of an exchange's /metrics")
    for sample in families[METRIC].samples:
        found.setdefault(sample.labels["campaign"], {})[sample.labels["reason"]] = int(sample.value)
    if campaign:
        name = chosen(campaign, list(found))
        found = {name: found[name]}
    made = [_looked(name, counts) for name, counts in found.items()]
    return sorted(made, key=lambda each: (each.asked, each.campaign))


def _looked(campaign: str, counts: dict[str, int]) -> Looked:
    looks = sum(counts.values())
    reasons = sorted(((n / looks, reason) for reason, n in counts.items() if n and reason != ASKED), reverse=True)
    return Looked(campaign, looks, counts.get(ASKED, 0) / max(1, looks), {reason: share for share, reason in reasons})


def render(found: list[Looked]) -> str:
    """A line a campaign, the reasons with their shares of all looks, as many as fit 100 columns."""
    if not found:
        return f"no campaign has been looked at yet: the exchange looks at some in every {SAMPLE_EVERY}th bid request"
    wide = min(40, max(8, *(len(each.campaign) for each in found)))
    lines = [f"{'campaign':<{wide}}  looked at   asked  not asked, because of"]
    for each in found[:LISTED]:
        name = each.campaign if len(each.campaign) <= wide else f"{each.campaign[: wide - 3]}..."
        line = f"{name:<{wide}}  {each.looks:>9,}  {each.asked:>6.1%}  "
        for ix, (reason, share) in enumerate(each.reasons.items()):
            more = f"{', ' if ix else ''}{reason} {share:.1%}"
            left = len(each.reasons) - ix - 1
            if len(line) + len(more) + (len(f", {left} more") if left else 0) > WIDTH:
                line += f", {left + 1} more"
                break
            line += more
        lines.append(line.rstrip())
    if len(found) > LISTED:
        lines.append(f"... and {len(found) - LISTED} more (see --json)")
    return "\n".join(lines)
