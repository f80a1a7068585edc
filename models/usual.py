"""Usual: the amount that is usual for a card or a customer, in reference units.

A mean that starts at what sales at large come to, and that no single amount moves far: a fraud must
not teach that it is usual.
"""

from __future__ import annotations

USUAL = 55.0
"""What sales at large come to."""

HIGH = 2.0
"""Times the usual: an amount from there on is high, and counts for no more in the mean."""

_HIGH = HIGH
_PRIOR_SALES = 2  # the weight of what sales at large come to, in sales
_SALES_MAX = 200  # from then on the mean follows the recent ones
_USUAL_MIN = 0.01  # keeps ratios finite for who pays nothing
_USUAL_MAX = 1e8


def learnt(usual: float, amount: float, n: int) -> float:
    """The usual amount after a sale of ``amount``; ``n`` sales were before."""
    weight = (n if n < _SALES_MAX else _SALES_MAX) + 1 + _PRIOR_SALES
    usual += (amount - usual if amount < _HIGH * usual else usual) / weight
    return usual if usual > _USUAL_MIN else _USUAL_MIN


def is_sound(usual: float) -> bool:
    """Whether a stored one was written here. Refuses a NaN and infinities as well."""
    return _USUAL_MIN / 2 <= usual <= _USUAL_MAX
