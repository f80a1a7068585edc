"""The plan of a fault run: which faults, when, and how. Pure: everything follows from the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from streams.faults.kinds import KINDS

QUIET_SHARE = 0.04
"""Share of the events before the first fault, and behind the last."""

TOGETHER_SHARE = 0.3
"""Share of the faults that strike at the same moment as the one before."""

FAULTS_MAX = 100_000
SEED_MAX = 2**31 - 1


class PlanImpossible(ValueError):
    """A plan that cannot be made: no kinds, no room."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a plan: it strikes when ``at`` events were sent, or as soon after that as its
    part is free.

    ``chance`` (0 to 1) decides what a kind leaves open: which worker, which broker, how far.
    """

    number: int
    kind: str
    at: int
    lasts_ms: int
    chance: float

    def pick(self, count: int) -> int:
        """One of ``count`` things."""
        return min(int(self.chance * count), count - 1)

    def between(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        return low + round(self.chance * (high - low))


def plan(seed: int, faults: int, kinds: Sequence[str], events: int) -> list[Fault]:
    """``faults`` faults over ``events`` events, in the order in which they strike.

    Every kind comes once before any comes by chance, if there are faults enough. Raises
    :class:`PlanImpossible`.
    """
    if not kinds:
        raise PlanImpossible("a plan needs a kind of fault")
    if not 0 <= seed <= SEED_MAX:
        raise PlanImpossible(f"a seed lies between 0 and {SEED_MAX}, not {seed}")
    if not 0 <= faults <= min(FAULTS_MAX, events):
        raise PlanImpossible(f"{faults} faults do not fit into {events} events")
    rng = Random(f"{seed}:faults")
    drawn = _kinds(rng, faults, kinds)
    moments = _moments(rng, faults, events)
    return [
        Fault(number, kind, at, rng.randint(*KINDS[kind].lasts_ms), rng.random())
        for number, (kind, at) in enumerate(zip(drawn, moments, strict=True), 1)
    ]


def _kinds(rng: Random, faults: int, kinds: Sequence[str]) -> list[str]:
    each = list(kinds)
    rng.shuffle(each)
    shares = [KINDS[kind].share for kind in kinds]
    drawn = each[:faults] + rng.choices(list(kinds), shares, k=max(0, faults - len(each)))
    rng.shuffle(drawn)
    return drawn


def _moments(rng: Random, faults: int, events: int) -> list[int]:
    """When faults strike, in events sent: evenly on the whole, some of them together."""
    quiet = int(events * QUIET_SHARE)
    room = events - 2 * quiet
    moments: list[int] = []
    for number in range(faults):
        if moments and rng.random() < TOGETHER_SHARE:
            moments.append(moments[-1])
        else:
            moments.append(quiet + int(room * (number + rng.random()) / faults))
    return moments
