"""What a generator hands to whoever publishes: a message, what it is, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from models.refusals import Reason

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 86_400_000


class Kind(StrEnum):
    """What a message is to the pipeline."""

    EVENT = "event"
    PROFILE = "profile"
    REPEAT = "repeat"
    BAD = "bad"


class Label(StrEnum):
    """The fraud pattern that a message is part of; an honest one has no label."""

    SELF_PURCHASE = "self_purchase"
    STOLEN_CARD = "stolen_card"
    CARD_TESTING = "card_testing"
    BURST = "burst"
    REFUND_AFTER_PAYOUT = "refund_after_payout"
    RING = "ring"
    ACCOUNT_TAKEOVER = "account_takeover"
    GHOST_SELLERS = "ghost_sellers"
    STACKING = "stacking"
    RANK_BUYING = "rank_buying"


@dataclass(slots=True)
class Message:
    """One message, ready to publish.

    ``at_ms`` is when it is meant to be published; it never decreases along a stream. ``id`` is
    the event's id; a bad message whose body shows none has one of its own. ``reason`` is why a
    bad message must end in the dead letters.
    """

    topic: str
    key: bytes
    value: bytes
    at_ms: int
    label: Label | None
    id: str
    kind: Kind = Kind.EVENT
    reason: Reason | None = None


class Clock:
    """Milliseconds since the epoch as RFC 3339 in UTC; fast for times that lie close together."""

    def __init__(self) -> None:
        """Start with no day known."""
        self._day = -1
        self._date = ""

    def text(self, at_ms: int) -> str:
        """``2026-11-23T08:05:00.000Z``."""
        day, rest = divmod(at_ms, _DAY_MS)
        if day != self._day:
            self._day = day
            self._date = (_EPOCH + timedelta(days=day)).date().isoformat()
        seconds, ms = divmod(rest, 1000)
        minutes, second = divmod(seconds, 60)
        hour, minute = divmod(minutes, 60)
        return f"{self._date}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
