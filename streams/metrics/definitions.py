"""Which metrics there are: name, help, labels, buckets."""

from __future__ import annotations

import platform
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "payouts"

STAGES = ("decode", "look", "score", "book", "publish")
"""What a batch passes through, in order."""

NOTICE_RESULTS = ("delivered", "retried", "given_up", "gone", "overflow", "unreadable")
"""What becomes of a try to tell the company; all but the first two leave a dead letter."""

STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
LATENCY_BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1),
    *(0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0),
)
BATCH_BUCKETS = (1, 2, 5, 10, 25, 50, 100, 200, 350, 500, 1_000, 5_000)
HEAL_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0)


class ManyHistogram(Collector):
    """A histogram that takes a batch of values in one call, at about 0.2 µs a value.

    prometheus-client's own costs more than a microsecond a value, which would be the largest
    part of what counting costs on the hot path.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        if list(buckets) != sorted(set(buckets)):
            raise ValueError("buckets must rise")
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(buckets)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()
        registry.register(self)

    def observe_many(self, values: Iterable[float]) -> None:
        """Count every value in its bucket."""
        bounds, counts = self._bounds, self._counts
        with self._lock:
            for value in values:
                counts[bisect_left(bounds, value)] += 1
                self._sum += value

    def describe(self) -> Iterator[Metric]:
        """The metric without samples, so that a registry sees a name used twice."""
        yield HistogramMetricFamily(self._name, self._documentation)

    def collect(self) -> Iterator[Metric]:
        """The metric as it stands."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        running = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, map(float, self._bounds)), "+Inf"), counts, strict=True):
            running += count
            buckets.append((bound, running))
        yield HistogramMetricFamily(
            self._name,
            self._documentation,
            buckets=buckets,
            sum_value=total,
        )


class _Maker:
    """Makes metrics in one registry, under the product's prefix."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(
            f"{PREFIX}_{name}", text, labels, buckets=tuple(buckets), registry=self.registry
        )


class Definitions:
    """All metrics of one process, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        make = _Maker(registry)
        self._of_events(make)
        self._of_payouts(make)
        self._of_notices(make)
        self._of_api(make)
        self._of_machinery(make)

    def _of_events(self, make: _Maker) -> None:
        build = Info(f"{PREFIX}_build", "The version that runs; always 1.", registry=make.registry)
        build.info({"version": version("payout-streams"), "python": platform.python_version()})
        self.events = make.counter(
            "events_total", "Events taken, by what became of them.", "topic", "outcome"
        )
        self.decisions = make.counter("decisions_total", "Fraud decisions.", "tier")
        self.dead_letters = make.counter("dead_letters_total", "Events refused.", "reason")
        self.booked = make.counter(
            "booked_minor_units_total",
            "Money booked, in minor units of the currency.",
            *("currency", "direction"),
        )
        self.debt = make.gauge(
            "debt_minor_units",
            "What sellers owe, of the shards of this worker, by how many days they have owed it.",
            *("currency", "age"),
        )
        self.pending = make.gauge(
            "pending_minor_units",
            "Earnings that are released later, of the shards of this worker.",
            "currency",
        )
        self.waiting = make.gauge(
            "waiting_events", "Early events that wait for what they depend on.", "kind"
        )
        self.sale_to_command = ManyHistogram(
            f"{PREFIX}_sale_to_command_seconds",
            "From a sale's arrival in Kafka to its payout command in Kafka.",
            LATENCY_BUCKETS_S,
            make.registry,
        )
        self.scorer_up = make.gauge(
            "scorer_up", "1 if the fraud model scores, 0 if payouts fall back to a small cap."
        )

    def _of_payouts(self, make: _Maker) -> None:
        self.payouts = make.counter(
            "payout_transitions_total", "Payouts that entered a state.", "rail", "state"
        )
        self.overdue = make.gauge(
            "payout_overdue", "Payouts under way for longer than their state may last.", "state"
        )
        self.oldest = make.gauge(
            "payout_oldest_seconds", "Age of the oldest payout in a state, 0 for none.", "state"
        )
        self.contradicted = make.counter(
            "contradicted_total",
            "Payouts said to be paid by an attempt that its rail had proven dead.",
            "rail",
        )
        self.webhooks = make.counter(
            "webhooks_total", "Calls of providers, by what came of them.", "rail", "result"
        )
        self.rail_closed = make.gauge(
            "rail_closed", "1 while payouts are kept from a rail: breaker open, or paused.", "rail"
        )
        self.rail_queue = make.gauge(
            "rail_queue_payouts",
            "Reserved payouts that wait for their turn: for a rail's pace, or a free place.",
            "rail",
        )
        self.rail_queue_oldest = make.gauge(
            "rail_queue_oldest_seconds",
            "How long the first of them has waited; 0 when there is none.",
            "rail",
        )
        self.spendback = make.counter(
            "spendback_credits_total",
            "Grants of campaigns made, taken back and refused.",
            "outcome",
        )

        self.settled = make.counter(
            "spendback_settled_minor_units_total",
            "Credit that was spent before a return undid its grant, by what became of it.",
            *("currency", "outcome"),
        )

        self.conversions = make.counter(
            "conversions_total",
            "Quotes by events, quotes used by events, and quotes whose time was over.",
            "step",
        )
        self.rate_observed = make.gauge(
            "rate_observed_timestamp_seconds",
            "When the newest rate of a pair that this worker took was observed.",
            *("source", "target"),
        )

    def _of_notices(self, make: _Maker) -> None:
        self.notices = make.counter(
            "notices_total", "Notices to the company, by what became of a try.", "result"
        )
        self.notices_pending = make.gauge(
            "notices_pending",
            "Notices that are kept for the company, of the shards of this worker.",
        )
        self.notices_oldest = make.gauge(
            "notices_oldest_seconds", "Age of the oldest of them; 0 when there is none."
        )
        self.notices_gone = make.gauge(
            "notices_endpoint_gone", "1 once the company's endpoint wants no more: it answered 410."
        )

    def _of_api(self, make: _Maker) -> None:
        self.requests = make.counter(
            "api_requests_total", "Requests to the HTTP API, by what was answered.",
            *("endpoint", "status"),
        )  # fmt: skip
        self.request_seconds = make.histogram(
            "api_request_seconds", "From a request's headers to its answer.", LATENCY_BUCKETS_S,
            "endpoint",
        )  # fmt: skip

    def _of_machinery(self, make: _Maker) -> None:
        self.outbox_age = make.gauge(
            "outbox_age_seconds", "Age of the oldest booked entry not yet published."
        )
        self.heal = make.histogram(
            "heal_seconds", "Time to bring a partition's wallets up to the journal.", HEAL_BUCKETS_S
        )
        self.batch_events = make.histogram(
            "batch_events", "Events in a batch.", BATCH_BUCKETS, "topic"
        )
        self.stage = make.histogram(
            "stage_seconds", "Time a batch spends in a stage.", STAGE_BUCKETS_S, "stage"
        )
        self.lag = make.gauge(
            "consumer_lag_messages", "Messages not yet handled.", "topic", "partition"
        )
        self.rebalances = make.counter(
            "rebalances_total", "Changes of the partitions assigned here.", "change"
        )
        self.retries = make.counter(
            "retries_total", "Calls repeated because a server did not answer.", "server"
        )
