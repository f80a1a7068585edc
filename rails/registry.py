"""Rails by provider. A new rail is a folder and a line in ``PROVIDERS``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rails.paypal.capabilities import PAYPAL
from rails.paypal.mapping import destination_refusal
from rails.paypal.rail import paypal_rail
from rails.paypal.webhooks import paypal_verifier
from rails.rail import Capabilities, Rail
from rails.settings import RailSettings
from rails.webhooks import WebhookVerifier

_NAME = re.compile(r"[a-z0-9_]{1,32}")


@dataclass(frozen=True, slots=True)
class Provider:
    """How to make a provider's rail and the verifier of its webhooks from settings.

    ``destination_refusal`` tells before a reservation why an opened destination cannot be paid.
    """

    capabilities: Capabilities
    destination_refusal: Callable[[str], str | None]
    rail: Callable[[RailSettings, str], Rail]
    verifier: Callable[[RailSettings], WebhookVerifier] | None = None


class ProviderUnknown(KeyError):
    """Settings name a provider there is no connector for."""

    def __init__(self, provider: str) -> None:
        """Name it, and those there are."""
        super().__init__(provider)
        self.provider = provider

    def __str__(self) -> str:
        """One line for a person."""
        return f"no rail for provider {self.provider!r}; there are: {', '.join(PROVIDERS)}"


class RailNameInvalid(ValueError):
    """A rail's name cannot be carried by events."""

    def __init__(self, name: str) -> None:
        """Name it."""
        super().__init__(f"a rail's name is 1 to 32 of a-z 0-9 _, not {name!r}")
        self.name = name


PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        "paypal": Provider(PAYPAL, destination_refusal, paypal_rail, paypal_verifier),
    }
)


def provider(name: str) -> Provider:
    """A provider by name. Raises ProviderUnknown."""
    try:
        return PROVIDERS[name]
    except KeyError:
        raise ProviderUnknown(name) from None


def open_rails(settings: Mapping[str, RailSettings]) -> dict[str, Rail]:
    """The rails of an installation by name. They connect at their first call.

    Raises ProviderUnknown, RailNameInvalid.
    """
    return {name: provider(one.provider).rail(one, _named(name)) for name, one in settings.items()}


def open_verifiers(settings: Mapping[str, RailSettings]) -> dict[str, WebhookVerifier]:
    """Webhook verifiers by rail name, for the rails that have a webhook set up.

    Raises ProviderUnknown, RailNameInvalid.
    """
    verifiers: dict[str, WebhookVerifier] = {}
    for name, one in settings.items():
        make = provider(one.provider).verifier
        _named(name)
        if make is not None and one.webhook_id:
            verifiers[name] = make(one)
    return verifiers


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise RailNameInvalid(name)
    return name
