"""Breakers: whether a rail is to be used now, from what it answered lately.

One a rail and process, from that process's own calls. Closed, all payouts go. When too many of the
last calls brought trouble it opens, for a while that doubles each time; then a few probes are let
through, and the first good answer closes it. A rail that lacks our funds is paused outright.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from models.payouts import RETRIES, FailureCategory, PayoutState
from rails.rail import Outcome

CALLS_JUDGED = 50
"""How many of the last calls are looked at."""

CALLS_MIN = 10
"""Fewer calls than this say nothing."""

TROUBLE_BP_MAX = 5_000
"""Share of calls in trouble from which the breaker opens, in basis points."""

OPEN_MS_MIN = 30_000
"""How long a breaker stays open the first time, unless its rail's settings say otherwise."""

DOUBLINGS_MAX = 4
"""How often that doubles: to 16 times."""

OPEN_MS_MAX = OPEN_MS_MIN << DOUBLINGS_MAX

PROBES_MAX = 3
"""Payouts that are let through at a time to see whether a rail is well again."""

SUCCESS_BP_UNKNOWN = 9_900
"""What is assumed of a rail that nothing is known of yet."""


@dataclass(slots=True)
class Breaker:
    """One rail's. ``clock`` is in milliseconds, and never goes back."""

    clock: Callable[[], int]
    open_ms_min: int = OPEN_MS_MIN
    calls: deque[bool] = field(default_factory=lambda: deque(maxlen=CALLS_JUDGED))
    """Of the last calls, whether each went well."""
    open_until_ms: int = 0
    paused_until_ms: int = 0
    doublings: int = 0
    probing: int = 0
    """Probes that have not been answered."""
    half_open: bool = False

    def why_not(self) -> str | None:
        """Why no payout is to be routed here now, as a machine code; None if it may."""
        now = self.clock()
        if now < self.paused_until_ms:
            return "rail_paused"
        if now < self.open_until_ms:
            return "breaker_open"
        return None

    def wait_ms(self) -> int:
        """How long until a payout may be routed here again, in milliseconds; 0 if it may now."""
        return max(0, max(self.paused_until_ms, self.open_until_ms) - self.clock())

    def places(self, wanted: int) -> int:
        """How many of so many payouts may be submitted now. Those count as probes if it is open."""
        if self.why_not() is not None:
            return 0
        if not self.half_open:
            return wanted
        granted = max(0, min(wanted, PROBES_MAX - self.probing))
        self.probing += granted
        return granted

    def give_back(self, unused: int) -> None:
        """Places that were granted and not used."""
        self.probing = max(0, self.probing - unused)

    def success_bp(self) -> int:
        """Share of the last calls that went well, in basis points."""
        if len(self.calls) < CALLS_MIN:
            return SUCCESS_BP_UNKNOWN
        return sum(self.calls) * 10_000 // len(self.calls)

    def record(self, outcome: Outcome) -> None:
        """Take a submission's outcome into account."""
        now = self.clock()
        if outcome.category is FailureCategory.TREASURY:
            self.paused_until_ms = now + RETRIES[FailureCategory.TREASURY].pause_ms
        if now < self.open_until_ms:
            return  # of a call from before it opened: that is judged
        well = not _trouble(outcome)
        if self.half_open:
            self.probing = max(0, self.probing - 1)
            if well:
                self._close()
            else:
                self.doublings = min(self.doublings + 1, DOUBLINGS_MAX)
                self._open(now)
            return
        self.calls.append(well)
        enough = len(self.calls) >= CALLS_MIN
        if enough and 10_000 - self.success_bp() >= TROUBLE_BP_MAX:
            self._open(now)

    def _open(self, now: int) -> None:
        self.open_until_ms = now + (self.open_ms_min << self.doublings)
        self.half_open = True
        self.probing = 0

    def _close(self) -> None:
        self.half_open = False
        self.doublings = 0
        self.calls.clear()


def _trouble(outcome: Outcome) -> bool:
    """Whether an outcome speaks against the rail, rather than against one payout."""
    return outcome.state is PayoutState.UNKNOWN or outcome.category is FailureCategory.RETRYABLE
