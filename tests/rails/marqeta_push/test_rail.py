"""Marqeta's push to card keeps the contract, and pushes once, whatever it hears."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from models.payouts import FailureCategory, PayoutState
from rails.marqeta_push.rail import push_rail
from rails.marqeta_push.settings import PushSettings
from rails.rail import Rail
from rails.sandbox.server import Sandbox
from tests.rails import specs
from tests.rails.contract import REFUSALS, TIMEOUT_S, ContractConfig, RailContract, World

F, S = FailureCategory, PayoutState
DAY_MS = 86_400_000
# The sandbox answers what the document does not know of: statuses 401, 403, 418, 429, 503, no JSON.
DOCUMENTED = {200, 201, 400, 404, 422, 500}


def _rail(sandbox: Sandbox, **changes: object) -> Rail:
    settings = sandbox.rail_settings("marqeta_push", timeout_s=TIMEOUT_S, **changes)
    assert isinstance(settings, PushSettings)
    return push_rail(settings)


async def _open(sandbox: Sandbox) -> Rail:
    return _rail(sandbox)


def card(token: str, expires: str = "03/2099") -> str:
    return json.dumps({"kind": "marqeta_card", "token": token, "expires": expires})


class TestMarqetaPush(RailContract):
    config = ContractConfig(
        open=_open,
        destination=lambda behaviour: card(f"{behaviour or 'plain'}+anna-secret"),
        invalid_destination="anna-secret",
        # A disbursement that was declined does not say why.
        failures=dict.fromkeys(
            ("denied", "self", "risk", "blocked", "mystery", "currency", "trouble"), F.RECIPIENT
        ),
        refusals={**REFUSALS, "closed": F.METHOD},
        returns=("returned", "refunded", "reversed"),
        currency="USD",
        provider="marqeta_push",
        claims=False,
        duplicates=False,
        found_by_id=True,
        repeats=False,
        guarded=False,
        document=specs.MARQETA,
        documented=lambda exchange: exchange.status in DOCUMENTED,
    )

    @pytest.fixture(autouse=True)
    async def pushed_once(self, world: World) -> AsyncIterator[None]:
        """After each test: nothing was pushed twice under a token."""
        yield
        tokens = [one.sent["token"] for one in world.exchanges if one.method == "POST"]
        assert len(set(tokens)) == len(tokens)

    async def test_a_disbursement_is_as_it_was_asked_for(self, world: World) -> None:
        instruction, outcome = await world.submit(
            world.instruction(note='Thank\nyou, <Anna> "always"')
        )
        assert (outcome.state, outcome.provider_ref) == (S.ACCEPTED, instruction.payout_id)
        [sent] = world.exchanges
        assert (sent.method, sent.path) == ("POST", "/pushtocards/disburse")
        assert (sent.data or b"").startswith(b'{"amount":10.50,')
        assert sent.sent == {
            "amount": 10.5,
            "token": instruction.payout_id,
            "payment_instrument_token": "plain+anna-secret",
            "currency_code": "USD",
            "tags": instruction.payout_id,
            "memo": "Thank you, Anna always",
        }

    @pytest.mark.parametrize(
        "behaviour", ["timeout-before", "reset-before", "error500", "error503"]
    )
    async def test_that_there_is_none_proves_nothing_however_late(
        self, world: World, behaviour: str
    ) -> None:
        instruction, outcome = await world.submit(world.instruction(behaviour))
        assert outcome.state is S.UNKNOWN
        submitted_ms = instruction.first_submitted_ms or 0
        for first_ms in (None, submitted_ms, submitted_ms - 365 * DAY_MS):
            asked = replace(instruction, first_submitted_ms=first_ms)
            for ask in (world.rail.enquire, world.rail.cancel):
                found = await ask(asked)
                assert (found.state, found.reason) == (S.UNKNOWN, "reference_not_found")
        assert world.executions(instruction) == 0
        assert world.provider.counts["create"] == 1

    async def test_the_sandbox_pays_twice_whoever_repeats(self, world: World) -> None:
        """So that no test here passes thanks to a guard that the document does not promise."""
        instruction, _ = await world.submit(world.instruction())
        await world.rail.submit(instruction)
        assert world.executions(instruction) == 2
        del world.exchanges[-1]

    async def test_a_later_attempt_has_a_token_that_fits(self, world: World) -> None:
        payout_id = "2a0f6f3e-8d0c-5e1b-9c55-0123456789ab"
        instruction, outcome = await world.submit(
            world.instruction(payout_id=payout_id, attempt=12)
        )
        assert outcome.provider_ref == payout_id.replace("-", "") + ".12"
        assert world.executions(instruction) == 1
        lost = replace(instruction, provider_ref=None)
        assert (await world.rail.enquire(lost)).provider_ref == outcome.provider_ref

    async def test_an_id_that_no_token_can_hold_is_not_sent(self, world: World) -> None:
        asked = world.instruction(payout_id="2a" + "0" * 40)
        outcome = await world.rail.submit(asked)
        assert (outcome.state, outcome.reason) == (S.FAILED, "attempt_id_too_long")
        assert (await world.rail.enquire(asked)).state is S.UNKNOWN
        assert world.exchanges == []

    async def test_an_expired_card_is_refused_here(self, world: World) -> None:
        expired = card("anna", "03/2021")
        outcome = await world.rail.submit(world.instruction(destination=expired))
        assert (outcome.category, outcome.reason) == (F.METHOD, "card_expired")
        assert world.exchanges == []

    @pytest.mark.parametrize(
        ("amount_minor", "text"), [(1, b"0.01"), (5_000_000, b"50000.00"), (123_456, b"1234.56")]
    )
    async def test_every_amount_that_the_document_allows(
        self, world: World, amount_minor: int, text: bytes
    ) -> None:
        instruction, outcome = await world.submit(world.instruction(amount_minor=amount_minor))
        assert outcome.state is S.ACCEPTED
        assert (world.exchanges[0].data or b"").startswith(b'{"amount":' + text + b",")
        world.to_step(instruction, 1)
        assert (await world.rail.enquire(instruction)).state is S.SETTLED

    async def test_no_more_than_that(self, world: World) -> None:
        outcome = await world.rail.submit(world.instruction(amount_minor=5_000_001))
        assert outcome.reason == "amount_above_maximum"

    async def test_another_card_under_the_token_is_not_believed(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction())
        other = replace(instruction, destination=card("plain+bert"))
        found = await world.rail.enquire(other)
        assert (found.state, found.reason) == (S.UNKNOWN, "reference_mismatch")

    async def test_a_wrong_password_is_the_treasurys(self, world: World) -> None:
        rail = _rail(world.sandbox, access_token="wrong")
        outcome = await rail.submit(world.instruction())
        assert (outcome.state, outcome.category) == (S.FAILED, F.TREASURY)
        assert (await rail.enquire(world.instruction())).reason == "http_401"
        await rail.close()
