"""Cards that a provider keeps for its callers, as payout destinations: its token, not the number.

``{"kind": "marqeta_card", "token": "…", "expires": "03/2099"}``: the company has entered the card
at the provider, and was told the token. Whoever opens such a destination learns no card number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rails.accounts import EXPIRES, DestinationInvalid, read_object

TOKENS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {"marqeta_card": re.compile(r"[A-Za-z0-9._~+-]{1,36}")}
)
"""The form of a provider's tokens, by the kind of destination."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """A card behind a token."""

    kind: str
    token: str = field(repr=False)
    expires: str
    """``MM/YYYY``."""


def read_instrument(destination: str) -> Instrument:
    """An opened destination as an instrument.

    Raises DestinationInvalid with a reason that the company can show.
    """
    raw = read_object(destination)
    if not all(isinstance(value, str) for value in raw.values()):
        raise DestinationInvalid("destination_invalid")
    form = TOKENS.get(raw.get("kind", ""))
    if form is None or set(raw) != {"kind", "token", "expires"}:
        raise DestinationInvalid("destination_invalid")
    if not form.fullmatch(raw["token"]):
        raise DestinationInvalid("card_token_invalid")
    if not EXPIRES.fullmatch(raw["expires"]):
        raise DestinationInvalid("card_expiry_invalid")
    return Instrument(raw["kind"], raw["token"], raw["expires"])
