"""The payout policy: when earnings are paid out, on which terms, and what is held instead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from models.config import (
    Amounts,
    BasisPoints,
    CurrencyCode,
    Minor,
    PositiveMinor,
    Section,
    probability,
    wrong,
)
from models.fraudrules import RULES_MAX, FraudRule
from models.money import BASIS_POINTS
from models.schedules import SCHEDULES_MAX, Schedule
from models.shards import SHARDS

AUTHORISATION_HOURS_MAX = 30 * 24
"""Longest time that an authorisation stays good, in hours."""

GRACE_DAYS_MAX = 365
"""Longest grace for credit that comes back behind its expiry, in days."""

BONUS_DAYS_MAX = 3_650
"""Longest life of the bonus on what is reinvested, in days."""

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS

MARKUP_BP_MAX = 5_000
"""Largest markup on a conversion, in basis points: half."""

QUOTE_SECONDS_MAX = 3_600
"""Longest time that a quote stays good, in seconds."""

RATE_AGE_SECONDS_MAX = 7 * 24 * 60 * 60
"""Oldest rate that a quote may be made at, in seconds."""

JUMP_FACTOR_MAX = 1_000_000
"""Largest factor between a rate and the next."""

WINDOW_SECONDS_MAX = 31 * 24 * 60 * 60
"""Longest coalescing window, in seconds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a currency is paid out over a rail. Amounts in minor units.

    The fee of a payout is ``fixed_minor`` and ``fee_bp`` of the principal (rounded down), at most
    ``fee_cap_minor`` (0: no cap). ``window_ms`` is how long a payout waits for more to come.
    """

    rail: str
    currency: str
    min_minor: int
    max_minor: int
    fixed_minor: int
    fee_bp: int
    fee_cap_minor: int
    window_ms: int
    seller_pays: bool = True
    day_max_minor: int = 0
    """The most that goes to one seller over the rail on a day (UTC); 0 for no limit."""

    def fee(self, principal_minor: int) -> int:
        """The fee of a principal."""
        fee = self.fixed_minor + principal_minor * self.fee_bp // BASIS_POINTS
        return min(fee, self.fee_cap_minor) if self.fee_cap_minor else fee


class Limits(Section):
    """The least and the most that one payout in a currency carries."""

    min: PositiveMinor
    max: PositiveMinor

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise wrong(f"the minimum {self.min} is above the maximum {self.max}", "min")
        return self


class Fee(Section):
    """What a rail takes for a payout: a fixed part, a share of the principal, a cap on the sum."""

    fixed: Minor = 0
    percent: BasisPoints = 0
    cap: PositiveMinor | None = None

    @model_validator(mode="after")
    def _cap_above_fixed(self) -> Self:
        if self.cap is not None and self.cap < self.fixed:
            raise wrong(f"the cap {self.cap} is below the fixed part {self.fixed}", "cap")
        return self


_NO_FEE = Fee()


class RailPolicy(Section):
    """What is paid over one rail."""

    currencies: Annotated[tuple[CurrencyCode, ...], Field(min_length=1)]
    fee: Mapping[CurrencyCode, Fee] = Field(default_factory=dict)
    limits: Mapping[CurrencyCode, Limits] = Field(
        default_factory=dict, description="narrower limits of one payout than the currency's"
    )
    day_max: Mapping[CurrencyCode, PositiveMinor] = Field(
        default_factory=dict, description="the most that goes to one seller on a day (UTC)"
    )

    @model_validator(mode="after")
    def _of_its_currencies(self) -> Self:
        for name in ("fee", "limits", "day_max"):
            for currency in getattr(self, name):
                if currency not in self.currencies:
                    raise wrong(f"{currency} is not one of the rail's currencies", name, currency)
        return self


class ExplorePolicy(Section):
    """How many sales that would be held are let through, to learn what becomes of them."""

    share: BasisPoints = Field(description="percentage of them, chosen by chance")
    max: Annotated[Amounts, Field(min_length=1)] = Field(
        description="largest earning that is let through so; none in a currency not listed"
    )
    day_max: Amounts = Field(
        description="the most that is let through so on a day (UTC), of all sellers together; "
        f"each of the {SHARDS} shards has its part of it"
    )

    @model_validator(mode="after")
    def _room_for_one(self) -> Self:
        for currency, most in self.max.items():
            day_max = self.day_max.get(currency, 0)
            if self.shard_day_max(currency) < most:
                raise wrong(
                    f"{day_max} on a day is less than {SHARDS} times the {most} of `max`, so a "
                    "shard's part has no room for one sale",
                    *(("day_max", currency) if currency in self.day_max else ("max", currency)),
                )
        return self

    @cached_property
    def probability(self) -> float:
        """``share`` as a probability."""
        return self.share / BASIS_POINTS

    def shard_day_max(self, currency: str) -> int:
        """What each shard may let through on a day, in minor units: all of them keep the whole."""
        return self.day_max.get(currency, 0) // SHARDS


class FraudPolicy(Section):
    """What the fraud score leads to, and the rules that go before it."""

    hold_score: Annotated[Decimal, BeforeValidator(probability)] = Field(
        description="probability of fraud from which all of a sale's earnings are held for review, "
        "whatever the amount"
    )
    unscored_caps: Amounts = Field(
        default_factory=dict,
        alias="unscored_cap",
        description="largest earning paid at once while nothing can be scored; none if not listed",
    )
    review_cost: Amounts = Field(
        default_factory=dict,
        description="what a review costs: an earning is held, in part or whole, when paying it at "
        "once is expected to cost more; in a currency not listed only `hold_score` decides",
    )
    wait_cost: BasisPoints = Field(
        0, description="what it costs to keep a genuine earning waiting, in percent of it"
    )
    partial_min: BasisPoints = Field(
        2_500,
        description="least share, in percent, that is paid at once while the rest is held; below "
        "it all is held; 100: never a part",
    )
    explore: ExplorePolicy | None = Field(
        None, description="sales let through although they would be held; none if left out"
    )
    rules: Annotated[tuple[FraudRule, ...], Field(max_length=RULES_MAX)] = Field(
        (), description="blocklists, hard limits and cool-downs, which go before the score"
    )

    @model_validator(mode="after")
    def _each_its_reason(self) -> Self:
        seen: set[str] = set()
        for i, rule in enumerate(self.rules):
            if rule.reason in seen:
                raise wrong(f"{rule.reason} is another rule's reason", "rules", i, "reason")
            seen.add(rule.reason)
        return self

    @cached_property
    def weighing(self) -> tuple[float, float, Mapping[str, int], int]:
        """What a score is weighed by, at hand for each sale: ``hold_score`` as the float that it is
        compared with, ``wait_cost`` as a share of the earning, review costs, the least share in
        basis points.
        """
        wait_share = self.wait_cost / BASIS_POINTS
        return float(self.hold_score), wait_share, self.review_cost, self.partial_min

    @property
    def hold_score_bp(self) -> int:
        """``hold_score`` in basis points."""
        return int(self.hold_score * BASIS_POINTS)

    @cached_property
    def looks_at_accounts(self) -> bool:
        """Whether a rule asks how many sellers are paid to one account."""
        return any(rule.account_sellers for rule in self.rules)

    @cached_property
    def digest(self) -> str:
        """Identifies in decisions what they were made by: SHA-256 of what is not the default."""
        body = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    def unscored_cap(self, currency: str) -> int:
        """The largest earning that is paid at once without a score, in minor units; 0 for none."""
        return self.unscored_caps.get(currency, 0)


GraceDays = Annotated[int, Field(strict=True, ge=0, le=GRACE_DAYS_MAX)]


class TillPolicy(Section):
    """How purchases are paid from the wallet."""

    from_available: Annotated[bool, Field(strict=True)] = Field(
        True, description="whether `available` pays what credit does not"
    )
    authorisation_hours: Annotated[int, Field(strict=True, ge=1, le=AUTHORISATION_HOURS_MAX)] = (
        Field(168, description="how long an authorisation stays good, in hours")
    )
    refund_grace_days: GraceDays = Field(
        0, description="for credit refunded when its lot has expired; 0: it expires at once"
    )
    release_grace_days: GraceDays = Field(
        0, description="the same for credit that was authorised and not captured"
    )

    @property
    def authorisation_ms(self) -> int:
        """How long an authorisation stays good, in milliseconds."""
        return self.authorisation_hours * _HOUR_MS

    @property
    def refund_grace_ms(self) -> int:
        """How long refunded credit of an expired lot lives, in milliseconds."""
        return self.refund_grace_days * _DAY_MS

    @property
    def release_grace_ms(self) -> int:
        """How long released credit of an expired lot lives, in milliseconds."""
        return self.release_grace_days * _DAY_MS


class ReinvestPolicy(Section):
    """What sellers get on top of the earnings that they turn into credit."""

    bonus: BasisPoints = Field(
        0, description="bonus on what is reinvested, in percent of it; rounded down"
    )
    bonus_days: Annotated[int, Field(strict=True, ge=0, le=BONUS_DAYS_MAX)] = Field(
        0, description="whole days (UTC) for which the bonus can be spent; 0 for ever"
    )


class DebtPolicy(Section):
    """How sellers work off what they owe."""

    share: BasisPoints = Field(
        BASIS_POINTS, description="percentage of each earning that pays debt, rounded down"
    )


class SpendbackPolicy(Section):
    """What becomes of spendback credit when a return undoes its grant."""

    unfired_spent: Literal["forgive", "debt"] = Field(
        "forgive",
        description="whether what was spent of it is forgiven, or taken back as earnings or debt",
    )


class FxPolicy(Section):
    """How money is converted into another currency."""

    markup: BasisPoints = Field(
        100, description="percentage of the mid rate that the company keeps; at most 50"
    )
    quote_seconds: Annotated[int, Field(strict=True, ge=1, le=QUOTE_SECONDS_MAX)] = Field(
        60, description="how long a quote stays good, in seconds"
    )
    rate_age_seconds_max: Annotated[int, Field(strict=True, ge=1, le=RATE_AGE_SECONDS_MAX)] = Field(
        3_600, description="how old a rate may be that a quote is made at, in seconds"
    )
    jump_factor: Annotated[int, Field(strict=True, ge=2, le=JUMP_FACTOR_MAX)] = Field(
        10, description="a rate so many times the one before, or its inverse, is refused"
    )

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.markup > MARKUP_BP_MAX:
            raise wrong("a markup is at most 50 percent", "markup")
        return self

    @property
    def quote_ms(self) -> int:
        """How long a quote stays good, in milliseconds."""
        return self.quote_seconds * 1000

    @property
    def rate_age_ms(self) -> int:
        """How old a rate may be that a quote is made at, in milliseconds."""
        return self.rate_age_seconds_max * 1000


RailName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,32}$")]


class PayoutPolicy(Section):
    """The payout policy."""

    currencies: Annotated[Mapping[CurrencyCode, Limits], Field(min_length=1)]
    window_seconds: Annotated[int, Field(strict=True, ge=0, le=WINDOW_SECONDS_MAX)] = Field(
        0, description="how long a payout waits for more earnings to join it; 0 pays at once"
    )
    fee_bearer: Literal["seller", "company"]
    rails: Mapping[RailName, RailPolicy]
    instant: tuple[Literal["instant", "partial"], ...] = Field(
        ("instant",),
        description="tiers that are paid at once: `instant`, and with it `partial`, of which the "
        "share that is not held then joins the next payout; an empty list pays none at once",
    )
    fraud: FraudPolicy
    till: TillPolicy = TillPolicy()
    reinvest: ReinvestPolicy = ReinvestPolicy()
    debt: DebtPolicy = DebtPolicy()
    spendback: SpendbackPolicy = SpendbackPolicy()
    fx: FxPolicy = FxPolicy()
    release: Annotated[tuple[Schedule, ...], Field(max_length=SCHEDULES_MAX)] = Field(
        (), description="shares of earnings that are released later; the first that fits applies"
    )

    @model_validator(mode="after")
    def _rails_have_limits(self) -> Self:
        for name, rail in self.rails.items():
            for i, currency in enumerate(rail.currencies):
                if currency not in self.currencies:
                    where = ("rails", name, "currencies", i)
                    raise wrong(f"{currency} has no limits under `currencies`", *where)
            for currency, own in rail.limits.items():
                all_rails = self.currencies[currency]
                if max(own.min, all_rails.min) > min(own.max, all_rails.max):
                    raise wrong(
                        f"nothing lies within them and the currency's {all_rails.min} to "
                        f"{all_rails.max}",
                        *("rails", name, "limits", currency),
                    )
            for currency, most in rail.day_max.items():
                terms = self._laid_out(name, rail, currency)
                if most < terms.min_minor:
                    raise wrong(
                        f"{most} on a day is below the least of a payout, {terms.min_minor}",
                        *("rails", name, "day_max", currency),
                    )
        return self

    @cached_property
    def all_terms(self) -> dict[tuple[str, str], Terms]:
        """The terms by currency and rail, laid out once so that a look-up is quick."""
        return {
            (currency, name): self._laid_out(name, rail, currency)
            for name, rail in self.rails.items()
            for currency in rail.currencies
        }

    def _laid_out(self, name: str, rail: RailPolicy, currency: str) -> Terms:
        limits, fee = self.currencies[currency], rail.fee.get(currency, _NO_FEE)
        own = rail.limits.get(currency, limits)
        return Terms(
            rail=name,
            currency=currency,
            min_minor=max(limits.min, own.min),
            max_minor=min(limits.max, own.max),
            fixed_minor=fee.fixed,
            fee_bp=fee.percent,
            fee_cap_minor=fee.cap or 0,
            window_ms=self.window_seconds * 1000,
            seller_pays=self.fee_bearer == "seller",
            day_max_minor=rail.day_max.get(currency, 0),
        )

    def terms(self, currency: str, rail: str) -> Terms | None:
        """The terms for paying a currency over a rail; None if the policy does not provide it."""
        return self.all_terms.get((currency, rail))
