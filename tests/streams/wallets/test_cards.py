"""A sale is paid to a card: from the event to the books of who issues or reaches cards."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import pytest
import redis

from models.shards import SHARDS
from rails.registry import open_rails
from rails.sandbox.server import Sandbox, serve
from streams.settings import DEFAULTS
from tests.streams.wallets.harness import Company, Shard

NUMBER = "4957030420210496"


def card(holder: str) -> str:
    return json.dumps({"kind": "card", "number": NUMBER, "expires": "03/2099", "holder": holder})


def instrument(token: str) -> str:
    return json.dumps({"kind": "marqeta_card", "token": token, "expires": "03/2099"})


RECEIVERS: dict[str, Callable[[str], str]] = {
    "marqeta": str,
    "marqeta_push": instrument,
    "visa": card,
}


MONEY = {"marqeta": ("EUR", "DE"), "marqeta_push": ("USD", "US"), "visa": ("EUR", "DE")}
"""What a rail carries: a currency, and the country of a seller."""


@pytest.fixture(params=RECEIVERS)
def rail(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    # The first answer is that it is under way; it has ended by the time somebody asks.
    async with await serve(settle_delay_ms=500) as served:
        yield served


@pytest.fixture
async def company(
    own_broker: str, redis_url: str, sandbox: Sandbox, rail: str
) -> AsyncIterator[Company]:
    policy = (DEFAULTS / "policy.yaml").read_text(encoding="utf-8")
    currency, _ = MONEY[rail]
    terms = f"rails:\n  {rail}: {{currencies: [{currency}], fee: {{{currency}: {{fixed: 20}}}}}}\n"
    opened = open_rails({rail: sandbox.rail_settings(rail)})
    async with Company(
        own_broker, redis_url, rails=opened, policy=policy.replace("rails:\n", terms)
    ) as made:
        await made.wallets.heal(range(SHARDS))
        yield made
    await opened[rail].close()


async def sell(company: Company, sandbox: Sandbox, rail: str, holder: str) -> None:
    """A sale by somebody with a card, paid, and the rail asked what became of it."""
    receiver = RECEIVERS[rail](holder)
    currency, country = MONEY[rail]
    seller = company.seller("anna", receiver=receiver, rail=rail)
    company.publish("sellers", {**seller, "country": country})
    company.publish("sales", company.sale("anna", 8_000, "s1", currency=currency))
    while await company.work():
        pass
    sandbox.clock.ahead_ms += 60_000
    company.clock.now_ms += 60_000
    await company.janitor.once()


async def test_a_sale_is_on_the_card(
    company: Company, client: redis.Redis, sandbox: Sandbox, rail: str
) -> None:
    await sell(company, sandbox, rail, "plain+anna-muster")
    shard = Shard(client)
    payout = shard.payouts()[shard.only_payout()]
    assert payout["state"] == "settled"
    [row] = sandbox.books.rows(sandbox.clock.now_ms())
    assert (row["rail"], row["executions"], row["paid_times"]) == (rail, 1, 1)
    assert row["payout_id"] == shard.only_payout()
    assert row["paid_minor"] == payout["amount_minor"]
    told = b"".join(message.value or b"" for message in company.sent)
    assert NUMBER.encode() not in told
    assert b"muster" not in told


async def test_a_closed_card_gives_the_money_back(
    company: Company, client: redis.Redis, sandbox: Sandbox, rail: str
) -> None:
    await sell(company, sandbox, rail, "closed+anna-muster")
    shard = Shard(client)
    payout = shard.payouts()[shard.only_payout()]
    assert (payout["state"], payout["category"]) == ("failed", "method")
    assert shard.balances(MONEY[rail][0])[0] > 0


async def test_a_lost_answer_is_found_and_not_sent_again(
    company: Company, client: redis.Redis, sandbox: Sandbox, rail: str
) -> None:
    await sell(company, sandbox, rail, "reset-after+anna-muster")
    shard = Shard(client)
    assert shard.payouts()[shard.only_payout()]["state"] == "settled"
    assert sandbox.providers[rail].counts["create"] == 1


@pytest.mark.parametrize("rail", ["marqeta_push", "visa"])
async def test_silence_is_never_sent_again_where_a_repeat_might_pay_twice(
    company: Company, client: redis.Redis, sandbox: Sandbox, rail: str
) -> None:
    await sell(company, sandbox, rail, "reset-before+anna-muster")
    for _ in range(5):
        company.clock.now_ms += 2 * 86_400_000
        await company.janitor.once()
    shard = Shard(client)
    assert shard.payouts()[shard.only_payout()]["state"] == "unknown"
    # Nothing goes back to the wallet either: the push may be on its way for all anyone knows.
    available, _held, in_flight, *_ = shard.balances(MONEY[rail][0])
    assert (available, in_flight > 0) == (0, True)
    assert sandbox.providers[rail].counts["create"] == 1
    assert sandbox.providers[rail].counts["show"] > 3
