"""Notices: what the company is told of payouts and credit, and when a failed one is tried again.

A notice is one message of an outbound topic as an event for a webhook. Its id is the message's own,
so that whoever gets it twice can tell.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from models.moments import rfc_3339
from models.published import (
    BonusGranted,
    BonusRefused,
    BonusUnfired,
    CreditGranted,
    CreditRefused,
    CreditUnfired,
    DestinationRefused,
    PayoutUpdated,
)

_S = 1000
_MINUTE = 60 * _S
_HOUR = 60 * _MINUTE

TRY_AFTER_MS = (
    *(0, 5 * _S, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR),
    *(20 * _HOUR, 24 * _HOUR),
)
"""Wait before each try, in milliseconds: the schedule that the Standard Webhooks specification
suggests, three days in all. After the last the notice is a dead letter."""

JITTER_PERCENT = 10
"""How far a wait may be off its figure, either way, so that what failed together spreads out."""

RETRY_AFTER_MS_MAX = 24 * _HOUR
"""Longest wait that an endpoint may ask for, in milliseconds."""

MESSAGE_BYTES_MAX = 64 * 1024
"""Largest message that a notice is made of; the product's own are far smaller."""

TOPICS = ("payouts.updates", "spendback.credits")
"""The topics of which each message is a notice."""

_Told = (
    PayoutUpdated
    | DestinationRefused
    | CreditGranted
    | CreditUnfired
    | CreditRefused
    | BonusGranted
    | BonusUnfired
    | BonusRefused
)
_READ: TypeAdapter[_Told] = TypeAdapter(Annotated[_Told, Field(discriminator="type")])

_ENVELOPE = {"v", "type", "id", "at_ms"}


class Unreadable(ValueError):
    """A message that is none of the product's: no notice can be made of it."""


class Notice(NamedTuple):
    """What the company is sent. ``id`` stays the same however often it is sent."""

    id: str
    type: str
    seller_id: str
    at_ms: int
    data: dict[str, Any]

    @property
    def event(self) -> dict[str, Any]:
        """The body, as it is sent: type, id, timestamp (RFC 3339, UTC) and data."""
        return {
            "type": self.type,
            "id": self.id,
            "timestamp": rfc_3339(self.at_ms),
            "data": self.data,
        }


def notice_of(value: bytes) -> Notice:
    """The notice that a message of :data:`TOPICS` makes. Raises Unreadable.

    Only fields of the public contract go in, whatever else the message may hold.
    """
    if len(value) > MESSAGE_BYTES_MAX:
        raise Unreadable(f"above {MESSAGE_BYTES_MAX} bytes")
    try:
        told = _READ.validate_json(value)
    except ValidationError as error:
        raise Unreadable(f"no update and no credit: {error.errors()[0]['type']}") from None
    data = told.model_dump(mode="json", exclude=_ENVELOPE, exclude_none=True)
    type_ = f"payout.{told.state}" if isinstance(told, PayoutUpdated) else told.type
    return Notice(told.id, type_, told.seller_id, told.at_ms, data)


def next_try_ms(tries: int, chance: float, asked_ms: int = 0) -> int | None:
    """How long to wait after so many tries that failed, in milliseconds; None: give up.

    ``chance`` in [0, 1) spreads the waits; ``asked_ms``: what the endpoint asked for, honoured
    up to :data:`RETRY_AFTER_MS_MAX` where it is longer.
    """
    if tries >= len(TRY_AFTER_MS):
        return None
    wait_ms = TRY_AFTER_MS[tries]
    spread_ms = wait_ms * JITTER_PERCENT // 100
    wait_ms += int((2 * chance - 1) * spread_ms)
    return max(wait_ms, min(asked_ms, RETRY_AFTER_MS_MAX))
