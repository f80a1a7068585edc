"""What is said by webhook: each script to its end, in its order; and the books stay the truth."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator

import aiohttp
import pytest

from models.payouts import PayoutState
from rails.paypal.rail import PayPalRail, paypal_rail
from rails.rail import Instruction
from rails.sandbox.behaviours import BEHAVIOURS
from rails.sandbox.books import Entry
from rails.sandbox.notices import BURST
from rails.sandbox.server import Sandbox, serve
from tests.rails.company import Company

LATE_MS = 1_500


class World:
    """A sandbox, the company it tells, and a rail between them."""

    def __init__(self, sandbox: Sandbox, company: Company, rail: PayPalRail) -> None:
        self.sandbox = sandbox
        self.company = company
        self.rail = rail

    async def pay(self, behaviour: str = "") -> Entry:
        payout_id = f"2a{uuid.uuid4().hex}"
        mail = f"{behaviour}+anna@example.com" if behaviour else "anna@example.com"
        await self.rail.submit(Instruction(payout_id, 1050, "EUR", mail, "seller-1"))
        entry = self.sandbox.books.by_attempt(payout_id)
        assert entry is not None
        return entry

    async def order(self, **order: int) -> None:
        wish = {"befall": {name.replace("_", "-"): number for name, number in order.items()}}
        url = f"{self.sandbox.url}/sandbox/control"
        async with aiohttp.ClientSession() as session, session.post(url, json=wish) as answer:
            assert answer.status == 204

    async def summary(self) -> dict[str, object]:
        url = f"{self.sandbox.url}/sandbox/summary"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            found: dict[str, object] = await answer.json()
            return found

    async def waiting(self) -> int:
        webhooks = (await self.summary())["webhooks"]
        assert isinstance(webhooks, dict)
        return int(webhooks["waiting"])

    async def rest(self) -> None:
        """Until no webhook is on its way."""
        for _ in range(250):
            if not await self.waiting():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("webhooks stay on their way")

    def status(self, entry: Entry) -> str:
        return entry.status(self.sandbox.clock.now_ms())

    def row(self, entry: Entry) -> dict[str, object]:
        rows = self.sandbox.books.rows(self.sandbox.clock.now_ms())
        return next(row for row in rows if row["payout_id"] == entry.payout_id)

    def to_step(self, entry: Entry, step: int) -> None:
        """Set the clock to where the payout has just reached a step of its life."""
        clock = self.sandbox.clock
        clock.ahead_ms += max(0, entry.due_ms(step) - clock.now_ms())


def kept(entry: Entry) -> Instruction:
    """What the host keeps of a payout that was accepted."""
    return Instruction(
        entry.payout_id,
        entry.amount_minor,
        entry.currency,
        entry.receiver,
        "seller-1",
        provider_ref=entry.reference,
    )


SCRIPTS: dict[str, tuple[list[str], int, int, int]] = {
    # What is proven to have been said, forgeries refused, what stands paid, how often it was paid.
    "": (["settled"], 0, 1050, 1),
    "webhook-lost": ([], 0, 1050, 1),
    "webhook-twice": (["settled"] * 2, 0, 1050, 1),
    "webhook-burst": (["settled"] * BURST, 0, 1050, 1),
    "webhook-late": (["settled"], 0, 1050, 1),
    "webhook-reordered": (["settled", "unclaimed"], 0, 1050, 1),
    "webhook-reordered-return": (["returned", "settled"], 0, 0, 1),
    "webhook-contradictory": (["failed", "settled", "returned", "cancelled"], 0, 1050, 1),
    "webhook-contradictory-early": (["failed", "settled"], 0, 1050, 1),
    "webhook-forged": ([], 2, 1050, 1),
    "webhook-forged-paid": (["failed"], 1, 0, 0),
}


@pytest.fixture
async def slow() -> AsyncIterator[World]:
    """A world in which a payout's life goes on only as the clock is set ahead."""
    async with (
        Company() as company,
        await serve(settle_delay_ms=4_000, webhook_urls={"paypal": company.url}) as sandbox,
    ):
        rail = paypal_rail(company.trust(sandbox))
        yield World(sandbox, company, rail)
        await rail.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with (
        Company() as company,
        await serve(
            settle_delay_ms=40,
            webhook_urls={"paypal": company.url},
            webhook_late_ms=LATE_MS,
            hang_ms=200,
        ) as sandbox,
    ):
        rail = paypal_rail(company.trust(sandbox))
        yield World(sandbox, company, rail)
        await rail.close()


class TestScripts:
    @pytest.mark.parametrize("behaviour", list(SCRIPTS))
    async def test_is_told_and_changes_nothing_in_the_books(
        self, world: World, behaviour: str
    ) -> None:
        states, refused, paid_minor, paid_times = SCRIPTS[behaviour]
        entry = await world.pay(behaviour)
        await world.rest()
        world.to_step(entry, len(entry.plan) - 1)
        assert world.company.states(entry.payout_id) == states
        results = [*["published"] * len(states), *["signature_refused"] * refused]
        assert sorted(world.company.results) == results
        row = world.row(entry)
        assert (row["paid_minor"], row["paid_times"]) == (paid_minor, paid_times)
        assert row["executions"] == 1

    async def test_all_that_is_still_to_be_told_waits(self, slow: World) -> None:
        expected = 0
        for behaviour, (states, refused, _, _) in SCRIPTS.items():
            await slow.pay(behaviour)
            expected += len(states) + refused
            assert await slow.waiting() == expected, behaviour

    async def test_a_repeat_is_the_same_event_and_a_lie_another(self, world: World) -> None:
        for behaviour in ("webhook-twice", "webhook-burst"):
            entry = await world.pay(behaviour)
            await world.rest()
            about = [r for r in world.company.reports if r["payout_id"] == entry.payout_id]
            assert len({json.dumps(report) for report in about}) == 1
        entry = await world.pay("webhook-contradictory")
        await world.rest()
        about = [r for r in world.company.reports if r["payout_id"] == entry.payout_id]
        assert len({report["id"] for report in about}) == 4
        assert [report["reason"] for report in about if report["state"] == "failed"] == [
            "risk_decline"
        ]

    async def test_the_stale_one_has_its_own_old_time(self, slow: World) -> None:
        entry = await slow.pay("webhook-reordered")
        slow.to_step(entry, 2)
        await slow.company.until(2)
        first, second = slow.company.reports
        assert (first["state"], second["state"]) == ("settled", "unclaimed")
        assert first["occurred_at"] > second["occurred_at"]

    async def test_contradicted_when_the_books_have_it_as_paid(self, world: World) -> None:
        entry = await world.pay("webhook-contradictory")
        await world.company.until(1)
        assert world.company.states(entry.payout_id) == ["failed"]
        assert world.status(entry) == "SUCCESS"

    async def test_contradicted_when_the_books_have_it_as_pending(self, slow: World) -> None:
        entry = await slow.pay("webhook-contradictory-early")
        slow.sandbox.clock.ahead_ms = entry.delay_ms // 2
        await slow.company.until(1)
        assert slow.company.states(entry.payout_id) == ["failed"]
        assert slow.status(entry) == "PENDING"

    async def test_a_late_one_is_late_and_waits(self, world: World) -> None:
        entry = await world.pay("webhook-late")
        await asyncio.sleep(0.2)
        assert world.status(entry) == "SUCCESS"
        assert await world.waiting() == 1
        assert world.company.reports == []
        await world.rest()
        assert world.company.states(entry.payout_id) == ["settled"]
        assert world.sandbox.clock.now_ms() >= entry.due_ms(1) + LATE_MS

    async def test_what_lies_days_ahead_does_not_wait(self, world: World) -> None:
        await world.pay("unclaimed")
        await world.rest()
        await world.pay("pending")
        await world.pay("novelty")
        assert await world.waiting() == 0

    async def test_one_on_its_way_waits(self, world: World) -> None:
        world.company.verifiers.clear()  # 404: nobody is told
        await world.pay("webhook-twice")
        await asyncio.sleep(0.3)
        assert await world.waiting() == 2

    async def test_a_cancellation_ends_the_script(self, slow: World) -> None:
        entry = await slow.pay("webhook-reordered")
        slow.to_step(entry, 1)
        assert (await slow.rail.cancel(kept(entry))).state is PayoutState.CANCELLED
        slow.sandbox.clock.ahead_ms += 20_000
        await slow.rest()
        assert slow.company.states(entry.payout_id) == ["cancelled"]
        assert slow.row(entry)["paid_times"] == 0


class TestBefallen:
    async def test_counted_once_the_script_is_played(self, world: World) -> None:
        await world.order(webhook_late=1)
        await world.pay()
        assert (await world.summary())["befallen"] == {}
        await world.rest()
        assert (await world.summary())["befallen"] == {"webhook-late": 1}

    async def test_every_kind_of_webhook(self, world: World) -> None:
        kinds = {name: 2 for name in BEHAVIOURS if name.startswith("webhook-")}
        assert set(kinds) | {""} == set(SCRIPTS)
        await world.order(**kinds)
        for _ in range(sum(kinds.values())):
            await world.pay()
        await world.rest()
        await asyncio.sleep(0.3)  # a lost one is counted when it would have come
        assert (await world.summary())["befallen"] == kinds

    async def test_asked_for_by_the_receiver_is_not_counted(self, world: World) -> None:
        await world.pay("webhook-twice")
        await world.pay("duplicate")
        await world.rest()
        assert (await world.summary())["befallen"] == {}

    async def test_one_that_nobody_took_has_not_happened(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("rails.sandbox.hooks.TRY_AGAIN_MS", 1)
        monkeypatch.setattr("rails.sandbox.hooks.TRIES_MAX", 2)
        world.company.verifiers.clear()
        await world.order(webhook_twice=1)
        await world.pay()
        await world.rest()
        summary = await world.summary()
        assert summary["befallen"] == {}
        assert summary["webhooks"] == {"sent": 4, "dropped": 2, "waiting": 0}

    async def test_enquiries_count_when_the_first_fails(self, world: World) -> None:
        await world.order(enquiry_500=1)
        entry = await world.pay()
        assert (await world.summary())["befallen"] == {}
        for _ in range(3):
            await world.rail.enquire(kept(entry))
        assert (await world.summary())["befallen"] == {"enquiry-500": 1}
