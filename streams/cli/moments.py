"""Dates and times that commands take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streams.cli.errors import BadUse


def moment_ms(text: str, option: str, *, ends: bool = False) -> int:
    """A date or time in milliseconds since the epoch, in UTC unless it names an offset.

    Of a date that ends a period, the first moment behind it. Raises BadUse.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadUse(f"{option} is a date or time such as 2026-11-01, not {text!r}") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    if ends and len(text) == len("2026-11-01"):
        found += timedelta(days=1)
    return round(found.timestamp() * 1000)
