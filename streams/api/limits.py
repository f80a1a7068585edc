"""Limits: how much a key may ask of one process."""

from __future__ import annotations

from collections.abc import Callable

BUCKETS_MAX = 10_000
"""Keys whose buckets are kept; above that all begin anew."""


class Limits:
    """A token bucket a key: so many requests a second, and so many at once after a pause."""

    def __init__(self, per_s: int, burst: int, clock_s: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock_s = clock_s
        self._buckets: dict[str, tuple[float, float]] = {}
        """Per key how much is in its bucket, and since when."""

    def wait_s(self, key: str) -> float:
        """Take one request of a key; 0, or in how many seconds it may be sent."""
        now = self._clock_s()
        if len(self._buckets) >= BUCKETS_MAX and key not in self._buckets:
            self._buckets.clear()
        left, since = self._buckets.get(key, (float(self._burst), now))
        left = min(float(self._burst), left + (now - since) * self._per_s)
        fine = left >= 1
        self._buckets[key] = (left - 1 if fine else left, now)
        return 0.0 if fine else (1 - left) / self._per_s
