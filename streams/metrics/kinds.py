"""Kinds of metrics beside prometheus-client's own, and what makes and describes all of them."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "payouts"

Labels = TypeVar("Labels", bound=tuple[str, ...])

Kind = Literal["counter", "gauge", "histogram", "info"]


class Described(NamedTuple):
    """One metric, as the page docs/metrics.md tells it."""

    section: str
    name: str
    kind: Kind
    text: str
    labels: tuple[tuple[str, str], ...]
    """Each label and its values, in words."""


class Gauges(Collector):
    """A gauge that says nothing before it is set, and whose series are replaced all at once.

    A worker that does not score must not look like one whose scorer is down; and a scrape between
    the removal of old series and the setting of new ones must not find a gap.
    """

    def __init__(
        self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._values: dict[tuple[str, ...], float] = {}
        registry.register(self)

    def set(self, value: float, *labels: str) -> None:
        """Set one series. Raises ValueError for another number of labels."""
        if len(labels) != len(self._labels):
            raise ValueError(f"{self._name} has the labels {self._labels}")
        # A new dict each time: whoever reads the old one in another thread is not disturbed.
        self._values = {**self._values, labels: value}

    def replace(self, values: Mapping[Labels, float]) -> None:
        """From now on there are these series, and no others."""
        replaced: dict[tuple[str, ...], float] = {}
        replaced.update(values.items())
        self._values = replaced

    def describe(self) -> Iterator[Metric]:
        """The metric without samples, so that a registry sees a name used twice."""
        yield GaugeMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        """The metric as it stands."""
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class _Buckets:
    """The values of one series: how many in each bucket, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0


class Histograms(Collector):
    """A histogram that takes a value in about 0.4 µs, and of many at once each in 0.2 µs.

    prometheus-client's own takes several microseconds, which would be the largest part of what
    counting costs on the hot path.
    """

    def __init__(
        self,
        name: str,
        text: str,
        buckets: Sequence[float],
        labels: Sequence[str],
        registry: CollectorRegistry,
    ) -> None:
        if list(buckets) != sorted(set(buckets)):
            raise ValueError("buckets must rise")
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._bounds = tuple(buckets)
        self._names = (*map(str, map(float, buckets)), "+Inf")
        self._series: dict[tuple[str, ...], _Buckets] = {}
        self._lock = threading.Lock()
        if not labels:
            self.begin()
        registry.register(self)

    def begin(self, *labels: str) -> _Buckets:
        """Make a series, if there is none, and read 0. Raises ValueError for other labels."""
        if len(labels) != len(self._labels):
            raise ValueError(f"{self._name} has the labels {self._labels}")
        with self._lock:
            return self._series.setdefault(labels, _Buckets(len(self._bounds) + 1))

    def observe(self, value: float, *labels: str) -> None:
        """Count a value in its bucket."""
        series = self._series.get(labels) or self.begin(*labels)
        place = bisect_left(self._bounds, value)
        with self._lock:
            series.counts[place] += 1
            series.total += value

    def observe_many(self, values: Iterable[float], *labels: str) -> None:
        """Count every value in its bucket."""
        series = self._series.get(labels) or self.begin(*labels)
        bounds, counts = self._bounds, series.counts
        with self._lock:
            for value in values:
                counts[bisect_left(bounds, value)] += 1
                series.total += value

    def describe(self) -> Iterator[Metric]:
        """The metric without samples, so that a registry sees a name used twice."""
        yield HistogramMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        """The metric as it stands."""
        with self._lock:
            found = {one: (list(at.counts), at.total) for one, at in self._series.items()}
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for labels, (counts, total) in found.items():
            family.add_metric(
                labels, list(zip(self._names, accumulate(counts), strict=True)), total
            )
        yield family


class Maker:
    """Makes metrics in one registry, under the product's prefix, and keeps what each is about.

    Labels are given as keywords: the label's name, and in words which values it has.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.described: list[Described] = []
        self._section = ""

    def section(self, title: str) -> None:
        """What is made from here on stands under this title."""
        self._section = title

    def counter(self, name: str, text: str, /, **labels: str) -> Counter:
        """A figure that only rises; its name ends in ``_total``."""
        full = self.describe(name, "counter", text, **labels)
        return Counter(full, text, tuple(labels), registry=self.registry)

    def gauge(self, name: str, text: str, /, **labels: str) -> Gauges:
        """A figure that rises and falls."""
        full = self.describe(name, "gauge", text, **labels)
        return Gauges(full, text, tuple(labels), self.registry)

    def histogram(
        self, name: str, text: str, buckets: Sequence[float], /, **labels: str
    ) -> Histograms:
        """How values are spread."""
        full = self.describe(name, "histogram", text, **labels)
        return Histograms(full, text, buckets, tuple(labels), self.registry)

    def describe(self, name: str, kind: Kind, text: str, /, **labels: str) -> str:
        """Note what a metric is about; its whole name."""
        full = f"{PREFIX}_{name}"
        self.described.append(Described(self._section, full, kind, text, tuple(labels.items())))
        return full
