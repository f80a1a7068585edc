"""Rails by name."""

import pytest

from rails.paypal.settings import PayPalSettings
from rails.rail import Rail
from rails.registry import (
    PROVIDERS,
    ProviderUnknown,
    RailNameInvalid,
    open_rails,
    open_verifiers,
    provider,
)
from rails.settings import HttpSettings


class PigeonSettings(HttpSettings):
    provider = "pigeon"


async def test_two_accounts_of_one_provider_are_two_rails() -> None:
    rails = open_rails({"paypal": PayPalSettings(), "paypal_us": PayPalSettings()})
    assert [rail.name for rail in rails.values()] == ["paypal", "paypal_us"]
    for rail in rails.values():
        assert isinstance(rail, Rail)
        await rail.close()


@pytest.mark.parametrize("name", ["", "PayPal", "paypal-us", "a" * 33, "a b"])
def test_a_name_that_events_cannot_carry(name: str) -> None:
    with pytest.raises(RailNameInvalid):
        open_rails({name: PayPalSettings()})
    with pytest.raises(RailNameInvalid):
        open_verifiers({name: PayPalSettings()})


def test_an_unknown_provider_is_named_with_those_there_are() -> None:
    with pytest.raises(ProviderUnknown) as caught:
        open_rails({"x": PigeonSettings(base_url="https://example.com")})
    assert str(caught.value).startswith("no rail for provider 'pigeon'; there are: adyen, ")
    assert all(name in str(caught.value) for name in PROVIDERS)


def test_verifiers_only_where_a_webhook_is_set_up() -> None:
    settings = {"a": PayPalSettings(), "b": PayPalSettings(webhook_id="WH-1")}
    assert list(open_verifiers(settings)) == ["b"]


@pytest.mark.parametrize("name", PROVIDERS)
def test_what_settings_say_of_themselves_is_about_their_fields(name: str) -> None:
    kind = provider(name).settings
    assert kind.provider == name
    assert kind.title
    fields = set(kind.model_fields)
    assert {*kind.needs, *filter(None, (kind.exists_by, kind.webhooks_by))} <= fields
    assert bool(kind.webhooks_by) == (provider(name).verifier is not None)
    assert provider(name).capabilities.can_report_by_webhook == bool(kind.webhooks_by)


def test_every_provider_has_sound_capabilities() -> None:
    for name in PROVIDERS:
        capabilities = provider(name).capabilities
        assert capabilities.currencies
        assert capabilities.destinations
        assert provider(name).destination_refusal("") == "destination_invalid"
        for table in (
            capabilities.amount_minor_min,
            capabilities.amount_minor_max,
            capabilities.amount_minor_step,
        ):
            assert all(isinstance(value, int) and value > 0 for value in table.values())
