"""Soundings: what is measured every so often, beside the work: house accounts, Redis' memory."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Protocol

from streams.metrics import Metrics
from streams.wallets.server import RedisGone
from streams.wallets.wallets import Wallets

logger = logging.getLogger(__name__)

INTERVAL_S = 15.0
"""Time between two looks at Redis' memory."""

HOUSE_EVERY = 4
"""One look of so many is at the house's accounts as well."""


class Memory(Protocol):
    """Who knows how much memory Redis uses."""

    async def memory(self) -> Mapping[str, tuple[int, int]]:
        """Bytes used and allowed, by node. Raises :class:`RedisGone`."""
        ...


class Soundings:
    """Keeps the metrics of the house's accounts and of Redis' memory."""

    def __init__(
        self,
        wallets: Wallets,
        memory: Memory,
        shards: Callable[[], Sequence[int]],
        metrics: Metrics,
    ) -> None:
        """``shards``: those whose house accounts this worker tells; none for other roles."""
        self._wallets = wallets
        self._memory = memory
        self._shards = shards
        self._metrics = metrics
        self._told: set[int] = set()
        """The shards whose accounts were read the last time."""

    async def run(self) -> None:
        """Go on until cancelled."""
        for number in count():
            await self.memory()
            if number % HOUSE_EVERY == 0 or self._told != set(self._shards()):
                await self.house()
            await asyncio.sleep(INTERVAL_S)

    async def memory(self) -> None:
        """Ask Redis. Nothing hangs on it, so one that is away is no reason to end."""
        try:
            self._metrics.redis_memory(await self._memory.memory())
        except RedisGone as error:
            logger.info("Redis does not say how much memory it uses: %s", error)

    async def house(self) -> None:
        """Read what the house's accounts are at."""
        self._told = set(self._shards())
        found = await self._wallets.house(sorted(self._told))
        balances: Counter[tuple[str, str]] = Counter()
        for accounts in found.values():
            for name, minor in accounts.items():
                account, _, currency = name.rpartition(":")
                balances[account, currency] += minor
        self._metrics.house(balances)
