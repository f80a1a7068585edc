"""Healing reads no more of the ledger than it must, and several healers get on with each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Mapping
from typing import Any

import pytest
import redis

from models.shards import SHARDS, shard_of
from streams.wallets import healing
from streams.wallets.healing import Diverged
from streams.wallets.journal import Journal, Journaled, marker
from streams.wallets.server import meta_key
from streams.wallets.store import Confirming, Worth
from streams.wallets.verify import verify
from streams.wallets.wallets import Wallets
from tests.streams.wallets.harness import PARTITIONS, Company


class Noting(Journal):
    """A journal that notes from where it was read, and how much."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.read_from: list[int] = []
        self.count = 0

    def read(self, partition: int, offset: int = 0, *, until: int = -1) -> Generator[Journaled]:
        """Every entry from an offset on."""
        self.read_from.append(offset)
        for entry in super().read(partition, offset, until=until):
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
        at = (await company.store.stand({shard: (0, 0)}))[shard]
        assert at.seq == at.journaled > 60
        assert at.journal > 0
        noting = Noting(company.settings.kafka_client())
        other = Wallets(
            company.store, noting, company.send, company.terms(),
            partitions=PARTITIONS, clock=company.clock, metrics=company,
        )  # fmt: skip
        await other.heal([shard])
        assert noting.read_from == []  # it is sound: nothing can be lost
        client.hset(f"{{s{shard}}}:m", "run", "another process")
        await other.heal([shard])
        assert noting.read_from == [at.journal]
        assert noting.count < 20
        assert company.healed_entries == 0


class Shards:
    """One company's shards on a Redis that is another process than the one they were opened on."""

    def __init__(self, company: Company, client: redis.Redis) -> None:
        self.company = company
        self.client = client
        self.meta = meta_key(shard_of("anna"))

    def lose(self, *, fields: Mapping[str, str] | None = None) -> None:
        """As after a restart."""
        self.client.hset(self.meta, mapping={"run": "another process", **(fields or {})})

    def epoch(self) -> int:
        return int(self.client.hget(self.meta, "epoch"))  # type: ignore[arg-type]

    def seq(self) -> int:
        return int(self.client.hget(self.meta, "seq"))  # type: ignore[arg-type]

    async def worth(self, epoch: int, upto: int) -> Worth:
        """What entries are worth, by an epoch and the shard's seq behind them."""
        shard = shard_of("anna")
        asked = {shard: Confirming(epoch, upto, 0, ())}
        return (await self.company.store.confirm(asked))[shard]

    async def heal(self) -> None:
        """By a worker that knows nothing of the shard yet."""
        company = self.company
        other = Wallets(
            company.store, Journal(company.settings.kafka_client()), company.send, company.terms(),
            partitions=PARTITIONS, clock=company.clock, metrics=company,
        )  # fmt: skip
        await other.heal([shard_of("anna")])

    async def sell(self, number: int) -> None:
        self.company.publish("sales", self.company.sale("anna", 1_000, f"sale-{number}"))
        await self.company.work()


@pytest.fixture
async def shards(client: redis.Redis, redis_url: str, own_broker: str) -> AsyncIterator[Shards]:
    async with Company(own_broker, redis_url) as company:
        made = Shards(company, client)
        await company.wallets.heal(range(SHARDS))
        await made.sell(1)
        yield made


async def sound(shards: Shards) -> None:
    """Redis and ledger agree, and the shard takes bookings."""
    await shards.sell(2)
    verdict = await asyncio.to_thread(verify, shards.company.settings, whole=True)
    broken = {check.name: check.detail for check in verdict.checks if not check.ok}
    assert broken == {}


class TestSeveralHealers:
    async def test_at_once_open_a_shard_once(self, shards: Shards) -> None:
        before = shards.epoch()
        shards.lose()
        await asyncio.gather(*(shards.heal() for _ in range(4)))
        assert shards.epoch() > before
        assert not shards.client.hexists(shards.meta, "pending")
        await sound(shards)

    async def test_one_that_died_is_followed_by_another(
        self, shards: Shards, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(healing, "HEALER_SILENT_S", 0.3)
        shards.lose(fields={"pending": "dead"})
        before = shards.epoch()
        started = time.monotonic()
        await shards.heal()
        assert time.monotonic() - started >= 0.3
        assert shards.epoch() > before
        await sound(shards)

    async def test_one_that_was_overtaken_ends_nothing(self, shards: Shards) -> None:
        """Its marker comes when the epoch that it names is over."""
        before = shards.epoch()
        shards.lose()
        await shards.heal()
        await shards.sell(3)
        late = marker(shard_of("anna"), before, "late", shards.company.clock())
        await shards.company.send([late])
        await sound(shards)
        shards.client.flushall()
        await shards.heal()
        await sound(shards)


async def test_a_journal_that_is_shorter_than_redis_has_seen_is_not_taken_for_its_own(
    shards: Shards,
) -> None:
    shards.lose(fields={"journal": "1000000"})
    with pytest.raises(Diverged, match="is not the one that Redis was filled from"):
        await shards.heal()


class TestWhatEntriesAreWorth:
    """Asked about entries of an epoch that is over, also after Redis was lost more than once."""

    async def test_those_in_front_of_the_end_of_their_epoch_are_safe(self, shards: Shards) -> None:
        epoch, seq = shards.epoch(), shards.seq()
        shards.lose()
        await shards.heal()
        assert await shards.worth(epoch, seq) is Worth.SAFE
        assert await shards.worth(epoch, seq + 1) is Worth.VOID

    async def test_a_second_loss_does_not_make_void_ones_safe(self, shards: Shards) -> None:
        epoch, seq = shards.epoch(), shards.seq()
        shards.client.flushall()
        await shards.heal()
        for number in range(3, 6):
            await shards.sell(number)
        # Forgets what the first healing knew of the epoch.
        shards.client.flushall()
        await shards.heal()
        assert shards.seq() > seq + 1
        assert await shards.worth(epoch, seq + 1) is Worth.VOID
        assert await shards.worth(epoch, seq) is Worth.SAFE
        assert await shards.worth(epoch + 1_000_000, seq) is Worth.UNHEALED
