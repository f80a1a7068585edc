"""Dates, times and spans of time that commands take."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from streams.cli.errors import BadUse

_SPAN = re.compile(r"([1-9][0-9]{0,5})(m|h|d)")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def span_ms(text: str, option: str) -> int:
    """A span of time such as 90m, 36h or 2d, in milliseconds. Raises BadUse."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise BadUse(f"{option} is minutes, hours or days such as 90m, 36h or 2d, not {text!r}")
    return int(found[1]) * _UNIT_MS[found[2]]


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


def age(ms: int) -> str:
    """A span of time for people: minutes, hours or days, rounded down."""
    minutes = max(0, ms) // 60_000
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
