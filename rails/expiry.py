"""Until when a destination is good: that of a card, or of a token that stands for one."""

from __future__ import annotations

from datetime import UTC, datetime

from rails.accounts import DestinationInvalid, read_account
from rails.instruments import read_instrument


def expires_ms(destination: str) -> int:
    """From when on a card can no longer be paid, in milliseconds since the epoch; 0 for never."""
    last = _last_month(destination)
    if last is None:
        return 0
    month, year = (int(part) for part in last.split("/"))
    # A card is good to the end of its month; nobody's month has ended before 12 hours behind UTC.
    ended = datetime(year + month // 12, month % 12 + 1, 1, 12, tzinfo=UTC)
    return round(ended.timestamp() * 1000)


def expired(destination: str, now_ms: int) -> bool:
    """Whether a card can no longer be paid."""
    return 0 < expires_ms(destination) <= now_ms


def _last_month(destination: str) -> str | None:
    """``MM/YYYY`` of a card; None of what is none."""
    try:
        return read_account(destination).fields.get("expires")
    except DestinationInvalid:
        pass
    try:
        return read_instrument(destination).expires
    except DestinationInvalid:
        return None
