"""Shards: the unit of atomicity, and how a seller finds hers.

A shard is a fixed slice of the sellers. All Redis keys of a shard carry one hash tag, so that it
lives in one slot of a Redis Cluster and one function call changes all of it atomically. Kafka's
Java partitioner takes the same hash, so with a partition count that divides ``SHARDS`` a shard
lies in one partition of every topic.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count

SHARDS = 64
"""Number of shards. Fixed at the first start of an installation; checked at every start."""

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_SEED = 0x9747B28C


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 hash, unsigned, as ``org.apache.kafka.common.utils.Utils`` computes it."""
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * _M) & _MASK
        k ^= k >> 24
        k = (k * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    tail = length - whole
    if tail:
        h ^= int.from_bytes(data[whole:], "little")
        h = (h * _M) & _MASK
    h ^= h >> 13
    h = (h * _M) & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=262_144)
def key_hash(key: str) -> int:
    """The non-negative hash of a message key, before the modulo; cached for the busiest keys."""
    return murmur2(key.encode()) & 0x7FFFFFFF


def shard_of(seller_id: str) -> int:
    """The shard a seller lives in."""
    return key_hash(seller_id) % SHARDS


@lru_cache(maxsize=SHARDS)
def key_of_shard(shard: int) -> str:
    """A message key that leads to the shard's partition, for what concerns no seller."""
    return next(key for n in count() if shard_of(key := f"shard-{shard}-{n}") == shard)


def partition_of(seller_id: str, partitions: int) -> int:
    """The partition the Java default partitioner picks for a message keyed by this seller."""
    return key_hash(seller_id) % partitions


def shards_of_partition(partition: int, partitions: int) -> range:
    """The shards whose sellers' events arrive in this partition.

    Raises ValueError when the partition count does not divide ``SHARDS``.
    """
    if partitions < 1 or SHARDS % partitions:
        raise ValueError(f"{partitions} partitions do not divide the {SHARDS} shards")
    return range(partition, SHARDS, partitions)
