"""Visa Direct keeps the contract, and pushes once, whatever it hears."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from models.payouts import FailureCategory, PayoutState
from rails.rail import Rail
from rails.sandbox.behaviours import DAY_MS
from rails.sandbox.server import Sandbox
from rails.visa.client import VisaClient
from rails.visa.mapping import trace_of
from rails.visa.rail import VisaRail, visa_rail
from rails.visa.settings import VisaSettings
from tests.rails.contract import FAILURES, REFUSALS, TIMEOUT_S, ContractConfig, RailContract, World

F, S = FailureCategory, PayoutState
NUMBER = "4957030420210496"


async def _open(sandbox: Sandbox) -> Rail:
    settings = sandbox.rail_settings("visa", timeout_s=TIMEOUT_S)
    assert isinstance(settings, VisaSettings)
    return VisaRail(VisaClient(settings), settings, now_ms=lambda: time.time_ns() // 1_000_000)


def destination(behaviour: str = "", expires: str = "03/2099") -> str:
    card = {"kind": "card", "number": NUMBER, "expires": expires}
    return json.dumps({**card, "holder": f"{behaviour or 'plain'}+Anna Secret"})


class TestVisa(RailContract):
    config = ContractConfig(
        open=_open,
        destination=destination,
        invalid_destination="anna.secret@example.com",
        failures={**FAILURES, "limit": F.RECIPIENT},
        refusals=REFUSALS,
        returns=("returned", "refunded", "reversed"),
        provider="visa",
        claims=False,
        duplicates=False,
        found_by_id=True,
        repeats=False,
        guarded=False,
        keeps_reference=False,
    )

    @pytest.fixture(autouse=True)
    async def pushed_once(self, world: World) -> AsyncIterator[None]:
        """After each test: no attempt was pushed twice."""
        yield
        pushes = [one.sent for one in world.exchanges if one.method == "POST"]
        numbers = [sent["retrievalReferenceNumber"] for sent in pushes]
        assert len(set(numbers)) == len(numbers)

    async def test_a_push_is_as_it_was_asked_for(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction(currency="USD"))
        [push] = world.exchanges
        assert push.path == "/visadirect/fundstransfer/v1/pushfundstransactions"
        assert (push.data or b"").startswith(b'{"amount":10.50,')
        sent = push.sent
        stan, rrn = trace_of(instruction.attempt_id)
        assert sent.pop("localTransactionDateTime")[:2] == "20"
        assert sent == {
            "amount": 10.5,
            "systemsTraceAuditNumber": stan,
            "retrievalReferenceNumber": rrn,
            "acquiringBin": "408999",
            "acquirerCountryCode": "840",
            "businessApplicationId": "FD",
            "merchantCategoryCode": "6012",
            "sourceOfFundsCode": "05",
            "transactionCurrencyCode": "USD",
            "recipientPrimaryAccountNumber": NUMBER,
            "recipientCardExpiryDate": "2099-03",
            "recipientName": "plain+Anna Secret",
            "cardAcceptor": {
                "name": "Sandbox Company",
                "idCode": "SANDBOX",
                "terminalId": "PAYOUTS1",
                "address": {"country": "USA"},
            },
            "senderReference": rrn,
            "senderName": "Sandbox Company",
            "senderCountryCode": "USA",
        }

    @pytest.mark.parametrize(
        ("currency", "amount_minor", "text"),
        [("JPY", 1050, b"1050"), ("KWD", 10_550, b"10.55"), ("USD", 7, b"0.07")],
    )
    async def test_every_number_of_decimals(
        self, world: World, currency: str, amount_minor: int, text: bytes
    ) -> None:
        instruction, outcome = await world.submit(
            world.instruction(currency=currency, amount_minor=amount_minor)
        )
        assert outcome.state is S.ACCEPTED
        assert (world.exchanges[0].data or b"").startswith(b'{"amount":' + text + b",")
        world.to_step(instruction, 1)
        assert (await world.rail.enquire(instruction)).state is S.SETTLED

    async def test_a_third_decimal_is_refused_here(self, world: World) -> None:
        outcome = await world.rail.submit(world.instruction(currency="KWD", amount_minor=10_555))
        assert (outcome.state, outcome.reason) == (S.FAILED, "amount_not_representable")
        assert world.provider.counts["create"] == 0

    async def test_an_expired_card_is_refused_here(self, world: World) -> None:
        card = destination(expires="03/2021")
        outcome = await world.rail.submit(world.instruction(destination=card))
        assert (outcome.category, outcome.reason) == (F.METHOD, "card_expired")
        assert world.provider.counts["create"] == 0

    async def test_a_decline_at_once_is_a_200(self, world: World) -> None:
        _, outcome = await world.submit(world.instruction("nofunds"))
        assert world.exchanges[0].status == 200
        assert (outcome.state, outcome.reason) == (S.FAILED, "not_sufficient_funds")

    async def test_what_is_settled_has_visas_number(self, world: World) -> None:
        instruction, outcome = await world.submit(world.instruction())
        assert (outcome.provider_ref or "").startswith("status:")
        world.to_step(instruction, 1)
        settled = await world.rail.enquire(instruction)
        assert (settled.provider_ref or "").isdecimal()
        again = replace(instruction, provider_ref=settled.provider_ref)
        assert await world.rail.enquire(again) == replace(settled)

    async def test_after_a_day_the_records_have_to_do(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction())
        world.to_step(instruction, 1)
        world.sandbox.clock.ahead_ms += 2 * DAY_MS
        world.exchanges.clear()
        assert (await world.rail.enquire(instruction)).state is S.SETTLED
        statuses = [one.status for one in world.exchanges]
        assert statuses == [404, 200]

    @pytest.mark.parametrize(
        "behaviour", ["timeout-before", "reset-before", "error500", "error503"]
    )
    async def test_no_record_proves_nothing(self, world: World, behaviour: str) -> None:
        instruction, outcome = await world.submit(world.instruction(behaviour))
        assert outcome.state is S.UNKNOWN
        for first_ms in (None, 0, instruction.first_submitted_ms):
            asked = replace(instruction, first_submitted_ms=first_ms)
            assert (await world.rail.enquire(asked)).reason == "not_found"
        assert world.executions(instruction) == 0
        assert world.provider.counts["create"] == 1

    async def test_the_card_is_in_no_repr_or_log(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        instruction, outcome = await world.submit(world.instruction("denied"))
        world.to_step(instruction, 1)
        ended = await world.rail.enquire(instruction)
        assert NUMBER not in f"{instruction!r} {outcome!r} {ended!r} {caplog.text}"

    async def test_a_wrong_password_is_the_treasurys(self, world: World) -> None:
        settings = world.sandbox.rail_settings("visa", password="wrong")
        assert isinstance(settings, VisaSettings)
        rail = visa_rail(settings)
        outcome = await rail.submit(world.instruction())
        assert (outcome.state, outcome.category) == (S.FAILED, F.TREASURY)
        assert (await rail.enquire(world.instruction())).reason == "http_401"
        await rail.close()
