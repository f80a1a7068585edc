"""The commission plan: what a sale earns its seller, and the sellers above her.

Every share is of the sale's amount, rounded half to even to whole minor units, then capped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from models.config import Amounts, BasisPoints, Section, wrong
from models.money import BASIS_POINTS, share

LEVELS_MAX = 16
"""Most levels of upline that a plan may pay."""

_NO_CAPS: Mapping[str, int] = {}


class Share(Section):
    """A share of a sale: ``percent`` of its amount, at most ``cap`` a sale and currency."""

    percent: BasisPoints
    cap: Amounts = _NO_CAPS

    def of(self, amount_minor: int, currency: str) -> int:
        """The share of an amount, in minor units."""
        earned = share(amount_minor, self.percent)
        cap = self.cap.get(currency)
        return earned if cap is None or earned <= cap else cap


def _share(value: object) -> object:
    # A bare percentage is the short form of a share without caps.
    return value if isinstance(value, dict | Share) else {"percent": value}


ShareOrPercent = Annotated[Share, BeforeValidator(_share)]


class CommissionPlan(Section):
    """A commission plan. ``id`` and ``version`` name it in what it books."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,48}$")]
    version: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
    retail_share: ShareOrPercent = Field(
        alias="retail", description="what the seller earns of her own sale"
    )
    upline_shares: Annotated[tuple[ShareOrPercent, ...], Field(max_length=LEVELS_MAX)] = Field(
        (), alias="upline", description="what the sellers above earn, nearest first"
    )

    @model_validator(mode="after")
    def _pays_no_more_than_the_sale(self) -> Self:
        total = self.retail_share.percent + sum(level.percent for level in self.upline_shares)
        if total > BASIS_POINTS:
            text = f"{total // 100}.{total % 100:02}"
            raise wrong(f"retail and upline pay {text} % of a sale; at most 100 %", "upline")
        return self

    @property
    def levels(self) -> int:
        """How many levels above the seller are paid."""
        return len(self.upline_shares)

    def retail(self, amount_minor: int, currency: str) -> int:
        """What a sale of this amount earns its seller, in minor units."""
        return self.retail_share.of(amount_minor, currency)

    def upline(self, base_minor: int, currency: str, level: int) -> int | None:
        """What the seller ``level`` (1 and up) above earns of a sale; None past the last level."""
        if not 1 <= level <= len(self.upline_shares):
            return None
        return self.upline_shares[level - 1].of(base_minor, currency)
