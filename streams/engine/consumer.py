"""The event loop's side of consuming: inboxes, healing, draining, and how the work ends."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import TimeoutError as ThreadTimeout
from typing import Any

from faust.types import TP
from mode import Service

from streams.engine.counters import EngineCounters
from streams.engine.errors import EngineNotRunning, EngineRefusal, ExitCode
from streams.engine.offsets import PartitionOffsets
from streams.engine.poll import PollThread
from streams.engine.settings import EngineSettings
from streams.engine.stream import BatchStream, Chunk, Inbox

logger = logging.getLogger(__name__)

PartitionsHook = Callable[[set[tuple[str, int]]], Awaitable[None]]
RebalanceCallback = Callable[[set[TP]], Awaitable[None]]
Fail = Callable[[ExitCode, str], None]

_DRAIN_STEP_S = 0.005
_HEAL_BACKOFF_S = 0.2
_JOIN_MARGIN_S = 5.0


class EngineConsumer(Service):
    """Takes messages from the poll thread to the agents and their acknowledgements back."""

    logger = logger

    def __init__(
        self,
        settings: EngineSettings,
        counters: EngineCounters,
        *,
        on_assigned: PartitionsHook | None,
        on_revoked: PartitionsHook | None,
        on_rebalance: RebalanceCallback,
        fail: Fail,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = settings
        self.counters = counters
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._on_rebalance = on_rebalance
        self._fail = fail
        self._inboxes: dict[str, Inbox] = {}
        self._owned: dict[tuple[str, int], PartitionOffsets] = {}
        self._heals: dict[asyncio.Task[None], list[PartitionOffsets]] = {}
        self._thread: PollThread | None = None
        self._running_loop: asyncio.AbstractEventLoop | None = None
        self._draining = False

    # What Faust and the streams call

    async def on_start(self) -> None:
        """Create the consumer and start its thread; the group is joined by `subscribe`."""
        self._running_loop = asyncio.get_running_loop()
        self._thread = PollThread(self.settings, self, self.counters)
        self._thread.start()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group for `topics`, for good: a subscription never changes while it runs."""
        self._poll_thread().subscribe({topic: self._inbox(topic) for topic in topics})

    def inbox_of(self, stream: BatchStream) -> tuple[Inbox, int]:
        """The inbox a stream reads, and how many messages a batch holds at most."""
        topics = getattr(stream.channel, "topics", None)
        if not topics or len(topics) != 1:
            raise EngineRefusal("a stream of something else than one topic", "one topic an agent")
        return self._inbox(topics[0]), self.settings.batch_messages_max

    def assignment(self) -> set[TP]:
        """The partitions this worker owns now."""
        return {TP(*key) for key in self._owned}

    def abandon(self, topic: str) -> None:
        """The topic's agent is gone: no stop waits for what it had in hand."""
        self._inbox(topic).abandoned = True

    @property
    def work_waiting(self) -> bool:
        """Whether messages wait for an agent or are in its hands."""
        return any(inbox.depth > 0 for inbox in list(self._inboxes.values()))

    @property
    def rounds_at(self) -> float | None:
        """time.monotonic() of the poll thread's last round, None unless it should be polling."""
        thread = self._thread
        return thread.round_at if thread is not None and not self._draining else None

    async def drain(self) -> None:
        """Hand out nothing more and let what is in hand finish, within `drain_timeout_s`."""
        if self._draining:
            return
        self._draining = True
        if self._thread is not None:
            self._thread.hold()
        for inbox in self._inboxes.values():
            inbox.close()
        await self._until_idle(list(self._owned.values()), self.settings.drain_timeout_s)
        for task in list(self._heals):
            task.cancel()

    async def on_stop(self) -> None:
        """Commit what is finished, leave the group, end the thread."""
        await self.drain()
        thread = self._thread
        if thread is None:
            return
        thread.finish()
        await asyncio.get_running_loop().run_in_executor(
            None, thread.join, self.settings.drain_timeout_s + _JOIN_MARGIN_S
        )
        if thread.is_alive():
            logger.error("the consumer did not leave the group in time")

    # What the poll thread calls, in that thread

    def receive(self, chunks: list[Chunk]) -> None:
        """Hand messages to the loop."""
        self._soon(self._put, chunks)

    def assigned(self, added: list[PartitionOffsets]) -> None:
        """Heal on the loop; the poll thread goes on with the other partitions."""
        self._soon(self._start_healing, added)

    def release(self, gone: list[PartitionOffsets], *, lost: bool) -> None:
        """Block the poll thread until the loop has finished with `gone`, bounded."""
        timeout_s = 0.0 if lost or self._draining else self.settings.drain_timeout_s
        loop = self._running_loop
        if loop is None or loop.is_closed():
            return
        done: ThreadFuture[None] = asyncio.run_coroutine_threadsafe(
            self._release(gone, timeout_s), loop
        )
        try:
            # A dead loop must not hold the rebalance: the watchdog deals with it.
            done.result(timeout=timeout_s + 1.0)
        except ThreadTimeout:
            logger.error("the event loop did not let go of its partitions in time")

    def released(self, gone: list[PartitionOffsets]) -> None:
        """Close the partitions: acknowledgements that come later are ignored."""
        self._soon(self._after_release, gone)

    def broken(self, reason: str) -> None:
        """End the work of this process."""
        self._fail(ExitCode.CONSUMER_FAILED, reason)

    # On the loop

    def _put(self, chunks: list[Chunk]) -> None:
        for partition, messages in chunks:
            self._inboxes[partition.topic].put(partition, messages)

    def _start_healing(self, added: list[PartitionOffsets]) -> None:
        for partition in added:
            self._owned[partition.key] = partition
        if self._draining:
            return
        task = asyncio.get_running_loop().create_task(self._take_on(added))
        self._heals[task] = added
        task.add_done_callback(lambda done: self._heals.pop(done, None))

    async def _take_on(self, added: list[PartitionOffsets]) -> None:
        await self._on_rebalance(self.assignment())
        if added and await self._heal(added) and self._thread is not None:
            self._thread.heal_done(added)

    async def _heal(self, added: list[PartitionOffsets]) -> bool:
        if self._on_assigned is None:
            return True
        for attempt in range(1, self.settings.heal_attempts_max + 1):
            keys = {partition.key for partition in added if not partition.closed}
            if not keys:
                return False
            try:
                async with asyncio.timeout(self.settings.heal_timeout_s):
                    await self._on_assigned(keys)
            except Exception:
                self.counters.heal_failures += 1
                logger.exception(
                    "healing failed, attempt %d of %d", attempt, self.settings.heal_attempts_max
                )
                await asyncio.sleep(_HEAL_BACKOFF_S * 2**attempt)
            else:
                self.counters.heals += 1
                self.counters.progressed()
                return True
        self._fail(ExitCode.HEAL_FAILED, "partitions could not be healed")
        return False

    async def _release(self, gone: list[PartitionOffsets], timeout_s: float) -> None:
        for inbox in self._inboxes.values():
            inbox.discard(set(gone))
        if timeout_s:
            await self._until_idle(gone, timeout_s)

    async def _until_idle(self, partitions: list[PartitionOffsets], timeout_s: float) -> None:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self._busy(partitions):
            if asyncio.get_running_loop().time() >= deadline:
                logger.warning("batches in hand did not finish within %.1f s", timeout_s)
                return
            await asyncio.sleep(_DRAIN_STEP_S)

    def _busy(self, partitions: list[PartitionOffsets]) -> bool:
        return any(
            partition.in_hand > 0
            and not partition.closed
            and not self._inboxes[partition.topic].abandoned
            for partition in partitions
        ) or any(
            any(each in partitions and not each.closed for each in healing)
            for healing in self._heals.values()
        )

    def _after_release(self, gone: list[PartitionOffsets]) -> None:
        for partition in gone:
            partition.close()
            if self._owned.get(partition.key) is partition:
                del self._owned[partition.key]
        self.add_future(self._tell_release(gone))

    async def _tell_release(self, gone: list[PartitionOffsets]) -> None:
        if self._on_revoked is not None and gone:
            try:
                await self._on_revoked({partition.key for partition in gone})
            except Exception:
                logger.exception("the hook for released partitions failed")
        await self._on_rebalance(self.assignment())

    def _inbox(self, topic: str) -> Inbox:
        inbox = self._inboxes.get(topic)
        if inbox is None:
            inbox = self._inboxes[topic] = Inbox(topic, self.counters)
        return inbox

    def _poll_thread(self) -> PollThread:
        if self._thread is None:
            raise EngineNotRunning("the consumer is not started")
        return self._thread

    def _soon(self, function: Callable[[Any], None], argument: Any) -> None:
        loop = self._running_loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(function, argument)
