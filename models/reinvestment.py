"""Reinvestment: earnings that a seller turns into credit, by a standing preference or once.

Pure. How much of an earning that is hangs on balances, so it is decided where they are
(``reinvest.lua``); here is on which terms. A builder's operation is booked like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from models.policy import ReinvestPolicy

Operation = dict[str, Any]

OWN_LOT = "reinvested."
"""How the id of a lot begins that is what a seller reinvested of a currency."""
BONUS_LOT = "reinvest-bonus."
"""How the id of a lot begins that is the bonus on it."""


Boost = tuple[str, int, int, int]
"""A campaign's bonus on what is reinvested: the campaign, basis points, for how many days it can be
spent (0 for ever), and the campaign's budget in minor units (0 for none)."""


class Standing(NamedTuple):
    """What a seller wants of each earning in a currency.

    ``percent`` of it is reinvested, as long as ``keep_minor`` stay available.
    """

    percent: int
    keep_minor: int


def standing_terms(
    standing: Standing, policy: ReinvestPolicy, boosts: Sequence[Boost] = ()
) -> list[Any]:
    """A standing preference and the bonuses, as the booking function takes them."""
    return [standing.percent, standing.keep_minor, *_bonus(policy, boosts)]


def reinvest(
    operation_id: str,
    seller_id: str,
    currency: str,
    amount_minor: int | None,
    *,
    policy: ReinvestPolicy,
    boosts: Sequence[Boost] = (),
) -> Operation:
    """Turn an amount of what is available into credit; None for all of it."""
    operation: Operation = {
        "op": "reinvest",
        "kind": "earnings.reinvested",
        "id": operation_id,
        "seller": seller_id,
        "currency": currency,
        "bonus": _bonus(policy, boosts),
    }
    if amount_minor is not None:
        operation["amount"] = amount_minor
    return operation


def _bonus(policy: ReinvestPolicy, boosts: Sequence[Boost]) -> list[Any]:
    """Basis points, for how many days it can be spent, and campaigns' bonuses if there are any."""
    return [policy.bonus, policy.bonus_days, *([list(boosts)] if boosts else [])]


def campaign_of(lot: str) -> str | None:
    """The campaign whose bonus on what was reinvested a lot is; None if it is none's."""
    if not lot.startswith(BONUS_LOT):
        return None
    first = lot.removeprefix(BONUS_LOT).partition(".")[0]
    return None if first.isupper() else first  # the policy's has the currency there
