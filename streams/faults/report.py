"""What came of fault runs: one round each, and all rounds together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from streams.faults.kinds import KINDS
from streams.faults.recovery import summary
from streams.wallets.verify import Check


class Violation(NamedTuple):
    """Something promised that does not hold, in the round of a seed."""

    seed: int
    check: str
    detail: str


class StruckFault(NamedTuple):
    """A fault that has struck. Times are in seconds, ``at_s`` since the round began."""

    number: int
    kind: str
    at_event: int
    at_s: float
    lasted_s: float | None
    recovered_s: float | None
    """From the strike until events were booked again in every partition."""
    alone: bool
    """Whether no other part was struck in between."""
    entries_lost: int
    """Booked entries that Redis had lost and that were healed or booked again."""


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round."""

    seed: int
    kafka: str
    events: int
    seconds: float
    violations: Sequence[Violation]
    checks: Sequence[Check]
    payouts: dict[str, int]
    by_rail: dict[str, dict[str, int]]
    """Payouts by the rail that they went over in the end, and by state."""
    failed_over: dict[str, int]
    """How often payouts went from one rail to another after a proven failure, as ``from to``."""
    befallen: dict[str, int]
    """What the rail really did, by its behaviour."""
    restarts: int
    ends: Sequence[str]
    """How workers ended by themselves."""
    struck: Sequence[StruckFault] = field(repr=False)

    def by_kind(self) -> Counter[str]:
        """Faults by kind. One of the rail's counts if a payout has really met it."""
        counts = Counter(one.kind for one in self.struck)
        for kind in list(counts):
            if behaviour := KINDS[kind].befalls:
                counts[kind] = min(counts[kind], self.befallen.get(behaviour, 0))
        return +counts


@dataclass(frozen=True, slots=True)
class Report:
    """What came of all rounds; the first one's seed is the run's."""

    rounds: Sequence[Round]

    def violations(self) -> list[Violation]:
        """Of all rounds."""
        return list(chain.from_iterable(one.violations for one in self.rounds))

    def by_kind(self) -> Counter[str]:
        """Faults of all rounds by kind."""
        return sum((one.by_kind() for one in self.rounds), Counter())

    def recovery(self, *, alone: bool = False) -> dict[str, dict[str, float]]:
        """Recovery times by kind; ``alone``: of the faults that no other one disturbed."""
        times: dict[str, list[float]] = defaultdict(list)
        for one in self._struck():
            if one.recovered_s is not None and (one.alone or not alone):
                times[one.kind].append(one.recovered_s)
        return {kind: summary(some) for kind, some in sorted(times.items())}

    def rails(self) -> Counter[str]:
        """Payouts of all rounds by rail."""
        rails: Counter[str] = Counter()
        for one in self.rounds:
            rails.update({rail: sum(states.values()) for rail, states in one.by_rail.items()})
        return rails

    def failed_over(self) -> Counter[str]:
        """How often payouts of all rounds went to another rail, as ``from to``."""
        return sum((Counter(one.failed_over) for one in self.rounds), Counter())

    def events(self) -> int:
        """Events sent."""
        return sum(one.events for one in self.rounds)

    def entries_lost(self) -> int:
        """Booked entries that Redis lost."""
        return sum(one.entries_lost for one in self._struck())

    def json(self) -> dict[str, Any]:
        """The report as the command line writes it."""
        recovered = [one.recovered_s for one in self._struck() if one.recovered_s is not None]
        by_kind = self.by_kind()
        return {
            "seed": self.rounds[0].seed if self.rounds else None,
            "faults": by_kind.total(),
            "by_kind": dict(sorted(by_kind.items())),
            "events": self.events(),
            "violations": len(self.violations()),
            "recovery_s": {
                **summary(recovered),
                "by_kind": self.recovery(),
                "alone": self.recovery(alone=True),
            },
            "entries_lost_by_redis": self.entries_lost(),
            "payouts_by_rail": dict(sorted(self.rails().items())),
            "failed_over": dict(sorted(self.failed_over().items())),
            "seconds": round(sum(one.seconds for one in self.rounds), 1),
            "violated": [violation._asdict() for violation in self.violations()],
            "rounds": [_told(one) for one in self.rounds],
        }

    def _struck(self) -> Iterable[StruckFault]:
        return chain.from_iterable(one.struck for one in self.rounds)


def _told(one: Round) -> dict[str, Any]:
    return {
        "seed": one.seed,
        "kafka": one.kafka,
        "faults": one.by_kind().total(),
        "events": one.events,
        "seconds": round(one.seconds, 1),
        "violations": len(one.violations),
        "worker_restarts": one.restarts,
        "worker_ends": list(one.ends),
        "payouts": one.payouts,
        "payouts_by_rail": one.by_rail,
        "failed_over": one.failed_over,
        "befallen": one.befallen,
        "checks": [check._asdict() for check in one.checks],
        "struck": [fault._asdict() for fault in one.struck],
    }
