"""Shards against the figures of Kafka's own Java tests."""

import pytest

from models.shards import SHARDS, key_hash, murmur2, partition_of, shard_of, shards_of_partition


@pytest.mark.parametrize(
    ("key", "java"),
    [
        # org.apache.kafka.common.utils.UtilsTest.testMurmur2; Java's int is signed.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
        # An empty key, by hand: seed and length mixed, nothing read.
        (b"", 275646681),
    ],
)
def test_murmur2_is_javas(key: bytes, java: int) -> None:
    assert murmur2(key) == java & 0xFFFFFFFF


def test_key_hash_takes_utf_8_and_drops_the_sign_bit() -> None:
    assert key_hash("foobar") == -790332482 & 0x7FFFFFFF
    assert key_hash("é") == murmur2(b"\xc3\xa9") & 0x7FFFFFFF


def test_a_seller_stays_in_her_shard() -> None:
    assert shard_of("foobar") == (-790332482 & 0x7FFFFFFF) % 64
    assert SHARDS == 64, "a changed count strands every installation's data"


@pytest.mark.parametrize("partitions", [1, 2, 4, 8, 16, 32, 64])
def test_a_shard_lies_in_one_partition(partitions: int) -> None:
    for number in range(500):
        seller = f"seller-{number}"
        assert shard_of(seller) in shards_of_partition(partition_of(seller, partitions), partitions)


@pytest.mark.parametrize("partitions", [1, 8, 64])
def test_partitions_share_out_every_shard_once(partitions: int) -> None:
    shards = [s for p in range(partitions) for s in shards_of_partition(p, partitions)]
    assert sorted(shards) == list(range(SHARDS))


@pytest.mark.parametrize("partitions", [0, -8, 3, 10, 128])
def test_partition_counts_that_split_a_shard_are_refused(partitions: int) -> None:
    with pytest.raises(ValueError, match="do not divide"):
        shards_of_partition(0, partitions)


def test_sellers_spread_evenly() -> None:
    counts = [0] * SHARDS
    for number in range(64_000):
        counts[shard_of(f"S{number:06}")] += 1
    assert min(counts) > 850 and max(counts) < 1150
