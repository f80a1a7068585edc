"""Overdue payouts are seen, and looking for them, or for what is due, costs little."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from pydantic_core import to_json

from models.payouts import AGE_MS_MAX, PayoutState
from models.shards import SHARDS, shard_of
from rails.paypal.capabilities import PAYPAL
from rails.rail import Capabilities, Instruction, Outcome
from streams.janitor import TIMERS_MAX, Round
from streams.overdue import PAGE_TIMERS, WALK_INTERVAL_S, Overdue
from streams.wallets.library import library
from streams.wallets.store import Timers
from tests.streams.wallets.harness import Company, Shard

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
MANY = 10_000
SHARD = shard_of("anna")


class SilentRail:
    """A rail that says what a test orders; at first, nothing."""

    name = "paypal"
    truth = PayoutState.UNKNOWN

    @property
    def capabilities(self) -> Capabilities:
        return PAYPAL

    async def submit(self, instruction: Instruction) -> Outcome:
        return Outcome(self.truth)

    async def enquire(self, instruction: Instruction) -> Outcome:
        return Outcome(self.truth)

    async def cancel(self, instruction: Instruction) -> Outcome:
        return Outcome(self.truth)

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    connection = redis.Redis.from_url(redis_url)
    connection.flushall()
    connection.function_flush()
    connection.function_load(library().source)
    yield connection
    connection.flushall()
    connection.close()


@pytest.fixture
def rail() -> SilentRail:
    return SilentRail()


@pytest.fixture
async def company(
    own_broker: str, redis_url: str, client: redis.Redis, rail: SilentRail
) -> AsyncIterator[Company]:
    async with Company(own_broker, redis_url, rails={"paypal": rail}) as made:
        await made.wallets.heal(range(SHARDS))
        yield made


def watch(company: Company, *shards: int) -> Overdue:
    mine = shards or range(SHARDS)
    return Overdue(company.wallets, lambda: mine, clock=company.clock, metrics=company.metrics)


async def walk(overdue: Overdue) -> None:
    """A whole walk through every shard."""
    for one in overdue._walks.values():
        one.began_s -= WALK_INTERVAL_S
    await overdue.step()
    while any(one.under_way for one in overdue._walks.values()):
        await overdue.step()


def seen(company: Company, state: PayoutState) -> tuple[float, float]:
    """How many are overdue in a state, and the age of the oldest in it, in seconds."""
    value = company.metrics.registry.get_sample_value
    labels = {"state": state.value}
    late = value("payouts_payout_overdue", labels)
    oldest = value("payouts_payout_oldest_seconds", labels)
    assert late is not None
    assert oldest is not None
    return late, oldest


async def sell(company: Company) -> None:
    company.publish("sellers", company.seller("anna", receiver="anna@example.com"))
    await company.work()
    company.publish("sales", company.sale("anna", 8_000, "s1"))
    await company.work()


async def test_every_state_reads_zero_from_the_start(company: Company) -> None:
    watch(company)
    for state in AGE_MS_MAX:
        assert seen(company, state) == (0, 0)


async def test_a_payout_of_which_nothing_is_heard_is_overdue_after_its_limit(
    company: Company, client: redis.Redis, rail: SilentRail
) -> None:
    await sell(company)
    overdue = watch(company)
    company.clock.now_ms += 59 * MINUTE_MS
    await walk(overdue)
    late, oldest = seen(company, PayoutState.UNKNOWN)
    assert (late, round(oldest / 60)) == (0, 59)
    value = company.metrics.registry.get_sample_value
    labels = {"rail": "paypal", "state": "unknown", "age": "10m-1h"}
    assert value("payouts_in_flight", labels) == 1
    # That the rail was asked, and said nothing new, makes the payout no younger.
    await company.janitor.once()
    assert Shard(client).payouts()[Shard(client).only_payout()]["asked"] >= 1
    company.clock.now_ms += 2 * MINUTE_MS
    await walk(overdue)
    assert seen(company, PayoutState.UNKNOWN)[0] == 1

    rail.truth = PayoutState.SETTLED
    company.clock.now_ms += 2 * HOUR_MS
    await company.janitor.once()
    await walk(overdue)
    assert seen(company, PayoutState.UNKNOWN) == (0, 0)
    assert value("payouts_in_flight", labels) is None
    # The rail was asked twice, and in between it was silent.
    calls = {"rail": "paypal", "call": "enquire"}
    asked = "payouts_rail_outcomes_total"
    assert (value(asked, {**calls, "outcome": "unknown"}) or 0) >= 1
    assert value(asked, {**calls, "outcome": "settled"}) == 1


async def test_an_accepted_one_has_three_days(company: Company, rail: SilentRail) -> None:
    rail.truth = PayoutState.ACCEPTED
    await sell(company)
    overdue = watch(company)
    company.clock.now_ms += 3 * DAY_MS - MINUTE_MS
    await walk(overdue)
    assert seen(company, PayoutState.ACCEPTED)[0] == 0
    company.clock.now_ms += 2 * MINUTE_MS
    await walk(overdue)
    assert seen(company, PayoutState.ACCEPTED)[0] == 1
    assert seen(company, PayoutState.UNKNOWN) == (0, 0)


async def test_one_that_was_never_handed_over_counts_from_its_reservation(
    own_broker: str, redis_url: str, client: redis.Redis
) -> None:
    async with Company(own_broker, redis_url) as company:
        await company.wallets.heal(range(SHARDS))
        await sell(company)
        overdue = watch(company)
        company.clock.now_ms += 6 * MINUTE_MS
        await walk(overdue)
        assert seen(company, PayoutState.RESERVED)[0] == 1


async def test_of_shards_that_are_another_workers_now_nothing_is_said(company: Company) -> None:
    await sell(company)
    mine = list(range(SHARDS))
    overdue = Overdue(company.wallets, lambda: mine, clock=company.clock, metrics=company.metrics)
    company.clock.now_ms += 2 * HOUR_MS
    await walk(overdue)
    assert seen(company, PayoutState.UNKNOWN)[0] == 1
    mine.remove(SHARD)
    await walk(overdue)
    assert seen(company, PayoutState.UNKNOWN) == (0, 0)


def fill(client: redis.Redis, due_ms: int, count: int = MANY) -> None:
    """So many payouts of one shard, and lots, whose timers are due at a time, as Redis has them."""
    pipe = client.pipeline(transaction=False)
    for number in range(count):
        payout = {
            "payout_id": f"p{number}", "seller_id": "anna", "state": "accepted", "rail": "paypal",
            "currency": "EUR", "amount_minor": 100, "fee_minor": 0, "reserved_ms": 1,
            "submitted_ms": due_ms - DAY_MS, "asked": 1, "destination": "v1.k.x",
        }  # fmt: skip
        pipe.set(f"{{s{SHARD}}}:y:p{number}", to_json(payout))
        pipe.zadd(f"{{s{SHARD}}}:e", {f"p{number}": due_ms})
        pipe.zadd(f"{{s{SHARD}}}:t", {f"lot:anna:l{number}": due_ms})
    pipe.execute()


class Cost:
    """What a piece of work had Redis do: calls by command, and bytes that it sent."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._before = self._now()

    def _now(self) -> tuple[dict[str, Any], int]:
        commands: Any = self._client.info("commandstats")
        sent: Any = self._client.info("stats")
        calls = {name[8:]: stats["calls"] for name, stats in commands.items()}
        return calls, sent["total_net_output_bytes"]

    def end(self) -> tuple[dict[str, int], int]:
        """Calls and bytes since the beginning; the asking itself is in the bytes."""
        calls, sent = self._now()
        before, sent_before = self._before
        return {name: n - before.get(name, 0) for name, n in calls.items()}, sent - sent_before


@pytest.mark.parametrize("which", Timers)
async def test_a_round_reads_none_of_ten_thousand_timers_that_are_not_due(
    company: Company, client: redis.Redis, which: Timers
) -> None:
    async def cost() -> tuple[dict[str, int], int]:
        await company.wallets.due([SHARD], which, TIMERS_MAX)
        measured = Cost(client)
        due = await company.wallets.due([SHARD], which, TIMERS_MAX)
        assert due[SHARD].timers == []
        return measured.end()

    calls_of_none, bytes_of_none = await cost()
    fill(client, company.clock.now_ms + HOUR_MS)
    calls_of_many, bytes_of_many = await cost()
    assert calls_of_many.get("get", 0) == 0
    for name in ("zrangebyscore", "hmget", "hget", "xlen", "xrange", "fcall_ro"):
        assert calls_of_many[name] == calls_of_none[name], name
    # What is counted differs by some digits only.
    assert abs(bytes_of_many - bytes_of_none) < 200


async def test_a_round_reads_those_that_are_due_and_no_more(
    company: Company, client: redis.Redis
) -> None:
    fill(client, company.clock.now_ms + HOUR_MS)
    client.zadd(f"{{s{SHARD}}}:e", {f"p{n}": company.clock.now_ms - 1 for n in range(3)})
    measured = Cost(client)
    due = await company.wallets.due([SHARD], Timers.RAIL, TIMERS_MAX)
    calls, _ = measured.end()
    assert sorted(one.timer for one in due[SHARD].timers) == ["p0", "p1", "p2"]
    assert calls["get"] == 3
    assert calls["zrangebyscore"] == 2  # what is due, and the first that is held for review


async def test_ten_thousand_payouts_that_no_rail_is_asked_about_hold_up_no_booking(
    company: Company, client: redis.Redis
) -> None:
    company.publish("sales", company.sale("anna", 8_000, "s1"))
    await company.work()
    [(_, due_ms)] = client.zrange(f"{{s{SHARD}}}:t", 0, -1, withscores=True)  # type: ignore[misc]
    company.clock.now_ms = int(due_ms)
    pipe = client.pipeline(transaction=False)
    for number in range(MANY):
        pipe.zadd(f"{{s{SHARD}}}:e", {f"p{number}": due_ms - HOUR_MS})
    pipe.execute()
    measured = Cost(client)
    assert await company.janitor.round(Round(Timers.BOOKING, lambda: [SHARD])) == 1
    calls, _ = measured.end()
    assert calls["zrangebyscore"] == 2
    assert client.zcard(f"{{s{SHARD}}}:t") == 0
    assert client.zcard(f"{{s{SHARD}}}:e") == MANY


async def test_a_step_of_the_walk_is_short_however_many_there_are(
    company: Company, client: redis.Redis
) -> None:
    fill(client, company.clock.now_ms - 3 * DAY_MS)
    overdue = watch(company, SHARD)
    most = steps = 0
    while not steps or overdue._walks[SHARD].under_way:
        measured = Cost(client)
        await overdue.step()
        calls, _ = measured.end()
        assert calls["fcall_ro"] == 1
        most, steps = max(most, calls.get("get", 0)), steps + 1
    # Redis may answer with some more than it was asked for: what shares a bucket stays together.
    assert most <= 2 * PAGE_TIMERS
    assert steps >= MANY / (2 * PAGE_TIMERS)
    assert seen(company, PayoutState.ACCEPTED) == (MANY, pytest.approx(4 * 86_400))

    # A walk that has ended does not begin again at once.
    measured = Cost(client)
    await overdue.step()
    assert measured.end()[0].get("fcall_ro", 0) == 0
