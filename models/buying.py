"""Buying: what a customer usually buys for, and how much lately, whatever card pays.

It goes on behind a customer's other figures, in the same state. The usual amount is a mean that
starts at what sales at large come to, and that no single amount moves far. Where every customer has
one card it tells what the card does (:mod:`models.spending`); it tells more of one who pays with
several, and of an account that somebody else took over.
"""

from __future__ import annotations

import math

from models.decay import DAY_S, FIGURE_MAX, NEVER

BUYING_FORMAT = "Hff"
"""The state, as part of a struct: purchases; usual, spent."""

BUYING_FEATURES = (
    "customer_experience",
    "customer_last",
    "customer_amount_against_own",
    "customer_spent_7d",
)
"""Names of the figures, logarithms of one plus: the purchases before, the days since the last, the
amount over the usual one, what was bought for, decayed, over what as many usual purchases come
to."""

NO_BUYING = (0.0, NEVER, 0.0, 0.0)
"""The figures of a sale that names no customer."""

Buying = tuple[int, float, float]

_Figures = tuple[float, float, float, float]

_USUAL = 55.0  # reference units: what sales at large come to
_PRIOR_SALES = 2  # and the weight of that, in sales
_SALES_MAX = 200  # from then on the mean follows the recent ones
_COUNT_MAX = 60_000  # fits the state's 16 bits
_USUAL_MIN = 0.01  # reference units; keeps the ratio finite for one who pays nothing
_USUAL_MAX = 1e8
_TAUGHT_MAX = 2.0  # times the usual: no amount counts for more

NEW: Buying = (0, _USUAL, 0.0)
"""The state of a customer who bought nothing yet."""


def buy(
    state: Buying, passed: int, week: float, amount: float, purchases: float
) -> tuple[_Figures, Buying]:
    """The figures before a purchase of ``amount`` reference units, and the state after it.

    ``passed``: seconds since the one before, ``week`` what of a figure is left by then if a half is
    after a week. ``purchases`` are the customer's purchases before, decayed so.
    """
    n, usual, spent = state
    spent *= week
    figures = (
        math.log(1.0 + n),
        math.log(1.0 + passed / DAY_S) if n else NEVER,
        math.log((amount + 1.0) / (usual + 1.0)),
        math.log(1.0 + spent / (usual * (purchases + 1.0))),
    )
    taught = amount if amount < _TAUGHT_MAX * usual else _TAUGHT_MAX * usual
    usual += (taught - usual) / ((n if n < _SALES_MAX else _SALES_MAX) + 1 + _PRIOR_SALES)
    usual = usual if usual > _USUAL_MIN else _USUAL_MIN
    return figures, (n + 1 if n < _COUNT_MAX else n, usual, spent + amount)


def is_sound(state: Buying) -> bool:
    """Whether a state was written here."""
    _, usual, spent = state
    # The comparisons also refuse a NaN and infinities.
    return _USUAL_MIN / 2 <= usual <= _USUAL_MAX and 0.0 <= spent <= FIGURE_MAX
