"""Rewards: what a threshold of a campaign grants, as its file says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from models.config import Amounts, BasisPoints, CurrencyCode, PositiveMinor, Section
from models.fields import Ref

PRODUCTS_MAX = 20
"""Most groups of products that a discount is for."""


class Credit(Section):
    """What a tier grants: an amount per currency, or a percentage of the total with a cap."""

    amounts: Amounts = Field(default_factory=dict)
    percent: BasisPoints | None = None
    cap: Amounts = Field(default_factory=dict)


def read_credit(value: object) -> object:
    """``{EUR: 5000}`` is the form without a percentage."""
    if isinstance(value, dict) and "percent" not in value and "cap" not in value:
        return {"amounts": value}
    return value


class Discount(Credit):
    """What a tier takes off one purchase to come: an amount, or a percentage of the basket."""

    basket_min: Mapping[CurrencyCode, PositiveMinor] = Field(
        default_factory=dict, description="what the basket must come to; any if not given"
    )
    products: Annotated[tuple[Ref, ...], Field(max_length=PRODUCTS_MAX)] = Field(
        (), description="groups of products that it is for; all if not given"
    )
    stacks: Annotated[bool, Field(strict=True)] = Field(
        False, description="whether it can be used together with others that stack"
    )

    def terms(self, currency: str) -> dict[str, Any]:
        """As the till takes them."""
        worth: dict[str, Any] = {"amount": self.amounts.get(currency, 0)}
        if self.percent is not None:
            worth = {"bp": self.percent, "cap": self.cap.get(currency, 0)}
        return worth | {
            "min": self.basket_min.get(currency, 0),
            "only": "|".join(self.products),
            "stacks": self.stacks,
        }


def read_discount(value: object) -> object:
    """``{EUR: 5000}`` is the form without a condition."""
    if isinstance(value, dict) and not value.keys() & Discount.model_fields.keys():
        return {"amounts": value}
    return value
