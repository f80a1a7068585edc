"""Fields: what the parts of an inbound event are made of, as types that check themselves."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, LiteralString
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from models.ids import shard_of_payout
from models.money import MINOR_MAX, is_currency
from models.payouts import REPORTED, RESOLVED_AS, PayoutState

_ID_PATTERN = r"^[A-Za-z0-9._:-]+$"

_WORDS_PATTERN = r"^[^\x00-\x20\x7f-\xa0][^\x00-\x1f\x7f-\x9f]*$"

LABEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,47}$"
"""A word of the company's own, such as a seller's tier or tag."""


def _currency(code: str) -> str:
    if not is_currency(code):
        # What stands there may be anything, a name or a number too: it is not repeated.
        raise PydanticCustomError("unknown_currency", "not an ISO 4217 currency")
    return code


def _one_of(
    states: Collection[PayoutState], code: LiteralString, words: LiteralString
) -> AfterValidator:
    def checked(state: PayoutState) -> PayoutState:
        if state not in states:
            raise PydanticCustomError(code, words)
        return state

    return AfterValidator(checked)


def _schema_of(states: Collection[PayoutState]) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "enum": [state for state in PayoutState if state in states]}
    )


ReportedState = Annotated[
    PayoutState,
    _one_of(REPORTED, "not_reported", "a rail cannot know that state"),
    _schema_of(REPORTED),
]
ResolvedState = Annotated[
    PayoutState,
    _one_of(RESOLVED_AS, "not_an_end", "nobody may end a payout as that"),
    _schema_of(RESOLVED_AS),
]
"""How a person may end a payout that stays unknown."""

_ZONES = frozenset(available_timezones())


def _zone(name: str) -> str:
    if name not in _ZONES:
        raise PydanticCustomError("unknown_zone", "not an IANA time zone")
    return name


def _rfc_3339(value: object) -> object:
    # Pydantic would also take a number of seconds, and a blank for the T.
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("datetime_type", "write a time as text")
    if len(value) < _RFC_3339_CHARS_MIN or value[10] not in "Tt":
        raise PydanticCustomError("datetime_parsing", "write a time as RFC 3339 with an offset")
    return value


_RFC_3339_CHARS_MIN = len("2026-11-23T10:00:00Z")

Moment = Annotated[AwareDatetime, BeforeValidator(_rfc_3339)]
"""A point in time: RFC 3339 with an offset."""

Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
"""An IANA time zone."""

Version = Annotated[int, Field(strict=True, ge=1, le=1)]
"""The version of an event's shape; 1 is the only one there is."""

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=_ID_PATTERN)]
"""An identifier that a producer chose: 1 to 64 of letters, digits, ``. _ : -``."""


def _payout_id(value: str) -> str:
    try:
        shard_of_payout(value)
    except ValueError:
        # It would name no shard, and so nothing could book what is said of it.
        raise PydanticCustomError("unknown_payout", "not the id of a payout") from None
    return value


PayoutId = Annotated[Id, AfterValidator(_payout_id)]
"""The id of a payout: it begins with its shard."""

Ref = Annotated[str, Field(min_length=1, max_length=64, pattern=_ID_PATTERN)]
"""An opaque reference (token, hash) to a person or a thing; never the name or number itself."""

CurrencyCode = Annotated[
    str, Field(min_length=3, max_length=3, description="ISO 4217 code"), AfterValidator(_currency)
]
AmountMinor = Annotated[
    int, Field(strict=True, gt=0, le=MINOR_MAX, description="integer minor units")
]
AmountMinorOrZero = Annotated[
    int, Field(strict=True, ge=0, le=MINOR_MAX, description="integer minor units")
]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2")]

Label = Annotated[str, Field(pattern=LABEL_PATTERN)]

Name = Annotated[str, Field(max_length=100, pattern=_WORDS_PATTERN)]
"""Who decided something: a person or a system, on one line."""

ProviderRef = Annotated[str, Field(max_length=128, pattern=_WORDS_PATTERN)]
"""A provider's own id of a payment, on one line."""

Words = Annotated[str, Field(max_length=200, pattern=_WORDS_PATTERN)]
"""A reason in words, on one line."""
