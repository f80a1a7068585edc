"""What the engine counts anyway, read when somebody asks: it costs the hot path nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.engine import EngineCounters, EngineSnapshot
from streams.metrics.kinds import Kind, Maker

_TOPIC = "a topic that an agent reads"
_PARTITION = "its number"

Sample = tuple[tuple[str, ...], float]


class _Read(NamedTuple):
    name: str
    kind: Kind
    text: str
    labels: dict[str, str]
    samples: Callable[[EngineSnapshot], Iterable[Sample]]


def _one(value: float) -> list[Sample]:
    return [((), value)]


def _by_topic(values: Iterable[tuple[str, float]]) -> list[Sample]:
    return [((topic,), value) for topic, value in values]


def _by_partition(values: Iterable[tuple[tuple[str, int], float]]) -> list[Sample]:
    return [((topic, str(partition)), value) for (topic, partition), value in values]


_IN_PARTITION = {"topic": _TOPIC, "partition": _PARTITION}

_READS = (
    _Read(
        "consumer_lag_messages", "gauge", "Messages not yet handled.", _IN_PARTITION,
        lambda at: _by_partition(at.lag.items()),
    ),
    _Read(
        "consumer_lag_seconds", "gauge",
        "For how long the oldest message not yet handled has been in Kafka, by its timestamp; "
        "while it has not been fetched, since when it was seen to be there.",
        _IN_PARTITION, lambda at: _by_partition(at.lag_s.items()),
    ),
    _Read(
        "uncommitted_seconds", "gauge",
        "For how long messages have been handled without any of them being committed.",
        _IN_PARTITION, lambda at: _by_partition(at.uncommitted_s.items()),
    ),
    _Read(
        "consumed_messages_total", "counter", "Messages handled and acknowledged.",
        {"topic": _TOPIC}, lambda at: _by_topic(at.messages.items()),
    ),
    _Read(
        "consumed_batches_total", "counter", "The batches that they came in.",
        {"topic": _TOPIC}, lambda at: _by_topic(at.batches.items()),
    ),
    _Read(
        "inbox_messages", "gauge", "Messages fetched that wait for an agent or are in its hands.",
        {"topic": _TOPIC}, lambda at: _by_topic(at.inbox.items()),
    ),
    _Read(
        "assigned_partitions", "gauge", "Partitions assigned to this worker.",
        {}, lambda at: _one(len(at.assigned)),
    ),
    _Read(
        "healing_partitions", "gauge", "Of these, the ones whose wallets are still being healed.",
        {}, lambda at: _one(at.healing),
    ),
    _Read(
        "heals_total", "counter", "Times that assigned partitions were healed, and failed to be.",
        {"result": "`ok`, `failed`"},
        lambda at: [(("ok",), at.heals), (("failed",), at.heal_failures)],
    ),
    _Read(
        "produced_messages_total", "counter", "Messages handed to the producer.",
        {}, lambda at: _one(at.produced),
    ),
    _Read(
        "commits_total", "counter", "Commits of offsets, and those that the broker did not take.",
        {"result": "`ok`, `failed`"},
        lambda at: [(("ok",), at.commits), (("failed",), at.commit_failures)],
    ),
    _Read(
        "late_acknowledgements_total", "counter",
        "Batches finished after their partition had gone to another worker.",
        {}, lambda at: _one(at.late_acks),
    ),
    _Read(
        "pauses_total", "counter", "Times that a topic was paused because its inbox was full.",
        {}, lambda at: _one(at.pauses),
    ),
    _Read(
        "progress_age_seconds", "gauge",
        "Time since anything was finished; grows also when there is nothing to do.",
        {}, lambda at: _one(at.seconds_since_progress),
    ),
)  # fmt: skip


class EngineCollector(Collector):
    """The engine's counters as metrics; nothing before there is an engine."""

    def __init__(self, make: Maker) -> None:
        self._counters: EngineCounters | None = None
        self._reads = [
            (make.describe(one.name, one.kind, one.text, **one.labels), one) for one in _READS
        ]
        make.registry.register(self)

    def watch(self, counters: EngineCounters) -> None:
        """From now on these are what is told."""
        self._counters = counters

    def describe(self) -> Iterator[Metric]:
        """The metrics without samples, so that a registry sees a name used twice."""
        return (_family(name, one, ()) for name, one in self._reads)

    def collect(self) -> Iterator[Metric]:
        """The metrics as they stand."""
        if self._counters is not None:
            at = self._counters.snapshot()
            for name, one in self._reads:
                yield _family(name, one, one.samples(at))


def _family(name: str, one: _Read, samples: Iterable[Sample]) -> Metric:
    family = (CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily)(
        name, one.text, labels=tuple(one.labels)
    )
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
