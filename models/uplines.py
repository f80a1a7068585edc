"""Uplines: how much of what a seller's team sold came back of late.

A team are the sellers whom one seller recruited, her *upline*. Who has others sell in order to send
it back once the commission is out shows there, while each of them looks like anybody. What a team
sold and what came back is kept as two figures that decay with a half-life of a week: a text of 20
characters. Like what is known of cards and devices it is advice: a text that cannot be read counts
as absent, and an event that comes late counts as if it came at the last time.
"""

from __future__ import annotations

import math

from models import packing
from models.decay import FIGURE_MAX, PER_WEEK
from models.packing import UNREADABLE, Team

_FORMAT = 1
_VOLUME = 500.0  # reference units; a few sales of a small team tell nothing
_NEW: Team = (_FORMAT, 0, 0.0, 0.0)


def upline_key(seller_id: str) -> str:
    """The key of the state of the team that a seller recruited."""
    return "u:" + seller_id


def team(text: str | None, at: int, sold: float, returned: float) -> tuple[float, str]:
    """The share of a team's sales that came back, before an event in second ``at``, and the state.

    ``sold`` and ``returned`` by that event are in reference units (:mod:`models.units`). The
    share is from 0 to 1, and next to nothing while the team has sold next to nothing.
    """
    _, last, before, back = _NEW if text is None else _state(text)
    if at > last:
        faded = math.exp((at - last) * PER_WEEK) if last else 1.0
        before *= faded
        back *= faded
        last = at
    share = back / (before + _VOLUME)
    after = packing.team_text((_FORMAT, last, before + sold, back + returned))
    return share if share < 1.0 else 1.0, after


def _state(text: str) -> Team:
    try:
        state = packing.read_team(text)
    except UNREADABLE:
        return _NEW
    form, _, sold, returned = state
    # The comparisons also refuse a NaN and infinities.
    if form == _FORMAT and 0.0 <= sold <= FIGURE_MAX and 0.0 <= returned <= FIGURE_MAX:
        return state
    return _NEW
