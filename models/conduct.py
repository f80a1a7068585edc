"""Conduct: how a seller's sales hang together, and whom she shares cards and devices with.

What goes on behind her stored figures: whether she buys from herself, how many sales in a row are
of one amount, how many go to cards that nobody ever saw, and which other sellers her cards and
devices are shared with. Those she is linked to are kept as four 16-bit marks, so what is linked
through them is bounded: hers and those of the card and of the device at hand, ten at most.

A seller is known to buy for herself when the sale names her as its customer, or is paid with the
card that such a sale was paid with.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from models.decay import DAY_S, PER_HOUR, PER_WEEK

CONDUCT_FORMAT = "I4f5HI"
"""The state, as part of a struct: last second; alike, strangers, own, the last size; own card and
four links; when there was a link last."""

CONDUCT_FEATURES = (
    "own_purchase",
    "own_share",
    "amounts_alike_1h",
    "strangers_1h",
    "linked_sellers",
    "period_left",
)
"""Names of the figures: whether she buys herself; what she bought herself this week, over all she
sold; sales of about the amount before, and to cards never seen, decayed; others linked to her by
cards and devices; hours to the end of the month (UTC). All but the first two are logarithms of one
plus the figure."""

_ALIKE = 0.05  # of an amount: two that lie no further apart are alike
_LINKED_S = 7 * DAY_S  # links that nothing renewed for so long are forgotten
_VOLUME = 50.0  # reference units; keeps ratios of small volumes calm

Conduct = tuple[int, float, float, float, float, int, int, int, int, int, int]

NEW: Conduct = (0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, 0)
"""The state of a seller who sold nothing yet."""

_Figures = tuple[float, float, float, float, float, float]

_ENDS_MAX = 4_096  # days whose month's end is kept at hand
_ends: dict[int, int] = {}


def conduct(  # noqa: PLR0917 - called for each sale
    state: Conduct,
    at: int,
    size: float,
    sold: float,
    herself: bool,
    card: int,
    stranger: bool,
    beside: tuple[int, ...],
) -> tuple[_Figures, Conduct]:
    """The figures of a sale in second ``at``, and the state after it.

    ``size`` of the sale and ``sold``, what she sold this week, are in reference units.
    ``herself``: the sale names her as its customer. ``card`` is the card's mark, 0 for none;
    ``stranger``: it was never seen. ``beside`` are marks of other sellers, the latest first on each
    thing, 0 for none.
    """
    seen, alike, strangers, own, last, own_card, a, b, c, d, linked = state
    passed = at - seen
    if passed <= 0:
        at = seen
    elif seen:
        hour = math.exp(passed * PER_HOUR)
        alike *= hour
        strangers *= hour
        own *= math.exp(passed * PER_WEEK)
    if linked and at - linked > _LINKED_S:
        a = b = c = d = 0
    share = own / (sold + _VOLUME)
    same = 1.0 if last and -_ALIKE * last <= size - last <= _ALIKE * last else 0.0
    buys = 1.0 if herself or (card and card == own_card) else 0.0
    others = 0
    if any(beside):
        met = {a, b, c, d, *beside}
        met.discard(0)
        others = len(met)
        for mark in beside:
            if mark and mark not in (a, b, c, d):
                a, b, c, d = mark, a, b, c
        linked = at
    elif a:
        others = 1 + (b > 0) + (c > 0) + (d > 0)
    end = _ends.get(at // DAY_S) or _end(at)
    figures = (
        buys,
        share if share < 1.0 else 1.0,
        math.log(1.0 + alike + same),
        math.log(1.0 + strangers),
        math.log(1.0 + others),
        math.log(1.0 + (end - at) / 3600),
    )
    if buys:
        own += size
        if herself and card:
            own_card = card
    if stranger:
        strangers += 1.0
    return figures, (at, alike + same, strangers, own, size, own_card, a, b, c, d, linked)


def _end(at: int) -> int:
    """The second in which the month of second ``at`` ends."""
    first = (datetime.fromtimestamp(at, UTC).replace(day=1) + timedelta(days=32)).replace(day=1)
    end = int(first.timestamp()) // DAY_S * DAY_S
    if len(_ends) > _ENDS_MAX:
        _ends.clear()
    _ends[at // DAY_S] = end
    return end
