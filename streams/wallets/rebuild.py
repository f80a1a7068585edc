"""Rebuild: Redis made again from the journal, which is the truth.

Every key of a shard follows from the writes that its journal entries carry, in the order of their
seq; nothing is computed anew. It is the healing that a worker does
(:mod:`streams.wallets.healing`), for all shards at once. Workers may run meanwhile: a shard that is
being made again takes no bookings, and they wait. Not when Redis is emptied first: they would fill
it while it is being deleted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from redis.exceptions import RedisError

from models.shards import SHARDS
from streams.connections import redis_client, redis_server
from streams.engine import Outgoing
from streams.settings import Settings
from streams.wallets.healing import Diverged, Healer, HealingFailed
from streams.wallets.journal import Journal, JournalUnreadable
from streams.wallets.snapshots import Snapshots
from streams.wallets.store import RedisGone, Store, meta_key
from streams.wallets.terms import forget_ms

DELETED_MAX = 1_000
"""Keys that are deleted in one round trip."""

DELIVERY_TIMEOUT_S = 30.0
"""How long the broker may take to acknowledge a marker."""


class RebuildRefused(Exception):
    """Redis and journal do not fit together. One line."""


class Rebuilt(NamedTuple):
    """What a rebuild did: entries redone, entries of outboxes published, and the time it took."""

    entries: int
    republished: int
    seconds: float


def rebuild(settings: Settings, *, from_empty: bool = False) -> Rebuilt:
    """Redo what Redis lacks of the journal, of all shards. Blocking.

    With ``from_empty`` all keys of the shards are deleted first, once what their outboxes hold is
    published. Raises :class:`RebuildRefused` when Redis has what the journal lacks (not with
    ``from_empty``) or the journal has a gap,
    :class:`~streams.wallets.journal.JournalUnreadable` and ``redis.RedisError``.
    """
    return asyncio.run(_rebuild(settings, from_empty=from_empty))


async def _rebuild(settings: Settings, *, from_empty: bool) -> Rebuilt:
    began = time.monotonic()
    journal = Journal(settings.kafka_client())
    partitions = journal.partitions()
    store = Store(redis_server(settings))
    # Whoever empties Redis doubts what it held, and a snapshot holds the same.
    snapshots = None if from_empty else Snapshots(settings.kafka_client(), partitions)
    healer = Healer(
        store,
        journal,
        Sender(settings.kafka_client()).send,
        partitions=partitions,
        clock=lambda: time.time_ns() // 1_000_000,
        retention_ms=forget_ms(settings.event_retention_ms),
        snapshots=snapshots,
    )
    everything = dict.fromkeys(range(SHARDS), (0, 0))
    try:
        await store.load()
        if from_empty:
            await healer.republish(everything)
            _delete(settings)
            await store.load()
        healed = await healer.heal(everything, forced=True)
    except (Diverged, HealingFailed, ValueError) as error:
        raise RebuildRefused(str(error)) from error
    finally:
        await store.close()
    return Rebuilt(healed.redone, healed.republished, time.monotonic() - began)


class Sender:
    """Publishes a little, and waits for the broker."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._producer = Producer(
            {**client, "enable.idempotence": True, "partitioner": "murmur2_random", "log_level": 0}
        )

    async def send(self, messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
        """Publish; the last offset in each partition. Raises JournalUnreadable."""
        return await asyncio.to_thread(self._send, messages)

    def _send(self, messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
        offsets: dict[tuple[str, int], int] = {}
        failures: list[str] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error.str())
                return
            offsets[str(message.topic()), int(message.partition() or 0)] = message.offset() or 0

        for topic, key, value, headers in messages:
            try:
                self._producer.produce(
                    topic, value, key, headers=list(headers or ()), on_delivery=delivered
                )
            except KafkaException as error:
                raise JournalUnreadable(error.args[0].str()) from error
        left = self._producer.flush(DELIVERY_TIMEOUT_S)
        if left or failures:
            raise JournalUnreadable(failures[0] if failures else "the broker does not answer")
        return offsets


def _delete(settings: Settings) -> None:
    """All keys of all shards, the journal's truth aside; each shard has to be healed after it."""
    client = redis_client(settings, timeout_s=60.0)
    some: list[bytes] = []

    def unlink() -> None:
        pipe = client.pipeline(transaction=False)
        for key in some:
            pipe.unlink(key)
        pipe.execute()
        some.clear()

    try:
        # First what makes a shard sound, so that nobody books to one that is half gone.
        some.extend(meta_key(shard).encode() for shard in range(SHARDS))
        unlink()
        for key in client.scan_iter(match="{s*}:*", count=DELETED_MAX):
            number, _, rest = key[2:].partition(b"}:")
            if number.isdigit() and int(number) < SHARDS and rest not in {b"", b"m"}:
                some.append(key)
            if len(some) >= DELETED_MAX:
                unlink()
        if some:
            unlink()
    finally:
        client.close()


__all__ = [
    "JournalUnreadable",
    "RebuildRefused",
    "Rebuilt",
    "RedisError",
    "RedisGone",
    "Sender",
    "rebuild",
]
