"""Moments: how a point in time is written."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc_3339(at_ms: int) -> str:
    """A time in milliseconds since the epoch as RFC 3339 in UTC, to the millisecond.

    By whole numbers: a fraction of a second as a float may end a millisecond early.
    """
    at = datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
