"""A sale is paid in USDC: from the event to Circle's books; a report finds it by reference."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import redis

from models.shards import SHARDS
from rails.circle.rail import circle_rail
from rails.circle.settings import CircleSettings
from rails.sandbox.server import Sandbox, serve
from streams.settings import DEFAULTS
from streams.wallets.store import Unhealed
from tests.streams.wallets.harness import Company, Shard

ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await serve(settle_delay_ms=0) as served:
        yield served


@pytest.fixture
async def company(own_broker: str, redis_url: str, sandbox: Sandbox) -> AsyncIterator[Company]:
    policy = (DEFAULTS / "policy.yaml").read_text(encoding="utf-8")
    terms = "rails:\n  circle: {currencies: [USD], fee: {USD: {fixed: 20}}}\n"
    settings = sandbox.rail_settings("circle")
    assert isinstance(settings, CircleSettings)
    rail = circle_rail(settings)
    async with Company(
        own_broker, redis_url, rails={"circle": rail}, policy=policy.replace("rails:\n", terms)
    ) as made:
        await made.wallets.heal(range(SHARDS))
        yield made
    await rail.close()


async def sell(company: Company, address: str) -> None:
    """A sale by somebody with a wallet, paid, and Circle asked what became of it."""
    wallet = {"kind": "crypto", "chain": "ETH", "address": address, "country": "DE"}
    receiver = json.dumps({**wallet, "holder": "Anna Muster"})
    company.publish("sellers", company.seller("anna", receiver=receiver, rail="circle"))
    company.publish("sales", company.sale("anna", 8_000, "s1", currency="USD"))
    while await company.work():
        pass
    company.clock.now_ms += 60_000
    await company.janitor.once()


async def test_a_sale_is_on_the_chain(
    company: Company, client: redis.Redis, sandbox: Sandbox
) -> None:
    await sell(company, ADDRESS)
    shard = Shard(client)
    payout_id = shard.only_payout()
    payout = shard.payouts()[payout_id]
    assert payout["state"] == "settled"
    [row] = sandbox.books.rows(sandbox.clock.now_ms())
    assert (row["rail"], row["executions"], row["paid_times"]) == ("circle", 1, 1)
    assert (row["paid_minor"], row["currency"]) == (payout["amount_minor"], "USD")
    # Circle's id is all that its reports name.
    attempt_of = company.store.attempt_of
    assert row["reference"] == payout["provider_ref"]
    assert await attempt_of("circle", payout["provider_ref"]) == payout_id
    assert await attempt_of("circle", "another") is None
    assert await attempt_of("paypal", payout["provider_ref"]) is None
    # Nothing of the wallet is in any topic but the sealed profile.
    told = b"".join(message.value or b"" for message in company.sent)
    assert ADDRESS.encode() not in told
    assert b"Muster" not in told


async def test_a_return_after_redis_was_emptied_finds_its_payout(
    company: Company, client: redis.Redis
) -> None:
    await sell(company, ADDRESS)
    shard = Shard(client)
    [payout] = shard.payouts().values()
    assert payout["state"] == "settled"
    client.flushall()
    await company.store.load()
    # Nothing may be said of what is not healed yet: the provider has to come again.
    with pytest.raises(Unhealed):
        await company.store.attempt_of("circle", payout["provider_ref"])
    await company.wallets.heal(range(SHARDS))
    found = await company.store.attempt_of("circle", payout["provider_ref"])
    assert found == payout["payout_id"]


async def test_to_a_wrong_address_nothing_is_reserved(
    company: Company, client: redis.Redis, sandbox: Sandbox
) -> None:
    await sell(company, ADDRESS.replace("A", "a", 1))
    shard = Shard(client)
    assert shard.payouts() == {}
    assert shard.balances("USD")[0] > 0
    [told] = [json.loads(m.value or b"") for m in company.sent if m.topic == "payouts.updates"]
    assert (told["type"], told["reason"]) == ("destination.refused", "address_checksum_invalid")
    assert sandbox.providers["circle"].counts["create"] == 0
