"""How long after a fault events are booked again.

A fault is recovered from when, in every partition, the first event of ``sales`` that was published
after it struck is in the journal or refused. The time counts from the strike, so it includes how
long the fault lasted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from models.shards import shard_of


@dataclass(slots=True)
class _Open:
    """A fault that events have yet to be booked behind."""

    struck_s: float
    unsent: set[int]
    """Partitions to which nothing was published since."""
    unbooked: set[str] = field(default_factory=set)
    """The first event of each other partition that is not booked yet."""


class Recovery:
    """Told by three threads: what strikes, what is published, what is booked."""

    def __init__(self, partitions: int) -> None:
        self.seconds: dict[int, float] = {}
        """Fault number → how long until events were booked again."""
        self._partitions = partitions
        self._open: dict[int, _Open] = {}
        self._lock = threading.Lock()

    def struck(self, number: int) -> None:
        """A fault strikes now."""
        with self._lock:
            self._open[number] = _Open(time.monotonic(), set(range(self._partitions)))

    def published(self, seller_id: str, event_id: str) -> None:
        """An event of ``sales`` is about to be published."""
        if not self._open:
            return
        partition = shard_of(seller_id) % self._partitions
        with self._lock:
            for fault in self._open.values():
                if partition in fault.unsent:
                    fault.unsent.discard(partition)
                    fault.unbooked.add(event_id)

    def settled(self, event_id: str) -> None:
        """An event is in the journal, or is refused."""
        if not self._open:
            return
        with self._lock:
            for number, fault in list(self._open.items()):
                if event_id in fault.unbooked:
                    fault.unbooked.discard(event_id)
                    self._close(number, fault)

    def finish(self) -> None:
        """Nothing more is published: partitions that got nothing count as recovered."""
        with self._lock:
            for number, fault in list(self._open.items()):
                heard = len(fault.unsent) < self._partitions
                fault.unsent.clear()
                if heard:
                    self._close(number, fault)
                else:
                    del self._open[number]

    def waiting(self) -> list[int]:
        """Faults that are not recovered from."""
        with self._lock:
            return sorted(self._open)

    def _close(self, number: int, fault: _Open) -> None:
        if not (fault.unsent or fault.unbooked):
            self.seconds[number] = time.monotonic() - fault.struck_s
            del self._open[number]


def summary(seconds: Iterable[float]) -> dict[str, float]:
    """Of recovery times: how many, the middle one and the longest; nothing of nothing."""
    ordered: Sequence[float] = sorted(seconds)
    if not ordered:
        return {}
    middle = ordered[(len(ordered) - 1) // 2]
    return {"faults": len(ordered), "p50": round(middle, 2), "max": round(ordered[-1], 2)}
