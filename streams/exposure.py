"""Exposure: what sellers owe the company, by currency and by how long they have owed it.

A worker keeps the metric of the shards that it books to, by a walk through their debts once a
minute; `payouts exposure` reads all shards at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.debts import AGES, OLDER, by_age, day_of, read_owed
from models.shards import SHARDS
from streams.metrics import Metrics
from streams.wallets.store import Clock
from streams.wallets.wallets import Wallets

WALK_INTERVAL_S = 60.0
"""Time between two walks through the debts."""

PAGE_DEBTS = 200
"""Debts of a shard that are read at a time."""


@dataclass(slots=True)
class Exposure:
    """What is owed in one currency, in minor units by age, and by how many sellers."""

    sellers: int = 0
    by_age: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys((*AGES, OLDER), 0)))

    @property
    def total_minor(self) -> int:
        """All of it."""
        return sum(self.by_age.values())


def exposure_of(debts: Iterable[tuple[str, str]], now_ms: int) -> dict[str, Exposure]:
    """What is owed by currency, of debts as the wallets keep them by ``<currency>:<seller>``."""
    found: dict[str, Exposure] = defaultdict(Exposure)
    today = day_of(now_ms)
    for name, owed in debts:
        one = found[name.partition(":")[0]]
        one.sellers += 1
        one.by_age.update(by_age(read_owed(owed), today))
    return dict(sorted(found.items()))


def read_exposure(client: Any, now_ms: int) -> dict[str, Exposure]:
    """What all sellers owe now, by currency; from Redis, with a blocking client."""
    debts: dict[str, str] = {}
    for shard in range(SHARDS):
        for name, owed in client.hscan_iter(f"{{s{shard}}}:D", count=PAGE_DEBTS):
            debts[name.decode()] = owed.decode()
    return exposure_of(debts.items(), now_ms)


class ExposureWatch:
    """Keeps the metric of what sellers owe."""

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

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self.walk()
            await asyncio.sleep(WALK_INTERVAL_S)

    async def walk(self) -> None:
        """Read all debts, page by page, and say what they come to."""
        debts: dict[str, str] = {}  # by name: a page may repeat what was in one before
        cursors: Mapping[int, int] = dict.fromkeys(self._shards(), 0)
        while cursors:
            pages = await self._wallets.debts(cursors, PAGE_DEBTS)
            for _, page in pages.values():
                debts.update(page)
            cursors = {shard: cursor for shard, (cursor, _) in pages.items() if cursor}
        found = exposure_of(debts.items(), self._clock())
        self._metrics.exposure(
            {
                (currency, age): minor
                for currency, one in found.items()
                for age, minor in one.by_age.items()
            }
        )
