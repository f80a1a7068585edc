"""Rails by name."""

import pytest

from rails.rail import Rail
from rails.registry import (
    PROVIDERS,
    ProviderUnknown,
    RailNameInvalid,
    open_rails,
    open_verifiers,
    provider,
)
from rails.settings import RailSettings


async def test_two_accounts_of_one_provider_are_two_rails() -> None:
    rails = open_rails({"paypal": RailSettings(), "paypal_us": RailSettings()})
    assert [rail.name for rail in rails.values()] == ["paypal", "paypal_us"]
    for rail in rails.values():
        assert isinstance(rail, Rail)
        await rail.close()


@pytest.mark.parametrize("name", ["", "PayPal", "paypal-us", "a" * 33, "a b"])
def test_a_name_that_events_cannot_carry(name: str) -> None:
    with pytest.raises(RailNameInvalid):
        open_rails({name: RailSettings()})
    with pytest.raises(RailNameInvalid):
        open_verifiers({name: RailSettings()})


def test_an_unknown_provider_is_named_with_those_there_are() -> None:
    with pytest.raises(ProviderUnknown) as caught:
        open_rails({"x": RailSettings(provider="pigeon")})
    assert str(caught.value) == "no rail for provider 'pigeon'; there are: paypal"


def test_verifiers_only_where_a_webhook_is_set_up() -> None:
    settings = {"a": RailSettings(), "b": RailSettings(webhook_id="WH-1")}
    assert list(open_verifiers(settings)) == ["b"]


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
