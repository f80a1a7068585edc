"""Overdue: payouts that have been under way for longer than their state may last.

A walk through the payouts under way of the shards that this worker looks after, a page at a time,
so that each step costs Redis as little with a million of them as with a hundred.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from models.payouts import AGE_MS_MAX, PayoutState
from streams.metrics import Metrics, age_word
from streams.wallets.store import Clock
from streams.wallets.wallets import Wallets

STEP_INTERVAL_S = 1.0
"""Time between two steps."""

WALK_INTERVAL_S = 60.0
"""Time from one beginning of a walk through a shard to the next, at least."""

PAGE_TIMERS = 50
"""Timers of a shard that a step looks at; about 10 µs of Redis each."""


@dataclass(slots=True)
class _Found:
    """What a walk through a shard has found so far."""

    overdue: Counter[PayoutState] = field(default_factory=Counter)
    oldest_ms: dict[PayoutState, int] = field(default_factory=dict)
    in_flight: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By rail, state and age."""


@dataclass(slots=True)
class _Walk:
    """Where the walk through a shard is, and what the last whole one found."""

    began_s: float
    cursor: int = 0
    under_way: bool = True
    now: _Found = field(default_factory=_Found)
    last: _Found = field(default_factory=_Found)


class Overdue:
    """Keeps the metrics of what is late."""

    def __init__(
        self,
        wallets: Wallets,
        shards: Callable[[], Sequence[int]],
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """``shards``: those that this worker looks after now."""
        self._wallets = wallets
        self._shards = shards
        self._clock = clock
        self._metrics = metrics
        self._walks: dict[int, _Walk] = {}
        self._report()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(STEP_INTERVAL_S)

    async def step(self) -> None:
        """A page of each shard whose walk is under way; then say what is known."""
        now_s = asyncio.get_running_loop().time()
        mine = set(self._shards())
        self._walks = {shard: walk for shard, walk in self._walks.items() if shard in mine}
        for shard in mine:
            walk = self._walks.setdefault(shard, _Walk(now_s))
            if not walk.under_way and now_s - walk.began_s >= WALK_INTERVAL_S:
                walk.began_s, walk.cursor, walk.under_way = now_s, 0, True
        cursors = {shard: walk.cursor for shard, walk in self._walks.items() if walk.under_way}
        if cursors:
            for shard, page in (await self._wallets.ages(cursors, PAGE_TIMERS)).items():
                self._take(self._walks[shard], page.cursor, page.payouts)
        self._report()

    def _take(
        self, walk: _Walk, cursor: int, payouts: Sequence[tuple[PayoutState, int, str]]
    ) -> None:
        now_ms = self._clock()
        for state, since_ms, rail in payouts:
            walk.now.in_flight[rail, state, age_word((now_ms - since_ms) / 1000)] += 1
            walk.now.overdue[state] += now_ms - since_ms > AGE_MS_MAX[state]
            walk.now.oldest_ms[state] = min(since_ms, walk.now.oldest_ms.get(state, since_ms))
        walk.cursor = cursor
        if cursor == 0:
            walk.last, walk.now, walk.under_way = walk.now, _Found(), False

    def _report(self) -> None:
        now_ms = self._clock()
        found = [walk.last for walk in self._walks.values()]
        for state in AGE_MS_MAX:
            since_ms = min((each.oldest_ms.get(state, now_ms) for each in found), default=now_ms)
            overdue = sum(each.overdue[state] for each in found)
            self._metrics.under_way(state, overdue, max(0, now_ms - since_ms) / 1000)
        in_flight = sum((each.in_flight for each in found), Counter[tuple[str, str, str]]())
        self._metrics.in_flight(in_flight)
