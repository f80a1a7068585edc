"""A sale is paid into a bank account: from the event to Adyen's books, through real servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import redis

from models.shards import SHARDS
from rails.adyen.rail import adyen_rail
from rails.sandbox.server import Sandbox, serve
from streams.settings import DEFAULTS
from tests.streams.wallets.harness import Company, Shard

IBAN = "DE89370400440532013000"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await serve(settle_delay_ms=0) as served:
        yield served


@pytest.fixture
async def company(own_broker: str, redis_url: str, sandbox: Sandbox) -> AsyncIterator[Company]:
    policy = (DEFAULTS / "policy.yaml").read_text(encoding="utf-8")
    terms = "rails:\n  adyen: {currencies: [EUR], fee: {EUR: {fixed: 20}}}\n"
    rail = adyen_rail(sandbox.rail_settings("adyen"))
    async with Company(
        own_broker, redis_url, rails={"adyen": rail}, policy=policy.replace("rails:\n", terms)
    ) as made:
        await made.wallets.heal(range(SHARDS))
        yield made
    await rail.close()


async def sell(company: Company, holder: str) -> None:
    """A sale by somebody with a bank account, paid, and the bank asked what became of it."""
    account = {"kind": "iban", "iban": IBAN, "holder": holder}
    company.publish("sellers", company.seller("anna", receiver=json.dumps(account), rail="adyen"))
    company.publish("sales", company.sale("anna", 8_000, "s1"))
    while await company.work():
        pass
    company.clock.now_ms += 60_000
    await company.janitor.once()


async def test_a_sale_is_in_the_bank(
    company: Company, client: redis.Redis, sandbox: Sandbox
) -> None:
    await sell(company, "Anna Muster")
    shard = Shard(client)
    payout = shard.payouts()[shard.only_payout()]
    assert payout["state"] == "settled"
    [row] = sandbox.books.rows(sandbox.clock.now_ms())
    assert (row["rail"], row["executions"], row["paid_times"]) == ("adyen", 1, 1)
    assert row["paid_minor"] == payout["amount_minor"]
    assert payout["fee_minor"] == 20
    # Nothing of the account is in any topic but the sealed profile.
    told = b"".join(message.value or b"" for message in company.sent)
    assert IBAN.encode() not in told
    assert b"Muster" not in told


async def test_a_closed_account_gives_the_money_back_and_is_not_tried_again(
    company: Company, client: redis.Redis, sandbox: Sandbox
) -> None:
    await sell(company, "closed+Anna Muster")
    shard = Shard(client)
    payout = shard.payouts()[shard.only_payout()]
    assert (payout["state"], payout["category"]) == ("failed", "method")
    available = shard.balances()[0]
    assert available > 0
    company.publish("sales", company.sale("anna", 8_000, "s2"))
    while await company.work():
        pass
    assert len(shard.payouts()) == 1
    assert shard.balances()[0] > available
    assert len(sandbox.books) == 1
