"""The verbs: what the code calls to count and time, once a batch.

A child of a labelled metric is looked up once and kept: the look-up costs more than the increment.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Counted
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, generate_latest

from models.decisions import Tier
from models.money import BASIS_POINTS
from models.payouts import REPORTED, FailureCategory, PayoutState
from models.refusals import Reason
from models.verdicts import Verdict
from streams.engine import EngineCounters
from streams.metrics.definitions import (
    CALLS,
    NOTICE_RESULTS,
    SCORE_BINS,
    SCORE_BOUNDS,
    STAGES,
    Definitions,
)

Stage = Literal["decode", "look", "score", "book", "publish"]
Waiting = Literal["sales", "returns"]
Server = Literal["kafka", "redis"]
Call = Literal["submit", "enquire", "cancel"]


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
        self._timers = _Counters(definitions.timers)
        self._scores = _Counters(definitions.scores)
        self._labels = _Counters(definitions.labels)
        self._label_money = _Counters(definitions.label_money)
        self._model_swaps = _Counters(definitions.model_swaps)
        self._fraud_rules = _Counters(definitions.fraud_rules)
        self._explored = _Counters(definitions.explored)
        self._rail_outcomes = _Counters(definitions.rail_outcomes)
        self._rail_money = _Counters(definitions.rail_money)
        self._heal_entries = _Counters(definitions.heal_entries)
        self._rail_seconds = definitions.rail_seconds
        self._batch_events = definitions.batch_events
        self._batch_seconds = definitions.batch_seconds
        self._stage = definitions.stage
        self._requests = _Counters(definitions.requests)
        self._request_seconds = definitions.request_seconds
        self._imbalance: Counted[str] = Counted()
        self._begin()

    def _begin(self) -> None:
        """Make the series of what seldom happens.

        A series that is there from the start reads 0 instead of "no data" in a first alert.
        """
        for stage in STAGES:
            self._definitions.stage.begin(stage)
        for counters, words in (
            (self._dead_letters, tuple(Reason)),
            (self._decisions, tuple(Tier)),
            (self._notices, NOTICE_RESULTS),
            (self._rebalances, ("assigned", "revoked")),
            (self._retries, ("redis", "kafka")),
            (self._spendback, ("granted", "unfired", "refused")),
            (self._conversions, ("quoted", "converted", "expired")),
            (self._scores, SCORE_BINS),
            (self._labels, tuple(Verdict)),
            (self._model_swaps, ("champion", "challenger")),
            (self._timers, ("booking", "rail")),
            (self._heal_entries, ("redone", "republished")),
        ):
            for word in words:
                counters.add(0, word)
        # A worker that notifies nobody must not look like one whose endpoint is gone.
        self._definitions.notices_gone.set(0)
        self._definitions.imbalance.set(0, "")

    def begin_rails(self, rails: Iterable[str]) -> None:
        """Make the series of these rails, so that a first failure is a rise and not a beginning."""
        outcomes = (*REPORTED - {PayoutState.FAILED}, *FailureCategory)
        for rail in rails:
            self._contradicted.add(0, rail)
            for state in REPORTED:
                self._payouts.add(0, rail, state)
            for call in CALLS:
                self._rail_seconds.begin(rail, call)
                for outcome in outcomes:
                    self._rail_outcomes.add(0, rail, call, outcome)

    def watch(self, counters: EngineCounters) -> None:
        """Tell what this engine counts, lag among it, whenever somebody asks."""
        self._definitions.engine.watch(counters)

    def batch(self, topic: str, outcomes: Mapping[str, int]) -> None:
        """A batch of a topic is done: how many events had which outcome.

        Outcomes are few and fixed words: booked, duplicate, stale, waiting, refused.
        """
        self._batch_events.observe(sum(outcomes.values()), topic)
        for outcome, count in outcomes.items():
            self._events.add(count, topic, outcome)

    def batch_took(self, topic: str, seconds: float) -> None:
        """A batch of any topic was acknowledged so long after its agent took it."""
        self._batch_seconds.observe(seconds, topic)

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

    def decided(
        self,
        tiers: Mapping[str, int],
        rules: Mapping[str, int],
        explored_minor: Mapping[str, int],
    ) -> None:
        """Fraud decisions of a batch: by tier, by rule that fit, and what chance let through.

        Rules are the policy's; explored money is by currency, in minor units.
        """
        for tier, count in tiers.items():
            self._decisions.add(count, tier)
        for rule, count in rules.items():
            self._fraud_rules.add(count, rule)
        for currency, minor in explored_minor.items():
            self._explored.add(minor, currency)

    def begin_fraud(self, rules: Iterable[str], explored: Iterable[str]) -> None:
        """Make the series of the policy's rules, and of the currencies in which chance may let
        something through, so that the first is a rise."""
        for rule in rules:
            self._fraud_rules.add(0, rule)
        for currency in explored:
            self._explored.add(0, currency)

    def scored(self, scores: Iterable[float | None]) -> None:
        """Probabilities of fraud of a batch; None of a sale that was not scored."""
        bounds = SCORE_BOUNDS
        bins = Counted([bisect_left(bounds, score) for score in scores if score is not None])
        for number, count in bins.items():
            self._scores.add(count, SCORE_BINS[number])

    def dead_lettered(self, reasons: Mapping[str, int]) -> None:
        """Refused events of a batch, by reason."""
        for reason, count in reasons.items():
            self._dead_letters.add(count, reason)

    def booked(self, amounts_minor: Mapping[tuple[str, str], int]) -> None:
        """Money booked in a batch, by (currency, direction), in minor units, never negative.

        Directions are few and fixed words: earned, commission, reinvested.
        """
        for (currency, direction), amount_minor in amounts_minor.items():
            self._booked.add(amount_minor, currency, direction)

    def exposure(self, owed_minor: Mapping[tuple[str, str], int]) -> None:
        """What sellers owe, by (currency, age), of all shards of this worker.

        Currencies that are not named have no debt here, and are no longer reported.
        """
        self._definitions.debt.replace(owed_minor)

    def house(self, balances_minor: Mapping[tuple[str, str], int]) -> None:
        """What the house's accounts are at, by (account, currency), in all shards here."""
        self._definitions.house.replace(balances_minor)

    def moved(
        self,
        booked: Mapping[tuple[str, str], int],
        settled: Mapping[tuple[str, str], int],
        over_rails: Mapping[tuple[str, str, str], int],
        verdicts: Mapping[str, int],
        of_labels: Mapping[tuple[str, str], int],
    ) -> None:
        """What entries moved that are in the ledger now."""
        self.labelled(verdicts, of_labels)
        self.booked(booked)
        self.settled(settled)
        self.rail_money(over_rails)

    def rail_money(self, amounts_minor: Mapping[tuple[str, str, str], int]) -> None:
        """Money over rails, by (rail, currency, direction), in minor units, never negative.

        Directions are paid and came_back.
        """
        for labels, amount_minor in amounts_minor.items():
            self._rail_money.add(amount_minor, *labels)

    def checked(self, entries: int, missing_minor: Mapping[str, int]) -> None:
        """Entries whose postings were added up, and by how much they missed zero, by currency."""
        self._definitions.checked.inc(entries)
        self._imbalance.update({c: abs(minor) for c, minor in missing_minor.items() if minor})
        if self._imbalance:
            self._definitions.imbalance.replace({(c,): n for c, n in self._imbalance.items()})

    def payouts(self, transitions: Mapping[tuple[str, PayoutState], int]) -> None:
        """Payouts of a batch that entered a state, by (rail, state)."""
        for (rail, state), count in transitions.items():
            self._payouts.add(count, rail, state)

    def contradicted(self, rail: str) -> None:
        """What is said of a payout contradicts what was proven, or said by a person."""
        self._contradicted.add(1, rail)

    def rail_call(self, rail: str, call: Call, outcome: str, seconds: float) -> None:
        """A rail answered, or did not in time: a category if the payout failed, else its state."""
        self._rail_outcomes.add(1, rail, call, outcome)
        self._rail_seconds.observe(seconds, rail, call)

    def webhook(self, rail: str, result: str) -> None:
        """A provider has called: what came of it, in a word of the receiver's."""
        self._webhooks.add(1, rail, result)

    def gates(self, closed: Mapping[str, bool]) -> None:
        """Per rail, whether payouts are kept from it (breaker open, or paused)."""
        self._definitions.rail_closed.replace({(rail,): is_ for rail, is_ in closed.items()})

    def rail_success(self, shares_bp: Mapping[str, int]) -> None:
        """Per rail, the share of its last calls that went well, in basis points."""
        self._definitions.rail_success.replace(
            {(rail,): share / BASIS_POINTS for rail, share in shares_bp.items()}
        )

    def rail_queue(self, rail: str, payouts: int, oldest_s: float) -> None:
        """How many payouts wait for their turn at a rail, and how long the first of them has."""
        self._definitions.rail_queue.set(payouts, rail)
        self._definitions.rail_queue_oldest.set(oldest_s, rail)

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
        self._definitions.rate_observed.set(observed_ms / 1000, source, target)

    def waiting(self, kind: Waiting, events: int) -> None:
        """How many early events of a kind wait now."""
        self._definitions.waiting.set(events, kind)

    def pending(self, pending_minor: Mapping[str, int]) -> None:
        """What is released later, by currency, of all shards of this worker."""
        self._definitions.pending.replace({(c,): minor for c, minor in pending_minor.items()})

    def review(self, earnings: int, oldest_s: float) -> None:
        """How many earnings are held for review, and how long the first has been, 0 for none."""
        self._definitions.review_earnings.set(earnings)
        self._definitions.review_oldest.set(oldest_s)

    def labelled(
        self, verdicts: Mapping[str, int], amounts_minor: Mapping[tuple[str, str], int]
    ) -> None:
        """Labels of sales, by verdict, and what they found, by (currency, outcome).

        Outcomes are forfeited, and gone: with the seller of a fraud, or paid.
        """
        for verdict, count in verdicts.items():
            self._labels.add(count, verdict)
        for (currency, outcome), amount_minor in amounts_minor.items():
            self._label_money.add(amount_minor, currency, outcome)

    def timers(self, kind: Literal["booking", "rail"], count: int) -> None:
        """Timers were carried out."""
        self._timers.add(count, kind)

    def outbox(self, entries: int, oldest_s: float) -> None:
        """Booked entries not known to be published, and the age of the oldest; 0 for none."""
        self._definitions.outbox_entries.set(entries)
        self._definitions.outbox_age.set(oldest_s)

    def healed(self, seconds: float, entries: int, republished: int) -> None:
        """Shards were compared with the journal and repaired."""
        self._definitions.heal.observe(seconds)
        self._heal_entries.add(entries, "redone")
        self._heal_entries.add(republished, "republished")

    def redis_memory(self, nodes: Mapping[str, tuple[int, int]]) -> None:
        """Memory used, and the bound of it, 0 for none, in bytes, by node."""
        self._definitions.redis_memory.replace({(n,): used for n, (used, _) in nodes.items()})
        self._definitions.redis_memory_max.replace({(n,): most for n, (_, most) in nodes.items()})

    def sale_to_command(self, seconds: Iterable[float]) -> None:
        """Latencies of a batch, from a sale's arrival in Kafka to its payout command there."""
        self._definitions.sale_to_command.observe_many(seconds)

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
        self._definitions.overdue.set(overdue, state)
        self._definitions.oldest.set(oldest_s, state)

    def in_flight(self, payouts: Mapping[tuple[str, str, str], int]) -> None:
        """Payouts under way of this worker's shards, by (rail, state, age in a word)."""
        self._definitions.in_flight.replace(payouts)

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

    def models(self, in_use: Mapping[tuple[str, str], float], refused: Mapping[str, bool]) -> None:
        """The models in use, by (role, digest), and of each role whether its file is refused."""
        self._definitions.model.replace(in_use)
        self._definitions.model_refused.replace({(role,): is_ for role, is_ in refused.items()})

    def model_taken(self, role: str, *, swapped: bool) -> None:
        """A model is used from now on, in place of another one or as the first."""
        self._model_swaps.add(swapped, role)

    def drift(self, psi: Mapping[str, float]) -> None:
        """How far the last sales are from those of the model's training, by feature."""
        self._definitions.psi.replace({(name,): value for name, value in psi.items()})

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)
