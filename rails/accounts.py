"""Bank accounts and cards as payout destinations: one JSON object, opened only to be paid.

``{"kind": "iban", "holder": "Anna Muster", "iban": "DE89370400440532013000"}``, or ``us``
(``routing``, ``account``), ``uk`` (``sort_code``, ``account``), ``ca`` (``institution``,
``transit``, ``account``), ``card`` (``number``, ``expires`` as ``MM/YYYY``). What is checked here
is what needs no bank: forms and check digits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

DESTINATION_CHARS_MAX = 1_000
HOLDER_CHARS_MAX = 140
"""ISO 20022's ``Max140Text``, the longest name that every scheme carries."""

_HOLDER = re.compile(r"[^\x00-\x1f\x7f<>\"\\]+")
_CARD_NUMBER = re.compile(r"[0-9]{12,19}")
EXPIRES = re.compile(r"(?:0[1-9]|1[0-2])/20[0-9]{2}")
"""A card's last month, ``MM/YYYY``."""


IBAN_CHARS: Mapping[str, int] = MappingProxyType(
    {
        "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
        "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27,
        "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27,
        "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
        "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
        "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
        "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23,
        "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
        "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28,
        "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
    }
)  # fmt: skip
"""Length of an IBAN by country: SWIFT's IBAN registry, release 99."""


class DestinationInvalid(ValueError):
    """A destination that nobody could pay. Its text is a machine code; it holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where money goes. ``fields`` are the kind's own, checked; secret like the destination."""

    kind: str
    holder: str = field(repr=False)
    fields: Mapping[str, str] = field(repr=False)

    @property
    def country(self) -> str | None:
        """The country the account is in; None of a card, whose number does not tell."""
        if self.kind == "iban":
            return self.fields["iban"][:2]
        return {"us": "US", "uk": "GB", "ca": "CA"}.get(self.kind)


def iban_invalid(iban: str) -> str | None:
    """Why a text is no IBAN (ISO 13616: country, length, check digits); None if it is one."""
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", iban):
        return "iban_invalid"
    if IBAN_CHARS.get(iban[:2]) != len(iban):
        return "iban_length_invalid"
    digits = "".join(str(int(char, 36)) for char in iban[4:] + iban[:4])
    return None if int(digits) % 97 == 1 else "iban_check_digits_invalid"


def card_invalid(number: str) -> str | None:
    """Why a text is no card number (ISO/IEC 7812: length, Luhn's check digit); None if it is."""
    if not _CARD_NUMBER.fullmatch(number):
        return "card_number_invalid"
    doubled = (int(char) * (1 + at % 2) for at, char in enumerate(reversed(number)))
    luhn = sum(value - 9 if value > 9 else value for value in doubled)
    return None if luhn % 10 == 0 else "card_check_digit_invalid"


def routing_invalid(number: str) -> str | None:
    """Why a text is no ABA routing number (nine digits, weights 3 7 1); None if it is one."""
    if not re.fullmatch(r"[0-9]{9}", number):
        return "routing_number_invalid"
    total = sum(int(char) * weight for char, weight in zip(number, (3, 7, 1) * 3, strict=True))
    return None if total % 10 == 0 and total else "routing_check_digit_invalid"


def _form(pattern: str, refusal: str) -> Callable[[str], str | None]:
    compiled = re.compile(pattern)
    return lambda text: None if compiled.fullmatch(text) else refusal


_KINDS: Mapping[str, Mapping[str, Callable[[str], str | None]]] = {
    "iban": {"iban": iban_invalid},
    "us": {
        "routing": routing_invalid,
        "account": _form(r"[0-9]{4,17}", "account_number_invalid"),
    },
    "uk": {
        "sort_code": _form(r"[0-9]{6}", "sort_code_invalid"),
        "account": _form(r"[0-9]{8}", "account_number_invalid"),
    },
    "ca": {
        "institution": _form(r"[0-9]{3}", "institution_number_invalid"),
        "transit": _form(r"[0-9]{5}", "transit_number_invalid"),
        "account": _form(r"[0-9]{5,12}", "account_number_invalid"),
    },
    "card": {
        "number": card_invalid,
        "expires": _form(EXPIRES.pattern, "card_expiry_invalid"),
    },
}


def read_holder(text: str) -> str:
    """A holder's name with single blanks. Raises DestinationInvalid (``holder_invalid``)."""
    holder = " ".join(text.split())
    if not 0 < len(holder) <= HOLDER_CHARS_MAX or not _HOLDER.fullmatch(holder):
        raise DestinationInvalid("holder_invalid")
    return holder


def read_object(destination: str) -> dict[str, Any]:
    """A destination as the JSON object it is. Raises DestinationInvalid."""
    if len(destination) > DESTINATION_CHARS_MAX:
        raise DestinationInvalid("destination_invalid")
    try:
        raw = json.loads(destination)
    except (ValueError, RecursionError):
        raise DestinationInvalid("destination_invalid") from None
    if not isinstance(raw, dict):
        raise DestinationInvalid("destination_invalid")
    return raw


def read_account(destination: str) -> Account:
    """An opened destination as an account. Blanks inside numbers are left out.

    Raises DestinationInvalid with a reason that the company can show.
    """
    raw = read_object(destination)
    if not all(isinstance(value, str) for value in raw.values()):
        raise DestinationInvalid("destination_invalid")
    checks = _KINDS.get(raw.get("kind", ""))
    if checks is None or set(raw) != {"kind", "holder", *checks}:
        raise DestinationInvalid("destination_invalid")
    holder = read_holder(raw["holder"])
    fields = {name: re.sub(r"[ \-]", "", raw[name]).upper() for name in checks}
    for name, check in checks.items():
        if (refusal := check(fields[name])) is not None:
            raise DestinationInvalid(refusal)
    return Account(raw["kind"], holder, MappingProxyType(fields))


def refusal_by(read: Callable[[str], object], destination: str) -> str | None:
    """What a reader of destinations refuses one for, as a machine code; None if it reads it."""
    try:
        read(destination)
    except DestinationInvalid as error:
        return str(error)
    return None
