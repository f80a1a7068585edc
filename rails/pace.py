"""Pace: how many requests a provider takes in a minute, kept to on our side."""

from __future__ import annotations

from collections.abc import Callable

BURST_S = 3
"""So many seconds' worth of requests may go at once after a quiet time."""


class Pace:
    """A token bucket of one rail and process. ``clock`` is in seconds."""

    def __init__(self, per_minute_max: int | None, clock: Callable[[], float]) -> None:
        """``per_minute_max``: what all processes may do together; None if there is no limit."""
        self._whole_per_s = None if per_minute_max is None else per_minute_max / 60
        self._per_s = self._whole_per_s
        self._burst = max(1.0, (self._per_s or 0) * BURST_S)
        self._clock = clock
        self._tokens = self._burst
        self._at = clock()

    def take(self, wanted: int) -> int:
        """How many of so many requests may be made now; they count as made."""
        if self._per_s is None:
            return wanted
        self._fill(self._per_s)
        granted = min(wanted, int(self._tokens))
        self._tokens -= granted
        return granted

    def give_back(self, unused: int) -> None:
        """Requests that were taken and not made."""
        self._tokens += unused

    def share(self, part: int, whole: int) -> None:
        """From now on this process has so many parts of a whole; 1 at least, of 1 at least.

        What it may do at once shrinks with it, and grows only as time goes by.
        """
        if part < 1 or whole < part:
            raise ValueError(f"{part} of {whole} is no share")
        if self._whole_per_s is None or self._per_s is None:
            return
        self._fill(self._per_s)
        self._per_s = self._whole_per_s * part / whole
        self._burst = max(1.0, self._per_s * BURST_S)
        self._tokens = min(self._tokens, self._burst)

    def _fill(self, per_s: float) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * per_s)
        self._at = now

    def wait_s(self) -> float:
        """How long until one more request may be made, in seconds."""
        if self._per_s is None:
            return 0.0
        return max(0.0, (1 - self._tokens) / self._per_s)
