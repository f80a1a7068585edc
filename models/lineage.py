"""Lineage: which sale an earning comes from, and how far above its seller.

Pure. A sale's own seller is level 0, those above her are 1 and up. What is decided by the sale,
such as whether it was held, goes up with it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from models.events import (
    CommissionEarned,
    CommissionReversed,
    SaleCompleted,
    SaleReturned,
    Source,
)
from models.money import BASIS_POINTS
from models.schedules import Sold


class Lineage(NamedTuple):
    """Which sale an earning comes from, and how far above its seller."""

    sale_id: str
    origin: str
    level: int
    """0 for the sale's own seller, 1 and up for those above; -1 for no sale at all."""
    held: bool = False
    """Whether the sale was held as a suspected fraud; what it earns above is held as well."""
    sold: Sold | None = None
    """What schedules look at of the sale, if the policy has any."""


NO_SALE = Lineage("", "", -1)


def lineage_of(source: Source | None) -> Lineage:
    """What a commission's event says of the sale that it comes from."""
    if source is None:
        return NO_SALE
    return Lineage(source.sale_id, source.seller_id, source.level, source.held, source.sold)


def sold_of(event: SaleCompleted, score: float | None) -> Sold:
    """What schedules look at of a sale. ``score``: its probability of fraud, if it has one."""
    lines = event.lines if isinstance(event.lines, tuple) else ()
    groups = tuple(sorted({line.group for line in lines if line.group is not None}))
    score_bp = None if score is None else int(score * BASIS_POINTS)
    return Sold(country=event.country, groups=groups, score_bp=score_bp)


def waiting(
    event: SaleCompleted | SaleReturned | CommissionEarned | CommissionReversed, lineage: Lineage
) -> dict[str, Any]:
    """What an operation carries that waits for the seller's profile."""
    sold = {"sold": lineage.sold.text()} if lineage.sold is not None else {}
    return sold | {
        "waiting": True,
        "sale": lineage.sale_id,
        "origin": lineage.origin,
        "level": lineage.level,
        "held": lineage.held,
        "occurred_at": event.occurred_at.isoformat(),
        "counts": (),
    }
