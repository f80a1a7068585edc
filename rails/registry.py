"""Rails by provider. A new rail is a folder and a line in ``PROVIDERS``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import rails.adyen.mapping
import rails.circle.mapping
import rails.iso20022.mapping
import rails.marqeta.mapping
import rails.marqeta_push.mapping
import rails.paypal.mapping
import rails.visa.mapping
from rails.adyen.capabilities import ADYEN
from rails.adyen.rail import adyen_rail
from rails.adyen.settings import AdyenSettings
from rails.adyen.webhooks import adyen_verifier
from rails.circle.capabilities import CIRCLE
from rails.circle.rail import circle_rail
from rails.circle.settings import CircleSettings
from rails.circle.webhooks import circle_verifier
from rails.iso20022.capabilities import ISO20022
from rails.iso20022.feed import iso20022_feed
from rails.iso20022.rail import iso20022_rail
from rails.iso20022.settings import Iso20022Settings
from rails.marqeta.capabilities import MARQETA
from rails.marqeta.rail import marqeta_rail
from rails.marqeta.settings import MarqetaSettings
from rails.marqeta.webhooks import marqeta_verifier
from rails.marqeta_push.capabilities import MARQETA_PUSH
from rails.marqeta_push.rail import push_rail
from rails.marqeta_push.settings import PushSettings
from rails.paypal.capabilities import PAYPAL
from rails.paypal.rail import paypal_rail
from rails.paypal.settings import PayPalSettings
from rails.paypal.webhooks import paypal_verifier
from rails.rail import Capabilities, Rail
from rails.settings import RailSettings
from rails.visa.capabilities import VISA
from rails.visa.rail import visa_rail
from rails.visa.settings import VisaSettings
from rails.webhooks import Feed, WebhookVerifier

_NAME = re.compile(r"[a-z0-9_]{1,32}")

S = TypeVar("S", bound=RailSettings)


@dataclass(frozen=True, slots=True)
class Provider(Generic[S]):
    """How to make a provider's rail from its settings, and by what the provider reports: a verifier
    of its webhooks, or a feed that fetches.

    ``destination_refusal`` tells before a reservation why an opened destination cannot be paid.
    ``told_as``: what the provider is told in place of an attempt's id, where it takes none of ours.
    """

    settings: type[S]
    capabilities: Capabilities
    destination_refusal: Callable[[str], str | None]
    rail: Callable[[S, str], Rail]
    verifier: Callable[[S], WebhookVerifier] | None = None
    feed: Callable[[S, str], Feed] | None = None
    told_as: Callable[[str], str] | None = None


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


PROVIDERS: Mapping[str, Provider[Any]] = {
    "adyen": Provider(
        AdyenSettings, ADYEN, rails.adyen.mapping.destination_refusal, adyen_rail, adyen_verifier
    ),
    "circle": Provider(
        CircleSettings,
        CIRCLE,
        rails.circle.mapping.destination_refusal,
        circle_rail,
        circle_verifier,
        told_as=rails.circle.mapping.payout_key,
    ),
    "iso20022": Provider(
        Iso20022Settings,
        ISO20022,
        rails.iso20022.mapping.destination_refusal,
        iso20022_rail,
        feed=iso20022_feed,
    ),
    "marqeta": Provider(
        MarqetaSettings,
        MARQETA,
        rails.marqeta.mapping.destination_refusal,
        marqeta_rail,
        marqeta_verifier,
    ),
    "marqeta_push": Provider(
        PushSettings, MARQETA_PUSH, rails.marqeta_push.mapping.destination_refusal, push_rail
    ),
    "paypal": Provider(
        PayPalSettings,
        PAYPAL,
        rails.paypal.mapping.destination_refusal,
        paypal_rail,
        paypal_verifier,
    ),
    "visa": Provider(VisaSettings, VISA, rails.visa.mapping.destination_refusal, visa_rail),
}


def provider(name: str) -> Provider[Any]:
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
        verifier = provider(one.provider).verifier
        _named(name)
        if verifier is not None and one.is_set(one.webhooks_by):
            verifiers[name] = verifier(one)
    return verifiers


def open_feeds(settings: Mapping[str, RailSettings]) -> list[Feed]:
    """What fetches reports of the rails whose providers do not call.

    Raises ProviderUnknown, RailNameInvalid.
    """
    feeds = [(provider(one.provider).feed, one, _named(name)) for name, one in settings.items()]
    return [feed(one, name) for feed, one, name in feeds if feed is not None]


def refusals(settings: Mapping[str, RailSettings]) -> dict[str, Callable[[str], str | None]]:
    """Each rail's check of opened destinations. Raises ProviderUnknown."""
    return {name: provider(one.provider).destination_refusal for name, one in settings.items()}


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise RailNameInvalid(name)
    return name
