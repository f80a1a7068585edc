"""Campaigns: what is granted when a seller's total of a period crosses a threshold.

A period is of the seller's own calendar: an event counts in the day, ISO week or month that her
clock showed when it happened. A campaign may have several versions under one id: a period keeps
the version that was in effect when it began.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from models.config import (
    Amounts,
    BasisPoints,
    ConfigError,
    CurrencyCode,
    PositiveMinor,
    Problem,
    Section,
    wrong,
)
from models.fields import LABEL_PATTERN
from models.plan import LEVELS_MAX, CommissionPlan
from models.rewards import Credit, Discount, read_credit, read_discount

CAMPAIGNS_MAX = 100
TIERS_MAX = 20
EXPIRES_DAYS_MAX = 3_650
STREAK_MAX = 12
AUDIENCE_MAX = 300
"""Most countries, tiers or tags that an audience names."""
COUNT_MAX = 1_000_000
"""Largest threshold of the metric ``count``."""

PERCENT_METRICS = ("volume", "first_sale")
"""Metrics of which a percentage can be granted: only the seller's own sales move them."""

_DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """A period: its id within a campaign, and the milliseconds it spans, the end not included.

    Of the lifetime period, start and end are None.
    """

    id: str
    end_ms: int | None
    start_ms: int | None = None


class Step(NamedTuple):
    """One threshold in one currency. Amounts in minor units; a count for the metric ``count``.

    Either ``credit_minor`` is granted or ``percent_bp`` of the total, at most ``cap_minor`` (0: no
    cap); as money that is paid out if ``bonus``, else as credit. With ``discount``, its terms as
    the till takes them, ``credit_minor`` is the most that it takes off (0: no such bound).
    """

    tier: int
    threshold: int
    credit_minor: int
    percent_bp: int
    cap_minor: int
    bonus: bool = False
    discount: Mapping[str, Any] | None = None


class Reach(Section):
    """What a tier's total must reach: an amount per currency, or a count in any currency."""

    amounts: Mapping[CurrencyCode, PositiveMinor] = Field(default_factory=dict)
    count: Annotated[int, Field(strict=True, ge=1, le=COUNT_MAX)] | None = None


def _reach(value: object) -> object:
    return {"amounts": value} if isinstance(value, dict) else {"count": value}


class Tier(Section):
    """One threshold of a campaign and what reaching it grants."""

    reach: Annotated[Reach, BeforeValidator(_reach)]
    credit: Annotated[Credit, BeforeValidator(read_credit)] | None = None
    bonus: Annotated[Credit, BeforeValidator(read_credit)] | None = Field(
        None, description="money that is paid out, in place of credit"
    )
    discount: Annotated[Discount, BeforeValidator(read_discount)] | None = Field(
        None, description="something off one purchase to come, in place of credit"
    )

    @property
    def grants(self) -> Credit:
        """What it grants, as credit, as money or as a discount."""
        return self.credit or self.bonus or self.discount or Credit()

    @property
    def kinds(self) -> tuple[Literal["credit", "bonus", "discount"], ...]:
        """What it grants it as: one of them."""
        return tuple(k for k in ("credit", "bonus", "discount") if getattr(self, k) is not None)

    @property
    def kind(self) -> Literal["credit", "bonus", "discount"]:
        """What it grants it as."""
        return self.kinds[0]

    def currencies(self) -> set[str]:
        """The currencies in which the tier can be reached and grants something."""
        return set(self.reach.amounts or self.grants.amounts or self.grants.cap)

    def threshold(self, currency: str) -> int:
        """What must be reached, in minor units or as a count."""
        return self.reach.count or self.reach.amounts[currency]


_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def _moment(value: object) -> object:
    # Pydantic would also take a number of seconds, and a time without an offset.
    if value is not None and not (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        raise wrong("write a time with its offset, such as 2026-11-23T00:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


def _listed(value: object) -> object:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise wrong("write a list of texts, such as [DE, AT]")
    for one in value:
        if value.count(one) > 1:
            raise wrong(f"{one[:40]!r} stands here twice")
    return frozenset(value)


Countries = Annotated[
    frozenset[Annotated[str, Field(pattern=r"^[A-Z]{2}$")]],
    Field(min_length=1, max_length=AUDIENCE_MAX),
    BeforeValidator(_listed),
]
Labels = Annotated[
    frozenset[Annotated[str, Field(pattern=LABEL_PATTERN)]],
    Field(min_length=1, max_length=AUDIENCE_MAX),
    BeforeValidator(_listed),
]


class Audience(Section):
    """For whom a campaign is, by her profile when the event is booked.

    Of each list that is given she must fit one entry. A list that is not given lets everyone in.
    """

    countries: Countries | None = None
    tiers: Labels | None = None
    tags: Labels | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.countries is None and self.tiers is None and self.tags is None:
            raise wrong("names nobody: give countries, tiers or tags, or leave audience out")
        return self

    def includes(self, country: str, tier: str | None, tags: frozenset[str]) -> bool:
        """Whether a seller of this country, tier and tags belongs to it."""
        return (
            (self.countries is None or country in self.countries)
            and (self.tiers is None or tier in self.tiers)
            and (self.tags is None or not self.tags.isdisjoint(tags))
        )


CampaignId = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,48}$")]


class Campaign(Section):
    """A campaign. Runs from ``start`` up to, not including, ``end``, by the time of the event."""

    id: CampaignId
    metric: Literal["volume", "team_volume", "earnings", "count", "first_sale"]
    levels: Annotated[int, Field(strict=True, ge=1, le=LEVELS_MAX)] | None = Field(
        None, description="of metric team_volume: how many levels down count beside her own sales"
    )
    period: Literal["day", "week", "month", "lifetime"]
    effective: Moment | None = Field(
        None, description="periods that begin earlier keep the version of the same id before"
    )
    audience: Audience | None = None
    budget: Amounts = Field(
        default_factory=dict, description="the most that all grants together may cost"
    )
    streak: Annotated[int, Field(strict=True, ge=2, le=STREAK_MAX)] | None = Field(
        None, description="a tier has to be reached in so many periods in a row, the last included"
    )
    start: Moment | None = None
    end: Moment | None = None
    expires_days: Annotated[int, Field(strict=True, ge=1, le=EXPIRES_DAYS_MAX)] | None = Field(
        None, description="how long a credit can be spent; for ever if not given"
    )
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, max_length=TIERS_MAX)]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.start and self.end and self.end <= self.start:
            raise wrong("the end is not after the start", "end")
        _check_shape(self)
        for i, tier in enumerate(self.tiers):
            _check_tier(self.metric, tier, i)
        for i, tier in enumerate(self.tiers[1:], start=1):
            _check_order(self.tiers[i - 1], tier, i)
        _check_budget(self)
        return self

    @cached_property
    def steps_by_currency(self) -> dict[str, tuple[Step, ...]]:
        """The thresholds in each currency, lowest first."""
        return {
            currency: tuple(
                _step(number, tier, currency) for number, tier in enumerate(self.tiers, 1)
            )
            for currency in self.tiers[0].currencies()
        }

    @cached_property
    def span_ms(self) -> tuple[int, int]:
        """From when, and until before when, events count; milliseconds since the epoch."""
        return _span_ms(self.start, self.end)

    @cached_property
    def effective_ms(self) -> int:
        """From when on periods that begin are of this version, in milliseconds since the epoch."""
        return _ms(self.effective) if self.effective else 0

    def counts_level(self, level: int) -> bool:
        """Whether what happens so many levels below counts: 0 is her own, -1 comes of no sale."""
        if self.metric == "earnings":
            return True
        return 0 <= level <= (self.levels or 0)

    @property
    def expires_ms(self) -> int:
        """How long after the event a credit expires, in milliseconds; 0 for never."""
        return (self.expires_days or 0) * _DAY_MS


def _check_shape(campaign: Campaign) -> None:
    """Parts that contradict one another."""
    metric, period = campaign.metric, campaign.period
    if (campaign.levels is not None) != (metric == "team_volume"):
        if campaign.levels is None:
            raise wrong("metric team_volume needs levels, such as levels: 2", "metric")
        raise wrong(f"metric {metric} has no levels; only team_volume has", "levels")
    if metric == "first_sale" and period != "lifetime":
        raise wrong("a first sale happens once: write period: lifetime", "period")
    if campaign.streak:
        _check_streak(campaign)
    if campaign.effective:
        if period == "lifetime":
            # Its one period began before any change could come into effect.
            raise wrong(
                "a lifetime never begins anew: give the change an id of its own", "effective"
            )
        if campaign.end and campaign.end <= campaign.effective:
            raise wrong("the campaign has ended when this comes into effect", "effective")
    if campaign.expires_days and all(tier.bonus is not None for tier in campaign.tiers):
        raise wrong("a bonus is money and does not expire", "expires_days")


def _check_streak(campaign: Campaign) -> None:
    if campaign.period == "lifetime":
        raise wrong("a lifetime comes once, so there are none in a row", "streak")
    for i, tier in enumerate(campaign.tiers):
        if tier.grants.percent is not None and tier.discount is None:
            raise wrong("a streak grants amounts, no percent", "tiers", i, tier.kind, "percent")
    days = {"day": 1, "week": 7, "month": 28}[campaign.period] * ((campaign.streak or 0) - 1)
    if campaign.start and campaign.end and (campaign.end - campaign.start).days < days:
        raise wrong("the campaign is too short for so many periods in a row", "streak")


def _check_tier(metric: str, tier: Tier, i: int) -> None:
    if len(tier.kinds) != 1:
        many = "not " + " and ".join(tier.kinds) if tier.kinds else "one of them is missing"
        raise wrong(f"write what it grants, as credit, bonus or discount: {many}", "tiers", i)
    reach, granting, kind = tier.reach, tier.grants, tier.kind
    if (reach.count is not None) != (metric == "count"):
        form = "a count" if metric == "count" else "an amount per currency"
        raise wrong(f"metric {metric} needs {form}", "tiers", i, "reach")
    if reach.count is None and not reach.amounts:
        raise wrong("names no currency", "tiers", i, "reach")
    if tier.discount is not None:
        _check_discount(tier, tier.discount, i)
    if granting.percent is None:
        if not granting.amounts:
            raise wrong("grants nothing: an amount per currency, or a percent", "tiers", i, kind)
        granted = set(granting.amounts)
    elif metric not in PERCENT_METRICS and tier.discount is None:
        # A share of a total that a commission plan or another topic moves would hang on the order
        # in which events are booked.
        names = " or ".join(PERCENT_METRICS)
        raise wrong(f"a percent needs metric {names}", "tiers", i, kind, "percent")
    elif granting.percent == 0:
        raise wrong("grants nothing", "tiers", i, kind, "percent")
    else:
        granted = set(granting.cap) or tier.currencies()
    if granted != tier.currencies():
        apart = ", ".join(sorted(granted ^ tier.currencies()))
        raise wrong(f"reach and {kind} name different currencies: {apart}", "tiers", i, kind)


def _check_discount(tier: Tier, discount: Discount, i: int) -> None:
    where = ("tiers", i, "discount")
    if tier.reach.count is not None and discount.percent is not None and not discount.cap:
        raise wrong("a percent for a count needs a cap: it names the currencies", *where, "percent")
    if discount.percent is not None and discount.amounts:
        raise wrong("either a percent or amounts", *where, "amounts")
    if len(set(discount.products)) < len(discount.products):
        raise wrong("a group of products stands here twice", *where, "products")
    if apart := discount.basket_min.keys() - tier.currencies():
        raise wrong(f"names other currencies: {', '.join(sorted(apart))}", *where, "basket_min")


def _check_budget(campaign: Campaign) -> None:
    budget = campaign.budget
    if not budget:
        return
    if budget.keys() != campaign.tiers[0].currencies():
        apart = ", ".join(sorted(budget.keys() ^ campaign.tiers[0].currencies()))
        raise wrong(f"budget and tiers name different currencies: {apart}", "budget")
    for i, tier in enumerate(campaign.tiers):
        worth = tier.grants.amounts
        if tier.discount is not None and tier.discount.percent is not None:
            worth = tier.discount.cap
            if not worth:
                text = "a budget needs a cap: what the discount may cost has to be known"
                raise wrong(text, "tiers", i, "discount", "percent")
        for currency, minor in sorted(worth.items()):
            if minor > budget[currency]:
                text = (
                    f"grants {minor} {currency}, more than the whole budget of {budget[currency]}"
                )
                raise wrong(text, "tiers", i, tier.kind)


def _check_order(before: Tier, tier: Tier, i: int) -> None:
    if before.currencies() != tier.currencies():
        apart = ", ".join(sorted(before.currencies() ^ tier.currencies()))
        raise wrong(f"the tiers name different currencies: {apart}", "tiers", i)
    for currency in sorted(tier.currencies()):
        if tier.threshold(currency) <= before.threshold(currency):
            where = ("tiers", i, "reach", currency)
            raise wrong("the thresholds of the tiers must ascend", *where)


def _step(number: int, tier: Tier, currency: str) -> Step:
    grants, discount = tier.grants, tier.discount
    if discount is not None:
        most = discount.amounts.get(currency, 0) or discount.cap.get(currency, 0)
        terms = discount.terms(currency)
        return Step(number, tier.threshold(currency), most, 0, 0, False, terms)
    return Step(
        number,
        tier.threshold(currency),
        grants.amounts.get(currency, 0),
        grants.percent or 0,
        grants.cap.get(currency, 0),
        tier.bonus is not None,
    )


class ReinvestCampaign(Section):
    """A bonus on earnings that become credit, beside the policy's. Runs as a campaign does."""

    id: CampaignId
    bonus: BasisPoints = Field(description="in percent of what is reinvested; rounded down")
    bonus_days: Annotated[int, Field(strict=True, ge=0, le=EXPIRES_DAYS_MAX)] = Field(
        0, description="whole days (UTC) for which it can be spent; 0 for ever"
    )
    audience: Audience | None = None
    budget: Amounts = Field(
        default_factory=dict, description="the most that it may cost, in currencies that it is for"
    )
    start: Moment | None = None
    end: Moment | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.start and self.end and self.end <= self.start:
            raise wrong("the end is not after the start", "end")
        if self.bonus == 0:
            raise wrong("grants nothing", "bonus")
        return self

    @cached_property
    def span_ms(self) -> tuple[int, int]:
        """From when, and until before when, earnings count; milliseconds since the epoch."""
        return _span_ms(self.start, self.end)


class Campaigns(Section):
    """All campaigns of a company."""

    campaigns: Annotated[tuple[Campaign, ...], Field(max_length=CAMPAIGNS_MAX)] = ()
    reinvest: Annotated[tuple[ReinvestCampaign, ...], Field(max_length=CAMPAIGNS_MAX)] = Field(
        (), description="bonuses on what sellers reinvest"
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = {campaign.id for campaign in self.campaigns}
        for i, one in enumerate(self.reinvest):
            if one.id in names:
                raise wrong(f"another campaign has the id {one.id}", "reinvest", i, "id")
            names.add(one.id)
        return self

    @model_validator(mode="after")
    def _versions_follow_each_other(self) -> Self:
        latest: dict[str, Campaign] = {}
        for i, campaign in enumerate(self.campaigns):
            before = latest.get(campaign.id)
            if before is not None:
                _check_version(before, campaign, i)
            latest[campaign.id] = campaign
        return self

    @cached_property
    def versions(self) -> dict[str, tuple[int, ...]]:
        """Per id where its versions stand, the latest first."""
        found: dict[str, tuple[int, ...]] = {}
        for i, campaign in enumerate(self.campaigns):
            found[campaign.id] = (i, *found.get(campaign.id, ()))
        return found


def _check_version(before: Campaign, campaign: Campaign, i: int) -> None:
    if campaign.effective is None:
        message = (
            f"another campaign has the id {campaign.id}; a new version of it says from when on it"
            " is effective"
        )
        raise wrong(message, "campaigns", i, "id")
    if campaign.effective_ms <= before.effective_ms:
        raise wrong(
            "comes into effect no later than the version before", "campaigns", i, "effective"
        )
    for name in ("period", "metric", "levels", "streak"):
        if getattr(campaign, name) != getattr(before, name):
            message = f"a version keeps the {name} of the one before; give the campaign a new id"
            raise wrong(message, "campaigns", i, name)


def check_levels(campaigns: Campaigns, plan: CommissionPlan, file: str) -> None:
    """Raise ConfigError where a team is deeper than the plan pays: nobody hears of such sales."""
    problems = [
        f"{each.id} counts {each.levels} levels down, plan {plan.id} pays {plan.levels}; a sale is"
        " told no further up than it is paid"
        for each in campaigns.campaigns
        if (each.levels or 0) > plan.levels
    ]
    if problems:
        raise ConfigError([Problem(file, 1, text) for text in problems])


def running(campaign: Campaign | ReinvestCampaign, occurred_ms: int) -> bool:
    """Whether an event of this time (milliseconds since the epoch) counts in the campaign."""
    start_ms, end_ms = campaign.span_ms
    return start_ms <= occurred_ms < end_ms


def steps(campaign: Campaign, currency: str) -> tuple[Step, ...]:
    """The campaign's thresholds in a currency, lowest first; none if it does not have any."""
    return campaign.steps_by_currency.get(currency, ())


_LIFE = Period("life", None)


def period_of(campaign: Campaign, occurred_ms: int, zone: str) -> Period:
    """The campaign's period in which an event of this time counts, for a seller in an IANA zone.

    A period begins when a clock in the zone first shows its first day. Raises
    ``zoneinfo.ZoneInfoNotFoundError`` for an unknown zone.
    """
    kind = campaign.period
    if kind == "lifetime":
        return _LIFE
    for period in _periods(kind, zone, occurred_ms // _DAY_MS):
        if occurred_ms < period.end_ms:  # type: ignore[operator]  # only a lifetime has no end
            return period
    raise RuntimeError(f"no {kind} of {zone} holds {occurred_ms}")


def near(campaign: Campaign, period: Period, zone: str) -> list[Period]:
    """Of a streak of n: the n - 1 periods before one, itself, and the n - 1 behind it, in order."""
    reach = (campaign.streak or 1) - 1
    found = [period]
    for _ in range(reach):
        found.insert(0, period_of(campaign, (found[0].start_ms or 0) - 1, zone))
    for _ in range(reach):
        found.append(period_of(campaign, found[-1].end_ms or 0, zone))
    return found


@lru_cache(maxsize=32_768)
def _periods(kind: str, zone: str, utc_day: int) -> tuple[Period, ...]:
    """The periods that a day of UTC touches, in order."""
    there = ZoneInfo(zone)
    start_ms = utc_day * _DAY_MS
    # Near midnight a clock may be set back to the day before, which has ended by then; the day
    # before that is early enough.
    day = _first_day(kind, _local_date(start_ms, there) - timedelta(days=1))
    periods = []
    while (begin_ms := _begin_ms(day, there)) < start_ms + _DAY_MS:
        after = _next(kind, day)
        end_ms = _begin_ms(after, there)
        if start_ms < end_ms and begin_ms < end_ms:
            periods.append(Period(_name(kind, day), end_ms, begin_ms))
        day = after
    return tuple(periods)


def _name(kind: str, day: date) -> str:
    if kind == "day":
        return day.isoformat()
    if kind == "month":
        return day.isoformat()[:7]
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


def _first_day(kind: str, day: date) -> date:
    if kind == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if kind == "month" else day


def _next(kind: str, first: date) -> date:
    return _first_day(kind, first + timedelta(days={"day": 1, "week": 7, "month": 31}[kind]))


def _local_date(at_ms: int, there: ZoneInfo) -> date:
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(there).date()


def _begin_ms(day: date, there: ZoneInfo) -> int:
    """When a clock first shows the day, in milliseconds since the epoch."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=there)
    early, late = _ms(midnight), _ms(midnight.replace(fold=1))
    if early <= late:
        return early  # midnight is there once, or twice and this is the first
    # Clocks are put forward over midnight: the day begins when they are. PEP 495 gives the two
    # readings of a time that does not exist in reverse.
    before, at = late, early
    while at - before > 1:
        middle = (before + at) // 2
        if _local_date(middle, there) < day:
            before = middle
        else:
            at = middle
    return at


def _span_ms(start: datetime | None, end: datetime | None) -> tuple[int, int]:
    return _ms(start) if start else 0, _ms(end) if end else 2**63


def _ms(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
