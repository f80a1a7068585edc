"""Schedules: which share of an earning is pending, until when, and why.

Pure. Goods may come back for a while, so the policy can have a share of what they earned released
only when that while is over. Which schedule applies is decided here, from what is known when an
earning is booked; how much it holds back depends on balances, so that is decided where they are
(``releases.lua``).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from models.config import BasisPoints, Section, probability
from models.debts import DAY_MS
from models.money import BASIS_POINTS

DAYS_MAX = 365
"""The longest time for which a share of an earning is pending, in days."""

SCHEDULES_MAX = 100
"""Schedules that a policy has, at most."""

GROUPS_MAX = 200
"""Groups of products that a commission says of its sale, at most."""

CountryCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,47}$")]
Group = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]


class Sold(BaseModel):
    """What schedules look at of a sale, for those above its seller as for herself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    country: CountryCode | None = Field(None, description="where it was sold, if the sale says so")
    groups: Annotated[tuple[Group, ...], Field(max_length=GROUPS_MAX)] = Field(
        (), description="groups of products that were sold"
    )
    score_bp: Annotated[int, Field(strict=True, ge=0, le=BASIS_POINTS)] | None = Field(
        None, description="probability of fraud in basis points; none if nothing could be scored"
    )

    def text(self) -> str:
        """As JSON, without what is not known."""
        return self.model_dump_json(exclude_defaults=True)


class Schedule(Section):
    """Holds a share of some earnings back. A condition that is left out fits all of them."""

    reason: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = Field(
        "return_window", description="why, as a code that the seller is told"
    )
    countries: tuple[CountryCode, ...] = Field(
        (), description="where it was sold; the seller's own country if the sale names none"
    )
    products: tuple[Group, ...] = Field(
        (), description="groups of products; fits a sale with a line of one of them"
    )
    tiers: tuple[Word, ...] = Field((), description="of the seller who earns")
    score_min: Annotated[Decimal, BeforeValidator(probability)] = Field(
        Decimal(0), description="probability of fraud from which on; fits what was not scored too"
    )
    share: BasisPoints = Field(
        description="of the earning, half to even; 0 holds nothing back of what fits"
    )
    days: Annotated[int, Field(strict=True, ge=1, le=DAYS_MAX)] = Field(
        description="from the sale on"
    )

    @property
    def score_min_bp(self) -> int:
        """``score_min`` in basis points."""
        return int(self.score_min * BASIS_POINTS)

    def fits(self, country: str, tier: str | None, sold: Sold | None) -> bool:
        """Whether it is for an earning of a seller of this country and tier, from such a sale."""
        place = (sold and sold.country) or country
        return (
            (not self.countries or place in self.countries)
            and (not self.tiers or tier in self.tiers)
            and (not self.products or _has(sold, self.products))
            and (not self.score_min_bp or _scored(sold, self.score_min_bp))
        )


def _has(sold: Sold | None, products: Iterable[str]) -> bool:
    return sold is not None and any(group in products for group in sold.groups)


def _scored(sold: Sold | None, from_bp: int) -> bool:
    return sold is not None and (sold.score_bp is None or sold.score_bp >= from_bp)


def schedule_terms(
    schedules: Iterable[Schedule],
    *,
    country: str,
    tier: str | None,
    sold: Sold | None,
    occurred_ms: int,
) -> list[int | str] | None:
    """The first schedule that fits, as the booking function takes it; None if nothing is held.

    Basis points, until when in ms since the epoch, and the reason.
    """
    for schedule in schedules:
        if schedule.fits(country, tier, sold):
            until_ms = occurred_ms + schedule.days * DAY_MS
            return [schedule.share, until_ms, schedule.reason] if schedule.share else None
    return None
