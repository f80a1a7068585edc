"""The idempotent producer: one future a batch, done when the broker has every message."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from faust.types import TP
from faust.types.tuples import RecordMetadata
from mode import Service

from streams.engine.counters import EngineCounters
from streams.engine.errors import (
    DeliveryFailed,
    EngineNotRunning,
    EngineRefusal,
    PayloadTooLarge,
)
from streams.engine.library_log import LibraryLog
from streams.engine.settings import EngineSettings
from streams.engine.stream import Headers

logger = logging.getLogger(__name__)

_POLL_S = 0.1
_ROOM_WAIT_S = 0.005
_COMPLAINT_INTERVAL_S = 10.0


class Outgoing(NamedTuple):
    """One message to produce; the key decides the partition as Java's default partitioner does."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers | None = None

    def __repr__(self) -> str:
        return f"Outgoing({self.topic}, {len(self.value or b'')} bytes)"


_Told = Callable[[KafkaError | None, Message], None]


class _Delivery:
    """Counts the deliveries of one batch down; librdkafka calls it from the poll thread."""

    __slots__ = ("_future", "_last", "_left", "_loop", "failed", "offsets", "reason", "total")

    def __init__(self, total: int, loop: asyncio.AbstractEventLoop) -> None:
        self.total = total
        self.failed = 0
        self.reason = ""
        self.offsets: dict[tuple[str, int], int] = {}
        self._left = total
        self._last: Message | None = None
        self._loop = loop
        self._future: asyncio.Future[Message | None] = loop.create_future()

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failed += 1
            self.reason = error.str()
        self._last = message
        self._left -= 1
        if self._left == 0 and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._resolve)

    def noting(self, error: KafkaError | None, message: Message) -> None:
        """The same for a message whose offset is asked for; a partition's come in order."""
        if error is None:
            self.offsets[message.topic(), message.partition()] = message.offset()  # type: ignore[index,assignment]
        self(error, message)

    def _resolve(self) -> None:
        if not self._future.done():
            self._future.set_result(self._last)

    async def wait(self) -> Message | None:
        """The last message delivered, once all are.

        Raises:
            DeliveryFailed: one or more are not stored, or it is not known whether they are.
        """
        last = await self._future
        if self.failed:
            raise DeliveryFailed(self.failed, self.total, self.reason)
        return last


class EngineProducer(Service):
    """Produces batches; with a thread of its own that collects the broker's acknowledgements."""

    logger = logger

    def __init__(self, settings: EngineSettings, counters: EngineCounters, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings = settings
        self.counters = counters
        self._producer: Producer | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._complaint_due = 0.0

    async def on_start(self) -> None:
        """Create the producer and start its thread."""
        config = self.settings.producer()
        config["error_cb"] = self._on_error
        config["logger"] = LibraryLog(logger)
        self._producer = Producer(config)
        self._ended.clear()
        self._thread = threading.Thread(
            target=self._collect, args=(self._producer,), name="kafka-deliveries", daemon=True
        )
        self._thread.start()

    async def send_batch(
        self, messages: Sequence[Outgoing], *, tracked: str | None = None
    ) -> dict[tuple[str, int], int]:
        """Produce `messages` and return when the broker acknowledged every one.

        They keep their order within a partition. Cancelling does not unsend. Returns the last
        offset of each (topic, partition) of the topic `tracked`, if one is.

        Raises:
            PayloadTooLarge: one is above `message_bytes_max`; nothing was sent.
            DeliveryFailed: not all were acknowledged within `delivery_timeout_ms`.
            EngineNotRunning: before the start or after the stop.
        """
        if not messages:
            return {}
        producer = self._client()
        self._check_sizes(messages)
        delivery = _Delivery(len(messages), asyncio.get_running_loop())
        noting = delivery.noting
        produce = producer.produce
        for number, (topic, key, value, headers) in enumerate(messages):
            told = noting if topic == tracked else delivery
            try:
                if headers:
                    produce(topic, value, key, on_delivery=told, headers=_listed(headers))
                else:
                    produce(topic, value, key, on_delivery=told)
            except BufferError:
                await self._produce_when_room(messages[number], told)
            except KafkaException as error:
                left = len(messages) - number
                raise DeliveryFailed(left, len(messages), error.args[0].str()) from error
        await delivery.wait()
        self.counters.produced += len(messages)
        return delivery.offsets

    async def send(  # noqa: PLR0917 - Faust's signature
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Mapping[str, bytes] | Headers | None,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Faust's `topic.send`: produces one message; await what it returns for the delivery.

        Raises:
            PayloadTooLarge: it is above `message_bytes_max`.
            EngineRefusal: with a transaction, partition or timestamp of the caller's.
        """
        if transactional_id is not None:
            raise EngineRefusal("a transactional send", "idempotent effects and send_batch()")
        if partition is not None or timestamp is not None:
            raise EngineRefusal("a partition or timestamp of one's own", "the key decides it")
        pairs = list(headers.items()) if isinstance(headers, Mapping) else headers
        message = Outgoing(topic, key, value, pairs or None)
        producer = self._client()
        self._check_sizes([message])
        delivery = _Delivery(1, asyncio.get_running_loop())
        try:
            producer.produce(topic, value, key, on_delivery=delivery, headers=_listed(pairs))
        except BufferError:
            await self._produce_when_room(message, delivery)
        return asyncio.ensure_future(self._metadata(delivery))

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> RecordMetadata:
        """`send`, and wait for the delivery."""
        return await (await self.send(*args, **kwargs))

    def send_soon(self, *_: Any) -> None:
        """Refused: nobody would learn whether the message was stored."""
        raise EngineRefusal("send_soon()", "await app.producer.send_batch([...])")

    def supports_headers(self) -> bool:
        """Always: the broker versions this runs on have them."""
        return True

    async def flush(self) -> None:
        """Wait until everything produced is acknowledged, at most `drain_timeout_s`."""
        producer = self._producer
        if producer is None:
            return
        left = await asyncio.get_running_loop().run_in_executor(
            None, producer.flush, self.settings.drain_timeout_s
        )
        if left:
            logger.error("%d produced messages were not acknowledged in time", left)

    async def on_stop(self) -> None:
        """Flush and end the thread."""
        await self.flush()
        self._ended.set()
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join, 2 * _POLL_S)
        self._producer = None

    async def _metadata(self, delivery: _Delivery) -> RecordMetadata:
        message = await delivery.wait()
        self.counters.produced += 1
        topic = str(message.topic()) if message is not None else ""
        partition = int(message.partition() or 0) if message is not None else 0
        offset = int(message.offset() or 0) if message is not None else 0
        return RecordMetadata(topic, partition, TP(topic, partition), offset)

    async def _produce_when_room(self, message: Outgoing, told: _Told) -> None:
        # The queue empties as the broker acknowledges or as messages time out, so this ends.
        topic, key, value, headers = message
        while True:
            await asyncio.sleep(_ROOM_WAIT_S)
            try:
                self._client().produce(
                    topic, value, key, on_delivery=told, headers=_listed(headers)
                )
            except BufferError:
                continue
            return

    def _check_sizes(self, messages: Iterable[Outgoing]) -> None:
        bytes_max = self.settings.message_bytes_max
        for topic, key, value, headers in messages:
            size = (len(value) if value else 0) + (len(key) if key else 0)
            if headers:
                size += sum(len(name) + len(content or b"") for name, content in headers)
            if size > bytes_max:
                raise PayloadTooLarge(topic, size, bytes_max)

    def _client(self) -> Producer:
        if self._producer is None:
            raise EngineNotRunning("the producer is not started")
        return self._producer

    def _collect(self, producer: Producer) -> None:
        # A connection is made when the first message needs it, and an idempotent producer asks for
        # its id on one that stands, or half a second later: the first batch would wait a second.
        with contextlib.suppress(KafkaException):
            producer.list_topics(timeout=_POLL_S)
        while not self._ended.is_set():
            producer.poll(_POLL_S)

    def _on_error(self, error: KafkaError) -> None:
        now = time.monotonic()
        if error.fatal() or now >= self._complaint_due:
            self._complaint_due = now + _COMPLAINT_INTERVAL_S
            logger.warning("broker: %s", error.str())


def _listed(headers: Headers | None) -> list[tuple[str, str | bytes | None]] | None:
    return list(headers) if headers else None
