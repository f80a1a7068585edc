"""Amounts as providers write them, from integer minor units and back: exactly, without a float."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from models.money import exponent
from rails.answers import Json

PLACES: Mapping[tuple[str, str], int] = MappingProxyType(
    {
        ("adyen", "CLP"): 2,
        ("adyen", "CVE"): 0,
        ("adyen", "IDR"): 0,
        ("adyen", "ISK"): 2,
        ("paypal", "HUF"): 0,
        ("paypal", "JPY"): 0,
        ("paypal", "TWD"): 0,
        # Three decimals, the last of which has to be 0.
        ("visa", "BHD"): 2,
        ("visa", "IQD"): 2,
        ("visa", "JOD"): 2,
        ("visa", "KWD"): 2,
        ("visa", "LYD"): 2,
        ("visa", "OMR"): 2,
        ("visa", "TND"): 2,
    }
)
"""Decimal places, by provider and currency, where a provider's differ from ISO 4217's."""

_TEXT = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?")
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?(?:[eE][+-]?[0-9]{1,2})?")


class AmountInvalid(ValueError):
    """The amount is not positive, or the provider has too few decimals for it."""


def places(provider: str, currency: str) -> int:
    """Decimal places a provider takes. Raises KeyError for an unknown currency."""
    return PLACES.get((provider, currency), exponent(currency))


def step(provider: str, currency: str) -> int:
    """The smallest amount in minor units that a provider can write; all are multiples of it.

    Raises KeyError for an unknown currency.
    """
    return int(10 ** max(0, exponent(currency) - places(provider, currency)))


def steps(provider: str) -> dict[str, int]:
    """The steps that are not 1, by currency."""
    named = [currency for one, currency in PLACES if one == provider]
    return {
        currency: step(provider, currency) for currency in named if step(provider, currency) > 1
    }


def value_of(provider: str, amount_minor: int, currency: str) -> int:
    """Minor units as an integer of the provider's own smallest units.

    Nothing is rounded: raises AmountInvalid, and KeyError for an unknown currency.
    """
    theirs = places(provider, currency)
    value, rest = divmod(amount_minor * int(10**theirs), int(10 ** exponent(currency)))
    if amount_minor <= 0 or rest:
        raise AmountInvalid(f"{amount_minor} minor units of {currency} have no {theirs} places")
    return value


def amount_text(provider: str, amount_minor: int, currency: str) -> str:
    """Minor units as a decimal text: of PayPal ``1050 EUR`` is ``10.50``, ``100000 HUF`` ``1000``.

    Nothing is rounded: raises AmountInvalid, and KeyError for an unknown currency.
    """
    theirs = places(provider, currency)
    digits = str(value_of(provider, amount_minor, currency)).rjust(theirs + 1, "0")
    return f"{digits[:-theirs]}.{digits[-theirs:]}" if theirs else digits


def minor_of_text(text: Json, currency: str) -> int | None:
    """A decimal text in JSON as minor units, exactly; None if it is not one."""
    match = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    try:
        ours = exponent(currency)
    except KeyError:
        return None
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > ours:
        return None
    return int(match[1] + fraction.ljust(ours, "0"))


def minor_of_number(number: Json, currency: str) -> int | None:
    """A JSON number as minor units, exactly; None if it is not one.

    A number with a fraction or an exponent has to come as its text: :mod:`rails.http` reads so.
    """
    if type(number) is int:
        return minor_of_text(str(number), currency)
    if not isinstance(number, str) or not _NUMBER.fullmatch(number):
        return None
    return minor_of_text(format(Decimal(number).normalize(), "f"), currency)


def json_with_amount(body: Mapping[str, object], text: str) -> bytes:
    """A JSON object that begins with ``amount``, the number that a text writes."""
    rest = json.dumps(body, separators=(",", ":"))[1:]
    return f'{{"amount":{text}{"," if body else ""}{rest}'.encode()
