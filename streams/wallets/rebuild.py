"""Rebuild: the wallets in Redis, made again from the journal.

The same function that heals a worker's shards redoes the entries, in the order of their seq;
nothing is computed anew. Entries that a shard has are passed over, so that a rebuild may be stopped
and repeated. Workers must not run meanwhile: what they book is not lost, but it may be refused.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from redis.exceptions import RedisError

from models.shards import SHARDS
from streams.connections import redis_client
from streams.settings import Settings
from streams.wallets.journal import Journal, JournalUnreadable
from streams.wallets.library import library
from streams.wallets.store import meta_key
from streams.wallets.wallets import APPLY_MAX, forget_ms

READERS_MAX = 4
"""Partitions of the journal that are read at the same time."""

EARLY_MAX = 100_000
"""Entries of a shard that may wait for one that is missing in front of them."""

DELETED_MAX = 1_000
"""Keys that are deleted in one round trip."""


class RebuildRefused(Exception):
    """Redis and journal do not fit together; nothing was changed. One line."""


class Rebuilt(NamedTuple):
    """What a rebuild did: entries redone, shards they belong to, and the time it took."""

    entries: int
    shards: int
    seconds: float


class _Shard:
    """One shard being rebuilt: puts entries into order and hands them to Redis in batches."""

    def __init__(self, client: Any, number: int, seq: int, retention_ms: int) -> None:
        self.seq = seq
        self.applied = 0
        self._client = client
        self._key = meta_key(number)
        self._retention_ms = retention_ms
        self._early: dict[int, bytes] = {}
        self._batch: list[bytes] = []
        self._queued = seq

    def take(self, seq: int, value: bytes, offset: int) -> None:
        """One entry, as the journal has it."""
        if seq <= self._queued:
            return
        self._early[seq] = value
        while (value := self._early.pop(self._queued + 1, b"")) != b"":
            self._batch.append(value)
            self._queued += 1
        if len(self._early) > EARLY_MAX:
            raise RebuildRefused(f"{self._key}: entry {self._queued + 1} is not in the journal")
        if len(self._batch) >= APPLY_MAX:
            self.flush(offset)

    def flush(self, offset: int) -> None:
        """Redo what is gathered. ``offset``: up to there the journal was read."""
        if not self._batch:
            return
        # What still waits for an entry in front lies before this offset as well.
        journal = 0 if self._early else offset
        seq, applied = self._client.fcall(
            library().function("apply"),
            1,
            self._key,
            str(self._retention_ms),
            str(journal),
            *self._batch,
        )
        self.seq = int(seq)
        self.applied += int(applied)
        self._batch = []

    def missing(self) -> int | None:
        """The seq of an entry that is missing in front of others."""
        return self._queued + 1 if self._early else None


def rebuild(settings: Settings, *, from_empty: bool = False) -> Rebuilt:
    """Redo what Redis lacks of the journal, of all shards. Blocking.

    With ``from_empty`` all keys of the shards are deleted first. Raises :class:`RebuildRefused`
    when Redis is ahead of the journal or the journal has a gap,
    :class:`~streams.wallets.journal.JournalUnreadable` and ``redis.RedisError``.
    """
    began = time.monotonic()
    journal = Journal(settings.kafka_client())
    partitions = journal.partitions()
    client = redis_client(settings, timeout_s=60.0)
    try:
        client.function_load(library().source, replace=True)
        seqs = _seqs(client)
        if any(seqs.values()) or from_empty:
            _refuse_if_ahead(journal, partitions, seqs)
        if from_empty:
            _delete(client)
            seqs = dict.fromkeys(range(SHARDS), 0)
        client.hsetnx(meta_key(0), "shards", SHARDS)
        retention_ms = forget_ms(settings.event_retention_ms)

        def redo(partition: int) -> list[_Shard]:
            return _redo(client, journal, partition, seqs, retention_ms)

        with ThreadPoolExecutor(min(READERS_MAX, partitions)) as pool:
            shards = [shard for part in pool.map(redo, range(partitions)) for shard in part]
    finally:
        client.close()
    return Rebuilt(
        sum(shard.applied for shard in shards),
        sum(shard.applied > 0 for shard in shards),
        time.monotonic() - began,
    )


def _redo(
    client: Any, journal: Journal, partition: int, seqs: Mapping[int, int], retention_ms: int
) -> list[_Shard]:
    """One partition of the journal."""
    shards: dict[int, _Shard] = {}
    offset = 0
    for entry in journal.read(partition):
        offset = entry.offset
        shard = shards.get(entry.shard)
        if shard is None:
            shard = shards[entry.shard] = _Shard(
                client, entry.shard, seqs[entry.shard], retention_ms
            )
        shard.take(entry.seq, entry.value, offset)
    for shard in shards.values():
        shard.flush(offset)
        if (missing := shard.missing()) is not None:
            raise RebuildRefused(f"the journal lacks entry {missing} of a shard; it goes on behind")
    return list(shards.values())


def _seqs(client: Any) -> dict[int, int]:
    pipe = client.pipeline(transaction=False)
    for shard in range(SHARDS):
        pipe.hget(meta_key(shard), "seq")
    return {shard: int(seq or 0) for shard, seq in enumerate(pipe.execute())}


def _refuse_if_ahead(journal: Journal, partitions: int, seqs: Mapping[int, int]) -> None:
    """Redis ahead of the journal means entries that were never published: a rebuild loses them."""
    lasts: dict[int, int] = defaultdict(int)

    def walk(partition: int) -> None:
        for entry in journal.read(partition):
            lasts[entry.shard] = max(lasts[entry.shard], entry.seq)

    with ThreadPoolExecutor(min(READERS_MAX, partitions)) as pool:
        list(pool.map(walk, range(partitions)))
    ahead = [shard for shard, seq in seqs.items() if seq > lasts[shard]]
    if ahead:
        shard = ahead[0]
        raise RebuildRefused(
            f"Redis is ahead of the journal in {len(ahead)} shards (shard {shard}: {seqs[shard]}, "
            f"journal {lasts[shard]}): start a worker, it publishes what is left in the outboxes"
        )


def _delete(client: Any) -> None:
    """All keys of all shards."""
    some: list[bytes] = []

    def unlink() -> None:
        pipe = client.pipeline(transaction=False)
        for key in some:
            pipe.unlink(key)
        pipe.execute()
        some.clear()

    for key in client.scan_iter(match="{s*}:*", count=DELETED_MAX):
        number, _, rest = key[2:].partition(b"}:")
        if number.isdigit() and int(number) < SHARDS and rest:
            some.append(key)
        if len(some) >= DELETED_MAX:
            unlink()
    if some:
        unlink()


__all__ = ["JournalUnreadable", "RebuildRefused", "Rebuilt", "RedisError", "rebuild"]
