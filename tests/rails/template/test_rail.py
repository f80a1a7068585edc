"""The template keeps the contract: a connector is a folder and a line of registration."""

import pytest

from models.payouts import FailureCategory, PayoutState
from rails import registry
from rails._template.capabilities import TEMPLATE
from rails._template.mapping import destination_refusal
from rails._template.rail import TemplateRail, template_rail
from rails._template.settings import TemplateSettings
from rails._template.webhooks import template_verifier
from rails.rail import Rail
from rails.sandbox import server
from rails.sandbox._template import TemplateSandbox
from rails.sandbox.server import Sandbox, serve
from tests.rails.company import Company
from tests.rails.contract import TIMEOUT_S, ContractConfig, RailContract, World

F = FailureCategory
TEMPLATE_PROVIDER = registry.Provider(
    TemplateSettings, TEMPLATE, destination_refusal, template_rail, template_verifier
)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.PROVIDERS, "template", TEMPLATE_PROVIDER)
    monkeypatch.setitem(server.PROVIDERS, "template", TemplateSandbox)


async def _open(sandbox: Sandbox) -> Rail:
    settings = sandbox.rail_settings("template", timeout_s=TIMEOUT_S)
    return registry.open_rails({"template": settings})["template"]


class TestTemplate(RailContract):
    config = ContractConfig(
        open=_open,
        destination=lambda behaviour: f"{behaviour or 'plain'}+anna.secret@example.com",
        invalid_destination="anna.secret at example.com",
        failures={
            "closed": F.METHOD,
            "denied": F.METHOD,
            "risk": F.RECIPIENT,
            "mystery": F.RECIPIENT,
            "currency": F.TREASURY,
            "trouble": F.RETRYABLE,
        },
        refusals={
            "nofunds": F.TREASURY,
            "restricted": F.TREASURY,
            "invalid": F.RECIPIENT,
            "limited": F.RETRYABLE,
        },
        returns=("returned", "refunded", "reversed"),
        provider="template",
        claims=False,
        duplicates=False,
    )

    async def test_a_wrong_key_is_the_treasurys(self, world: World) -> None:
        rail = template_rail(world.sandbox.rail_settings("template", api_key="wrong"))
        outcome = await rail.submit(world.instruction())
        assert (outcome.state, outcome.category) == (PayoutState.FAILED, F.TREASURY)
        await rail.close()


async def test_what_its_webhooks_say_arrives() -> None:
    async with (
        Company("template") as company,
        await serve(settle_delay_ms=20, webhook_urls={"template": company.url}) as sandbox,
    ):
        rail = template_rail(company.trust(sandbox))
        assert isinstance(rail, TemplateRail)
        world = World(TestTemplate.config, sandbox, rail)
        paid, _ = await world.submit(world.instruction())
        lied_to, _ = await world.submit(world.instruction("webhook-forged"))
        await company.until(results=3)
        await rail.close()
    assert company.states(paid.payout_id) == ["settled"]
    assert company.states(lied_to.payout_id) == []
    assert sorted(company.results) == ["published", "signature_refused", "signature_refused"]
