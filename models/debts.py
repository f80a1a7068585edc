"""Debts: what sellers owe, and for how long, the longest owed paid first.

Pure. A debt is known by the day (UTC, counted from 1970) on which it arose; what several entries of
a day add is one. The wallets keep the same, each seller's as a text: ``<day>,<minor>|…``
(``shard.lua``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

DAY_MS = 86_400_000

AGES: Mapping[str, int] = MappingProxyType({"0-30": 30, "31-60": 60, "61-90": 90})
"""The ages that exposure is told by, with the last day of each; what is older is ``OLDER``."""

OLDER = "90+"

Owed = list[tuple[int, int]]
"""Days and the minor units that are owed since then, oldest first."""


def day_of(at_ms: int) -> int:
    """The day (UTC) of a moment in milliseconds, counted from 1970."""
    return at_ms // DAY_MS


def read_owed(text: str) -> Owed:
    """What a seller owes, as the wallets keep it. Raises ValueError."""
    pairs = (piece.split(",") for piece in text.split("|"))
    return [(int(day), int(minor)) for day, minor in pairs]


def changed(owed: Iterable[tuple[int, int]], more: int, day: int) -> Owed:
    """What is owed when an entry of a day adds ``more`` minor units; below zero it pays.

    Clocks of workers differ by a little: what a later day added stays behind. What is paid beyond
    the debt is of no debt.
    """
    left: Owed = []
    paid = max(0, -more)
    for since, minor in owed:
        part = min(minor, paid)
        paid -= part
        if minor > part:
            left.append((since, minor - part))
    if more > 0 and left and left[-1][0] >= day:
        since, minor = left.pop()
        left.append((since, minor + more))
    elif more > 0:
        left.append((day, more))
    return left


def by_age(owed: Iterable[tuple[int, int]], today: int) -> dict[str, int]:
    """How much of a debt is how old on a day, in minor units; every age is there."""
    found = dict.fromkeys((*AGES, OLDER), 0)
    for since, minor in owed:
        age = next((name for name, last in AGES.items() if today - since <= last), OLDER)
        found[age] += minor
    return found
