"""Buying: what a customer usually buys for or a device usually sells for, and how much lately.

It goes on behind the other figures of a customer or a device, in the same state. What is usual is
learned as it is for a card (:mod:`models.usual`). Where every customer has one card it tells what
the card does (:mod:`models.spending`); it tells more of one who pays with several, and of an
account that somebody else took over.
"""

from __future__ import annotations

import math

from models import usual
from models.decay import DAY_S, FIGURE_MAX, NEVER

BUYING_FORMAT = "Hff"
"""The state, as part of a struct: purchases; usual, spent."""

BUYING_FEATURES = ("experience", "last", "amount_against_own", "spent_7d")
"""Names of the figures, logarithms of one plus: the purchases before, the days since the last, the
amount over the usual one, what was bought for, decayed, over what as many usual purchases come
to."""

NO_BUYING = (0.0, NEVER, 0.0, 0.0)
"""The figures of a sale that names none."""

Buying = tuple[int, float, float]

_Figures = tuple[float, float, float, float]

_COUNT_MAX = 60_000  # fits the state's 16 bits

NEW: Buying = (0, usual.USUAL, 0.0)
"""The state before the first purchase."""


def buy(
    state: Buying, passed: int, week: float, amount: float, purchases: float
) -> tuple[_Figures, Buying]:
    """The figures before a purchase of ``amount`` reference units, and the state after it.

    ``passed``: seconds since the one before, ``week`` what of a figure is left by then if a half is
    after a week. ``purchases`` are those before, decayed so.
    """
    n, mean, spent = state
    spent *= week
    figures = (
        math.log(1.0 + n),
        math.log(1.0 + passed / DAY_S) if n else NEVER,
        math.log((amount + 1.0) / (mean + 1.0)),
        math.log(1.0 + spent / (mean * (purchases + 1.0))),
    )
    after = usual.learnt(mean, amount, n)
    return figures, (n + 1 if n < _COUNT_MAX else n, after, spent + amount)


def is_sound(state: Buying) -> bool:
    """Whether a state was written here."""
    _, mean, spent = state
    return usual.is_sound(mean) and 0.0 <= spent <= FIGURE_MAX
