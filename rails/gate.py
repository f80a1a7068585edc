"""Gates: how many payouts may be handed to a rail just now.

What a gate lets through is marked as submitted only then, so nothing waits behind a mark: a payout
that waits for its turn is still only reserved.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from rails.breaker import Breaker
from rails.pace import Pace
from rails.rail import Outcome, Rail
from rails.settings import RailSettings

ENQUIRIES_PART = 4
"""One of so many calls that a rail takes at once is kept for asking what became of payouts: that
says whether money left, and may not wait for submissions that hang."""


class Gate:
    """One rail, its breaker, its pace, and so many places for submissions under way.

    Enquiries and cancellations have places of their own: ``async with gate.enquiries``.
    """

    def __init__(
        self,
        rail: Rail,
        breaker: Breaker,
        pace: Pace,
        submissions_max: int,
        monotonic: Callable[[], float],
        *,
        enquiries_max: int = 1,
    ) -> None:
        self.rail = rail
        self.breaker = breaker
        self._pace = pace
        self.enquiries = asyncio.Semaphore(enquiries_max)
        self._free = submissions_max
        self._monotonic = monotonic
        self._turn = asyncio.Event()
        self._queue: dict[str, float] = {}
        """Since when each payout has waited for its turn, the first first."""

    def line_up(self, payout_ids: Iterable[str]) -> None:
        """Payouts wait for their turn from now on; one that does already goes on waiting."""
        now_s = self._monotonic()
        for payout_id in payout_ids:
            self._queue.setdefault(payout_id, now_s)

    def step_out(self, payout_ids: Iterable[str]) -> None:
        """Payouts wait no longer: it is their turn, or they go another way."""
        for payout_id in payout_ids:
            self._queue.pop(payout_id, None)

    def queue(self) -> tuple[int, float]:
        """How many payouts wait for their turn, and how long the first of them has, in seconds."""
        since_s = next(iter(self._queue.values()), None)
        return len(self._queue), 0.0 if since_s is None else self._monotonic() - since_s

    def share(self, part: int, whole: int) -> None:
        """This process has so many parts of a whole of the work, and of the rail's pace."""
        self._pace.share(part, whole)
        self._turn.set()

    async def enter(self, wanted: int) -> int:
        """How many of so many payouts may be submitted now; 0 if the rail is not used.

        Waits for a free place and for the provider's pace. Each that enters has to leave.
        """
        while True:
            granted = self.breaker.places(min(wanted, self._free))
            if granted == 0 and self._free > 0:
                return 0
            paced = self._pace.take(granted)
            self.breaker.give_back(granted - paced)
            if paced:
                self._free -= paced
                return paced
            await self._wait()

    def leave(self, outcome: Outcome | None) -> None:
        """One is done: what became of it, None if it was not submitted after all."""
        self._free += 1
        self._turn.set()
        if outcome is None:
            self.breaker.give_back(1)
            self._pace.give_back(1)
        else:
            self.breaker.record(outcome)

    async def _wait(self) -> None:
        """Until a place may be free or a request may be made."""
        self._turn.clear()
        try:
            async with asyncio.timeout(self._pace.wait_s() if self._free else None):
                await self._turn.wait()
        except TimeoutError:
            pass


def open_gates(
    rails: Mapping[str, Rail],
    settings: Mapping[str, RailSettings],
    monotonic: Callable[[], float] = time.monotonic,
) -> dict[str, Gate]:
    """A gate for each rail. ``monotonic`` is a clock in seconds that never goes back."""
    gates = {}
    for name, rail in rails.items():
        own = settings.get(name) or RailSettings()
        per_minute = own.requests_per_minute_max or rail.capabilities.requests_per_minute_max
        enquiries_max = max(1, own.concurrency_max // ENQUIRIES_PART)
        gates[name] = Gate(
            rail,
            Breaker(lambda: int(monotonic() * 1000), own.breaker_open_ms),
            Pace(per_minute, monotonic),
            max(1, own.concurrency_max - enquiries_max),
            monotonic,
            enquiries_max=enquiries_max,
        )
    return gates
