"""Notices: what is published of payouts and credit is kept for the company, to be sent to it.

A message is acknowledged as soon as it is kept, so that retries which last hours hold up nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any

from models.notices import Unreadable, notice_of
from models.refusals import Reason
from models.shards import shard_of
from streams.deadletters import dead_letter
from streams.engine import Batch, RawMessage
from streams.metrics import Metrics
from streams.notices.pending import Pending, PendingNotices
from streams.notices.sender import Send, Sender
from streams.wallets.server import RedisGone
from streams.wallets.store import Clock

logger = logging.getLogger(__name__)

ROOM_PATIENCE_S = 5.0
"""How long a batch waits for room while the endpoint takes notices, only slower than they come."""

ROOM_LOOK_S = 0.1
"""Time between two looks whether there is room."""

REDIS_PAUSE_S = 0.5
"""Pause after Redis did not answer."""


class Notices:
    """Keeps the messages of the topics that the company is told of."""

    def __init__(
        self,
        pending: PendingNotices,
        sender: Sender,
        send: Send,
        *,
        clock: Clock,
        metrics: Metrics,
        outage_s_max: float,
    ) -> None:
        """``send`` publishes dead letters; ``outage_s_max``: how long Redis may be away."""
        self._pending = pending
        self._sender = sender
        self._send = send
        self._clock = clock
        self._metrics = metrics
        self._outage_s_max = outage_s_max

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """One batch, as far as Redis; what is left to do. Raises RedisGone after a long outage."""
        kept: dict[int, list[Pending]] = defaultdict(list)
        letters: list[tuple[RawMessage, str]] = []
        for message in batch.messages:
            try:
                seller_id = notice_of(message.value or b"").seller_id
            except Unreadable as error:
                letters.append((message, str(error)))
            else:
                kept[shard_of(seller_id)].append(Pending(message))
        unreadable = len(letters)
        overflow = await self._keep(kept)
        letters += [(message, "too many notices wait for the endpoint") for message in overflow]
        self._metrics.notices({"unreadable": unreadable, "overflow": len(overflow)})
        self._sender.wake()
        return self._finish(batch, letters)

    async def _keep(self, notices: dict[int, list[Pending]]) -> list[RawMessage]:
        """Keep them; those for which there is no room, at once if the endpoint takes none."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ROOM_PATIENCE_S
        left = notices
        while left:
            left = await self._once(left)
            if not left or loop.time() > deadline or not self._sender.delivering:
                break
            self._sender.wake()
            await asyncio.sleep(ROOM_LOOK_S)
        return [one.message for some in left.values() for one in some]

    async def _once(self, notices: dict[int, list[Pending]]) -> dict[int, list[Pending]]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        while True:
            try:
                kept = await self._pending.keep(notices, self._clock())
            except RedisGone as error:
                self._metrics.retried("redis")
                if loop.time() - started > self._outage_s_max:
                    raise
                logger.warning("notices wait for Redis: %s", error)
                await asyncio.sleep(REDIS_PAUSE_S)
            else:
                return _left(notices, kept)

    async def _finish(self, batch: Batch, letters: Sequence[tuple[RawMessage, str]]) -> None:
        """Publish dead letters and acknowledge the batch."""
        if letters:
            now_ms = self._clock()
            await self._send(
                [
                    dead_letter(message, Reason.NOTICE_UNDELIVERED, why, now_ms)
                    for message, why in letters
                ]
            )
            self._metrics.dead_lettered({Reason.NOTICE_UNDELIVERED: len(letters)})
            (message, why), count = letters[0], len(letters)
            logger.warning("%d notices are dead letters: %s", count, why, extra=message.place)
        batch.ack()


def _left(
    notices: dict[int, list[Pending]], kept: dict[int, list[bool]]
) -> dict[int, list[Pending]]:
    """Those that there was no room for."""
    left = {
        shard: [one for one, is_kept in zip(some, kept[shard], strict=True) if not is_kept]
        for shard, some in notices.items()
    }
    return {shard: some for shard, some in left.items() if some}
