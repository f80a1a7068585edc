"""Around: those whom a seller's profile names, her accounts' other sellers and her upline's team.

A sale does not name them, so they take a read of their own, behind the profiles.
"""

from __future__ import annotations

from models import accounts, uplines

AROUND_FEATURES = ("account_sellers", "upline_returns")
"""Names of the figures: other sellers who are paid to one of her accounts (:mod:`models.accounts`),
and the share that came back of what those sold who have her upline (:mod:`models.uplines`)."""

NOBODY = (0.0, 0.0)
"""The figures where her profile has not come."""


def paid_to(
    states: dict[str, str | None], updates: dict[str, str], keys: tuple[str, ...], seller: str
) -> float:
    """Others who are paid to one of these accounts: of the one with most. For a sale of hers.

    The states after it are put into ``updates``.
    """
    most = 0
    for key in keys:
        others, updates[key] = accounts.paid_to(states.get(key), seller)
        most = max(most, others)
    return float(most)


def came_back(  # noqa: PLR0917 - called for each event
    states: dict[str, str | None],
    updates: dict[str, str],
    key: str | None,
    at: int,
    sold: float,
    back: float,
) -> float:
    """The share that came back of what the team sold whose state has this key; 0 for no team.

    Before an event in second ``at`` by which reference units were ``sold`` or came ``back``. The
    state after it is put into ``updates``.
    """
    if key is None:
        return 0.0
    share, updates[key] = uplines.team(states.get(key), at, sold, back)
    return share
