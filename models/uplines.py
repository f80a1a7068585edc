"""Uplines: how much of what a seller's team sold came back of late.

A team are the sellers whom one seller recruited, her *upline*. Who has others sell in order to send
it back once the commission is out shows there, while each of them looks like anybody. What a team
sold and what came back is kept as two figures that decay with a half-life of a week: a text of 20
characters. Like what is known of cards and devices it is advice: a text that cannot be read counts
as absent, and an event that comes late counts as if it came at the last time.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from math import exp
from struct import Struct
from struct import error as StructError

from models.decay import FIGURE_MAX, PER_WEEK

_FORMAT = 1
_STATE = Struct("<BIffxx")  # format, last s, sold, returned
_VOLUME = 500.0  # reference units; a few sales of a small team tell nothing


def upline_key(seller_id: str) -> str:
    """The key of the state of the team that a seller recruited."""
    return "u:" + seller_id


def team(text: str | None, at: int, sold: float, returned: float) -> tuple[float, str]:
    """The share of a team's sales that came back, before an event in second ``at``, and the state.

    ``sold`` and ``returned`` by that event are in reference units (:mod:`models.features`). The
    share is from 0 to 1, and next to nothing while the team has sold next to nothing.
    """
    last, before, back = _state(text)
    if at > last:
        faded = exp((at - last) * PER_WEEK) if last else 1.0
        before *= faded
        back *= faded
        last = at
    packed = _STATE.pack(_FORMAT, last, before + sold, back + returned)
    return min(1.0, back / (before + _VOLUME)), b2a_base64(packed, newline=False).decode()


def _state(text: str | None) -> tuple[int, float, float]:
    if text is not None:
        try:
            form, last, sold, returned = _STATE.unpack(a2b_base64(text))
        except (ValueError, StructError):
            return 0, 0.0, 0.0
        # The comparisons also refuse a NaN and infinities.
        if form == _FORMAT and 0.0 <= sold <= FIGURE_MAX and 0.0 <= returned <= FIGURE_MAX:
            return last, sold, returned
    return 0, 0.0, 0.0
