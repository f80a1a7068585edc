"""Soundings: what is measured every so often, beside the work: house accounts, Redis' memory."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from streams.metrics import Metrics
from streams.wallets.server import RedisGone
from streams.wallets.wallets import Wallets

logger = logging.getLogger(__name__)

INTERVAL_S = 10.0
"""Time between two soundings: together they take some 15 ms of the worker's CPU."""


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

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self.memory()
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
        found = await self._wallets.house(self._shards())
        balances: Counter[tuple[str, str]] = Counter()
        for accounts in found.values():
            for name, minor in accounts.items():
                account, _, currency = name.rpartition(":")
                balances[account, currency] += minor
        self._metrics.house(balances)
