"""The simulated company's treasury: mid rates of the currencies that no rail of it carries."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Any

from models.money import exponent, ratio

RATES: Mapping[tuple[str, str], int] = MappingProxyType(
    {("BRL", "USD"): 17_650, ("BRL", "EUR"): 16_280, ("BHD", "USD"): 265_250}
)
"""What a whole unit of a currency is worth in another, in 1/100,000."""

GOOD_FOR_MS = 3 * 86_400_000
"""How long the treasury stands by a rate. Event time is a day or two behind the clocks."""

_DENOMINATOR = 100_000

_MOVE_MAX = 40


def rate_now(rng: Random, pair: tuple[str, str]) -> dict[str, Any]:
    """A rate near the usual one, as the fields of its event."""
    numerator = RATES[pair] * (10_000 + rng.randint(-_MOVE_MAX, _MOVE_MAX)) // 10_000
    return {
        "source_currency": pair[0],
        "target_currency": pair[1],
        "numerator": numerator,
        "denominator": _DENOMINATOR,
    }


def roughly(minor: int, pair: tuple[str, str], percent: int) -> int:
    """A percentage of what an amount of the first currency is worth in the other; not below 1."""
    source, target = pair
    scale = 10 ** exponent(source) * _DENOMINATOR * 100
    return max(1, ratio(minor, RATES[pair] * percent * 10 ** exponent(target), scale))
