"""Dates and times that commands take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streams.cli.errors import BadUse


def moment(text: str, option: str) -> datetime:
    """A date or time, in UTC unless it names an offset. Raises BadUse."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadUse(f"{option} is a date or time such as 2026-11-01, not {text!r}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def moment_ms(text: str, option: str, *, ends: bool = False) -> int:
    """A date or time in milliseconds since the epoch, in UTC unless it names an offset.

    Of a date that ends a period, the first moment behind it. Raises BadUse.
    """
    found = moment(text, option)
    if ends and len(text) == len("2026-11-01"):
        found += timedelta(days=1)
    return round(found.timestamp() * 1000)
