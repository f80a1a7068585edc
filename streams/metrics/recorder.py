"""The verbs: what the code calls to count and time, once a batch.

A child of a labelled metric is looked up once and kept: the look-up costs more than the increment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from models.payouts import PayoutState
from models.refusals import Reason
from streams.metrics.definitions import NOTICE_RESULTS, STAGES, Definitions

Stage = Literal["decode", "look", "score", "book", "publish"]
Waiting = Literal["sales", "returns"]
Server = Literal["kafka", "redis"]


class _Counters:
    """The children of one counter, by their labels in order of declaration."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._children: dict[tuple[str, ...], Counter] = {}

    def add(self, amount: int, *labels: str) -> None:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._counter.labels(*labels)
        child.inc(amount)


class _Histograms:
    """The children of one histogram with one label."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._children: dict[str, Histogram] = {}

    def observe(self, value: float, label: str) -> None:
        child = self._children.get(label)
        if child is None:
            child = self._children[label] = self._histogram.labels(label)
        child.observe(value)


class Metrics:
    """Counts and times of one process; may be read from another thread at any time."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        definitions = Definitions(self.registry)
        self._definitions = definitions
        self._events = _Counters(definitions.events)
        self._decisions = _Counters(definitions.decisions)
        self._dead_letters = _Counters(definitions.dead_letters)
        self._booked = _Counters(definitions.booked)
        self._contradicted = _Counters(definitions.contradicted)
        self._webhooks = _Counters(definitions.webhooks)
        self._payouts = _Counters(definitions.payouts)
        self._spendback = _Counters(definitions.spendback)
        self._settled = _Counters(definitions.settled)
        self._conversions = _Counters(definitions.conversions)
        self._rebalances = _Counters(definitions.rebalances)
        self._retries = _Counters(definitions.retries)
        self._notices = _Counters(definitions.notices)
        self._batch_events = _Histograms(definitions.batch_events)
        self._stage = _Histograms(definitions.stage)
        self._requests = _Counters(definitions.requests)
        self._request_seconds = _Histograms(definitions.request_seconds)
        # A series that is there from the start reads 0 instead of "no data" in a first alert.
        for stage in STAGES:
            definitions.stage.labels(stage)
        for reason in Reason:
            self._dead_letters.add(0, reason)
        for result in NOTICE_RESULTS:
            self._notices.add(0, result)

    def batch(self, topic: str, outcomes: Mapping[str, int]) -> None:
        """A batch of a topic is done: how many events had which outcome.

        Outcomes are few and fixed words: booked, duplicate, stale, waiting, refused.
        """
        self._batch_events.observe(sum(outcomes.values()), topic)
        for outcome, count in outcomes.items():
            self._events.add(count, topic, outcome)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time what a batch spends in a stage, also when it fails."""
        started = perf_counter()
        try:
            yield
        finally:
            self._stage.observe(perf_counter() - started, stage)

    def stage_took(self, stage: Stage, seconds: float) -> None:
        """A stage was timed by its caller."""
        self._stage.observe(seconds, stage)

    def requested(self, endpoint: str, status: int, seconds: float) -> None:
        """A request to the API was answered. Endpoints are few and fixed words."""
        self._requests.add(1, endpoint, str(status))
        self._request_seconds.observe(seconds, endpoint)

    def decided(self, tiers: Mapping[str, int]) -> None:
        """Fraud decisions of a batch, by tier."""
        for tier, count in tiers.items():
            self._decisions.add(count, tier)

    def dead_lettered(self, reasons: Mapping[str, int]) -> None:
        """Refused events of a batch, by reason."""
        for reason, count in reasons.items():
            self._dead_letters.add(count, reason)

    def booked(self, amounts_minor: Mapping[tuple[str, str], int]) -> None:
        """Money booked in a batch, by (currency, direction), in minor units, never negative.

        Directions are few and fixed words: earned, reinvested.
        """
        for (currency, direction), amount_minor in amounts_minor.items():
            self._booked.add(amount_minor, currency, direction)

    def exposure(self, owed_minor: Mapping[tuple[str, str], int]) -> None:
        """What sellers owe, by (currency, age), of all shards of this worker.

        Currencies that are not named have no debt here, and are no longer reported.
        """
        self._definitions.debt.clear()
        for (currency, age), minor in owed_minor.items():
            self._definitions.debt.labels(currency, age).set(minor)

    def payouts(self, transitions: Mapping[tuple[str, PayoutState], int]) -> None:
        """Payouts of a batch that entered a state, by (rail, state)."""
        for (rail, state), count in transitions.items():
            self._payouts.add(count, rail, state)

    def contradicted(self, rail: str) -> None:
        """An attempt that its rail had proven dead is said to have paid: somebody has to look."""
        self._contradicted.add(1, rail)

    def webhook(self, rail: str, result: str) -> None:
        """A provider has called: what came of it, in a word of the receiver's."""
        self._webhooks.add(1, rail, result)

    def gates(self, closed: Mapping[str, bool]) -> None:
        """Per rail, whether payouts are kept from it (breaker open, or paused)."""
        for rail, is_closed in closed.items():
            self._definitions.rail_closed.labels(rail).set(is_closed)

    def rail_queue(self, rail: str, payouts: int, oldest_s: float) -> None:
        """How many payouts wait for their turn at a rail, and how long the first of them has."""
        self._definitions.rail_queue.labels(rail).set(payouts)
        self._definitions.rail_queue_oldest.labels(rail).set(oldest_s)

    def spendback(self, *, granted: int = 0, unfired: int = 0, refused: int = 0) -> None:
        """Grants of a batch: made, taken back by returns, refused for lack of budget."""
        self._spendback.add(granted, "granted")
        self._spendback.add(unfired, "unfired")
        if refused:
            self._spendback.add(refused, "refused")

    def settled(self, amounts_minor: Mapping[tuple[str, str], int]) -> None:
        """Spent credit of undone grants in a batch, by (currency, outcome).

        Outcomes are recovered (its seller owes it) and forgiven.
        """
        for (currency, outcome), amount_minor in amounts_minor.items():
            self._settled.add(amount_minor, currency, outcome)

    def conversions(self, steps: Mapping[str, int]) -> None:
        """Quotes that were made, used or given up: ``quoted``, ``converted``, ``expired``."""
        for step, count in steps.items():
            self._conversions.add(count, step)

    def rate_observed(self, source: str, target: str, observed_ms: int) -> None:
        """A treasury's rate was kept."""
        self._definitions.rate_observed.labels(source, target).set(observed_ms / 1000)

    def waiting(self, kind: Waiting, events: int) -> None:
        """How many early events of a kind wait now."""
        self._definitions.waiting.labels(kind).set(events)

    def pending(self, pending_minor: Mapping[str, int]) -> None:
        """What is released later, by currency, of all shards of this worker."""
        self._definitions.pending.clear()
        for currency, minor in pending_minor.items():
            self._definitions.pending.labels(currency).set(minor)

    def outbox_age(self, seconds: float) -> None:
        """Age of the oldest booked entry not yet published; 0 when there is none."""
        self._definitions.outbox_age.set(seconds)

    def healed(self, seconds: float, entries: int, republished: int) -> None:
        """Shards were compared with the journal and repaired."""
        self._definitions.heal.observe(seconds)

    def sale_to_command(self, seconds: Iterable[float]) -> None:
        """Latencies of a batch, from a sale's arrival in Kafka to its payout command there."""
        self._definitions.sale_to_command.observe_many(seconds)

    def lag(self, messages: Mapping[tuple[str, int], int]) -> None:
        """Messages not yet handled, by (topic, partition), of all partitions assigned here.

        Partitions that are not named are another worker's now and are no longer reported.
        """
        gauge = self._definitions.lag
        gauge.clear()
        for (topic, partition), count in messages.items():
            gauge.labels(topic, str(partition)).set(count)

    def rebalanced(self, *, assigned: int = 0, revoked: int = 0) -> None:
        """Partitions came or went in a rebalance; counted once each way, however many they are."""
        self._rebalances.add(bool(assigned), "assigned")
        self._rebalances.add(bool(revoked), "revoked")

    def redis_retry(self) -> None:
        """A call to Redis is tried again."""
        self.retried("redis")

    def retried(self, server: Server) -> None:
        """A call was repeated because the server did not answer."""
        self._retries.add(1, server)

    def under_way(self, state: PayoutState, overdue: int, oldest_s: float) -> None:
        """Payouts in a state that are late, and the age of the oldest one, of this worker's."""
        self._definitions.overdue.labels(state).set(overdue)
        self._definitions.oldest.labels(state).set(oldest_s)

    def notices(self, results: Mapping[str, int]) -> None:
        """Tries to tell the company, by what became of them.

        Results are the words of ``NOTICE_RESULTS``.
        """
        for result, count in results.items():
            self._notices.add(count, result)

    def notices_pending(self, count: int, oldest_s: float) -> None:
        """How many notices are kept for the company, and the age of the oldest, 0 for none."""
        self._definitions.notices_pending.set(count)
        self._definitions.notices_oldest.set(oldest_s)

    def notices_gone(self) -> None:
        """The company's endpoint wants no more."""
        self._definitions.notices_gone.set(1)

    def scorer(self, *, up: bool) -> None:
        """Whether the fraud model scores."""
        self._definitions.scorer_up.set(up)

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)
