"""Marqeta keeps the contract, and every exchange on the way fits Marqeta's own document."""

import time
import uuid
from dataclasses import replace

from models.payouts import FailureCategory, PayoutState
from rails.marqeta.client import MarqetaClient
from rails.marqeta.rail import MarqetaRail, marqeta_rail
from rails.rail import Rail
from rails.sandbox.marqeta import FUNDING_SOURCE, ROOT
from rails.sandbox.server import Sandbox
from tests.rails import specs
from tests.rails.contract import FAILURES, REFUSALS, TIMEOUT_S, ContractConfig, RailContract, World

F = FailureCategory
# The sandbox answers what the document does not know of: statuses 401, 403, 418 and 429, no JSON.
DOCUMENTED = {200, 201, 400, 404, 409, 422, 500}


def _rail(sandbox: Sandbox, **changes: str) -> MarqetaRail:
    fields = {"funding_source": FUNDING_SOURCE, **changes}
    return MarqetaRail(
        MarqetaClient(sandbox.rail_settings("marqeta", timeout_s=TIMEOUT_S)),
        now_ms=lambda: time.time_ns() // 1_000_000,
        **fields,
    )


async def _open(sandbox: Sandbox) -> Rail:
    return _rail(sandbox)


class TestMarqeta(RailContract):
    config = ContractConfig(
        open=_open,
        destination=lambda behaviour: f"{behaviour or 'plain'}+anna-secret",
        invalid_destination="anna.secret@example.com",
        failures=FAILURES,
        refusals=REFUSALS,
        returns=("returned", "refunded", "reversed"),
        provider="marqeta",
        claims=False,
        duplicates=False,
        found_by_id=True,
        document=specs.MARQETA,
        documented=lambda exchange: exchange.status in DOCUMENTED,
    )

    async def test_an_order_is_as_it_was_asked_for(self, world: World) -> None:
        instruction, outcome = await world.submit(
            world.instruction(note='Thank\nyou, <Anna> "always"', currency="USD")
        )
        assert outcome.state is PayoutState.ACCEPTED
        assert outcome.provider_ref == instruction.payout_id
        [sent] = world.exchanges
        assert sent.path == "/gpaorders"
        assert (sent.data or b"").startswith(b'{"amount":10.50,')
        assert sent.sent == {
            "amount": 10.5,
            "token": instruction.payout_id,
            "user_token": instruction.destination,
            "currency_code": "USD",
            "funding_source_token": FUNDING_SOURCE,
            "tags": instruction.payout_id,
            "memo": "Thank you, Anna always",
        }

    async def test_a_later_attempt_has_a_token_that_fits(self, world: World) -> None:
        payout_id = f"2a{str(uuid.uuid4())[2:]}"
        instruction, outcome = await world.submit(
            world.instruction(payout_id=payout_id, attempt=12)
        )
        assert outcome.provider_ref == payout_id.replace("-", "") + ".12"
        assert world.executions(instruction) == 1
        lost = replace(instruction, provider_ref=None)
        assert (await world.rail.enquire(lost)).provider_ref == outcome.provider_ref

    async def test_an_id_that_no_token_can_hold_is_not_sent(self, world: World) -> None:
        outcome = await world.rail.submit(world.instruction(payout_id="2a" + "0" * 40))
        assert (outcome.state, outcome.reason) == (PayoutState.FAILED, "attempt_id_too_long")
        asked = world.instruction(payout_id="2a" + "0" * 40)
        assert (await world.rail.enquire(asked)).state is PayoutState.UNKNOWN
        assert world.provider.counts["create"] == 0

    async def test_other_content_under_the_token_is_never_a_failure(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction())
        other = await world.rail.submit(replace(instruction, amount_minor=1051))
        assert (other.state, other.reason) == (PayoutState.UNKNOWN, "error_409001")
        assert world.executions(instruction) == 1

    async def test_what_is_found_is_not_sent_again(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction("timeout-after"))
        found = await world.rail.enquire(instruction)
        assert found.state is PayoutState.ACCEPTED
        assert world.provider.counts["create"] == 1

    async def test_a_reference_whose_order_is_gone_is_not_sent_again(self, world: World) -> None:
        now_ms = time.time_ns() // 1_000_000
        instruction = world.instruction(first_submitted_ms=now_ms)
        known = replace(instruction, provider_ref=instruction.attempt_id)
        assert (await world.rail.enquire(known)).reason == "reference_not_found"
        assert (await world.rail.cancel(instruction)).reason == "order_not_found"
        assert world.provider.counts["create"] == 0

    async def test_another_funding_source_is_refused(self, world: World) -> None:
        rail = _rail(world.sandbox, funding_source="another")
        outcome = await rail.submit(world.instruction())
        assert (outcome.state, outcome.reason) == (PayoutState.FAILED, "error_400000")
        await rail.close()

    async def test_a_wrong_password_is_the_treasurys(self, world: World) -> None:
        rail = marqeta_rail(world.sandbox.rail_settings("marqeta", access_token="wrong"))
        outcome = await rail.submit(world.instruction())
        assert (outcome.state, outcome.category) == (PayoutState.FAILED, F.TREASURY)
        assert (await rail.enquire(world.instruction())).reason == "http_401"
        await rail.close()

    async def test_the_api_lives_under_its_version(self, world: World) -> None:
        assert ROOT == "/v3"
        assert world.sandbox.rail_settings("marqeta").root.endswith(ROOT)
