"""What an agent sees: whole batches of raw messages of its topic."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, cast

from faust.streams import Stream

from streams.engine.counters import EngineCounters
from streams.engine.errors import EngineRefusal
from streams.engine.offsets import PartitionOffsets, Span

if TYPE_CHECKING:
    from streams.engine.consumer import EngineConsumer

Headers = Sequence[tuple[str, bytes | None]]


class RawMessage(NamedTuple):
    """One message as the broker holds it; `timestamp_ms` since the epoch, UTC."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Headers | None = None

    @property
    def place(self) -> dict[str, str | int]:
        """Topic, partition and offset, as fields of a log entry."""
        return {"topic": self.topic, "partition": self.partition, "offset": self.offset}

    def __repr__(self) -> str:
        # Keys and values carry personal data and must not reach a log by way of an exception.
        return f"RawMessage({self.topic}[{self.partition}]@{self.offset})"


#: Messages of one partition in offset order, as the poll thread hands them over.
Chunk = tuple[PartitionOffsets, list[RawMessage]]


class Batch:
    """Messages of one topic, in offset order within each partition.

    They are committed only after `ack`, and only contiguously; what is not acknowledged comes
    again after a restart.
    """

    __slots__ = ("_inbox", "_spans", "messages", "topic")

    def __init__(
        self, topic: str, messages: list[RawMessage], spans: list[Span], inbox: "Inbox"
    ) -> None:
        self.topic = topic
        self.messages = messages
        self._spans = spans
        self._inbox = inbox

    def ack(self) -> None:
        """Say that every message of the batch is done with, all its effects included.

        A second call changes nothing, nor does a call after the partition was released.
        """
        spans, self._spans = self._spans, []
        if spans:
            self._inbox.finish(spans)

    @property
    def partitions(self) -> set[tuple[str, int]]:
        """The (topic, partition) pairs the messages are of."""
        return {(message.topic, message.partition) for message in self.messages}

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[RawMessage]:
        return iter(self.messages)

    def __repr__(self) -> str:
        return f"Batch({self.topic}, {len(self.messages)} messages)"


class Inbox:
    """What waits for the agent of one topic. Used on the event loop only, but for the totals.

    `handed` is written by the poll thread alone and `finished` by the loop alone, so that each
    may read the other's without a lock; their difference is what the topic holds.
    """

    def __init__(self, topic: str, counters: EngineCounters) -> None:
        self.topic = topic
        self.handed = 0
        self.finished = 0
        #: The agent is gone: nothing in hand will ever be acknowledged.
        self.abandoned = False
        self._counters = counters
        self._chunks: deque[Chunk] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def depth(self) -> int:
        """Messages waiting or in hand, those still on their way from the poll thread included."""
        return self.handed - self.finished

    def put(self, partition: PartitionOffsets, messages: list[RawMessage]) -> None:
        """Add messages of one partition; of a released partition they are dropped."""
        if partition.closed or self._closed:
            self.finished += len(messages)
            return
        self._chunks.append((partition, messages))
        self._wake()

    def discard(self, gone: set[PartitionOffsets]) -> None:
        """Drop what waits of these partitions: another worker will be given it."""
        kept: deque[Chunk] = deque()
        for partition, messages in self._chunks:
            if partition in gone:
                self.finished += len(messages)
            else:
                kept.append((partition, messages))
        self._chunks = kept

    def close(self) -> None:
        """Hand out nothing more; a waiting agent sees the end of its stream."""
        self._closed = True
        for _, messages in self._chunks:
            self.finished += len(messages)
        self._chunks.clear()
        self._wake()

    def finish(self, spans: list[Span]) -> None:
        """Count what an agent acknowledged."""
        counted = 0
        for span in spans:
            if span.partition.ack(span):
                counted += span.count
            else:
                self._counters.late_acks += 1
            self.finished += span.count
        if counted:
            self._counters.messages[self.topic] += counted
            self._counters.batches[self.topic] += 1
            self._counters.progressed()

    async def take(self, messages_max: int) -> Batch | None:
        """The next batch, at most `messages_max` messages; None once closed."""
        # Without this an agent that never waits would keep the loop to itself while a backlog
        # lasts: no timers, no signals, no revocation.
        await asyncio.sleep(0)
        while not self._chunks:
            if self._closed:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._next(messages_max)

    def _next(self, messages_max: int) -> Batch:
        taken: list[RawMessage] = []
        spans: list[Span] = []
        chunks = self._chunks
        while chunks and len(taken) < messages_max:
            partition, messages = chunks.popleft()
            room = messages_max - len(taken)
            if len(messages) > room:
                chunks.appendleft((partition, messages[room:]))
                messages = messages[:room]
            spans.append(partition.hand_out(len(messages), messages[-1].offset + 1))
            if taken:
                taken.extend(messages)
            else:
                taken = messages
        return Batch(self.topic, taken, spans, self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _refuse(feature: str) -> NoReturn:
    raise EngineRefusal(feature, "use `async for batch in stream.batches()` and batch.ack()")


class BatchStream(Stream[Any]):
    """A Faust stream whose messages come in batches straight from the consumer."""

    _refused: ClassVar[tuple[str, ...]] = (
        *("take", "take_events", "take_with_timestamp", "noack_take"),
        *("group_by", "through", "noack", "echo", "items", "events", "filter"),
        *("join", "left_join", "inner_join", "outer_join", "combine"),
    )

    def __getattribute__(self, name: str) -> Any:
        if name in BatchStream._refused:
            _refuse(f"stream.{name}()")
        return super().__getattribute__(name)

    async def batches(self) -> AsyncIterator[Batch]:
        """Whole batches, as many messages as wait up to `batch_messages_max`, until the stop.

        Call `ack` on each after success. An agent may hold several; when an inbox full of
        messages is unacknowledged, nothing more comes.
        """
        consumer = cast("EngineConsumer", self.app.consumer)
        inbox, messages_max = consumer.inbox_of(self)
        while (batch := await inbox.take(messages_max)) is not None:
            yield batch

    def __aiter__(self) -> AsyncIterator[RawMessage]:
        """Messages one by one; a batch is acknowledged after its last one was processed."""
        return self._messages()

    async def _messages(self) -> AsyncIterator[RawMessage]:
        async for batch in self.batches():
            for message in batch.messages:
                yield message
            batch.ack()
