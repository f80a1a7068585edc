"""What is measured beside the work: the house's accounts, and Redis' memory."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import redis

from models.shards import SHARDS, shard_of
from streams.soundings import Soundings
from streams.wallets.library import library
from streams.wallets.server import RedisGone, RedisServer
from tests.streams.wallets.harness import Company


class Silent:
    """A Redis that does not say."""

    async def memory(self) -> Mapping[str, tuple[int, int]]:
        raise RedisGone("away")


@pytest.fixture(autouse=True)
def empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        client.function_flush()
        client.function_load(library().source)


async def test_house_accounts_and_memory_are_told(own_broker: str, redis_url: str) -> None:
    server = RedisServer(redis_url)
    async with Company(own_broker, redis_url) as company:
        await company.wallets.heal(range(SHARDS))
        company.publish("sellers", company.seller("anna", receiver="anna@example.com"))
        await company.work()
        company.publish("sales", company.sale("anna", 8_000, "s1"))
        await company.work()
        mine = [shard_of("anna")]
        soundings = Soundings(company.wallets, server, lambda: mine, company.metrics)
        await soundings.memory()
        await soundings.house()
        value = company.metrics.registry.get_sample_value
        earned = value(
            "payouts_booked_minor_units_total", {"currency": "EUR", "direction": "earned"}
        )
        house = "payouts_house_balance_minor_units"
        assert earned
        assert value(house, {"account": "commissions", "currency": "EUR"}) == -earned
        [(node, (used, most))] = (await server.memory()).items()
        assert most == 0 or most > used > 0
        assert (value("payouts_redis_memory_bytes", {"node": node}) or 0) > 100_000
        assert value("payouts_redis_memory_max_bytes", {"node": node}) == most

        # Of another worker's shards nothing is said. A Redis that is away is no error.
        mine.clear()
        await soundings.house()
        await Soundings(company.wallets, Silent(), lambda: mine, company.metrics).memory()
        assert value(house, {"account": "commissions", "currency": "EUR"}) is None
    await server.close()
