"""What the exchange counts: every metric with its unit and meaning in one table, `METRICS`.

The hot path adds to plain ints and bucket lists (0.03-0.15 us each); Prometheus families are built only when
somebody asks (`Metrics.render`). Labels come from the config and from fixed tables, never from traffic, so the
number of series is bounded.

Latency buckets are log-linear: exact below 16 us, then 8 per power of two up to 134 s. A percentile read from
them is at most 1/8 (12.5 %) above the true one, never below it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

# ---- latency buckets ---------------------------------------------------------------------------------------

N_BUCKETS: Final = 200  # 8 per octave; the last also holds everything from 2**27 us on
SUM: Final = N_BUCKETS  # one more slot: the sum of all observations, us
_LE_OCTAVES: Final = range(6, 24)  # what a scrape shows: 64 us .. 8.4 s, each bound a bucket edge
_NANO: Final = 10**9


def buckets() -> list[int]:
    """Return an empty latency record: N_BUCKETS counts and the sum in us."""
    return [0] * (N_BUCKETS + 1)


def observe(record: list[int], us: int) -> None:
    """Count one latency of `us` microseconds (>= 0) in a record of `buckets()`."""
    shift = us.bit_length() - 4
    if shift > 0:
        at = (shift << 3) + (us >> shift)
        record[at if at < N_BUCKETS else N_BUCKETS - 1] += 1
    else:
        record[us if us > 0 else 0] += 1
    record[N_BUCKETS] += us


def bucket_end_us(at: int) -> int:
    """Return the least latency in us that lies above bucket `at`."""
    if at < 16:
        return at + 1
    shift = (at >> 3) - 1
    return ((at & 7) + 9) << shift


def percentile_us(record: Sequence[int], share: float) -> int:
    """Return the latency in us that `share` (0..1) of the observations do not exceed; 0 without any.

    Resolution: the largest latency of the bucket it falls into, so at most 12.5 % too high.
    """
    total = sum(record[:N_BUCKETS])
    need = max(1, -int(-share * total // 1))
    seen = 0
    for at in range(N_BUCKETS):
        seen += record[at]
        if seen >= need and total:
            return bucket_end_us(at) - 1
    return 0


def _histogram(record: Sequence[int]) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative (le, count) pairs and the sum in seconds, as Prometheus wants them."""
    pairs, seen, at = [], 0, 0
    for octave in _LE_OCTAVES:
        edge = 1 << octave  # observations were rounded down to whole us, so "below edge" is exact
        while at < N_BUCKETS and bucket_end_us(at) <= edge:
            seen += record[at]
            at += 1
        pairs.append((f"{edge / 1e6:.6f}", float(seen)))
    pairs.append(("+Inf", float(sum(record[:N_BUCKETS]))))
    return pairs, record[SUM] / 1e6


# ---- what is counted ---------------------------------------------------------------------------------------

SOLD: Final = 0  # indices of Counters.requests
NO_BID: Final = 1
BAD_REQUEST: Final = 2
OVERLOAD: Final = 3
OUTCOMES: Final = ("sold", "no_bid", "bad_request", "overload")
CALL_RESULTS: Final = ("ok", "no_bid", "timeout", "bad_answer", "unreachable", "not_asked", "late")
NOTICE_RESULTS: Final = ("sent", "failed", "dropped", "refused")
LINK_REFUSALS: Final = ("malformed", "forged", "expired")
POST_OUTCOMES: Final = (
    "recorded", "unpaid", "repeat", "unknown", "not_billed", "never_paid", "nothing_left", "too_much", "gap",
)  # fmt: skip
POST_REFUSALS: Final = ("unauthorized", "invalid")
CODES: Final = 600  # HTTP statuses and fates are below
SAMPLE_EVERY: Final = 17  # requests; a prime, so that traffic which repeats is not always looked at in one place
SAMPLE_CAMPAIGNS: Final = 20  # campaigns looked at in one of them
CAMPAIGNS_MAX: Final = 200  # campaigns that have series of their own: the first of the config


class EndpointCounters:
    """What is counted per remote bidder; times in us."""

    __slots__ = (
        "bad_answer",
        "calls",
        "fates",
        "late",
        "latency",
        "no_bid",
        "not_asked",
        "ok",
        "timeout",
        "unreachable",
    )

    def __init__(self) -> None:
        """All zero."""
        self.calls = self.ok = self.no_bid = self.timeout = self.late = 0
        self.bad_answer = self.unreachable = self.not_asked = 0
        self.latency = buckets()  # of answers, late ones included
        self.fates = [0] * CODES  # of its bids, by fate code


class Counters:
    """Every counter of the exchange, as plain ints that the hot path adds to; money in nano."""

    __slots__ = (
        "auctions", "billed_nano", "bids", "campaign_reasons", "campaigns", "changes", "clearing_nano", "endpoints",
        "events", "handler_faults", "http_responses", "index_bytes", "journal_rows", "latency", "links_refused",
        "notices", "posted", "posts_refused", "refunded_nano", "requests",
    )  # fmt: skip

    def __init__(self, endpoints: int = 0) -> None:
        """All zero, for a config with that many endpoints."""
        self.requests = [0] * len(OUTCOMES)  # by SOLD, NO_BID, BAD_REQUEST, OVERLOAD
        self.http_responses = [0] * CODES  # by status
        self.handler_faults = 0
        self.auctions = [0, 0]  # unsold, sold: one per imp
        self.bids = [0] * CODES  # of local campaigns, by fate code
        self.endpoints = [EndpointCounters() for _ in range(endpoints)]
        self.latency = buckets()  # of bid requests, from last byte read to answer written
        self.clearing_nano = 0
        self.billed_nano = 0
        self.events = [0] * 32  # by market.KIND_*
        self.refunded_nano = 0
        self.posted = dict.fromkeys(POST_OUTCOMES, 0)
        self.posts_refused = dict.fromkeys(POST_REFUSALS, 0)
        self.links_refused = dict.fromkeys(LINK_REFUSALS, 0)
        self.notices = dict.fromkeys(NOTICE_RESULTS, 0)
        self.journal_rows: dict[str, int] = {}  # by stream
        self.campaign_reasons: Mapping[tuple[str, str], int] = {}  # by campaign and reason (auction/reasons.py)
        self.campaigns: dict[str, int] = {}  # by state
        self.changes = 0  # carried out while serving
        self.index_bytes: dict[str, int] = {}  # by part


class Names(NamedTuple):
    """What codes and indices are called in labels."""

    endpoints: Sequence[str] = ()  # names of the config's endpoints
    fates: Mapping[int, str] = {}  # openrtb.codes.FATES, the names
    kinds: Mapping[int, str] = {}  # market.KINDS


Sample = tuple[tuple[str, ...], float | Sequence[int]]  # label values; a number, or a latency record
Read = Callable[[Counters, Names], Iterable[Sample]]


class Metric(NamedTuple):
    """One row of the table; `read` is None for a gauge without labels, which is read at scrape."""

    name: str
    kind: str  # counter | gauge | histogram
    labels: tuple[str, ...]
    unit: str
    meaning: str
    read: Read | None = None


def _fates(counters: Counters, names: Names) -> Iterable[Sample]:
    """Bids by who made them and what became of them."""
    sources = [("local", counters.bids)]
    sources += [(names.endpoints[ix], each.fates) for ix, each in enumerate(counters.endpoints)]
    for source, fates in sources:
        for code, n in enumerate(fates):
            if n:
                yield (source, names.fates.get(code, str(code))), n


def _calls(counters: Counters, names: Names) -> Iterable[Sample]:
    """Calls of endpoints by their result."""
    for ix, each in enumerate(counters.endpoints):
        for result in CALL_RESULTS:
            yield (names.endpoints[ix], result), getattr(each, result)


METRICS: Final[tuple[Metric, ...]] = (
    Metric("rentier_requests_total", "counter", ("outcome",), "requests",
           "Bid requests by outcome: sold (at least one imp), no_bid, bad_request (400), overload (503).",
           lambda c, n: (((outcome,), c.requests[ix]) for ix, outcome in enumerate(OUTCOMES))),
    Metric("rentier_request_latency_seconds", "histogram", (), "seconds",
           "From the last byte of a bid request to its answer, remote bidders included.",
           lambda c, n: [((), c.latency)]),
    Metric("rentier_http_responses_total", "counter", ("status",), "responses",
           "HTTP responses of every path by status, refusals of the protocol included.",
           lambda c, n: (((str(code),), count) for code, count in enumerate(c.http_responses) if count)),
    Metric("rentier_handler_faults_total", "counter", (), "requests",
           "Requests whose handler raised; answered 500. Anything but 0 is a bug.",
           lambda c, n: [((), c.handler_faults)]),
    Metric("rentier_auctions_total", "counter", ("sold",), "auctions",
           "Auctions, one per imp, by whether the imp was sold (yes, no).",
           lambda c, n: [(("no",), c.auctions[0]), (("yes",), c.auctions[1])]),
    Metric("rentier_bids_total", "counter", ("source", "fate"), "bids",
           "Bids by source (local, or the endpoint's name) and fate; the names of fates are OpenRTB's loss reasons.",
           _fates),
    Metric("rentier_endpoint_calls_total", "counter", ("endpoint", "result"), "calls",
           "Calls to remote bidders by result; a late answer is counted under late and, before, under timeout.",
           _calls),
    Metric("rentier_endpoint_latency_seconds", "histogram", ("endpoint",), "seconds",
           "From asking a remote bidder to its whole answer, late answers included.",
           lambda c, n: (((n.endpoints[ix],), each.latency) for ix, each in enumerate(c.endpoints))),
    Metric("rentier_revenue_clearing_total", "counter", (), "ledger currency",
           "Clearing prices of sold imps (net, what winners would pay the exchange), at auction time.",
           lambda c, n: [((), c.clearing_nano / _NANO)]),
    Metric("rentier_revenue_billed_total", "counter", (), "ledger currency",
           "What buyers paid in all (gross) for billed impressions, clicks and conversions.",
           lambda c, n: [((), c.billed_nano / _NANO)]),
    Metric("rentier_revenue_refunded_total", "counter", (), "ledger currency",
           "What buyers got back of that in refunds.",
           lambda c, n: [((), c.refunded_nano / _NANO)]),
    Metric("rentier_events_total", "counter", ("kind",), "events",
           "Journaled events after an auction: impression, view, click, billed click, conversion, billed conversion, "
           "opt in, opt out, refund, release, unpaid.",
           lambda c, n: (((n.kinds.get(kind, str(kind)),), count) for kind, count in enumerate(c.events) if count)),
    Metric("rentier_links_refused_total", "counter", ("reason",), "requests",
           "Links of awards refused: malformed, forged (wrong signature), expired.",
           lambda c, n: (((reason,), count) for reason, count in c.links_refused.items())),
    Metric("rentier_posted_events_total", "counter", ("outcome",), "events",
           "Events of POST /events by outcome: recorded, unpaid, repeat, unknown (award forgotten), or why it was "
           "refused: not_billed, never_paid, nothing_left, too_much, gap.",
           lambda c, n: (((outcome,), count) for outcome, count in c.posted.items())),
    Metric("rentier_posts_refused_total", "counter", ("reason",), "requests",
           "POST /events refused whole: unauthorized (without the ledger's key), invalid (a body that cannot be used).",
           lambda c, n: (((reason,), count) for reason, count in c.posts_refused.items())),
    Metric("rentier_notices_total", "counter", ("result",), "notices",
           "nurl, burl and lurl calls: sent (answered 2xx), failed, dropped (queue full), refused (host or URL).",
           lambda c, n: (((result,), count) for result, count in c.notices.items())),
    Metric("rentier_journal_rows_total", "counter", ("stream",), "rows",
           "Rows appended to the journal by stream.",
           lambda c, n: (((stream,), count) for stream, count in c.journal_rows.items())),
    Metric("rentier_campaign_reasons_total", "counter", ("campaign", "reason"), "looks",
           f"What kept a campaign from being asked for an imp, or asked. A sample: of every {SAMPLE_EVERY}th bid "
           f"request one imp and {SAMPLE_CAMPAIGNS} campaigns in turn, out of the first {CAMPAIGNS_MAX} of the config; "
           "compare shares, not counts.",
           lambda c, n: c.campaign_reasons.items()),
    Metric("rentier_changes_total", "counter", (), "changes",
           "Changes of campaigns and own lists carried out while serving; refused ones are not counted.",
           lambda c, n: [((), c.changes)]),
    Metric("rentier_campaigns", "gauge", ("state",), "campaigns",
           "Campaigns of this run by state: alive, off_flight (before its start or past its end), paused, ended.",
           lambda c, n: (((state,), count) for state, count in c.campaigns.items())),
    Metric("rentier_index_bytes", "gauge", ("part",), "bytes",
           "Memory of the targets and their index by part.",
           lambda c, n: (((part,), count) for part, count in c.index_bytes.items())),
    Metric("rentier_snapshot_version", "gauge", (), "changes",
           "The snapshot_version that the next journal row carries: 1, and one more per change."),
    Metric("rentier_in_flight", "gauge", (), "requests", "Bid requests waiting for remote bidders."),
    Metric("rentier_connections", "gauge", (), "connections", "Open client connections."),
    Metric("rentier_contacts", "gauge", (), "contacts",
           "Pairs of person and advertiser (or campaign, where it caps its own ads) that are remembered."),
    Metric("rentier_holds_open", "gauge", (), "holds", "Wins whose billable event has neither come nor expired."),
    Metric("rentier_notices_queued", "gauge", (), "notices", "Notices waiting or under way."),
)  # fmt: skip
GAUGES: Final = tuple(metric.name for metric in METRICS if metric.read is None)


class Metrics(Collector):
    """The counters and gauges of one exchange, as Prometheus text (exposition format 0.0.4).

    `gauges` gives a reader for every name in GAUGES; a missing or unknown one raises ValueError. `before` runs
    before each scrape, to fetch into the counters what other rooms count themselves.
    """

    def __init__(
        self,
        counters: Counters,
        names: Names,
        gauges: Mapping[str, Callable[[], float]],
        before: Callable[[], None] | None = None,
    ) -> None:
        """Check the gauges and set up a registry of its own."""
        if set(gauges) != set(GAUGES):
            raise ValueError(f"gauges: expected exactly {', '.join(GAUGES)}; got {', '.join(gauges)}")
        if len(names.endpoints) != len(counters.endpoints):
            raise ValueError(f"{len(counters.endpoints)} endpoints are counted, {len(names.endpoints)} named")
        self._counters = counters
        self._names = names
        self._gauges = gauges
        self._before = before
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        """Return the scrape; about 0.5 ms, so only for GET /metrics."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Family]:
        """Yield one Prometheus family per row of METRICS."""
        if self._before is not None:
            self._before()
        for metric in METRICS:
            yield self._family(metric)

    def _family(self, metric: Metric) -> Family:
        """Build the family of one row."""
        if metric.read is None:
            gauge = GaugeMetricFamily(metric.name, metric.meaning)
            gauge.add_metric((), self._gauges[metric.name]())
            return gauge
        samples = metric.read(self._counters, self._names)
        if metric.kind == "histogram":
            histogram = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            for labels, record in samples:
                assert not isinstance(record, float | int)
                pairs, total_s = _histogram(record)
                histogram.add_metric(labels, pairs, total_s)
            return histogram
        plain = GaugeMetricFamily if metric.kind == "gauge" else CounterMetricFamily
        family = plain(metric.name, metric.meaning, labels=metric.labels)
        for labels, value in samples:
            assert isinstance(value, float | int)
            family.add_metric(labels, value)
        return family


def table() -> str:
    """Return METRICS as a Markdown table; docs/metrics.md holds exactly this."""
    lines = ["| name | type | labels | unit | meaning |", "|---|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.unit} | {metric.meaning} |")
    return "\n".join(lines) + "\n"
