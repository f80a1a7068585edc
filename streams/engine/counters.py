"""Plain numbers of what the engine does, cheap enough to keep always; metrics read them."""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """The counters at one moment. `lag` is in messages, times are seconds."""

    messages: Mapping[str, int]
    batches: Mapping[str, int]
    inbox: Mapping[str, int]
    lag: Mapping[tuple[str, int], int]
    lag_s: Mapping[tuple[str, int], float]
    uncommitted_s: Mapping[tuple[str, int], float]
    assigned: frozenset[tuple[str, int]]
    healing: int
    produced: int
    commits: int
    commit_failures: int
    rebalances: int
    heals: int
    heal_failures: int
    late_acks: int
    pauses: int
    seconds_since_progress: float


class EngineCounters:
    """Counted by the engine, each field by one thread only; read from any."""

    def __init__(self) -> None:
        #: Messages and batches finished (acknowledged) a topic.
        self.messages: defaultdict[str, int] = defaultdict(int)
        self.batches: defaultdict[str, int] = defaultdict(int)
        #: Messages waiting or in hand a topic.
        self.inbox: dict[str, int] = {}
        #: Messages between the last finished one and the end of the partition. Brokers may
        #: report the end a little low, so no loss check may rest on it.
        self.lag: dict[tuple[str, int], int] = {}
        #: The age of the oldest message not finished, and for how long what is finished has not
        #: been committed, in seconds.
        self.lag_s: dict[tuple[str, int], float] = {}
        self.uncommitted_s: dict[tuple[str, int], float] = {}
        self.assigned: frozenset[tuple[str, int]] = frozenset()
        #: Partitions whose heal hook has not returned.
        self.healing = 0
        self.produced = 0
        self.commits = 0
        self.commit_failures = 0
        self.rebalances = 0
        self.heals = 0
        self.heal_failures = 0
        self.late_acks = 0
        self.pauses = 0
        #: time.monotonic() of the last finished batch, heal or assignment.
        self.progress_at = time.monotonic()

    def progressed(self) -> None:
        """Note that something was finished now."""
        self.progress_at = time.monotonic()

    def snapshot(self) -> EngineSnapshot:
        """All counters at this moment."""
        return EngineSnapshot(
            messages=dict(self.messages),
            batches=dict(self.batches),
            inbox=dict(self.inbox),
            lag=dict(self.lag),
            lag_s=dict(self.lag_s),
            uncommitted_s=dict(self.uncommitted_s),
            assigned=self.assigned,
            healing=self.healing,
            produced=self.produced,
            commits=self.commits,
            commit_failures=self.commit_failures,
            rebalances=self.rebalances,
            heals=self.heals,
            heal_failures=self.heal_failures,
            late_acks=self.late_acks,
            pauses=self.pauses,
            seconds_since_progress=time.monotonic() - self.progress_at,
        )
