"""The sender: takes what is due, carries it to the company, and sees to what fails.

A seller's notices go out one after another, in the order of the topic; one that has to be tried
again lets the later ones pass. Delivery is at least once. Nothing of the money waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from models.notices import TRY_AFTER_MS, Unreadable, next_try_ms, notice_of
from models.refusals import Reason
from streams.deadletters import dead_letter
from streams.engine import Outgoing
from streams.metrics import Metrics
from streams.notices.courier import Answer, Courier, Result
from streams.notices.pending import Backlog, Claimed, PendingNotices
from streams.wallets.server import RedisGone
from streams.wallets.store import Clock

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 0.5
"""Time between two looks at what is due, while nothing comes in."""

LEASE_MARGIN_MS = 30_000
"""How much longer than a try may take a notice is claimed: it may wait for others of its seller."""

STOP_S = 2.0
"""How long tries under way may hold up a stop."""

SAY_INTERVAL_MS = 60_000
"""How seldom the log says that the endpoint takes notices, or does not: some may, some may not."""

REDIS_PAUSE_S = 1.0
"""Pause after Redis did not answer."""

Send = Callable[[Sequence[Outgoing]], Awaitable[Any]]


class Sender:
    """Sends the notices of the shards that this worker looks after."""

    def __init__(
        self,
        pending: PendingNotices,
        courier: Courier,
        send: Send,
        shards: Callable[[], Sequence[int]],
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """``send`` publishes dead letters."""
        self._pending = pending
        self._courier = courier
        self._send = send
        self._shards = shards
        self._clock = clock
        self._metrics = metrics
        self._under_way: set[asyncio.Task[None]] = set()
        self._lanes: dict[str, asyncio.Task[None]] = {}
        """Seller → the last of her notices that are under way."""
        limit = courier.endpoint.concurrency_max
        self._places = asyncio.Semaphore(limit)
        self._under_way_max = 2 * limit
        self._wake = asyncio.Event()
        self._gone = False
        self.delivering = True
        """Whether the last try went well; the first is taken to."""
        self._said, self._said_ms = True, 0
        """What the log says of that, and since when."""

    def wake(self) -> None:
        """Something new is due: look at once."""
        self._wake.set()

    async def run(self) -> None:
        """Go on until cancelled; what is under way then has :data:`STOP_S` to end."""
        try:
            while True:
                try:
                    taken = await self.once()
                except RedisGone as error:
                    logger.warning("notices wait for Redis: %s", error)
                    await asyncio.sleep(REDIS_PAUSE_S)
                    continue
                if not taken:
                    await self._pause()
        finally:
            await self._stop()

    async def close(self) -> None:
        """Give the connections back."""
        await self._courier.close()

    async def once(self) -> int:
        """Start to send what is due and has room; how many notices. Raises RedisGone."""
        self._wake.clear()
        shards = self._shards()
        if not shards:
            self._report(Backlog(0, None))
            return 0
        room = self._under_way_max - len(self._under_way)
        if room <= 0:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            return 1
        now_ms = self._clock()
        lease_ms = now_ms + self._try_ms + LEASE_MARGIN_MS
        limit = max(1, room // len(shards))
        claimed, backlog = await self._pending.claim(shards, now_ms, lease_ms, limit)
        self._report(backlog)
        for one in claimed:
            self._start(one)
        return len(claimed)

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    @property
    def _try_ms(self) -> int:
        return self._courier.endpoint.timeout_s * 1000

    def _report(self, backlog: Backlog) -> None:
        oldest = backlog.oldest_ms
        age_ms = 0 if oldest is None else max(0, self._clock() - oldest)
        self._metrics.notices_pending(backlog.count, age_ms / 1000)

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), LOOK_INTERVAL_S)

    async def _stop(self) -> None:
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=STOP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start(self, one: Claimed) -> None:
        message = one.pending.message if one.pending else None
        lane = ((message.key if message else None) or b"").decode(errors="replace")
        task = asyncio.create_task(self._carry(one, self._lanes.get(lane)))
        self._under_way.add(task)
        self._lanes[lane] = task
        task.add_done_callback(lambda done: self._ended(done, lane, one))

    def _ended(self, task: asyncio.Task[None], lane: str, one: Claimed) -> None:
        self._under_way.discard(task)
        if self._lanes.get(lane) is task:
            del self._lanes[lane]
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its claim ends by itself, and it is sent again.
            word = type(error).__name__
            logger.error("a notice was not seen to: %s", word, exc_info=error, extra=_fields(one))

    async def _carry(self, one: Claimed, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        async with self._places:
            # Behind others it may have waited until its claim is nearly over: whoever claims it
            # next sends it.
            if self._clock() + self._try_ms < one.lease_ms:
                try:
                    await self._try(one)
                except RedisGone as error:
                    logger.warning(
                        "a notice is sent again, since Redis is away: %s",
                        error,
                        extra=_fields(one),
                    )

    async def _try(self, one: Claimed) -> None:
        if one.pending is None:
            await self._pending.done(one)
            self._metrics.notices({"unreadable": 1})
            logger.error("a notice that was kept cannot be read: it is dropped", extra=_fields(one))
            return
        message = one.pending.message
        try:
            notice = notice_of(message.value or b"")
        except Unreadable as error:
            await self._give_up(one, "unreadable", str(error))
            return
        if self._gone:
            await self._give_up(one, "gone", "the endpoint answered 410")
            return
        answer = await self._courier.carry(notice, self._clock())
        await self._see_to(one, answer)

    async def _see_to(self, one: Claimed, answer: Answer) -> None:
        self._tell(answer)
        if answer.result is Result.DELIVERED:
            await self._pending.done(one)
            self._metrics.notices({"delivered": 1})
        elif answer.result is Result.GONE:
            await self._give_up(one, "gone", "the endpoint answered 410")
        else:
            await self._again(one, answer)

    async def _again(self, one: Claimed, answer: Answer) -> None:
        tries = one.pending.tries + 1 if one.pending else 1
        wait_ms = next_try_ms(tries, random.random(), answer.retry_after_ms)
        if wait_ms is None:
            why = f"tried {len(TRY_AFTER_MS)} times; the last answer: {answer.word}"
            await self._give_up(one, "given_up", why)
            return
        await self._pending.again(one, self._clock() + wait_ms)
        self._metrics.notices({"retried": 1})

    async def _give_up(self, one: Claimed, result: str, why: str) -> None:
        """Make a dead letter of it, and only then forget it."""
        if one.pending is None:
            return
        letter = dead_letter(one.pending.message, Reason.NOTICE_UNDELIVERED, why, self._clock())
        await self._send([letter])
        await self._pending.done(one)
        self._metrics.notices({result: 1})
        self._metrics.dead_lettered({Reason.NOTICE_UNDELIVERED: 1})

    def _tell(self, answer: Answer) -> None:
        """Say what changes, not every try: all of them fail where the endpoint is down."""
        if answer.result is Result.GONE and not self._gone:
            self._gone = True
            self._metrics.notices_gone()
            logger.error(
                "the company's endpoint answered 410: notices are dead letters until a restart"
            )
        self.delivering = answer.result is Result.DELIVERED
        now_ms = self._clock()
        if self.delivering != self._said and now_ms - self._said_ms >= SAY_INTERVAL_MS:
            self._said, self._said_ms = self.delivering, now_ms
            if self.delivering:
                logger.info("the company's endpoint takes notices again")
            elif not self._gone:
                logger.warning("the company's endpoint takes no notices: %s", answer.word)


def _fields(one: Claimed) -> dict[str, Any]:
    """What a log may say of a notice; its name in the shard has the place of its message."""
    return {"notice": one.id} if one.pending is None else one.pending.message.place
