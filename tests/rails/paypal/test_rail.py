"""PayPal keeps the contract, and every exchange on the way fits PayPal's own document."""

import json
import time
from collections.abc import Mapping

import pytest

from models.payouts import FailureCategory, PayoutState
from rails.http import CallFailed
from rails.paypal.client import PayPalClient
from rails.paypal.rail import PayPalRail, paypal_rail
from rails.rail import Rail
from rails.sandbox.server import Sandbox, sandbox_rail_settings
from tests.rails import specs
from tests.rails.contract import FAILURES, REFUSALS, TIMEOUT_S, ContractConfig, RailContract, World
from tests.rails.exchanges import Exchange

F = FailureCategory
# The sandbox leaves the document on purpose: a status word and bodies nobody has documented.
OFF_THE_DOCUMENT = {"QUARANTINED"}


async def _open(sandbox: Sandbox) -> Rail:
    settings = sandbox.rail_settings(timeout_s=TIMEOUT_S)
    return PayPalRail(
        PayPalClient(settings),
        now_ms=lambda: time.time_ns() // 1_000_000,
        email_subject=settings.email_subject,
    )


def _documented(exchange: Exchange) -> bool:
    return not any(word in json.dumps(exchange.body) for word in OFF_THE_DOCUMENT)


class TestPayPal(RailContract):
    config = ContractConfig(
        open=_open,
        destination=lambda behaviour: f"{behaviour or 'plain'}+anna.secret@example.com",
        invalid_destination="anna.secret at example.com",
        failures=FAILURES,
        refusals=REFUSALS,
        returns=("returned", "refunded", "reversed"),
        document=specs.PAYPAL,
        documented=_documented,
        beside="/v1/oauth2",
    )

    async def test_a_batch_may_succeed_while_its_item_is_unclaimed(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction("unclaimed"))
        world.to_step(instruction, 1)
        world.exchanges.clear()
        assert (await world.rail.enquire(instruction)).state is PayoutState.UNCLAIMED
        shown = world.exchanges[-1].body
        assert isinstance(shown, Mapping)
        assert shown["batch_header"]["batch_status"] == "SUCCESS"

    @pytest.mark.parametrize(
        ("note", "state", "category"),
        [
            ("ERRPYO001", PayoutState.FAILED, F.TREASURY),
            ("ERRPYO002", PayoutState.FAILED, F.TREASURY),
            ("ERRPYO003", PayoutState.FAILED, F.TREASURY),
            ("ERRPYO005", PayoutState.FAILED, F.TREASURY),
            ("ERRPYO006", PayoutState.UNKNOWN, None),
            ("ERRPYO010", PayoutState.FAILED, F.RECIPIENT),
        ],
    )
    async def test_the_sandbox_triggers(
        self, world: World, note: str, state: PayoutState, category: FailureCategory | None
    ) -> None:
        instruction, outcome = await world.submit(world.instruction(note=note))
        assert (outcome.state, outcome.category) == (state, category)
        assert world.executions(instruction) == 0

    async def test_a_yen_is_a_yen(self, world: World) -> None:
        for currency, minor in (("JPY", 10_000), ("HUF", 1_000_000), ("EUR", 10_001)):
            instruction, _ = await world.submit(
                world.instruction(currency=currency, amount_minor=minor)
            )
            entry = world.sandbox.books.by_attempt(instruction.payout_id)
            assert entry is not None
            assert (entry.currency, entry.amount_minor) == (currency, minor)
        sent = [one.sent for one in world.exchanges[1:]]
        values = [body["items"][0]["amount"]["value"] for body in sent]
        assert values == ["10000", "10000", "100.01"]

    async def test_no_fillers_are_rounded_away(self, world: World) -> None:
        outcome = await world.rail.submit(world.instruction(currency="HUF", amount_minor=12_345))
        assert (outcome.state, outcome.reason) == (PayoutState.FAILED, "amount_not_representable")

    async def test_wrong_credentials_are_the_treasurys(self, world: World) -> None:
        rail = paypal_rail(world.sandbox.rail_settings(client_secret="wrong"))
        outcome = await rail.submit(world.instruction())
        assert (outcome.category, outcome.reason) == (F.TREASURY, "token_refused")
        await rail.close()

    async def test_odd_text_does_not_make_it_raise(self, world: World) -> None:
        odd = world.instruction(note="\ud800 \x00 \u202e", destination="\ud800@example.com")
        assert (await world.rail.submit(odd)).reason == "destination_invalid"
        outcome = await world.rail.submit(world.instruction(note="\ud800 \x00 \u202e"))
        assert outcome.state is PayoutState.ACCEPTED

    async def test_a_closed_rail_answers_too(self, world: World) -> None:
        await world.rail.close()
        outcome = await world.rail.submit(world.instruction())
        assert (outcome.state, outcome.category) == (PayoutState.FAILED, F.RETRYABLE)

    async def test_a_failed_call_keeps_no_address(self) -> None:
        client = PayPalClient(sandbox_rail_settings("http://127.0.0.1:1"))
        with pytest.raises(CallFailed) as caught:
            await client.show_batch("X")
        assert "127.0.0.1" not in repr(caught.value)
        assert caught.value.__cause__ is None
        await client.close()
