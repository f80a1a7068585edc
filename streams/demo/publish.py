"""Publishing: messages go out on a schedule of their own, whatever the pipeline does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, Producer
from confluent_kafka import Message as Delivered

from streams.demo.messages import Kind, Message

MESSAGE_BYTES_MAX = 4 * 1024 * 1024


class PublishFailed(RuntimeError):
    """The broker did not take every message."""


class Publisher:
    """Sends messages to Kafka, and remembers what the pipeline owes for them."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._producer = Producer(
            {
                **client,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 2,
                "message.max.bytes": MESSAGE_BYTES_MAX,
                "log_level": 0,
            }
        )
        self.sent = 0
        self.events = 0
        self.expected: set[str] = set()
        """Ids that must have an effect."""
        self.bad = 0
        """Messages that must be refused."""
        self.failed = 0

    def send(
        self,
        messages: Iterable[Message],
        *,
        rate: float | None,
        intended: dict[str, float] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> None:
        """Send messages at ``rate`` a second (None: as fast as they are taken).

        ``intended`` is filled with when each event was meant to be sent. ``on_tick`` is called
        now and then. Raises PublishFailed.
        """
        start = time.time()
        for i, message in enumerate(messages):
            due = start + i / rate if rate else time.time()
            self._wait_until(due)
            if intended is not None and message.kind is Kind.EVENT:
                intended[message.id] = due
            self._produce(message)
            if on_tick is not None and i % 50 == 0:
                on_tick()
        self.flush()

    def flush(self) -> None:
        """Wait until the broker has everything. Raises PublishFailed."""
        left = self._producer.flush(30.0)
        if left or self.failed:
            raise PublishFailed(f"{left + self.failed} messages were not taken by the broker")

    def _wait_until(self, due: float) -> None:
        while (pause := due - time.time()) > 0:
            self._producer.poll(min(pause, 0.05))

    def _produce(self, message: Message) -> None:
        while True:
            try:
                self._producer.produce(
                    message.topic, message.value, message.key, on_delivery=self._delivered
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)
        self.sent += 1
        if message.kind is not Kind.PROFILE:
            self.events += 1
        if message.kind is Kind.BAD:
            self.bad += 1
        elif message.kind is not Kind.REPEAT:
            self.expected.add(message.id)

    def _delivered(self, error: KafkaError | None, _: Delivered) -> None:
        if error is not None:
            self.failed += 1
