"""Which rail pays: routes, failover under one payout id, pauses; through real servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from models.payouts import RETRIES, FailureCategory
from models.shards import SHARDS
from rails.registry import open_rails
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
    rails = open_rails(
        {name: sandbox.rail_settings(name, timeout_s=0.5) for name in ("adyen", "paypal")}
    )
    async with Company(
        own_broker, redis_url, rails=rails, policy=policy.replace("rails:\n", terms)
    ) as made:
        await made.wallets.heal(range(SHARDS))
        yield made
    for rail in rails.values():
        await rail.close()


class Anna:
    """A seller with a bank account first and a PayPal account second, who sells."""

    def __init__(self, company: Company, client: redis.Redis, sandbox: Sandbox) -> None:
        self.company = company
        self.shard = Shard(client)
        self.sandbox = sandbox
        self._sales = 0

    async def joins(self, holder: str, *, iban: str = IBAN, receiver: str = "anna@x.test") -> None:
        """Her profile. The sandbox behaves as the holder, or the receiver, begins."""
        seal = self.company.seal.seal
        account = json.dumps({"kind": "iban", "iban": iban, "holder": holder})
        payout = {
            "rail": "adyen",
            "destination": seal("anna", account),
            "others": [{"rail": "paypal", "destination": seal("anna", receiver)}],
        }
        self.company.publish("sellers", self.company.seller("anna", payout=payout))
        await self.rest()

    async def sells(self) -> None:
        """A sale, a moment after the one before, and what follows at once."""
        self._sales += 1
        self.company.clock.now_ms += 1
        self.company.publish("sales", self.company.sale("anna", 8_000, f"s{self._sales}"))
        await self.rest()

    async def rest(self) -> None:
        """Take everything that waits in the topics."""
        while await self.company.work():
            pass

    async def later(self, ms: int = 60_000) -> None:
        """Some time on, whatever is due is done."""
        self.company.clock.now_ms += ms
        await self.company.janitor.once()
        await self.rest()

    def payout(self, number: int = 0) -> dict[str, Any]:
        """A payout, by its turn."""
        return list(self.shard.payouts().values())[number]

    def paid(self) -> list[tuple[str, int]]:
        """What the sandbox's books say was paid: rail and minor units of each."""
        rows = self.sandbox.books.rows(self.sandbox.clock.now_ms())
        return [(row["rail"], row["paid_minor"]) for row in rows if row["paid_minor"]]

    def told(self, kind: str) -> list[dict[str, Any]]:
        """What was published about payouts, of a kind."""
        found = [json.loads(m.value or b"") for m in self.company.sent if "payouts" in m.topic]
        return [message for message in found if message["type"] == kind]


@pytest.fixture
def anna(company: Company, client: redis.Redis, sandbox: Sandbox) -> Anna:
    return Anna(company, client, sandbox)


async def test_her_first_way_is_taken(anna: Anna) -> None:
    await anna.joins("Anna Muster")
    await anna.sells()
    await anna.later()
    payout = anna.payout()
    assert (payout["state"], payout["rail"], payout["attempt"]) == ("settled", "adyen", 0)
    assert payout["route"] == ["adyen:method_1"]
    assert anna.paid() == [("adyen", payout["amount_minor"])]


async def test_a_closed_account_is_disabled_and_the_payout_goes_on_the_next_way(
    anna: Anna,
) -> None:
    await anna.joins("closed+Anna Muster")
    await anna.sells()
    await anna.later()
    await anna.later()
    payout = anna.payout()
    assert (payout["state"], payout["rail"], payout["attempt"]) == ("settled", "paypal", 1)
    assert payout["route"] == ["adyen:method_1", "paypal:after_method"]
    assert anna.paid() == [("paypal", payout["amount_minor"])]
    assert len(anna.shard.payouts()) == 1
    [refused] = anna.told("destination.refused")
    assert (refused["rail"], refused["seller_id"]) == ("adyen", "anna")
    # What she sells from now on goes there at once.
    await anna.sells()
    route = anna.payout(1)["route"]
    assert route == [f"adyen:{refused['reason']}", "paypal:method_2"]


async def test_a_bad_iban_is_refused_before_anything_is_reserved(anna: Anna) -> None:
    await anna.joins("Anna Muster", iban="DE89370400440532013001", receiver="nobody")
    await anna.sells()
    assert anna.shard.payouts() == {}
    assert anna.shard.balances()[0] > 0
    assert {(one["rail"], one["reason"]) for one in anna.told("destination.refused")} == {
        ("adyen", "iban_check_digits_invalid"),
        ("paypal", "destination_invalid"),
    }
    assert anna.paid() == []
    # With an account that can be paid, what has waited goes with the next sale.
    await anna.joins("Anna Muster")
    await anna.sells()
    assert anna.payout()["route"] == ["adyen:method_1"]
    assert anna.shard.balances()[0] == 0


async def test_silence_is_no_failure_and_no_other_rail_is_tried(anna: Anna) -> None:
    await anna.joins("timeout-after+Anna Muster")
    await anna.sells()
    payout = anna.payout()
    assert (payout["state"], payout["rail"], payout["attempt"]) == ("unknown", "adyen", 0)
    await anna.later()
    payout = anna.payout()
    assert (payout["state"], payout["rail"], payout["attempt"]) == ("settled", "adyen", 0)
    assert anna.paid() == [("adyen", payout["amount_minor"])]


async def test_a_rail_without_our_funds_is_paused_and_others_are_used(anna: Anna) -> None:
    await anna.joins("Anna Muster")
    anna.sandbox.providers["adyen"].funded = False
    await anna.sells()
    await anna.later()
    payout = anna.payout()
    assert (payout["state"], payout["rail"]) == ("settled", "paypal")
    assert payout["route"] == ["adyen:method_1", "paypal:after_treasury"]
    await anna.sells()
    assert anna.payout(1)["route"] == ["adyen:rail_paused", "paypal:method_2"]
    # Funds are there again: after the pause the first way is taken.
    anna.sandbox.providers["adyen"].funded = True
    await anna.later(RETRIES[FailureCategory.TREASURY].pause_ms)
    await anna.sells()
    assert anna.payout(2)["route"] == ["adyen:method_1"]
    assert sorted(rail for rail, _ in anna.paid())[-1] == "paypal"


async def test_what_was_reserved_for_a_rail_that_is_paused_goes_elsewhere(anna: Anna) -> None:
    await anna.joins("Anna Muster")
    await anna.sells()
    # The terms of a moment ago are still known where sales are booked.
    anna.company.gates["adyen"].breaker.paused_until_ms = anna.company.clock() + 300_000
    await anna.sells()
    await anna.later()
    payout = anna.payout(1)
    assert (payout["state"], payout["rail"], payout["attempt"]) == ("settled", "paypal", 1)
    assert payout["route"] == ["adyen:method_1", "paypal:rail_not_used"]
    assert sorted(rail for rail, _ in anna.paid()) == ["adyen", "paypal"]


async def test_with_no_other_way_a_payout_waits_for_its_rail(anna: Anna) -> None:
    await anna.joins("Anna Muster", receiver="nobody")
    anna.sandbox.providers["adyen"].funded = False
    await anna.sells()
    payout = anna.payout()
    assert (payout["state"], payout["rail"], payout["attempt"]) == ("reserved", "adyen", 1)
    assert payout["category"] == "treasury"
    anna.sandbox.providers["adyen"].funded = True
    await anna.later(2 * RETRIES[FailureCategory.TREASURY].pause_ms)
    await anna.later()
    payout = anna.payout()
    assert (payout["state"], payout["rail"], payout["attempt"]) == ("settled", "adyen", 1)
    assert anna.paid() == [("adyen", payout["amount_minor"])]


async def cancels(anna: Anna, payout: str) -> None:
    """The company asks for a payout to be stopped."""
    order = {"v": 1, "type": "payout.cancel", "payout_id": payout, "seller_id": "anna", "at_ms": 1}
    anna.company.publish("payouts.commands", json.dumps(order).encode())
    await anna.rest()


async def test_what_waits_for_its_rail_is_cancelled_before_the_rail_gets_it(anna: Anna) -> None:
    await anna.joins("Anna Muster", receiver="nobody")
    anna.sandbox.providers["adyen"].funded = False
    await anna.sells()
    payout = anna.payout()
    assert payout["state"] == "reserved"
    await cancels(anna, payout["payout_id"])
    assert anna.payout()["state"] == "cancelled"
    assert anna.shard.balances()[0] == payout["amount_minor"] + payout["fee_minor"]
    anna.sandbox.providers["adyen"].funded = True
    await anna.later(600_000)
    assert (anna.payout()["state"], anna.paid()) == ("cancelled", [])


async def test_what_waits_to_be_claimed_is_cancelled_by_its_rail(anna: Anna) -> None:
    await anna.joins("Anna Muster", iban="none", receiver="unclaimed+anna@x.test")
    await anna.sells()
    await anna.later()
    payout = anna.payout()
    assert (payout["state"], payout["rail"]) == ("unclaimed", "paypal")
    await cancels(anna, payout["payout_id"])
    assert anna.payout()["state"] in {"cancelled", "returned"}
    assert anna.shard.balances()[0] == payout["amount_minor"] + payout["fee_minor"]
    assert anna.paid() == []


async def test_what_has_left_cannot_be_cancelled(
    anna: Anna, caplog: pytest.LogCaptureFixture
) -> None:
    await anna.joins("Anna Muster")
    await anna.sells()
    await anna.later()
    payout = anna.payout()
    await cancels(anna, payout["payout_id"])
    assert anna.payout()["state"] == "settled"
    assert "too late to cancel" in caplog.text
