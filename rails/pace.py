"""Pace: how many requests a provider takes in a minute, kept to on our side."""

from __future__ import annotations

from collections.abc import Callable

BURST_S = 3
"""So many seconds' worth of requests may go at once after a quiet time."""


class Pace:
    """A token bucket of one rail and process. ``clock`` is in seconds."""

    def __init__(self, per_minute_max: int | None, clock: Callable[[], float]) -> None:
        """``per_minute_max``: None for a provider that names no limit."""
        self._per_s = None if per_minute_max is None else per_minute_max / 60
        self._burst = max(1.0, (self._per_s or 0) * BURST_S)
        self._clock = clock
        self._tokens = self._burst
        self._at = clock()

    def take(self, wanted: int) -> int:
        """How many of so many requests may be made now; they count as made."""
        if self._per_s is None:
            return wanted
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        granted = min(wanted, int(self._tokens))
        self._tokens -= granted
        return granted

    def give_back(self, unused: int) -> None:
        """Requests that were taken and not made."""
        self._tokens += unused

    def wait_s(self) -> float:
        """How long until one more request may be made, in seconds."""
        if self._per_s is None:
            return 0.0
        return max(0.0, (1 - self._tokens) / self._per_s)
