"""Selling: what a seller usually sells for and how much lately, and how a sale looks against it.

Her sales and her volume decay with half-lives of an hour, a day and a week, what came back with one
of a week. Her amounts are kept as the mean and the variance of their logarithms, of which a single
sale teaches only so much. It is one state with how she conducts herself (:mod:`models.conduct`).
"""

from __future__ import annotations

import math

from models import packing
from models.conduct import NEW, Conduct
from models.decay import DAY_S, FIGURE_MAX, PER_DAY, PER_HOUR, PER_WEEK
from models.packing import UNREADABLE, Selling

SELLING_FEATURES = (
    "amount",
    "amount_against_own",
    "sales_1h",
    "sales_24h",
    "burst_1h",
    "volume_burst_24h",
    "returns_ratio",
    "tenure",
    "experience",
    "since_last_sale",
    "payout_just_changed",
    "foreign",
)
"""Names of the figures."""

_COUNT_MAX = 60_000  # fits the state's 16 bits
_SPREAD_MAX = 1e3  # nor a mean or variance of log amounts beyond this

_HOURS_A_WEEK = 168.0
_DAYS_A_WEEK = 7.0

# Before a seller's first sales her amounts are taken to be spread as sales at large are: about 55
# reference units, a factor of 2.7 either way, with the weight of five sales. After 200 sales the
# mean follows the recent ones.
_MEAN = 4.0
_VARIANCE = 1.0
_PRIOR_SALES = 5
_SALES_MAX = 200
_SURPRISE_MAX = 8.0  # standard deviations
_LEARN_MAX = 3.0  # a fraud must not teach the mean that it is usual
_VOLUME = 50.0  # reference units; keeps ratios of small volumes calm
_VARIANCE_MIN = 0.01  # a seller of one fixed price still has some spread
_GAP_MIN = 1440.0  # minutes since the last sale, when there was none

_FORMAT = 2

_Known = tuple[int, Selling, Conduct]

Standing = tuple[float, float, float]
"""Tenure, how lately the payout destination changed, and whether the sale is foreign."""

_Figures = tuple[float, float, float, float, float, float, float, float, float, float, float, float]


def sell(
    selling: Selling, passed: int, amount: float, standing: Standing
) -> tuple[_Figures, Selling]:
    """The figures before a sale of ``amount`` reference units, and the state after it.

    ``passed``: seconds since the event before.
    """
    form, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7 = selling
    tenure, changed, foreign = standing
    level = math.log(1.0 + amount)
    spread = math.sqrt(variance + _VARIANCE_MIN)
    surprise = _within((level - mean) / spread, _SURPRISE_MAX)
    figures = (
        level,
        surprise,
        math.log(1.0 + c1),
        math.log(1.0 + c24),
        math.log((c1 + 1.0) / (c7 / _HOURS_A_WEEK + 1.0)),
        math.log((s24 + amount + _VOLUME) / (s7 / _DAYS_A_WEEK + _VOLUME)),
        r7 / (r7 + s7 + _VOLUME),
        tenure,
        math.log(1.0 + n),
        math.log(1.0 + (passed / 60.0 if n else _GAP_MIN)),
        changed,
        foreign,
    )
    mean, variance = _learnt(surprise, spread, n, mean, variance)
    n = n + 1 if n < _COUNT_MAX else n
    c1, c24, c7, s24, s7 = c1 + 1.0, c24 + 1.0, c7 + 1.0, s24 + amount, s7 + amount
    return figures, (form, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7)


def returned(selling: Selling, amount: float) -> Selling:
    """The state after ``amount`` reference units came back."""
    form, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7 = selling
    return form, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7 + amount


def _within(value: float, bound: float) -> float:
    return value if -bound <= value <= bound else math.copysign(bound, value)


def _learnt(
    surprise: float, spread: float, n: int, mean: float, variance: float
) -> tuple[float, float]:
    """A seller's mean and variance after a sale, of whose surprise they take only a part."""
    weight = (n if n < _SALES_MAX else _SALES_MAX) + _PRIOR_SALES
    step = _within(surprise, _LEARN_MAX) * spread
    mean += step / weight
    return mean, variance + (step * step - variance) / weight


def known(text: str | None, at: int) -> _Known:
    """How long it took until second ``at``, and a seller's figures decayed to it."""
    if text is None:
        return _new(at)
    try:
        selling, ways = packing.read_seller(text)
    except UNREADABLE:
        return _new(at)
    form, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7 = selling
    # A slower counter never holds less than a faster one. The comparisons also refuse NaN,
    # infinities, and whatever else was never written here.
    if not (
        form == _FORMAT
        and 0.0 <= c1 <= c24 <= c7 <= FIGURE_MAX
        and 0.0 <= s24 <= s7 <= FIGURE_MAX
        and 0.0 <= r7 <= FIGURE_MAX
        and 0.0 <= variance <= _SPREAD_MAX
        and 0.0 <= mean <= _SPREAD_MAX
        and 0.0 <= ways[1] <= FIGURE_MAX
        and 0.0 <= ways[2] <= FIGURE_MAX
        and 0.0 <= ways[3] <= FIGURE_MAX
        and 0.0 <= ways[4] <= FIGURE_MAX
    ):
        return _new(at)
    passed = at - last
    if passed <= 0:
        return 0, selling, ways
    day, week = math.exp(passed * PER_DAY), math.exp(passed * PER_WEEK)
    c1 *= math.exp(passed * PER_HOUR)
    c24 *= day
    c7 *= week
    s24 *= day
    s7 *= week
    r7 *= week
    return passed, (form, at, first, n, mean, variance, c1, c24, c7, s24, s7, r7), ways


def _new(at: int) -> _Known:
    day = at // DAY_S
    return 0, (_FORMAT, at, day, 0, _MEAN, _VARIANCE, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), NEW
