"""Usage: how often a card, a device and a customer were seen, and with which sellers.

What each has in common is kept alike: sales that decay with half-lives of an hour, a day and a
week, arrivals of new sellers, the last four distinct sellers as 16-bit marks, and who or what was
on it last: on a card its customer, with a customer the card. It goes on with what a card pays
(:mod:`models.spending`) and with what is bought on a device or by a customer
(:mod:`models.buying`).
"""

from __future__ import annotations

import math

from models import buying, packing, spending
from models.buying import BUYING_FEATURES, NO_BUYING, Buying
from models.decay import FIGURE_MAX, PER_DAY, PER_HOUR, PER_WEEK
from models.packing import UNREADABLE, Use
from models.spending import SPENDING_FEATURES, Spending, SpendingFigures

CARD_FEATURES = (
    "card_1h",
    "card_24h",
    "card_other_sellers",
    "card_new_sellers",
    "card_share",
    "card_other_customer",
    "card_7d",
    *SPENDING_FEATURES,
)
"""Names of a card's figures."""

DEVICE_FEATURES = (
    "device_1h",
    "device_other_sellers",
    "device_new_sellers",
    "device_new_to_seller",
    "device_7d",
    *(f"device_{name}" for name in BUYING_FEATURES),
)
"""Names of a device's figures."""

CUSTOMER_FEATURES = (
    "customer_1h",
    "customer_24h",
    "customer_7d",
    "customer_other_sellers",
    "customer_new_sellers",
    "customer_other_card",
    *(f"customer_{name}" for name in BUYING_FEATURES),
)
"""Names of a customer's figures."""

# A sale that names no card, device or customer looks like one with a card, device or customer seen
# for the first time: what is not known neither accuses nor clears.
NO_CARD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, *spending.NO_SPENDING)
NO_DEVICE = (0.0, 0.0, 0.0, 0.0, 0.0, *NO_BUYING)
NO_CUSTOMER = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, *NO_BUYING)

_FORMAT = 2

_CardFigures = tuple[float, float, float, float, float, float, float]
_DeviceFigures = tuple[float, float, float, float, float, float, float, float, float]
_CustomerFigures = tuple[float, float, float, float, float, float, float, float, float, float]


def card(  # noqa: PLR0917 - called for each sale
    text: str | None, at: int, seller: int, customer: int, seller_sales: float, amount: float
) -> tuple[_CardFigures, SpendingFigures, tuple[int, int, int], str]:
    """A card's figures before a payment, those of its spending, other sellers on it after it, and
    the state as text.
    """
    use, before = _card_state(text, at)
    used, t1, t24, t7, fresh, others, _, changed, passed, week = _use(use, at, seller, customer)
    spent, after = spending.spend(before, used[1], passed, week, amount, t7)
    share = t7 / (seller_sales + 1.0)
    figures = (
        math.log(1.0 + t1),
        math.log(1.0 + t24),
        others,
        math.log(1.0 + fresh),
        share if share < 1.0 else 1.0,
        changed,
        math.log(1.0 + t7),
    )
    return figures, spent, (used[8], used[9], used[10]), packing.card_text(used, after)


def device(
    text: str | None, at: int, seller: int, amount: float
) -> tuple[_DeviceFigures, tuple[int, int, int], str]:
    """The same of a device."""
    use, before = _bought_state(text, at)
    used, t1, _, t7, fresh, others, new, _, passed, week = _use(use, at, seller, 0)
    bought, after = buying.buy(before, passed, week, amount, t7)
    experience, pause, against_own, spent = bought
    figures = (
        math.log(1.0 + t1),
        others,
        math.log(1.0 + fresh),
        new,
        math.log(1.0 + t7),
        experience,
        pause,
        against_own,
        spent,
    )
    return figures, (used[8], used[9], used[10]), packing.bought_text(used, after)


def customer(
    text: str | None, at: int, seller: int, card: int, amount: float
) -> tuple[_CustomerFigures, str]:
    """A customer's figures before a purchase with a card, and the state after it as text."""
    use, before = _bought_state(text, at)
    used, t1, t24, t7, fresh, others, _, changed, passed, week = _use(use, at, seller, card)
    bought, after = buying.buy(before, passed, week, amount, t7)
    experience, pause, against_own, spent = bought
    figures = (
        math.log(1.0 + t1),
        math.log(1.0 + t24),
        math.log(1.0 + t7),
        others,
        math.log(1.0 + fresh),
        changed,
        experience,
        pause,
        against_own,
        spent,
    )
    return figures, packing.bought_text(used, after)


def _use(
    use: Use, at: int, seller: int, beside: int
) -> tuple[Use, float, float, float, float, float, float, float, int, float]:
    """A card's, a device's or a customer's figures before a sale by ``seller``, and itself after.

    The figures: sales decayed by 1 h, 24 h and 7 d, arrivals of new sellers decayed by 7 d, other
    sellers among the last four, 1.0 if it is known but new to this seller, 1.0 if another than
    ``beside`` (a card's customer, a customer's card) was on it last, seconds since the sale before
    and what of a figure is left by then that decays by 7 d. All come as marks, 0 for none.
    """
    _, last, t1, t24, t7, fresh, known, a, b, c, d = use
    passed, week = at - last, 1.0
    if passed > 0:
        last = at
        week = math.exp(passed * PER_WEEK)
        t1 *= math.exp(passed * PER_HOUR)
        t24 *= math.exp(passed * PER_DAY)
        t7 *= week
        fresh *= week
    else:
        passed = 0
    # The last four distinct sellers, the latest first; 0 is an empty place.
    new = 0.0
    if seller == a:
        others = (1.0 if b else 0.0) + (1.0 if c else 0.0) + (1.0 if d else 0.0)
    else:
        others = 1.0 + (1.0 if c else 0.0) + (1.0 if d else 0.0)
        if seller == b:
            a, b = b, a
        elif seller == c:
            a, b, c = c, a, b
        elif seller == d:
            a, b, c, d = d, a, b, c
        else:
            new = 1.0 if a else 0.0
            others = new + (others if b else 0.0)
            a, b, c, d = seller, a, b, c
    used = (_FORMAT, last, t1 + 1.0, t24 + 1.0, t7 + 1.0, fresh + new, beside, a, b, c, d)
    other = 1.0 if known and beside and known != beside else 0.0
    return used, t1, t24, t7, fresh, others, new, other, passed, week


def _unused(at: int) -> Use:
    return _FORMAT, at, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0


def _card_state(text: str | None, at: int) -> tuple[Use, Spending]:
    if text is not None:
        try:
            use, spent = packing.read_card(text)
        except UNREADABLE:
            return _unused(at), spending.no_spending(at)
        if _is_sound(use) and spending.is_sound(spent, use[1]):
            return use, spent
    return _unused(at), spending.no_spending(at)


def _bought_state(text: str | None, at: int) -> tuple[Use, Buying]:
    if text is not None:
        try:
            use, bought = packing.read_bought(text)
        except UNREADABLE:
            return _unused(at), buying.NEW
        if _is_sound(use) and buying.is_sound(bought):
            return use, bought
    return _unused(at), buying.NEW


def _is_sound(use: Use) -> bool:
    form, _, t1, t24, t7, fresh, _, _, _, _, _ = use
    return form == _FORMAT and 0.0 <= t1 <= t24 <= t7 <= FIGURE_MAX and 0.0 <= fresh <= t7
