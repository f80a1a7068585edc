"""An emptied Redis comes back from the journal, key by key."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from models.payouts import FailureCategory, PayoutState
from models.rules import transition
from models.shards import SHARDS, shard_of
from streams.engine import Outgoing
from streams.settings import DEFAULTS
from streams.wallets.rebuild import RebuildRefused, rebuild
from tests.streams.wallets.harness import Company, Shard

ADVICE = ("x:i:", "x:d:", "x:c:", "x:b:", "x:u:")
"""Feature states of cards, devices and customers: not in the journal."""


def keys(client: redis.Redis) -> dict[str, tuple[Any, int]]:
    """Every key with its value and expiry, but for the outbox and what is not money."""
    found: dict[str, tuple[Any, int]] = {}
    for raw in client.scan_iter("*"):
        key = raw.decode()
        rest = key.partition(":")[2]
        if rest == "o" or rest.startswith(ADVICE):
            continue
        kind = client.type(raw).decode()  # type: ignore[union-attr]
        value: Any
        if kind == "hash":
            value = client.hgetall(raw)
            if rest == "m":
                # What says how Redis stands to the journal, and not what it holds.
                for name in (b"journal", b"journaled", b"epoch", b"run", b"ended"):
                    value.pop(name, None)
        elif kind == "zset":
            value = client.zrange(raw, 0, -1, withscores=True)
        elif kind == "list":
            value = client.lrange(raw, 0, -1)
        else:
            value = client.get(raw)
        found[key] = (value, int(client.pexpiretime(raw)))  # type: ignore[arg-type]
    return found


CAMPAIGNS = """
  - id: capped
    metric: team_volume
    levels: 1
    period: month
    budget: {EUR: 2100}
    tiers:
      - reach: {EUR: 12000}
        bonus: {EUR: 1000}
  - id: row
    metric: first_sale
    period: lifetime
    tiers:
      - reach: {EUR: 100}
        credit: {percent: 1}
  - id: streak
    metric: volume
    period: day
    streak: 2
    tiers:
      - reach: {EUR: 100}
        credit: {EUR: 20}
  - id: "off"
    metric: count
    period: lifetime
    budget: {EUR: 900}
    expires_days: 30
    tiers:
      - reach: 2
        discount: {percent: 10, cap: {EUR: 250}, products: [tea]}
reinvest:
  - {id: boost, bonus: 5, bonus_days: 9}
  - {id: boost-2, bonus: 10, budget: {EUR: 400}}
"""
"""Beside the packaged ones: a budget that is spent, and what only they do not have."""


@pytest.fixture
async def company(own_broker: str, redis_url: str, client: redis.Redis) -> AsyncIterator[Company]:
    """A company in which everything happened that can."""
    campaigns = (DEFAULTS / "campaigns.yaml").read_text() + CAMPAIGNS
    async with Company(own_broker, redis_url, campaigns=campaigns) as made:
        await made.wallets.heal(range(SHARDS))
        made.publish(
            "sellers",
            made.seller("root"),
            *(made.seller(f"s{i}", receiver="r@example.com", sponsor_id="root") for i in range(4)),
            made.seller(
                "s4", receiver="r@example.com", sponsor_id="root", reinvest={"EUR": {"percent": 40}}
            ),
        )
        await made.work()
        big = made.sale("s0", 60_000, "big")  # crosses a day's threshold
        made.publish("sales", big, {**big, "amount_minor": 7}, made.return_of("s2", 500, "not-yet"))
        made.publish(
            "sales",
            *(made.sale(f"s{n % 5}", 6_000 + n, f"a{n}") for n in range(30)),
            *(made.return_of(f"s{n % 5}", 3_000, f"a{n}") for n in range(0, 30, 3)),
            made.sale("newcomer", 9_000, "n1", instrument_ref="card1", device_ref="till"),
            made.return_of("newcomer", 1_000, "n1"),
            made.sale("newcomer-2", 9_000, "n2"),
            made.sale("s2", 2_000, "not-yet"),
            made.return_of("s3", 700, "never"),
            made.event("sale.returned", "s4", currency="EUR", amount_minor=90_000),
        )
        await made.work()
        await made.janitor.once()  # slices of the budgets
        made.publish("sellers", made.seller("newcomer", sponsor_id="root"))
        made.publish(
            "redemptions",
            made.event("credit.redeemed", "s0", currency="EUR", amount_minor=300, order_ref="o1"),
            made.event("credit.redeemed", "s1", currency="EUR", amount_minor=1_000, order_ref="o2"),
        )
        made.publish("sales", made.return_of("s0", 60_000, "big"))
        await made.work()
        await move_payouts(made, client)
        yield made


async def move_payouts(made: Company, client: redis.Redis) -> None:
    """Payouts to as many states as there are."""
    ends = [
        (PayoutState.SETTLED, None),
        (PayoutState.FAILED, FailureCategory.METHOD),
        (PayoutState.FAILED, FailureCategory.RETRYABLE),
        (PayoutState.UNKNOWN, None),
        (PayoutState.UNCLAIMED, None),
        (PayoutState.RETURNED, None),
    ]
    payouts = sorted(key.decode().rpartition(":")[2] for key in client.scan_iter("*:y:*"))
    assert len(payouts) > len(ends)
    for number, payout in enumerate(payouts[:-1]):
        state, category = ends[number % len(ends)]
        handed_over = transition(
            f"t{number}", payout, PayoutState.SUBMITTED, provider_ref=f"R{number}"
        )
        steps = [handed_over | {"by_ref": True}]
        if state is PayoutState.RETURNED:
            steps.append(transition(f"v{number}", payout, PayoutState.SETTLED))
        steps.append(transition(f"u{number}", payout, state, category=category, reason="a/b\\c"))
        assert set(await made.wallets.post(steps)) == {"booked"}


class TestRebuild:
    async def test_makes_every_key_again(self, company: Company, client: redis.Redis) -> None:
        before = keys(client)
        kinds = {key.split(":")[1] for key in before}
        assert kinds == {*"mwhpdrqyinlxteug", *"BbDH"}
        client.flushall()
        rebuilt = await asyncio.to_thread(rebuild, company.settings)
        after = keys(client)
        assert after.keys() == before.keys()
        for key, (value, expires) in before.items():
            assert after[key] == (value, expires), key
        entries = [
            m for m in company.sent if m.topic == "ledger" and b'"seq":0,' not in (m.value or b"")
        ]
        assert rebuilt.entries == len(entries)
        again = await asyncio.to_thread(rebuild, company.settings)
        assert (again.entries, keys(client)) == (0, before)

    async def test_from_empty_forgets_what_is_wrong(
        self, company: Company, client: redis.Redis
    ) -> None:
        before = keys(client)
        client.hincrby(f"{{s{shard_of('s1')}}}:w:s1", "EUR:available", 1_000)
        client.set("another-application", "untouched")
        await asyncio.to_thread(rebuild, company.settings, from_empty=True)
        assert client.getdel("another-application") == b"untouched"
        assert keys(client) == before

    async def test_refuses_when_redis_is_ahead(self, company: Company, client: redis.Redis) -> None:
        before = keys(client)
        client.hincrby(f"{{s{shard_of('s1')}}}:m", "seq", 1)
        ahead = keys(client)
        with pytest.raises(RebuildRefused, match=f"shard {shard_of('s1')}: Redis goes to entry"):
            await asyncio.to_thread(rebuild, company.settings)
        pending = f"{{s{shard_of('s1')}}}:m"
        assert client.hexists(pending, "pending")  # nobody books to it until somebody decides
        await asyncio.to_thread(rebuild, company.settings, from_empty=True)
        assert (keys(client), ahead != before) == (before, True)

    async def test_entries_that_come_twice_and_out_of_order(
        self, company: Company, client: redis.Redis
    ) -> None:
        shard = Shard(client, "zoe")
        shard.book(*(shard.sale(n) for n in range(1, 6)))
        before = keys(client)
        first, second, third, fourth, fifth = shard.raw
        for value in (second, first, first, fourth, fifth, third, second):
            await company.send([Outgoing("ledger", b"zoe", value)])
        client.flushall()
        await asyncio.to_thread(rebuild, company.settings)
        after = keys(client)
        assert {k: v for k, v in after.items() if k in before} == before

    async def test_what_comes_behind_a_gap_never_counted(
        self, company: Company, client: redis.Redis
    ) -> None:
        shard = Shard(client, "zoe")
        shard.book(*(shard.sale(n) for n in range(1, 4)))
        for value in (shard.raw[0], shard.raw[2]):
            await company.send([Outgoing("ledger", b"zoe", value)])
        client.flushall()
        await asyncio.to_thread(rebuild, company.settings)
        assert client.hget(shard.key("m"), "seq") == b"1"


async def test_many_entries_are_redone_in_several_calls(
    own_broker: str, redis_url: str, client: redis.Redis
) -> None:
    async with Company(own_broker, redis_url) as company:
        await company.wallets.heal(range(SHARDS))
        total = 0
        for number in range(8):
            shard = Shard(client, f"seller-{number}")
            shard.number = shard_of(shard.seller)
            shard.book(*(shard.sale(100) for _ in range(1_000)))
            await company.send([Outgoing("ledger", shard.seller.encode(), v) for v in shard.raw])
            total += 1_000
        client.flushall()
        rebuilt = await asyncio.to_thread(rebuild, company.settings)
        assert rebuilt.entries == total
