"""Healing reads the ledger from where Redis is known to hold everything, not from its start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import redis

from models.shards import shard_of
from streams.wallets.journal import Journal, Journaled
from streams.wallets.wallets import Wallets
from tests.streams.wallets.harness import PARTITIONS, Company


class Noting(Journal):
    """A journal that notes from where it was read, and how much."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.read_from: list[int] = []
        self.count = 0

    def read(self, partition: int, offset: int = 0) -> Iterator[Journaled]:
        """Every entry from an offset on."""
        self.read_from.append(offset)
        for entry in super().read(partition, offset):
            self.count += 1
            yield entry


@pytest.mark.timeout(60)
async def test_a_heal_reads_from_the_last_acknowledged_offset(
    client: redis.Redis, redis_url: str, own_broker: str
) -> None:
    async with Company(own_broker, redis_url) as company:
        company.publish("sellers", company.seller("anna"))
        for number in range(3):
            company.publish(
                "sales", *(company.sale("anna", 1_000, f"s{number}-{k}") for k in range(20))
            )
            await company.work()
        shard = shard_of("anna")
        seq, journal = await company.store.standing(shard)
        assert seq > 60
        assert journal > 0
        noting = Noting(company.settings.kafka_client())
        other = Wallets(
            company.store, noting, company.send, company.terms(),
            partitions=PARTITIONS, clock=company.clock, metrics=company,
        )  # fmt: skip
        await other.heal([shard])
        assert noting.read_from == [journal]
        assert noting.count < 20
        assert company.healed_entries == 0
