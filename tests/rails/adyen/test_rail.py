"""Adyen keeps the contract, and every exchange on the way fits Adyen's own document."""

import json
import time

import pytest

from models.payouts import FailureCategory, PayoutState
from rails.adyen.client import AdyenClient
from rails.adyen.rail import AdyenRail, adyen_rail
from rails.rail import Rail
from rails.sandbox.adyen import ROOT
from rails.sandbox.provider import CLIENT_ID
from rails.sandbox.server import Sandbox
from tests.rails import specs
from tests.rails.contract import FAILURES, REFUSALS, TIMEOUT_S, ContractConfig, RailContract, World

F = FailureCategory
IBAN = "DE89370400440532013000"
# The sandbox answers what the document does not know of: statuses 404, 418 and 429, no JSON.
DOCUMENTED = {200, 202, 401, 403, 422, 500}


async def _open(sandbox: Sandbox) -> Rail:
    return AdyenRail(
        AdyenClient(sandbox.rail_settings("adyen", timeout_s=TIMEOUT_S)),
        balance_account=CLIENT_ID,
        now_ms=lambda: time.time_ns() // 1_000_000,
    )


def destination(behaviour: str = "", **fields: str) -> str:
    account = fields or {"kind": "iban", "iban": IBAN}
    return json.dumps({**account, "holder": f"{behaviour or 'plain'}+Anna Secret"})


class TestAdyen(RailContract):
    config = ContractConfig(
        open=_open,
        destination=destination,
        invalid_destination="anna.secret@example.com",
        failures=FAILURES,
        refusals=REFUSALS,
        returns=("returned", "refunded", "reversed"),
        provider="adyen",
        claims=False,
        duplicates=False,
        document=specs.ADYEN,
        documented=lambda exchange: exchange.status in DOCUMENTED,
    )

    @pytest.mark.parametrize(
        ("fields", "currency", "kind"),
        [
            ({"kind": "us", "routing": "011000138", "account": "123456789"}, "USD", "usLocal"),
            ({"kind": "uk", "sort_code": "12-34-56", "account": "12345678"}, "GBP", "ukLocal"),
            (
                {"kind": "ca", "institution": "001", "transit": "12345", "account": "1234567"},
                "CAD",
                "caLocal",
            ),
        ],
    )
    async def test_every_kind_of_account_is_paid(
        self, world: World, fields: dict[str, str], currency: str, kind: str
    ) -> None:
        instruction, outcome = await world.submit(
            world.instruction(destination=destination("", **fields), currency=currency)
        )
        assert outcome.state is PayoutState.ACCEPTED
        assert world.executions(instruction) == 1
        sent = world.exchanges[0].sent
        account = sent["counterparty"]["bankAccount"]["accountIdentification"]
        assert account["type"] == kind
        assert sent["priorities"][0] == "instant"

    async def test_a_card_is_paid_as_one(self, world: World) -> None:
        card = destination("", kind="card", number="4111 1111 1111 1111", expires="03/2099")
        _, outcome = await world.submit(world.instruction(destination=card))
        assert outcome.state is PayoutState.ACCEPTED
        sent = world.exchanges[0].sent
        assert sent["category"] == "card"
        assert sent["counterparty"]["card"]["cardIdentification"]["number"] == "4111111111111111"
        assert "priorities" not in sent

    async def test_an_expired_card_is_refused_here(self, world: World) -> None:
        card = destination("", kind="card", number="4111111111111111", expires="03/2021")
        outcome = await world.rail.submit(world.instruction(destination=card))
        assert (outcome.category, outcome.reason) == (F.METHOD, "card_expired")
        assert world.provider.counts["create"] == 0

    async def test_a_wrong_key_is_the_treasurys(self, world: World) -> None:
        rail = adyen_rail(world.sandbox.rail_settings("adyen", api_key="wrong"))
        outcome = await rail.submit(world.instruction())
        assert (outcome.state, outcome.category) == (PayoutState.FAILED, F.TREASURY)
        await rail.close()

    async def test_without_a_reference_it_is_found_and_not_sent_again(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction("timeout-after"))
        found = await world.rail.enquire(instruction)
        assert found.state is PayoutState.ACCEPTED
        assert found.provider_ref
        assert world.provider.counts["create"] == 1

    async def test_the_api_lives_under_its_version(self, world: World) -> None:
        assert ROOT == "/btl/v4"
        assert world.sandbox.rail_settings("adyen").root.endswith(ROOT)
