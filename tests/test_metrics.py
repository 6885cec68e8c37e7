"""Every metric stands in one table, in the docs and in the scrape; percentiles are as good as they say."""

import random
import timeit
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exchange import metrics
from exchange.metrics import METRICS, N_BUCKETS, Counters, Metrics, Names

DOCS = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
NAMES = Names(("north", "south"), {0: "won", 102: "outbid"}, {10: "impression", 11: "click"})


def gauges(value=0.0):
    return dict.fromkeys(metrics.GAUGES, lambda: value)


def scrape(counters, **more):
    text = Metrics(counters, NAMES, gauges(7.0), **more).render().decode()
    return text, {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_docs_hold_the_table():
    text = DOCS.read_text()
    assert metrics.table() in text, "docs/metrics.md: replace the table by exchange.metrics.table()"
    rows = [line for line in text.splitlines() if line.startswith("| `rentier_")]
    assert len(rows) == len(METRICS) == len({metric.name for metric in METRICS})


def test_the_scrape_holds_the_table_and_nothing_else():
    counters = full()
    text, _ = scrape(counters)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    # Prometheus' own parser calls a counter by its name without _total
    expected = {m.name.removesuffix("_total") if m.kind == "counter" else m.name: m for m in METRICS}
    assert set(families) == set(expected)
    for name, metric in expected.items():
        family = families[name]
        assert (family.type, family.documentation) == (metric.kind, metric.meaning)
        assert family.samples, name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)
        assert metric.name.startswith("rentier_") and metric.meaning.endswith(".")
        assert not metric.name.endswith("_seconds") or metric.unit == "seconds"


def full():
    """Counters with something in each."""
    counters = Counters(2)
    counters.requests[:] = [5, 4, 3, 2]
    counters.http_responses[204] = 9
    counters.auctions[:] = [6, 5]
    counters.bids[0] = 1
    counters.bids[599] = 8
    counters.endpoints[1].fates[102] = 7
    counters.endpoints[1].calls, counters.endpoints[1].late = 11, 1
    for us in (0, 63, 64, 127, 5_000, 10**9):
        metrics.observe(counters.latency, us)
    counters.clearing_nano, counters.billed_nano = 2_500_000_000, 1
    counters.events[10] = 3
    counters.links_refused["forged"] = 2
    counters.notices["sent"] = 4
    counters.journal_rows["bids"] = 12
    counters.campaign_reasons = {("Halle/suv", "target_seg"): 6}
    counters.campaigns.update(alive=7, ended=2)
    counters.index_bytes["base"] = 4_096
    counters.changes = 5
    return counters


def test_what_is_counted_is_what_is_scraped():
    _, values = scrape(full())
    assert values[("rentier_requests_total", "overload")] == 2
    assert values[("rentier_http_responses_total", "204")] == 9
    assert [values[("rentier_auctions_total", sold)] for sold in ("no", "yes")] == [6, 5]
    assert values[("rentier_bids_total", "won", "local")] == 1
    assert values[("rentier_bids_total", "599", "local")] == 8, "a code without a name shows as itself"
    assert values[("rentier_bids_total", "outbid", "south")] == 7
    assert values[("rentier_endpoint_calls_total", "south", "late")] == 1
    assert values[("rentier_endpoint_calls_total", "north", "ok")] == 0
    assert values[("rentier_revenue_clearing_total",)] == 2.5
    assert values[("rentier_revenue_billed_total",)] == 1e-9
    assert values[("rentier_events_total", "impression")] == 3
    assert values[("rentier_links_refused_total", "forged")] == 2
    assert values[("rentier_journal_rows_total", "bids")] == 12
    assert values[("rentier_campaign_reasons_total", "Halle/suv", "target_seg")] == 6
    assert values[("rentier_campaigns", "alive")] == 7 and values[("rentier_campaigns", "ended")] == 2
    assert values[("rentier_index_bytes", "base")] == 4_096 and values[("rentier_changes_total",)] == 5
    assert all(values[(name,)] == 7.0 for name in metrics.GAUGES)


def test_the_histogram_is_cumulative_and_exact_at_its_bounds():
    _, values = scrape(full())
    name = "rentier_request_latency_seconds"
    bucket = {key[1]: value for key, value in values.items() if key[0] == f"{name}_bucket" and len(key) == 2}
    assert (bucket["0.000064"], bucket["0.000128"], bucket["0.008192"], bucket["+Inf"]) == (2, 4, 5, 6)
    assert list(bucket.values()) == sorted(bucket.values())
    assert values[(f"{name}_count",)] == 6
    assert values[(f"{name}_sum",)] == pytest.approx((63 + 64 + 127 + 5_000 + 10**9) / 1e6)


def test_before_runs_before_each_scrape():
    counters = Counters(2)
    _, values = scrape(counters, before=lambda: counters.journal_rows.update(wins=3))
    assert values[("rentier_journal_rows_total", "wins")] == 3


def test_gauges_and_endpoints_must_be_complete():
    with pytest.raises(ValueError, match="rentier_contacts"):
        Metrics(Counters(2), NAMES, {})
    with pytest.raises(ValueError, match="expected exactly"):
        Metrics(Counters(2), NAMES, {**gauges(), "rentier_more": lambda: 0})
    with pytest.raises(ValueError, match="1 endpoints are counted, 2 named"):
        Metrics(Counters(1), NAMES, gauges())


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.one_of(st.integers(0, 2**27 - 1), st.integers(0, 300)))
def test_every_latency_falls_into_the_bucket_that_ends_above_it(us):
    record = metrics.buckets()
    metrics.observe(record, us)
    at = record.index(1)
    assert at < N_BUCKETS and sum(record[:N_BUCKETS]) == 1
    below = metrics.bucket_end_us(at - 1) if at else 0
    assert below <= us < metrics.bucket_end_us(at)
    assert metrics.bucket_end_us(at) - below <= max(1, us // 8)
    assert record[metrics.SUM] == us


def test_bucket_ends_rise_and_the_last_takes_the_rest():
    ends = [metrics.bucket_end_us(at) for at in range(N_BUCKETS)]
    assert all(a < b for a, b in zip(ends, ends[1:], strict=False))
    assert ends[-1] == 2**27
    record = metrics.buckets()
    metrics.observe(record, 2**40)
    assert record[N_BUCKETS - 1] == 1


def test_percentiles_against_sorting():
    assert metrics.percentile_us(metrics.buckets(), 0.5) == 0
    draw = random.Random(7)
    latencies = sorted(int(draw.lognormvariate(6, 2)) for _ in range(20_000))
    record = metrics.buckets()
    for us in latencies:
        metrics.observe(record, us)
    for share in (0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0):
        true = latencies[max(1, -int(-share * len(latencies) // 1)) - 1]
        assert true <= metrics.percentile_us(record, share) <= true * 1.125 + 1


def test_counting_is_cheap():
    record = metrics.buckets()
    best = min(timeit.repeat(lambda: metrics.observe(record, 12_345), number=20_000, repeat=5)) / 20_000
    assert best < 1.5e-6, "0.15 us on a quiet machine"
