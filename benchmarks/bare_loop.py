"""The job as a bare confluent-kafka loop: no framework, batched as the product batches.

Look, look around, score, book, publish, commit; one round trip to Redis for each of the looks, book
and the states of cards, devices and customers, whatever the number of shards. Ends with SIGTERM.
"""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from pydantic_core import to_json
from redis import Redis

from benchmarks.deciding import Deciding, Source
from models.shards import SHARDS, shard_of
from streams.agents.sales import SHARED_STATE_TTL_MS
from streams.settings import Settings, load_settings
from streams.wallets.library import library
from streams.wallets.server import meta_key
from streams.wallets.store import Operation
from streams.worker import now_ms, spare_garbage_collection

WAIT_S = 0.1
GROUP = "bare-loop"


class BareLoop:
    """Takes sales to their effects, one batch after another."""

    def __init__(self, settings: Settings) -> None:
        self._deciding = Deciding(settings)
        self._redis = Redis.from_url(settings.redis_url)
        self._batch_max = settings.batch_max
        self._epochs = self._opened()
        client = settings.kafka_client()
        self._consumer = Consumer(
            {
                **client,
                "group.id": GROUP,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": "range",
                "session.timeout.ms": settings.session_timeout_ms,
                "heartbeat.interval.ms": 500,
                "fetch.wait.max.ms": settings.fetch_wait_ms,
                "fetch.queue.backoff.ms": 10,
            }
        )
        self._producer = Producer(
            {
                **client,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 1,
            }
        )
        self._ended = False

    def end(self, *_: object) -> None:
        """Finish the batch in hand and leave."""
        self._ended = True

    def run(self) -> None:
        """Work until the end."""
        self._consumer.subscribe(["sales"])
        while not self._ended:
            first = self._consumer.poll(WAIT_S)
            if first is None:
                continue
            messages = [first, *self._consumer.consume(self._batch_max - 1, 0)]
            batch = [message for message in messages if message.error() is None]
            if batch:
                self._handle(batch)
        self._consumer.close()

    def _opened(self) -> dict[int, int]:
        """The epochs that the shards are in."""
        replies = self._call([("FCALL_RO", "stand", shard, "0", "0") for shard in range(SHARDS)])
        return {shard: reply[2] for shard, reply in enumerate(replies)}

    def _handle(self, batch: Sequence[Message]) -> None:
        sources = [
            Source("sales", m.partition() or 0, m.offset() or 0, _bytes(m.value())) for m in batch
        ]
        deciding = self._deciding
        events = deciding.decode(sources)
        profiles, states = self._look(deciding.asks(events))
        states |= self._look(deciding.asks_around(profiles))[1]
        operations, shared = deciding.operations(sources, events, profiles, states)
        self._publish(self._book(operations))
        self._observe(shared)
        ends = {source.partition: source.offset + 1 for source in sources}
        self._consumer.commit(
            offsets=[TopicPartition("sales", p, offset) for p, offset in ends.items()],
            asynchronous=True,
        )

    def _look(
        self, asks: Mapping[int, tuple[list[str], list[str]]]
    ) -> tuple[dict[str, bytes], dict[str, str | None]]:
        calls = [
            ("FCALL_RO", "look", shard, to_json({"sellers": sellers, "states": wanted}))
            for shard, (sellers, wanted) in asks.items()
        ]
        profiles: dict[str, bytes] = {}
        states: dict[str, str | None] = {}
        for (sellers, wanted), reply in zip(asks.values(), self._call(calls), strict=True):
            profiles.update(zip(sellers, reply[0], strict=True))
            states.update(
                (entity, state.decode())
                for entity, state in zip(wanted, reply[1], strict=False)
                if state is not None
            )
        return profiles, states

    def _book(self, operations: Sequence[Operation]) -> dict[int, list[Any]]:
        by_shard: dict[int, list[Operation]] = defaultdict(list)
        for operation in operations:
            by_shard[shard_of(operation["seller"])].append(operation)
        at_ms, static = now_ms(), self._deciding.static
        calls = []
        for shard, group in by_shard.items():
            context = {"now": at_ms, "known": 0, "epoch": self._epochs[shard]}
            calls.append(("FCALL", "book", shard, to_json(context), to_json(group), static))
        outboxes: dict[int, list[Any]] = {}
        for shard, (_, outcomes, outbox, _) in zip(by_shard, self._call(calls), strict=True):
            if any(outcome != b"booked" for outcome in outcomes):
                raise RuntimeError(f"not every sale was booked: {set(outcomes)}")
            outboxes[shard] = outbox
        return outboxes

    def _publish(self, outboxes: Mapping[int, Sequence[Any]]) -> None:
        """What follows from the entries, then the entries; then they leave the outboxes."""
        for box in outboxes.values():
            for _, fields in box:
                for i in range(2, len(fields), 2):
                    self._produce(fields[i], fields[i + 1])
        self._flush()
        for box in outboxes.values():
            for _, fields in box:
                self._produce(fields[0], fields[1])
        self._flush()
        self._call(
            [
                ("FCALL", "confirm", shard, str(self._epochs[shard]), box[-1][0], "0",
                 *(seq for seq, _ in box))
                for shard, box in outboxes.items()
            ]
        )  # fmt: skip

    def _produce(self, field: bytes, value: bytes) -> None:
        topic, key = field.split(b"\t")
        self._producer.produce(topic.decode(), value, key, on_delivery=_delivered)

    def _flush(self) -> None:
        if self._producer.flush(30.0):
            raise RuntimeError("the broker did not take every message")

    def _observe(self, shared: Mapping[int, Mapping[str, str]]) -> None:
        ttl = str(SHARED_STATE_TTL_MS)
        self._call(
            [
                ("FCALL", "observe", shard, ttl, *(part for pair in held.items() for part in pair))
                for shard, held in shared.items()
            ]
        )

    def _call(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        function = library().function
        pipe = self._redis.pipeline(transaction=False)
        for verb, name, shard, *arguments in calls:
            pipe.execute_command(  # type: ignore[no-untyped-call]
                verb, function(name), 1, meta_key(shard), *arguments
            )
        replies: list[Any] = pipe.execute()
        return replies


def _bytes(value: str | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def _delivered(error: KafkaError | None, _: Message) -> None:
    if error is not None:
        raise RuntimeError(f"a message was not stored: {error.str()}")


def main() -> None:
    """Run with the settings of the environment."""
    loop = BareLoop(load_settings())
    spare_garbage_collection()  # as the product does
    signal.signal(signal.SIGTERM, loop.end)
    loop.run()


if __name__ == "__main__":
    main()
