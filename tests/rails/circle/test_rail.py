"""Circle keeps the contract, and every exchange on the way fits Circle's own document."""

import hashlib
import json
import time
from dataclasses import replace

import pytest

from models.payouts import FailureCategory, PayoutState
from rails.circle.client import CircleClient
from rails.circle.mapping import idempotency_key
from rails.circle.rail import CircleRail, circle_rail
from rails.circle.settings import CircleSettings
from rails.circle.travel import RULES
from rails.rail import Rail
from rails.sandbox.circle import CircleSandbox
from rails.sandbox.server import Sandbox
from tests.rails import specs
from tests.rails.contract import REFUSALS, TIMEOUT_S, ContractConfig, RailContract, World
from tests.rails.exchanges import Exchange

F = FailureCategory
# The sandbox answers what the document does not know of: statuses 403, 418, 429 and 5xx, no JSON,
# and on purpose a status word that is new.
DOCUMENTED = {200, 201, 400, 401, 404}


def _rail(settings: CircleSettings, recipient_pause_s: float) -> CircleRail:
    return CircleRail(
        CircleClient(settings),
        wallet_id=settings.wallet_id,
        rule=RULES[settings.booked_in],
        identity=settings.identity,
        now_ms=lambda: time.time_ns() // 1_000_000,
        recipient_timeout_s=settings.timeout_s,
        recipient_pause_s=recipient_pause_s,
    )


async def _open(sandbox: Sandbox, *, recipient_pause_s: float = 0.01, **changes: object) -> Rail:
    settings = sandbox.rail_settings("circle", timeout_s=TIMEOUT_S, **changes)
    assert isinstance(settings, CircleSettings)
    return _rail(settings, recipient_pause_s)


def destination(behaviour: str = "", **fields: object) -> str:
    holder = f"{behaviour or 'plain'}+Anna Secret"
    address = "0x" + hashlib.sha256(holder.encode()).hexdigest()[:40]
    plain = {"kind": "crypto", "chain": "ETH", "address": address, "country": "DE"}
    return json.dumps({**plain, **fields, "holder": holder})


def sent(world: World, path: str) -> list[dict[str, object]]:
    """The bodies sent to a path, in order."""
    return [one.sent for one in world.exchanges if one.data and one.path == path]


def _documented(exchange: Exchange) -> bool:
    return exchange.status in DOCUMENTED and "quarantined" not in str(exchange.body)


def provider(world: World) -> CircleSandbox:
    assert isinstance(world.provider, CircleSandbox)
    return world.provider


class TestCircle(RailContract):
    config = ContractConfig(
        open=_open,
        destination=destination,
        invalid_destination="anna.secret@example.com",
        failures={
            "closed": F.RECIPIENT,
            "self": F.RECIPIENT,
            "risk": F.RECIPIENT,
            "blocked": F.RECIPIENT,
            "mystery": F.RECIPIENT,
            "currency": F.TREASURY,
            "trouble": F.RETRYABLE,
        },
        refusals={**REFUSALS, "denied": F.METHOD},
        returns=("returned", "refunded", "reversed"),
        currency="USD",
        provider="circle",
        claims=False,
        duplicates=False,
        shows_reference=False,
        booked_as=lambda attempt_id: idempotency_key("payout", attempt_id),
        document=specs.CIRCLE,
        documented=_documented,
    )

    async def test_an_address_is_entered_once_and_paid_twice(self, world: World) -> None:
        first, _ = await world.submit(world.instruction())
        second, outcome = await world.submit(world.instruction())
        assert outcome.state is PayoutState.ACCEPTED
        assert world.executions(first) == world.executions(second) == 1
        [entered] = sent(world, "/v1/addressBook/recipients")
        assert entered["metadata"] == {"nickname": "plain+Anna Secret"}
        one, other = sent(world, "/v1/payouts")
        assert one["destination"] == other["destination"]
        keys = {one["idempotencyKey"], other["idempotencyKey"], entered["idempotencyKey"]}
        assert len(keys) == 3
        assert one["amount"] == {"amount": "10.50", "currency": "USD"}
        assert "identities" not in json.dumps(one)

    @pytest.mark.parametrize(
        ("fields", "tag"),
        [
            ({"chain": "SOL", "address": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"}, None),
            (
                {
                    "chain": "XLM",
                    "address": "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ",
                    "tag": "4711",
                },
                "4711",
            ),
            ({"chain": "BASE", "address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}, None),
        ],
    )
    async def test_every_kind_of_address_is_paid(
        self, world: World, fields: dict[str, object], tag: str | None
    ) -> None:
        instruction = world.instruction(destination=destination("", **fields))
        for _ in range(2):
            _, outcome = await world.submit(instruction)
            assert outcome.state is PayoutState.ACCEPTED
        [entered] = sent(world, "/v1/addressBook/recipients")
        assert (entered["address"], entered.get("addressTag")) == (fields["address"], tag)
        assert world.executions(instruction) == 1

    async def test_a_recipient_that_is_looked_at_is_paid_later(self, world: World) -> None:
        provider(world).recipient_delay_ms = 60_000
        instruction, outcome = await world.submit(world.instruction())
        assert (outcome.state, outcome.category) == (PayoutState.FAILED, F.RETRYABLE)
        assert outcome.reason == "recipient_pending"
        assert world.provider.counts["create"] == 0
        # A repeat may not say that the first one failed.
        assert (await world.rail.enquire(instruction)).state is PayoutState.UNKNOWN
        world.sandbox.clock.ahead_ms += 60_000
        again, outcome = await world.submit(world.instruction())
        assert outcome.state is PayoutState.ACCEPTED
        assert world.executions(again) == 1
        assert len(sent(world, "/v1/addressBook/recipients")) == 1

    async def test_an_address_book_that_takes_too_long_is_left(self, world: World) -> None:
        provider(world).recipient_delay_ms = 60_000
        rail = await _open(world.sandbox, recipient_pause_s=60)
        outcome = await rail.submit(world.instruction())
        assert (outcome.category, outcome.reason) == (F.RETRYABLE, "recipient_timeout")
        assert world.provider.counts["create"] == 0
        await rail.close()

    async def test_from_3000_dollars_the_sender_goes_along(self, world: World) -> None:
        for amount_minor in (299_999, 300_000):
            _, outcome = await world.submit(world.instruction(amount_minor=amount_minor))
            assert outcome.state is PayoutState.ACCEPTED
        below, above = (body["source"] for body in sent(world, "/v1/payouts"))
        assert isinstance(below, dict)
        assert isinstance(above, dict)
        assert "identities" not in below
        assert above["identities"][0]["name"] == "Sandbox Sellers Inc"

    @pytest.mark.parametrize(
        ("hosting", "reason"),
        [({}, "wallet_hosting_unknown"), ({"hosted": False}, "wallet_control_unproven")],
    )
    async def test_a_wallet_nobody_knows_is_refused_before_any_request(
        self, world: World, hosting: dict[str, object], reason: str
    ) -> None:
        rail = await _open(world.sandbox, booked_in="EU")
        large = world.instruction(destination=destination("", **hosting), amount_minor=90_001)
        outcome = await rail.submit(large)
        assert (outcome.category, outcome.reason) == (F.RECIPIENT, reason)
        assert world.exchanges == []
        small = await rail.submit(replace(large, amount_minor=90_000))
        assert small.state is PayoutState.ACCEPTED
        assert "identities" in str(sent(world, "/v1/payouts")[0]["source"])
        await rail.close()

    async def test_a_sender_nobody_knows_is_the_treasurys(self, world: World) -> None:
        names = [name for name in world.provider.rail_fields("") if name.startswith("sender_")]
        rail = await _open(world.sandbox, **dict.fromkeys(names, ""))
        outcome = await rail.submit(world.instruction(amount_minor=300_000))
        assert (outcome.category, outcome.reason) == (F.TREASURY, "travel_rule_identity_missing")
        assert world.exchanges == []
        assert (await rail.submit(world.instruction())).state is PayoutState.ACCEPTED
        await rail.close()

    async def test_a_repeat_keeps_the_rules_of_its_day(self, world: World) -> None:
        """The first may never have arrived: then a repeat would be the one that pays."""
        large = world.instruction("timeout-before", amount_minor=300_000)
        kept, outcome = await world.submit(large)
        assert outcome.state is PayoutState.UNKNOWN
        names = [name for name in world.provider.rail_fields("") if name.startswith("sender_")]
        rail = await _open(world.sandbox, **dict.fromkeys(names, ""))
        outcome = await rail.enquire(kept)
        assert outcome.state is PayoutState.UNKNOWN
        assert outcome.reason == "repeat_travel_rule_identity_missing"
        assert world.executions(kept) == 0
        await rail.close()
        assert (await world.rail.enquire(kept)).state is PayoutState.ACCEPTED

    async def test_a_country_under_sanctions_is_refused(self, world: World) -> None:
        outcome = await world.rail.submit(world.instruction(destination=destination(country="KP")))
        assert outcome.reason == "country_not_carried"
        assert world.exchanges == []

    async def test_a_first_refusal_is_answered_again_until_the_attempt_is_another(
        self, world: World
    ) -> None:
        world.provider.funded = False
        instruction, outcome = await world.submit(world.instruction())
        assert (outcome.state, outcome.category) == (PayoutState.FAILED, F.TREASURY)
        world.provider.funded = True
        _, outcome = await world.submit(instruction)
        assert (outcome.state, outcome.category) == (PayoutState.FAILED, F.TREASURY)
        _, outcome = await world.submit(replace(instruction, attempt=1))
        assert outcome.state is PayoutState.ACCEPTED
        assert world.executions(instruction) == 1

    async def test_a_wrong_key_is_the_treasurys(self, world: World) -> None:
        settings = world.sandbox.rail_settings("circle", api_key="wrong")
        assert isinstance(settings, CircleSettings)
        rail = circle_rail(settings)
        outcome = await rail.submit(world.instruction())
        assert (outcome.state, outcome.category) == (PayoutState.FAILED, F.TREASURY)
        await rail.close()
