"""Each rail is asked and given its payouts for itself: one that hangs holds up no other, nor what
is to be asked of itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest
import redis

from models.payouts import PayoutState
from models.rules import transition
from models.shards import SHARDS
from rails.adyen.capabilities import ADYEN
from rails.gate import ENQUIRIES_PART
from rails.paypal.capabilities import PAYPAL
from rails.rail import Capabilities, Instruction, Outcome
from streams import janitor, lanes
from streams.settings import DEFAULTS
from tests.streams.wallets.harness import Company

IBAN = {"kind": "iban", "holder": "Ben Muster", "iban": "DE89370400440532013000"}
RECEIVERS = {"paypal": "r@example.com", "adyen": json.dumps(IBAN)}
WAIT_S_MAX = 5


class HangingRail:
    """Answers submissions and enquiries only when it is let."""

    def __init__(self, name: str, capabilities: Capabilities) -> None:
        self.name = name
        self.capabilities = capabilities
        self.submits = asyncio.Event()
        self.answers = asyncio.Event()
        self.submitted: list[str] = []
        self.asked: list[str] = []
        self.under_way = 0
        self.most = 0

    async def submit(self, instruction: Instruction) -> Outcome:
        self.submitted.append(instruction.payout_id)
        return await self._answer(self.submits)

    async def enquire(self, instruction: Instruction) -> Outcome:
        self.asked.append(instruction.payout_id)
        return await self._answer(self.answers)

    async def _answer(self, let: asyncio.Event) -> Outcome:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await let.wait()
        self.under_way -= 1
        return Outcome(PayoutState.SETTLED, "REF1")

    cancel = enquire

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def paypal() -> HangingRail:
    return HangingRail("paypal", PAYPAL)


@pytest.fixture
def adyen() -> HangingRail:
    rail = HangingRail("adyen", ADYEN)
    rail.submits.set()
    rail.answers.set()
    return rail


@pytest.fixture
async def company(
    own_broker: str, redis_url: str, client: redis.Redis, paypal: HangingRail, adyen: HangingRail
) -> AsyncIterator[Company]:
    policy = (DEFAULTS / "policy.yaml").read_text(encoding="utf-8")
    terms = "rails:\n  adyen: {currencies: [EUR], fee: {EUR: {fixed: 20}}}\n"
    rails = {"paypal": paypal, "adyen": adyen}
    async with Company(
        own_broker, redis_url, rails=rails, policy=policy.replace("rails:\n", terms)
    ) as made:
        await made.wallets.heal(range(SHARDS))
        del made.agents["payouts.commands"]  # All commands are lost: the janitor hands over.
        yield made


@pytest.fixture
async def paying(company: Company) -> AsyncIterator[asyncio.Task[None]]:
    """The janitor at work."""
    task = asyncio.create_task(company.janitor.run())
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def sell(company: Company, seller: str, rail: str, sales: int = 1) -> None:
    """Payouts of one seller, reserved for a rail."""
    company.publish("sellers", company.seller(seller, receiver=RECEIVERS[rail], rail=rail))
    for number in range(sales):
        company.publish("sales", company.sale(seller, 8_000, f"{seller}-{number}"))
    await company.work()


def payouts_of(client: redis.Redis, seller: str) -> list[str]:
    found = [json.loads(client.get(key)) for key in client.scan_iter("*:y:*")]  # type: ignore[arg-type]
    return [payout["payout_id"] for payout in found if payout["seller_id"] == seller]


async def silence(company: Company, payouts: list[str]) -> None:
    """Payouts of which nothing was heard."""
    for state in (PayoutState.SUBMITTED, PayoutState.UNKNOWN):
        steps = [transition(f"{payout}/{state}", payout, state) for payout in payouts]
        assert set(await company.wallets.post(steps)) == {"booked"}


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S_MAX):
        while not done():  # noqa: ASYNC110 - of rails, Redis and a janitor at once
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("paying")
class TestRailThatHangs:
    async def test_is_asked_what_became_of_payouts_and_other_rails_get_theirs(
        self, company: Company, client: redis.Redis, paypal: HangingRail, adyen: HangingRail
    ) -> None:
        await sell(company, "anna", "paypal")
        await sell(company, "ben", "adyen")
        await sell(company, "cleo", "paypal")
        await silence(company, silent := payouts_of(client, "cleo"))
        company.clock.now_ms += 60_000
        await until(lambda: paypal.submitted and paypal.asked and adyen.submitted)
        assert paypal.asked == silent
        # And so it is with what comes due while it still hangs.
        await sell(company, "dora", "adyen")
        company.clock.now_ms += 60_000
        await until(lambda: len(adyen.submitted) == 2)
        assert paypal.submitted == payouts_of(client, "anna"), "in one go only"

    async def test_that_does_not_say_what_became_of_payouts_holds_up_no_other(
        self, company: Company, client: redis.Redis, paypal: HangingRail, adyen: HangingRail
    ) -> None:
        await sell(company, "anna", "paypal", 65)
        await sell(company, "ben", "adyen")
        await silence(company, payouts_of(client, "anna") + payouts_of(client, "ben"))
        company.clock.now_ms += 10_000
        await until(lambda: adyen.asked)
        # It is asked about no more at a time than its share of what it takes at once.
        await until(lambda: paypal.most == 64 // ENQUIRIES_PART)

    async def test_holds_up_nothing_that_is_due_behind_it(
        self,
        company: Company,
        client: redis.Redis,
        paypal: HangingRail,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(janitor, "TIMERS_MAX", 2)
        monkeypatch.setattr(lanes, "LANE_PAYOUTS_MAX", 3)
        await sell(company, "anna", "paypal", 7)
        *waiting, last = sorted(payouts_of(client, "anna"))
        company.clock.now_ms += 58_000
        await silence(company, [last])
        company.clock.now_ms += 10_000
        await until(lambda: paypal.asked == [last])
        assert len(paypal.submitted) == 3, "no more than the lane holds"
        paypal.submits.set()
        await until(lambda: sorted(paypal.submitted) == sorted(waiting))
