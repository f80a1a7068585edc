"""Spending: what a card usually pays, and when it last paid far more.

It goes on behind a card's other figures, in the same state. An amount of twice the usual one
(:mod:`models.usual`) and more is *high*. A card keeps its high amounts as counters that decay with
half-lives of a week and of 28 days, and the times of the last four: a stolen card shows as several
within days, before anyone complained.
"""

from __future__ import annotations

import math

from models import usual
from models.decay import DAY_S, FIGURE_MAX, NEVER, PER_MONTH

SPENDING_FORMAT = "HH4f4I"
"""The state, as part of a struct: first day, payments; usual, spent and the two of high amounts;
times of the last four."""

SPENDING_FEATURES = (
    "card_experience",
    "card_age",
    "card_last",
    "card_amount_against_own",
    "card_spent_7d",
    "card_high_7d",
    "card_high_28d",
    "card_high_last",
    "card_high_second",
    "card_high_third",
    "card_high_fourth",
)
"""Names of the figures, logarithms of one plus: the payments before, the days since the first and
the last, the amount over the usual one, what was paid, decayed, over what as many usual payments
come to, the decayed high amounts, and the days since the last four of them."""

NO_SPENDING = (0.0, 0.0, NEVER, 0.0, 0.0, 0.0, 0.0, NEVER, NEVER, NEVER, NEVER)
"""The figures of a sale that names no card."""

_COUNT_MAX = 60_000  # fits the state's 16 bits
_WEIGHT_MAX = 3.0  # of one high amount: its ratio above one, and no more than this
_HIGH = usual.HIGH
_HIGH_LOG = math.log(_HIGH)

Spending = tuple[int, int, float, float, float, float, int, int, int, int]

SpendingFigures = tuple[float, float, float, float, float, float, float, float, float, float, float]
"""What :data:`SPENDING_FEATURES` name."""


def no_spending(at: int) -> Spending:
    """The state of a card that is seen for the first time, in second ``at``."""
    return at // DAY_S, 0, usual.USUAL, 0.0, 0.0, 0.0, 0, 0, 0, 0


def spend(  # noqa: PLR0917 - called for each sale
    state: Spending, at: int, passed: int, week: float, amount: float, payments: float
) -> tuple[SpendingFigures, Spending]:
    """The figures before a payment of ``amount`` reference units in second ``at``; the state after.

    ``passed``: seconds since the one before, ``week`` what of a figure is left by then if a half is
    after a week. ``payments`` are the card's payments before, decayed so.
    """
    first, n, mean, spent, high, high28, one, two, three, four = state
    if passed:
        spent *= week
        high *= week
        high28 *= math.exp(passed * PER_MONTH)
    ratio = amount / mean
    age = at / DAY_S - first
    figures = (
        math.log(1.0 + n),
        math.log(1.0 + age) if age > 0 else 0.0,
        math.log(1.0 + passed / DAY_S) if n else NEVER,
        math.log((amount + 1.0) / (mean + 1.0)),
        math.log(1.0 + spent / (mean * (payments + 1.0))),
        math.log(1.0 + high) if high else 0.0,
        math.log(1.0 + high28) if high28 else 0.0,
        math.log(1.0 + (at - one) / DAY_S) if one else NEVER,
        math.log(1.0 + (at - two) / DAY_S) if two else NEVER,
        math.log(1.0 + (at - three) / DAY_S) if three else NEVER,
        math.log(1.0 + (at - four) / DAY_S) if four else NEVER,
    )
    after = usual.learnt(mean, amount, n)
    if ratio >= _HIGH:
        more = ratio - 1.0 if ratio - 1.0 < _WEIGHT_MAX else _WEIGHT_MAX
        high += more
        high28 += more
        one, two, three, four = at, one, two, three
    n = n + 1 if n < _COUNT_MAX else n
    return figures, (first, n, after, spent + amount, high, high28, one, two, three, four)


def is_high(against_own: float) -> bool:
    """Whether the figure ``card_amount_against_own`` tells of a high amount."""
    return against_own >= _HIGH_LOG


def is_sound(state: Spending, last: int) -> bool:
    """Whether a state was written here. ``last``: when the card was last used."""
    _, _, mean, spent, high, high28, one, two, three, four = state
    # The comparisons also refuse a NaN and infinities.
    return (
        usual.is_sound(mean)
        and 0.0 <= spent <= FIGURE_MAX
        and 0.0 <= high <= high28 * 1.001 <= FIGURE_MAX
        and four <= three <= two <= one <= last
    )
