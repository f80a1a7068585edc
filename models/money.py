"""Money: integer minor units of an ISO 4217 currency, and the few sums done with it.

No float ever holds an amount. Rates are integer basis points (1/10,000).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from iso4217 import Currency

MINOR_MAX = 10**12
"""Largest amount of one event, in minor units. Far above any sale, far below 2**53, the largest
integer that Redis's Lua holds exactly, so that a balance of thousands of such events is exact."""

BALANCE_MAX = 2**53 - 1
"""Largest balance, in minor units: the largest integer exact in Redis's Lua."""

BASIS_POINTS = 10_000

# Codes of ISO 4217 that are not money one can pay in: funds, metals, tests.
_NOT_MONEY = frozenset(
    [
        *("BOV", "CHE", "CHW", "CLF", "COU", "MXV", "USN", "UYI", "UYW", "XAG", "XAU", "XBA"),
        *("XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX"),
    ]
)


@lru_cache(maxsize=512)
def exponent(currency: str) -> int:
    """Decimal places of a currency's minor unit by ISO 4217 (JPY 0, EUR 2, BHD 3).

    Raises KeyError for a code that is unknown or is not money one can pay in.
    """
    if currency in _NOT_MONEY:
        raise KeyError(currency)
    try:
        found = Currency(currency)
    except ValueError:
        raise KeyError(currency) from None
    if found.code != currency or found.exponent is None:
        raise KeyError(currency)
    return int(found.exponent)


def is_currency(currency: str) -> bool:
    """Whether the code is a currency that an amount may be in."""
    try:
        exponent(currency)
    except KeyError:
        return False
    return True


def share(amount_minor: int, rate_bp: int) -> int:
    """``rate_bp`` basis points of an amount, in minor units, half to even.

    Integer arithmetic only; amount and rate must not be negative.
    """
    if amount_minor < 0 or rate_bp < 0:
        raise ValueError("a share is taken of a non-negative amount at a non-negative rate")
    return ratio(amount_minor, rate_bp, BASIS_POINTS)


def ratio(amount_minor: int, numerator: int, denominator: int) -> int:
    """``amount * numerator / denominator`` in minor units, half to even, exact for any size."""
    quotient, rest = divmod(amount_minor * numerator, denominator)
    double = 2 * rest
    if double > denominator or (double == denominator and quotient & 1):
        quotient += 1
    return quotient


def split(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """Split an amount by weights so that nothing is lost: the method of the largest remainder."""
    total = sum(weights)
    if total <= 0 or any(weight < 0 for weight in weights):
        raise ValueError("weights must not be negative and must not all be zero")
    parts = [amount_minor * weight // total for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(amount_minor * weights[i] % total), i))
    for i in order[: amount_minor - sum(parts)]:
        parts[i] += 1
    return parts


def text(amount_minor: int, currency: str) -> str:
    """An amount for people: ``text(-123456, "EUR") == "-1,234.56 EUR"``."""
    return f"{grouped(amount_minor, currency)} {currency}"


def grouped(amount_minor: int, currency: str) -> str:
    """An amount for people, where its currency is told beside it: ``"-1,234.56"``."""
    places = exponent(currency)
    sign = "-" if amount_minor < 0 else ""
    digits = str(abs(amount_minor)).rjust(places + 1, "0")
    whole, part = (digits[:-places], "." + digits[-places:]) if places else (digits, "")
    return f"{sign}{int(whole):,}{part}"


def decimal(amount_minor: int, currency: str) -> str:
    """An amount for a machine that takes decimals: ``decimal(-123456, "EUR") == "-1234.56"``."""
    return grouped(amount_minor, currency).replace(",", "")
