"""An emptied Redis begins at the latest snapshot, taken while the shards were booked to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from confluent_kafka.admin import AdminClient

from models.shards import SHARDS, shard_of
from streams.wallets import snapshots as module
from streams.wallets.rebuild import rebuild
from streams.wallets.server import meta_key
from streams.wallets.snapshots import Key, SnapshotFailed, Snapshots, pack, unpack
from tests.streams.wallets.harness import PARTITIONS, Company
from tests.streams.wallets.test_rebuild import keys


def test_a_chunk_gives_back_what_was_put_in() -> None:
    some: list[Key] = [(b"w:anna", 0, b"\x00\xff" * 9), (b"d:x", 1_790_000_000_000, b"")]
    assert list(unpack(pack(some))) == some
    assert list(unpack(b"")) == []


async def sell(company: Company, first: int, count: int = 20) -> None:
    """Sales, returns, and sellers whose profile never comes, so that lists grow."""
    company.publish(
        "sales",
        *(company.sale(f"s{n % 5}", 6_000 + n, f"a{n}") for n in range(first, first + count)),
        *(company.return_of(f"s{n % 5}", 2_000, f"a{n}") for n in range(first, first + count, 3)),
        *(company.sale(f"new{n % 3}", 5_000, f"b{n}") for n in range(first, first + count, 4)),
    )
    await company.work()


class Meddling:
    """A Redis client that lets the company go on before each page of keys is read."""

    def __init__(self, client: redis.Redis, between: Any) -> None:
        self._client = client
        self._between = between

    def pipeline(self, **options: Any) -> Any:
        self._between()
        return self._client.pipeline(**options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@pytest.mark.timeout(90)
async def test_taken_while_booked_to_it_leads_to_the_same_keys(
    own_broker: str, redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEYS_MAX", 40)
    async with Company(own_broker, redis_url) as company:
        await company.wallets.heal(range(SHARDS))
        sellers = [company.seller(f"s{n}", receiver="r@example.com") for n in range(5)]
        company.publish("sellers", *sellers)
        await company.work()
        await sell(company, 0, 60)
        loop, sales = asyncio.get_running_loop(), iter(range(100, 10_000, 20))

        def between() -> None:
            asyncio.run_coroutine_threadsafe(sell(company, next(sales)), loop).result(30)

        snapshots = Snapshots(company.settings.kafka_client(), PARTITIONS)
        taken = await asyncio.to_thread(snapshots.take, Meddling(client, between))
        pages = next(sales) // 20 - 5
        assert pages > 5, "nothing was booked between the pages"
        await sell(company, 9_000)
        company.publish("sellers", company.seller("new0"))
        await company.work()
        before = keys(client)
        entries = sum(m.topic == "ledger" for m in company.sent)

        client.flushall()
        rebuilt = await asyncio.to_thread(rebuild, company.settings)
        after = keys(client)
        assert after.keys() == before.keys()
        for key, value in before.items():
            assert after[key] == value, key
        assert taken.keys > 200
        # What was there when the snapshot began did not have to be redone.
        assert entries - rebuilt.entries > 150


async def test_of_a_redis_that_was_lost_meanwhile_it_does_not_count(
    own_broker: str, redis_url: str, client: redis.Redis
) -> None:
    """The shards' states are read from it as it was, the keys from one that has less."""
    async with Company(own_broker, redis_url) as company:
        await company.wallets.heal(range(SHARDS))
        company.publish("sales", company.sale("anna", 5_000, "a"))
        await company.work()

        def between() -> None:
            client.hset(meta_key(shard_of("anna")), "run", "another process")

        snapshots = Snapshots(company.settings.kafka_client(), PARTITIONS)
        with pytest.raises(SnapshotFailed, match="was lost or healed meanwhile"):
            await asyncio.to_thread(snapshots.take, Meddling(client, between))


async def test_of_shards_that_are_not_open_it_does_not_count(
    own_broker: str, redis_url: str, client: redis.Redis
) -> None:
    async with Company(own_broker, redis_url) as company:
        snapshots = Snapshots(company.settings.kafka_client(), PARTITIONS)
        with pytest.raises(SnapshotFailed, match="is not open"):
            await asyncio.to_thread(snapshots.take, client)
        assert snapshots.latest(0) is None
        await company.wallets.heal(range(SHARDS))
        await asyncio.to_thread(snapshots.take, client)
        first = snapshots.latest(0)
        assert first is not None

        # Healed in the middle: what it saw may be void.
        def between() -> None:
            client.hincrby("{s0}:m", "epoch", 1)

        company.publish("sales", company.sale("anna", 5_000, "a"))
        await company.work()
        with pytest.raises(SnapshotFailed, match="was lost or healed meanwhile"):
            await asyncio.to_thread(snapshots.take, Meddling(client, between))
        again = snapshots.latest(0)
        assert again is not None
        assert again.id == first.id, "one that failed must not count"


def test_without_the_topic_there_is_none(own_broker: str) -> None:
    snapshots = Snapshots({"bootstrap.servers": own_broker}, 1)
    assert "snapshots" not in AdminClient({"bootstrap.servers": own_broker}).list_topics().topics
    assert snapshots.latest(0) is None
