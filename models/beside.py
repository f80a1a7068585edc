"""Beside: what is known of those around a seller, for the company's rules.

Her profile names them, a sale does not: it takes a read of its own behind the profiles, which only
a policy with such rules asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from models import units
from models.accounts import paid_to
from models.events import SaleCompleted, SaleReturned
from models.sellers import Seller
from models.uplines import team, upline_key


class Beside(NamedTuple):
    """What was known before an event."""

    account_sellers: int = 0
    """Other sellers who are paid to one of her accounts."""
    upline_returns: float = 0.0
    """The share that came back of what those sold who have her upline."""


NOBODY = Beside()
"""What is known where nobody asks, or the seller's profile has not come."""


def keys_of(seller: Seller) -> tuple[str, ...]:
    """The keys of the states that :func:`beside` needs."""
    upline = () if seller.sponsor_id is None else (upline_key(seller.sponsor_id),)
    return (*seller.accounts, *upline)


def beside(
    states: Mapping[str, str | None], event: SaleCompleted | SaleReturned, seller: Seller
) -> tuple[Beside, dict[str, str]]:
    """What is known of those around an event's seller, and the states that the event changed."""
    sale = event.type == "sale.completed"
    others, updates = paid_to(states, seller.accounts, seller.seller_id) if sale else (0, {})
    share = 0.0
    if seller.sponsor_id is not None:
        key = upline_key(seller.sponsor_id)
        amount = units.reference(event.amount_minor, event.currency)
        sold, returned = (amount, 0.0) if sale else (0.0, amount)
        share, updates[key] = team(states.get(key), event.occurred_ms // 1000, sold, returned)
    return Beside(others, share), updates
