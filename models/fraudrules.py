"""Rules of the company's own against fraud: what they say goes, whatever the score.

Pure. A rule names conditions, all of which have to fit: a list of sellers, cards, devices or
countries (a blocklist), an amount or a number of sales (a hard limit), days since a seller joined
or changed where she is paid to (a cool-down), a number of sellers who are paid to one account, a
share of returns. What fits is held for review or rejected, and its decision names the rule's
reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, StringConstraints, model_validator

from models.config import Amounts, Section, wrong
from models.debts import DAY_MS
from models.packing import SELLERS_MAX
from models.schedules import CountryCode

RULES_MAX = 100
"""Rules that a policy has, at most."""

LISTED_MAX = 5_000
"""Sellers, cards, devices or countries that one rule names, at most."""

COOL_DOWN_DAYS_MAX = 365
"""The longest cool-down, in days."""

SALES_HOUR_MAX = 10_000
"""The largest limit of sales an hour."""

REASON_PATTERN = r"^[a-z][a-z0-9_]{0,31}$"

Token = Annotated[str, StringConstraints(min_length=1, max_length=128)]
_Listed = Annotated[tuple[Token, ...], Field(max_length=LISTED_MAX)]
_Days = Annotated[int, Field(strict=True, ge=1, le=COOL_DOWN_DAYS_MAX)]
_Sales = Annotated[int, Field(strict=True, ge=1, le=SALES_HOUR_MAX)]


class Facts(NamedTuple):
    """What rules look at of a sale."""

    seller_id: str
    card: str | None
    device: str | None
    country: str | None
    """Where it was sold; the seller's own country if the sale names none."""
    currency: str
    amount_minor: int
    """The sale's, not what it earns."""
    seller_sales: float
    """The seller's sales before it, decayed by a half-life of an hour."""
    card_sales: float
    """The same of the card."""
    since_changed_ms: int | None
    """Since she changed where she is paid to; None: never, as far as is known."""
    since_joined_ms: int | None
    """None: not known."""
    account_sellers: int = 0
    """Other sellers who are paid to one of her accounts."""
    upline_returns: float = 0.0
    """The share that came back of what her upline's team sold, from 0 to 1."""


class FraudRule(Section):
    """Holds or rejects the sales that all of its conditions fit. One left out fits all of them."""

    reason: Annotated[str, StringConstraints(pattern=REASON_PATTERN)] = Field(
        description="why, as a code that the decision names; each rule has its own"
    )
    tier: Literal["hold", "reject"] = Field(
        "hold", description="`hold`: held for review; `reject`: nothing is earned"
    )
    sellers: _Listed = Field((), description="ids of sellers")
    cards: _Listed = Field((), description="tokens of cards or accounts paid with")
    devices: _Listed = Field((), description="tokens of tills or devices")
    countries: Annotated[tuple[CountryCode, ...], Field(max_length=LISTED_MAX)] = Field(
        (), description="where it was sold; the seller's own country if the sale names none"
    )
    above: Amounts = Field(
        default_factory=dict,
        description="a sale of more than this fits; none in a currency that is not listed",
    )
    seller_sales_hour: _Sales | None = Field(
        None,
        description="fits from so many sales of the seller on, decayed by a half-life of an hour",
    )
    card_sales_hour: _Sales | None = Field(None, description="the same of the card")
    changed_days: _Days | None = Field(
        None, description="fits so long after a seller changed where she is paid to"
    )
    joined_days: _Days | None = Field(
        None, description="fits so long after she joined, and where that is not known"
    )
    account_sellers: Annotated[int, Field(strict=True, ge=1, le=SELLERS_MAX)] | None = Field(
        None,
        description="fits from so many other sellers on who are paid to one of her accounts, and "
        "whose sales keep it known (90 days); needs `PAYOUTS_ACCOUNT_KEY`",
    )
    upline_returns: Annotated[int, Field(strict=True, ge=1, le=100)] | None = Field(
        None,
        description="fits where so many percent came back of what those sold whom her sponsor "
        "recruited, with a half-life of a week",
    )

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        named = self.model_fields_set - {"reason", "tier"}
        if not any(getattr(self, name) not in (None, (), {}) for name in named):
            raise wrong("names no condition, so it would fit every sale")
        return self

    @cached_property
    def _lists(self) -> tuple[tuple[int, frozenset[str]], ...]:
        """The lists to look into, by the place of what is looked up in the facts."""
        each = (self.sellers, self.cards, self.devices, self.countries)
        return tuple((i, frozenset(listed)) for i, listed in enumerate(each) if listed)

    def fits(self, facts: Facts) -> bool:
        """Whether all conditions fit."""
        return (
            all(facts[i] in listed for i, listed in self._lists)
            and (not self.above or self._is_above(facts))
            and facts.seller_sales >= (self.seller_sales_hour or 0)
            and facts.card_sales >= (self.card_sales_hour or 0)
            and _within(self.changed_days, facts.since_changed_ms, unknown=False)
            and _within(self.joined_days, facts.since_joined_ms, unknown=True)
            and facts.account_sellers >= (self.account_sellers or 0)
            and facts.upline_returns * 100 >= (self.upline_returns or 0)
        )

    def _is_above(self, facts: Facts) -> bool:
        most = self.above.get(facts.currency)
        return most is not None and facts.amount_minor > most


def _within(days: int | None, since_ms: int | None, *, unknown: bool) -> bool:
    """Whether it is not so many days ago; ``unknown``: what counts where nobody knows."""
    if days is None:
        return True
    return unknown if since_ms is None else since_ms < days * DAY_MS


def fired(rules: Iterable[FraudRule], facts: Facts) -> tuple[FraudRule, ...]:
    """The rules that fit, in their order."""
    return tuple([rule for rule in rules if rule.fits(facts)])
