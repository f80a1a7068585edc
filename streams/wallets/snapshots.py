"""Snapshots: the keys of all shards, kept in a topic, so that not all of the journal is redone.

A snapshot is read while the shards are booked to, key by key, so it holds no single moment: some
keys are older than others. That is mended by redoing the journal from where the snapshot began: an
entry says what things are behind it, and not by how much they change. It counts only if everything
that it may have seen is in the journal for good.

The topic ``snapshots`` has a shard's keys in the shard's partition: chunks, and behind them the
index that makes them count.
"""

from __future__ import annotations

import json
import struct
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from redis.exceptions import ResponseError

from models.shards import SHARDS, key_of_shard
from streams.topics import SNAPSHOTS
from streams.wallets.journal import SILENCE_MAX_S, JournalUnreadable
from streams.wallets.library import library
from streams.wallets.server import meta_key

TOPIC = SNAPSHOTS.name

CHUNK_BYTES_MAX = 512 * 1024
"""Size of a chunk, from which on the next one begins."""

KEYS_MAX = 1_000
"""Keys that are read in one round trip."""

WINDOW_MIN = 64
"""Messages looked through for an index, from the end of a partition; then ever more."""

SETTLED_MAX_S = 60.0
"""How long a snapshot waits for what it may have seen to be in the journal."""

ID, KIND = "id", "kind"
INDEX = b"index"

_HEAD = struct.Struct(">IqI")
_PASSING = (b"pending", b"beat", b"run", b"ended")
"""What of a shard's state holds for the server process it was read from only."""

Key = tuple[bytes, int, bytes]
"""A key without its shard's prefix, when it expires (ms since the epoch, 0 for never), its DUMP."""


class SnapshotFailed(Exception):
    """The snapshot does not count; one line that says why."""


class Taken(NamedTuple):
    """What was written: keys, bytes, and the time it took."""

    keys: int
    size_bytes: int
    seconds: float


class Snapshot(NamedTuple):
    """The latest snapshot in one partition: each shard's state where it began, and its chunks."""

    id: str
    partition: int
    first: int
    last: int
    shards: Mapping[int, Mapping[bytes, bytes]]


def pack(keys: Sequence[Key]) -> bytes:
    """Keys as a chunk holds them."""
    return b"".join(
        _HEAD.pack(len(key), expires, len(value)) + key + value for key, expires, value in keys
    )


def unpack(chunk: bytes) -> Iterator[Key]:
    """The keys of a chunk."""
    at = 0
    while at < len(chunk):
        key_length, expires, length = _HEAD.unpack_from(chunk, at)
        at += _HEAD.size
        yield (
            chunk[at : at + key_length],
            expires,
            chunk[at + key_length : at + key_length + length],
        )
        at += key_length + length


class Snapshots:
    """Writes and finds them. Blocking."""

    def __init__(self, client: Mapping[str, Any], partitions: int) -> None:
        self._client = {**client, "log_level": 0}
        self._partitions = partitions

    def take(self, redis: Any) -> Taken:
        """Write a snapshot of all shards; ``redis`` is a blocking client.

        Raises :class:`SnapshotFailed` if a shard was healed meanwhile or is not sound,
        JournalUnreadable, and redis.RedisError.
        """
        began = time.monotonic()
        writer = _Writer(self._client, self._partitions)
        states = {shard: redis.hgetall(meta_key(shard)) for shard in range(SHARDS)}
        for shard, state in states.items():
            if not _sound(redis, shard, state):
                raise SnapshotFailed(
                    f"shard {shard} is not open: start a worker, it heals the shard"
                )
        for page in _pages(redis):
            pipe = redis.pipeline(transaction=False)
            for key in page:
                pipe.dump(key)
                pipe.execute_command("PEXPIRETIME", key)
            values = iter(pipe.execute())
            for key, value, expires in zip(page, values, values, strict=False):
                if value is not None:  # it may have gone since it was listed
                    writer.add(key, max(int(expires), 0), value)
        _await_settled(redis, states)
        writer.close(states)
        return Taken(writer.keys, writer.size_bytes, time.monotonic() - began)

    def latest(self, partition: int) -> Snapshot | None:
        """The last snapshot that counts; None if there is none. Raises JournalUnreadable."""
        consumer = Consumer(
            {
                **self._client,
                "group.id": "payouts-snapshot-reader",  # never joined: assigned by hand
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        with closing(consumer):
            try:
                place = TopicPartition(TOPIC, partition)
                low, high = consumer.get_watermark_offsets(place, timeout=SILENCE_MAX_S)
                window = WINDOW_MIN
                while high > low:
                    first = max(low, high - window)
                    for message in reversed(list(_read(consumer, partition, first, high))):
                        if _header(message, KIND) == INDEX:
                            return _index(message)
                    if first == low:
                        return None
                    window *= 4
            except KafkaException as error:
                if error.args[0].code() in {
                    KafkaError.UNKNOWN_TOPIC_OR_PART,
                    KafkaError._UNKNOWN_PARTITION,
                    KafkaError._UNKNOWN_TOPIC,
                }:
                    return None
                raise JournalUnreadable(error.args[0].str()) from error
        return None

    def keys(self, snapshot: Snapshot) -> Iterator[tuple[int, list[Key]]]:
        """A snapshot's chunks: shard and keys."""
        consumer = Consumer(
            {**self._client, "group.id": "payouts-snapshot-reader", "enable.auto.commit": False,
             "enable.partition.eof": True}
        )  # fmt: skip
        with closing(consumer):
            for message in _read(consumer, snapshot.partition, snapshot.first, snapshot.last):
                if _header(message, ID) == snapshot.id.encode():
                    shard = int(_header(message, "shard"))
                    yield shard, list(unpack(message.value() or b""))


def _pages(redis: Any) -> Iterator[list[bytes]]:
    """All keys of all shards but the shards' own states and outboxes."""
    page: list[bytes] = []
    for key in redis.scan_iter(match="{s*}:*", count=KEYS_MAX):
        shard, _, rest = key[2:].partition(b"}:")
        if shard.isdigit() and int(shard) < SHARDS and rest not in {b"m", b"o", b""}:
            page.append(key)
        if len(page) >= KEYS_MAX:
            yield page
            page = []
    if page:
        yield page


def _sound(redis: Any, shard: int, state: Mapping[bytes, bytes]) -> bool:
    """Whether a shard is open, on the server process and in the epoch of a state of it, and not
    behind that: a Redis that was lost and not healed yet holds less than it did."""
    seq, epoch = state.get(b"seq", b"0"), state.get(b"epoch", b"0")
    try:
        sound, _, now, *_ = redis.fcall_ro(
            library().function("stand"), 1, meta_key(shard), seq, epoch
        )
    except ResponseError:  # an emptied server has lost the functions
        return False
    return bool(sound) and now == int(epoch)


def _await_settled(redis: Any, before: Mapping[int, Mapping[bytes, bytes]]) -> None:
    """Wait until all that the snapshot may have seen is in the journal for good."""
    ends = {shard: int(redis.hget(meta_key(shard), "seq") or 0) for shard in before}
    deadline = time.monotonic() + SETTLED_MAX_S
    while ends:
        for shard, end in list(ends.items()):
            first = redis.xrange(f"{{s{shard}}}:o", count=1)
            # Behind the look at the outbox, which may be one of a Redis that was just lost.
            if not _sound(redis, shard, {**before[shard], b"seq": b"%d" % end}):
                raise SnapshotFailed(f"shard {shard} was lost or healed meanwhile; take it again")
            if not first or int(first[0][0].split(b"-")[0]) > end:
                del ends[shard]
        if ends:
            if time.monotonic() > deadline:
                raise SnapshotFailed(
                    f"{len(ends)} shards have unpublished entries; see the workers"
                )
            time.sleep(0.05)


class _Writer:
    """Chunks on their way into the topic."""

    def __init__(self, client: Mapping[str, Any], partitions: int) -> None:
        self.keys = 0
        self.size_bytes = 0
        self._id = uuid.uuid4().hex
        self._partitions = partitions
        self._waiting: dict[int, list[Key]] = defaultdict(list)
        self._sizes: dict[int, int] = defaultdict(int)
        self._first: dict[int, int] = {}
        self._failures: list[str] = []
        self._producer = Producer(
            {**client, "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 5}
        )

    def add(self, key: bytes, expires: int, value: bytes) -> None:
        """Take a key; its whole name."""
        number, _, name = key[2:].partition(b"}:")
        shard = int(number)
        self.keys += 1
        self.size_bytes += len(name) + len(value)
        self._waiting[shard].append((name, expires, value))
        self._sizes[shard] += len(name) + len(value)
        if self._sizes[shard] >= CHUNK_BYTES_MAX:
            self._send(shard)

    def close(self, states: Mapping[int, Mapping[bytes, bytes]]) -> None:
        """Write what is left, and the indexes that make it count. Raises SnapshotFailed."""
        for shard in list(self._waiting):
            self._send(shard)
        self._flush()
        for partition in range(self._partitions):
            members = {s: state for s, state in states.items() if s % self._partitions == partition}
            shards = {
                str(shard): {
                    name.decode(): value.decode()
                    for name, value in state.items()
                    if name not in _PASSING
                }
                for shard, state in members.items()
            }
            index = {"v": 1, "id": self._id, "first": self._first.get(partition, -1),
                     "at_ms": time.time_ns() // 1_000_000, "shards": shards}  # fmt: skip
            self._produce(partition, partition, json.dumps(index).encode(), kind=INDEX)
        self._flush()

    def _send(self, shard: int) -> None:
        keys = self._waiting.pop(shard, [])
        self._sizes.pop(shard, None)
        if keys:
            self._produce(shard, shard % self._partitions, pack(keys), kind=b"keys")

    def _produce(self, shard: int, partition: int, value: bytes, *, kind: bytes) -> None:
        headers: list[tuple[str, str | bytes | None]] = [
            (ID, self._id.encode()), (KIND, kind), ("shard", str(shard).encode()),
        ]  # fmt: skip
        while True:
            try:
                self._producer.produce(
                    TOPIC, value, key_of_shard(shard).encode(), partition,
                    headers=headers, on_delivery=self._delivered,
                )  # fmt: skip
                break
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise SnapshotFailed(error.args[0].str()) from error
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(error.str())
            return
        partition, offset = int(message.partition() or 0), int(message.offset() or 0)
        self._first[partition] = min(self._first.get(partition, offset), offset)

    def _flush(self) -> None:
        left = self._producer.flush(SILENCE_MAX_S)
        if left or self._failures:
            reason = self._failures[0] if self._failures else "the broker does not answer"
            raise SnapshotFailed(f"not all of it was stored: {reason}")


def _read(consumer: Consumer, partition: int, first: int, end: int) -> Iterator[Message]:
    """Messages of a partition from an offset to before another."""
    consumer.assign([TopicPartition(TOPIC, partition, first)])
    at = first
    while at < end:
        message = consumer.poll(SILENCE_MAX_S)
        if message is None:
            raise JournalUnreadable(f"{TOPIC}[{partition}]: the broker is silent")
        error = message.error()
        if error is None:
            at = int(message.offset() or 0) + 1
            if at <= end:
                yield message
        elif error.code() == KafkaError._PARTITION_EOF:
            return
        elif error.fatal():
            raise JournalUnreadable(error.str())


def _header(message: Message, name: str) -> bytes:
    headers = cast("Sequence[tuple[str, bytes]]", message.headers() or ())
    return next((value for key, value in headers if key == name), b"")


def _index(message: Message) -> Snapshot:
    body = json.loads(message.value() or b"")
    offset = int(message.offset() or 0)
    shards = {
        int(shard): {name.encode(): value.encode() for name, value in state.items()}
        for shard, state in body["shards"].items()
    }
    first = body["first"] if body["first"] >= 0 else offset
    return Snapshot(body["id"], int(message.partition() or 0), first, offset, shards)
