"""Exactly once, through outages: Wallets on a real Redis and a real broker."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
import redis

from models.ids import shard_of_payout
from models.ledger import Entry, Fold
from models.payouts import PayoutState
from models.rules import transition
from models.shards import SHARDS, shard_of
from streams.engine import Outgoing
from streams.engine.errors import DeliveryFailed
from streams.wallets import evidence, wallets
from streams.wallets.server import RedisServer
from streams.wallets.store import Store, meta_key
from streams.wallets.verify import verify
from streams.wallets.wallets import EntriesVoid, Wallets
from tests.streams.wallets.harness import PARTITIONS, PAY, Company, Journal, Shard, dump

SHARD = shard_of("anna")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "QUIET_S", 0.05)
    monkeypatch.setattr(evidence, "LATE_MAX_S", 0.3)


@pytest.fixture
async def company(own_broker: str, redis_url: str, client: redis.Redis) -> AsyncIterator[Company]:
    async with Company(own_broker, redis_url) as made:
        yield made


class Source:
    """Operations as an agent would post them, with offsets of their own."""

    def __init__(self, client: redis.Redis, partition: int = 0) -> None:
        self.shard = Shard(client)
        self.shard._ids = partition * 1_000_000
        self.partition = partition

    def sales(self, count: int, amount: int = 1_000, **fields: Any) -> list[dict[str, Any]]:
        return [self.shard.sale(amount, partition=self.partition, **fields) for _ in range(count)]


def other_wallets(company: Company, store: Store, ahead: Any = None) -> Wallets:
    """A second worker's wallets."""
    return Wallets(
        store,
        Journal(company.settings.kafka_client()),
        company.send,
        company.terms(),
        partitions=PARTITIONS,
        clock=company.clock,
        metrics=company,
        ahead=ahead,
    )


def folded(company: Company) -> Fold:
    """The fold of everything that was published."""
    fold = Fold()
    for offset, message in enumerate(company.sent):
        if message.topic == "ledger":
            fold.add(Entry.parse(message.value or b""), offset)
    return fold


async def holds(company: Company) -> None:
    """What verify says of money: messages come from no topic here."""
    verdict = await asyncio.to_thread(verify, company.settings, whole=True)
    broken = {check.name: check.detail for check in verdict.checks if not check.ok}
    broken.pop("each sale's tier is its published decision", None)
    assert broken == {}


class TestRedisThatLostWrites:
    async def test_emptied_it_is_healed_from_the_journal(
        self, company: Company, client: redis.Redis
    ) -> None:
        source = Source(client)
        assert set(await company.wallets.post(source.sales(50))) == {"booked"}
        client.flushall()
        assert await company.wallets.post(source.sales(1)) == ["booked"]
        assert source.shard.balances() == (51_000, 0, 0, 0, 0)
        assert company.healed_entries == 50
        await holds(company)

    async def test_rewound_it_is_healed_from_the_journal(
        self, company: Company, client: redis.Redis
    ) -> None:
        source = Source(client)
        await company.wallets.post(source.sales(10))
        old = dump(client, f"{{s{SHARD}}}:*")
        await company.wallets.post(source.sales(10))
        # What a failover to a replica that is behind looks like.
        for key in client.scan_iter(f"{{s{SHARD}}}:*"):
            client.delete(key)
        for key, (value, expires) in old.items():
            client.restore(key, max(expires, 0), value, absttl=expires > 0)
        assert await company.wallets.post(source.sales(1)) == ["booked"]
        assert source.shard.balances() == (21_000, 0, 0, 0, 0)
        assert company.healed_entries == 10
        await holds(company)

    async def test_what_is_being_published_is_not_numbered_anew(
        self, company: Company, client: redis.Redis
    ) -> None:
        """Redis loses an entry whose publication is still under way, and books another."""
        source = Source(client)
        await company.wallets.post(source.sales(5))
        old = dump(client, f"{{s{SHARD}}}:*")
        free, entered = asyncio.Event(), asyncio.Event()
        send = company.wallets._send

        async def slow(messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int] | None:
            if not free.is_set():
                entered.set()
                await free.wait()
            return await send(messages)

        company.wallets._send = slow
        first = asyncio.create_task(company.wallets.post(source.sales(1)))
        await entered.wait()
        for key in client.scan_iter(f"{{s{SHARD}}}:*"):
            client.delete(key)
        for key, (value, expires) in old.items():
            client.restore(key, max(expires, 0), value, absttl=expires > 0)
        second = asyncio.create_task(company.wallets.post(source.sales(1)))
        await asyncio.sleep(0.4)
        free.set()
        assert await first == await second == ["booked"]
        assert source.shard.balances() == (7_000, 0, 0, 0, 0)
        await holds(company)

    async def test_what_another_worker_is_late_with_is_void(
        self, company: Company, client: redis.Redis
    ) -> None:
        """Redis loses what one worker is still publishing, and another heals it meanwhile."""
        store = Store(RedisServer(company.settings.redis_url))
        late = other_wallets(company, store)
        mine, theirs = Source(client, 0), Source(client, 1)
        await company.wallets.post(mine.sales(5))
        await late.post(theirs.sales(1))
        old = dump(client, f"{{s{SHARD}}}:*")
        free, entered = asyncio.Event(), asyncio.Event()
        send = late._send

        async def slow(messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
            entered.set()
            await free.wait()
            return await send(messages)

        late._send = slow
        lost = theirs.sales(1)
        first = asyncio.create_task(late.post(lost))
        await entered.wait()
        for key in client.scan_iter(f"{{s{SHARD}}}:*"):
            client.delete(key)
        for key, (value, expires) in old.items():
            client.restore(key, max(expires, 0), value, absttl=expires > 0)
        client.hset(meta_key(SHARD), "run", "a process that is no more")
        assert await company.wallets.post(mine.sales(1)) == ["booked"]
        free.set()
        with pytest.raises(EntriesVoid):
            await first
        # It must not go on: a later event would raise the fence over the lost one.
        with pytest.raises(EntriesVoid):
            await late.post(theirs.sales(1))
        assert mine.shard.balances() == (7_000, 0, 0, 0, 0)
        again = other_wallets(company, store)
        assert await again.post(lost) == ["booked"]
        assert mine.shard.balances() == (8_000, 0, 0, 0, 0)
        await holds(company)
        await store.close()

    async def test_without_its_functions_they_are_loaded_again(
        self, company: Company, client: redis.Redis
    ) -> None:
        client.function_flush()
        assert await company.wallets.post(Source(client).sales(1)) == ["booked"]


class TestAWorkerThatDied:
    async def test_what_it_left_in_the_outbox_is_published(
        self, company: Company, client: redis.Redis
    ) -> None:
        await company.wallets.heal(range(SHARDS))
        dead = Source(client)
        assert dead.shard.book(*dead.sales(3)) == ["booked"] * 3
        await company.wallets.heal([SHARD])
        assert company.republished == 3
        assert client.xlen(f"{{s{SHARD}}}:o") == 0
        await holds(company)

    async def test_its_events_that_come_again_count_once(
        self, company: Company, client: redis.Redis
    ) -> None:
        source = Source(client)
        sales = source.sales(10)
        await company.wallets.post(sales[:6])
        assert await company.wallets.post(sales) == ["stale"] * 6 + ["booked"] * 4
        assert source.shard.balances() == (10_000, 0, 0, 0, 0)

    async def test_a_call_that_was_carried_out_unheard_is_published(
        self, company: Company, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Redis booked, and the connection broke before its answer."""
        source = Source(client)
        await company.wallets.post(source.sales(1))
        book = company.store.book
        heard: list[int] = []

        async def unheard(calls: Any) -> Any:
            result = await book(calls)
            if not heard:
                heard.append(1)
                from streams.wallets.server import RedisGone

                raise RedisGone("connection reset")
            return result

        monkeypatch.setattr(company.store, "book", unheard)
        assert await company.wallets.post(source.sales(2)) == ["stale"] * 2
        assert source.shard.balances() == (3_000, 0, 0, 0, 0)
        await holds(company)


class TestTwoWorkers:
    async def test_on_one_shard_number_without_gaps(
        self, company: Company, client: redis.Redis
    ) -> None:
        store = Store(RedisServer(company.settings.redis_url))
        other = other_wallets(company, store)
        mine, theirs = Source(client, 0), Source(client, 1)
        rounds = [
            each.post(source.sales(7))
            for _ in range(20)
            for each, source in ((company.wallets, mine), (other, theirs))
        ]
        # Offsets of a partition must come in order: one after the other on either side.
        await asyncio.gather(_in_turn(rounds[::2]), _in_turn(rounds[1::2]))
        assert mine.shard.balances() == (280_000, 0, 0, 0, 0)
        fold = folded(company)
        assert fold.seqs == {SHARD: 280}
        assert not list(fold.gaps())
        assert fold.balances["anna/available", "EUR"] == 280_000
        assert int(client.hget(meta_key(SHARD), "seq")) == 280  # type: ignore[arg-type]
        await store.close()
        await holds(company)

    async def test_a_payout_begins_once(self, company: Company, client: redis.Redis) -> None:
        source = Source(client)
        await company.wallets.post(source.sales(5, pay=PAY))
        payouts = list(source.shard.payouts())
        store = Store(RedisServer(company.settings.redis_url))
        other = other_wallets(company, store)

        def marks(name: str) -> list[dict[str, Any]]:
            return [
                {**transition(f"{name}-{p}", p, PayoutState.SUBMITTED), "only_from": "reserved"}
                for p in payouts
            ]

        first, second = await asyncio.gather(
            company.wallets.post(marks("one")), other.post(marks("two"))
        )
        begun = [sorted(pair) for pair in zip(first, second, strict=True)]
        assert begun == [["booked", "ignored:submitted"]] * 5
        assert {shard_of_payout(payout) for payout in payouts} == {SHARD}
        await store.close()

    async def test_an_operation_waits_for_its_own_shard_only(
        self, company: Company, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What a worker is slow to publish holds up what is booked behind it, and no more."""
        monkeypatch.setattr(wallets, "CONFIRM_PATIENCE_S", 60.0)
        store = Store(RedisServer(company.settings.redis_url))
        slow = other_wallets(company, store)
        await company.wallets.heal(range(SHARDS))
        free, entered = asyncio.Event(), asyncio.Event()

        async def slowly(messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
            entered.set()
            await free.wait()
            return await company.send(messages)

        slow._send = slowly
        first = asyncio.create_task(slow.post(Source(client, 1).sales(1)))
        await entered.wait()
        elsewhere = Shard(client, "bob").sale(1_000, id="bob-1", partition=2)
        assert shard_of("bob") != SHARD
        booking = await company.wallets.book([*Source(client, 0).sales(1), elsewhere])
        behind, beside = booking.safe
        await asyncio.gather(beside, *booking.sent)
        assert not behind.done()
        free.set()
        await behind
        assert await first == ["booked"]
        await store.close()
        await holds(company)

    async def test_what_a_dead_one_left_is_published_by_one_of_those_who_wait(
        self, company: Company, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(wallets, "CONFIRM_PATIENCE_S", 0.0)
        await company.wallets.heal([SHARD])
        dead, mine = Source(client, 1), Source(client, 0)
        assert dead.shard.book(*dead.sales(1)) == ["booked"]
        bookings = [await company.wallets.book(mine.sales(1)) for _ in range(5)]
        await asyncio.gather(*(booking.published for booking in bookings))
        left = [m for m in company.sent if m.value and b'"seq":1,' in m.value]
        assert len([message for message in left if message.topic == "ledger"]) == 1
        await holds(company)

    async def test_whoever_waits_is_told_that_the_broker_did_not_take_it(
        self, company: Company, client: redis.Redis
    ) -> None:
        async def refused(messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
            raise DeliveryFailed(len(messages), len(messages), "timed out")

        send, company.wallets._send = company.wallets._send, refused
        booking = await company.wallets.book(Source(client).sales(2))
        for each in (*booking.sent, *booking.safe, booking.published):
            with pytest.raises(DeliveryFailed):
                await each
        company.wallets._send = send
        await company.wallets.republish([SHARD])
        await holds(company)


class TestBookingBehindAnother:
    """A process whose callers wait publishes what another has in front, and is about to publish."""

    @pytest.fixture
    async def hasty(
        self, company: Company, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Wallets]:
        monkeypatch.setattr(wallets, "CONFIRM_PATIENCE_S", 60.0)
        store = Store(RedisServer(company.settings.redis_url))
        made = other_wallets(company, store, self._ahead)
        self.company = company
        self.ahead: list[Outgoing] = []
        await made.heal(range(SHARDS))
        company.sent.clear()
        yield made
        await store.close()

    async def _ahead(self, messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
        self.ahead.extend(messages)
        return await asyncio.to_thread(self.company._send, messages)

    async def test_it_does_not_wait_for_the_other(
        self, company: Company, hasty: Wallets, client: redis.Redis
    ) -> None:
        slow = Source(client, 1)
        sales = slow.sales(2, pay=PAY)
        assert slow.shard.book(*sales) == ["booked"] * 2
        assert await hasty.post(Source(client, 0).sales(1)) == ["booked"]
        topics = [message.topic for message in self.ahead]
        assert topics[-2:] == ["ledger"] * 2, "an entry came before what follows from it"
        assert topics.count("payouts.commands") == 2
        assert [m.topic for m in company.sent] == ["ledger"], "counted as if it were its own"
        assert client.xlen(f"{{s{SHARD}}}:o") == 0
        # The other publishes the same, and learns that it counts.
        assert await company.wallets.post(sales) == ["stale"] * 2
        await holds(company)

    async def test_both_publish_and_it_counts_once(
        self, company: Company, hasty: Wallets, client: redis.Redis
    ) -> None:
        free, entered = asyncio.Event(), asyncio.Event()

        async def slowly(messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
            entered.set()
            await free.wait()
            return await company.send(messages)

        company.wallets._send = slowly
        first = asyncio.create_task(company.wallets.post(Source(client, 1).sales(3)))
        await entered.wait()
        mine = Source(client, 0)
        assert await hasty.post(mine.sales(1)) == ["booked"]
        assert not first.done()
        free.set()
        assert await first == ["booked"] * 3
        assert mine.shard.balances() == (4_000, 0, 0, 0, 0)
        assert len([m for m in (*self.ahead, *company.sent) if m.topic == "ledger"]) == 7
        await holds(company)

    async def test_it_looks_again_as_soon_as_that_is_published(
        self, hasty: Wallets, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def later(messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
            await asyncio.sleep(0.2)  # its own entry is in the ledger by then
            return await self._ahead(messages)

        monkeypatch.setattr(wallets, "CONFIRM_LOOK_S", 50.0)
        hasty._ahead = later
        slow = Source(client, 1)
        slow.shard.book(*slow.sales(1))
        async with asyncio.timeout(20):
            assert await hasty.post(Source(client, 0).sales(1)) == ["booked"]

    async def test_behind_many_entries_it_waits(
        self, company: Company, hasty: Wallets, client: redis.Redis
    ) -> None:
        slow = Source(client, 1)
        slow.shard.book(*slow.sales(wallets.FRONT_MAX + 1))
        booking = await hasty.book(Source(client, 0).sales(1))
        await asyncio.gather(*booking.sent)
        assert not self.ahead
        assert not booking.safe[0].done()
        await company.wallets.republish([SHARD])
        await booking.published
        await holds(company)

    async def test_what_it_publishes_itself_is_published_once(
        self, company: Company, hasty: Wallets, client: redis.Redis
    ) -> None:
        source = Source(client)
        bookings = [await hasty.book(source.sales(1)) for _ in range(5)]
        await asyncio.gather(*(booking.published for booking in bookings))
        assert not self.ahead
        await holds(company)

    async def test_it_waits_when_the_broker_does_not_take_what_is_in_front(
        self, company: Company, hasty: Wallets, client: redis.Redis
    ) -> None:
        async def refused(messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
            raise DeliveryFailed(len(messages), len(messages), "timed out")

        hasty._ahead = refused
        slow = Source(client, 1)
        slow.shard.book(*slow.sales(1))
        booking = await hasty.book(Source(client, 0).sales(1))
        await asyncio.gather(*booking.sent)
        assert not booking.safe[0].done()
        await company.wallets.republish([SHARD])
        await booking.published
        await holds(company)


async def _in_turn(posts: Sequence[Any]) -> None:
    for post in posts:
        assert set(await post) == {"booked"}


class TestDecisionsOnAProfileThatMoved:
    async def test_are_taken_again(self, company: Company, client: redis.Redis) -> None:
        company.publish("sellers", company.seller("anna", receiver="a@example.com"))
        await company.work()
        sales = company.agents["sales"]
        decide = sales.decide
        asked = 0

        async def meddled(taken: Any) -> Any:
            nonlocal asked
            operations = await decide(taken)
            asked += 1
            if asked == 1:
                profile = company.event("seller.updated", "anna", country="DE", status="suspended")
                company.publish("sellers", profile)
                looked = [m for m in company._waiting() if m.topic == "sellers"]
                from streams.engine import Batch
                from streams.engine.counters import EngineCounters
                from streams.engine.stream import Inbox

                inbox = Inbox("sellers", EngineCounters())
                await (await company.agents["sellers"].handle(Batch("sellers", looked, [], inbox)))
                company._commit(looked)
            return operations

        sales.decide = meddled  # type: ignore[method-assign]
        company.publish("sales", company.sale("anna", 4_000, "s1"))
        await company.work()
        assert asked == 2
        # Suspended by the time it was booked, so nothing is paid.
        assert Shard(client).balances()[:3] == (0, 1_000, 0)
        assert len([m for m in company.sent if m.topic == "decisions"]) == 1
        await holds(company)
