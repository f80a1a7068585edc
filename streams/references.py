"""Attempts at payouts by the provider's reference, for rails whose webhooks name nothing else.

Advice, not money: it fades out, and an emptied Redis has lost it. A report that finds no payout is
ignored then, and the janitor's enquiry learns the same.
"""

from __future__ import annotations

import logging

from models.shards import shard_of
from streams.wallets.server import RedisGone
from streams.wallets.store import Store

logger = logging.getLogger(__name__)

KEPT_MS = 90 * 86_400_000
"""How long a reference is remembered: later than that nobody reports."""


class References:
    """Kept in the shard that the reference itself leads to: who looks knows no payout yet."""

    def __init__(self, store: Store) -> None:
        """Take the store of the wallets."""
        self._store = store

    async def keep(self, rail: str, reference: str, attempt_id: str) -> None:
        """Remember which attempt's a rail's reference is. Redis is asked once."""
        name = _name(rail, reference)
        try:
            await self._store.observe({shard_of(name): {name: attempt_id}}, KEPT_MS)
        except RedisGone as error:
            logger.warning("a reference of %s is not kept: %s", rail, error)

    async def attempt_of(self, rail: str, reference: str) -> str | None:
        """The attempt's id behind a rail's reference; None if it is not known. Raises RedisGone."""
        name = _name(rail, reference)
        shard = shard_of(name)
        found = await self._store.look({shard: ((), (name,))})
        return found[shard].states.get(name)


def _name(rail: str, reference: str) -> str:
    return f"ref:{rail}:{reference}"
