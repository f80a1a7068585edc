"""What rails say late and what reports say wrongly moves no money; the rail's own answer does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import redis

from models.payouts import FailureCategory, PayoutState
from models.shards import SHARDS
from rails.paypal.capabilities import PAYPAL
from rails.rail import Capabilities, Instruction, Outcome, failed
from streams.agents.payouts import START_MS_MAX
from streams.wallets.store import Operation
from tests.streams.wallets.harness import Company, Shard


class SlowRail:
    """A rail whose first answer comes late: a refusal. Asked again, it has executed."""

    name = "paypal"

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.answer = asyncio.Event()
        self.asked = 0
        self.truth = PayoutState.ACCEPTED

    @property
    def capabilities(self) -> Capabilities:
        return PAYPAL

    async def submit(self, instruction: Instruction) -> Outcome:
        self.called.set()
        await self.answer.wait()
        return failed(FailureCategory.TREASURY, "INSUFFICIENT_FUNDS")

    async def enquire(self, instruction: Instruction) -> Outcome:
        self.asked += 1
        return Outcome(self.truth, "REF1")

    async def cancel(self, instruction: Instruction) -> Outcome:
        return Outcome(self.truth, "REF1")

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def rail() -> SlowRail:
    return SlowRail()


@pytest.fixture
async def company(
    own_broker: str, redis_url: str, client: redis.Redis, rail: SlowRail
) -> AsyncIterator[Company]:
    async with Company(own_broker, redis_url, rails={"paypal": rail}) as made:
        await made.wallets.heal(range(SHARDS))
        made.publish("sellers", made.seller("anna", receiver="anna@example.com"))
        await made.work()
        yield made


async def until_due(company: Company) -> None:
    """Let the janitor ask about everything."""
    company.clock.now_ms += 60_000
    await company.janitor.once()


async def test_a_refusal_heard_after_the_rail_was_asked_fails_nothing(
    company: Company, client: redis.Redis, rail: SlowRail
) -> None:
    shard = Shard(client)
    company.publish("sales", company.sale("anna", 8_000, "s1"))
    work = asyncio.create_task(company.work())
    await rail.called.wait()
    await until_due(company)
    assert rail.asked == 1
    rail.answer.set()
    await work
    assert shard.payouts()[shard.only_payout()]["state"] == "accepted"
    assert shard.balances()[0] == 0, "the money must not be given back"


async def test_what_was_marked_too_long_ago_is_not_handed_over_but_asked_about(
    company: Company, client: redis.Redis, rail: SlowRail
) -> None:
    post = company.wallets.post

    async def post_and_stand_still(operations: Sequence[Operation]) -> list[str]:
        outcomes = await post(operations)
        if any(one.get("state") == "submitted" for one in operations):
            company.clock.now_ms += START_MS_MAX + 1
        return outcomes

    company.wallets.post = post_and_stand_still  # type: ignore[method-assign]
    shard = Shard(client)
    rail.answer.set()
    company.publish("sales", company.sale("anna", 8_000, "s1"))
    await company.work()
    assert not rail.called.is_set(), "the rail may have been asked meanwhile"
    assert shard.payouts()[shard.only_payout()]["state"] == "submitted"
    await until_due(company)
    assert rail.asked == 1
    assert shard.payouts()[shard.only_payout()]["state"] == "accepted"


async def test_payouts_that_wait_for_a_place_are_seen_until_it_is_their_turn(
    monkeypatch: pytest.MonkeyPatch,
    own_broker: str,
    redis_url: str,
    client: redis.Redis,
    rail: SlowRail,
) -> None:
    monkeypatch.setenv("PAYOUTS_PAYPAL_CONCURRENCY", "1")
    async with Company(own_broker, redis_url, rails={"paypal": rail}) as company:
        await company.wallets.heal(range(SHARDS))
        gate = company.gates["paypal"]
        for seller in ("anna", "ben", "cleo"):
            company.publish("sellers", company.seller(seller, receiver=f"{seller}@example.com"))
            company.publish("sales", company.sale(seller, 8_000, f"s-{seller}"))
        work = asyncio.create_task(company.work())
        await rail.called.wait()
        company.clock.now_ms += 7_000
        assert gate.queue() == (2, pytest.approx(7))
        rail.answer.set()
        await work
        assert gate.queue() == (0, 0)

        # Nor does one that goes another way wait for ever.
        gate.breaker.paused_until_ms = company.clock.now_ms + 60_000
        company.publish("sales", company.sale("ben", 8_000, "s-late"))
        await company.work()
        assert gate.queue() == (0, 0)


async def test_a_report_that_gives_money_back_only_makes_the_host_ask(
    company: Company, client: redis.Redis, rail: SlowRail
) -> None:
    shard = Shard(client)
    rail.answer.set()
    rail.submit = rail.enquire  # type: ignore[method-assign]
    company.publish("sales", company.sale("anna", 8_000, "s1"))
    await company.work()
    payout = shard.only_payout()
    report = {"payout_id": payout, "rail": "paypal", "state": "failed", "category": "method"}
    rail.truth = PayoutState.SETTLED
    company.publish("rail.updates", company.event("payout.reported", "anna", **report))
    await company.work()
    assert shard.payouts()[payout]["state"] == "accepted"
    await company.janitor.once()
    assert shard.payouts()[payout]["state"] == "settled"

    rail.truth = PayoutState.RETURNED
    company.publish("rail.updates", company.event("payout.reported", "anna", **report))
    await company.work()
    await company.janitor.once()
    assert shard.payouts()[payout]["state"] == "returned"
    assert shard.balances()[0] > 0
