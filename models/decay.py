"""How fast what was seen of a seller, card or device loses its weight.

A decayed counter is multiplied by ``exp(seconds * rate)`` for the seconds that passed, and so
holds a half after each half-life. It takes one number, whatever the history.
"""

from __future__ import annotations

from math import log, log1p

DAY_S = 86_400
"""Seconds of a day."""

PER_HOUR = -log(2) / 3600
"""The decay of a second with a half-life of an hour."""

PER_DAY = PER_HOUR / 24
"""The same, with a half-life of a day."""

PER_WEEK = PER_DAY / 7
"""The same, with a half-life of a week."""

PER_MONTH = PER_WEEK / 4
"""The same, with a half-life of 28 days."""

FIGURE_MAX = 1e18
"""A decayed figure beyond this was never written here."""

NEVER = log1p(1000.0)
"""What a logarithm of one plus the days since something says when there was no such thing: longer
ago than any state is kept."""
