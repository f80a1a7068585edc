"""Events: what comes in over Kafka, as typed values, and how their bytes are decoded.

One pydantic model per ``type``; a topic carries the types that :data:`TOPICS` lists. Unknown extra
fields are tolerated, so that a producer may add what it likes; a wrong field is refused with a
machine-readable reason (:mod:`models.refusals`). Amounts are integer minor units, times RFC 3339
with an offset.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from models.fields import (
    AmountMinor,
    AmountMinorOrZero,
    Country,
    CurrencyCode,
    Id,
    Label,
    Moment,
    Name,
    PayoutId,
    ProviderRef,
    Ref,
    ReportedState,
    ResolvedState,
    Version,
    Words,
    Zone,
)
from models.fx import pair
from models.misread import refusal_of
from models.money import MINOR_MAX
from models.payouts import ATTEMPTS_MAX, FailureCategory
from models.refusals import Reason, Refused
from models.schedules import Sold
from models.verdicts import Verdict

EVENT_BYTES_MAX = 65_536
"""Largest event that is decoded, in bytes."""

DATE_MIN = datetime(2000, 1, 1, tzinfo=UTC)
"""Earliest ``occurred_at``: what is older is a broken clock, not a sale."""

CLOCK_AHEAD_MAX = timedelta(minutes=10)
"""How far ``occurred_at`` may lie ahead of the worker's clock."""

LINES_MAX = 200
"""Lines of a basket, and of a sale that names them."""

OTHER_METHODS_MAX = 3
"""Ways to pay a seller beside the first."""

_DATE_MIN_MS = round(DATE_MIN.timestamp() * 1000)
_CLOCK_AHEAD_MAX_MS = CLOCK_AHEAD_MAX // timedelta(milliseconds=1)

TAGS_MAX = 50
"""Tags that a seller's profile may have."""


def _apart(source: str, target: str) -> None:
    if source == target:
        raise PydanticCustomError(
            "same_currency", "source_currency and target_currency are the same"
        )


class Event(BaseModel):
    """What every event carries."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Id = Field(description="unique for ever; a repeat of the same event repeats it")
    version: Version = 1
    occurred_at: Moment = Field(description="RFC 3339 with an offset")
    seller_id: Id = Field(description="the seller it concerns; also the message key")

    @cached_property
    def occurred_ms(self) -> int:
        """When it happened, in milliseconds since the epoch."""
        return round(self.occurred_at.timestamp() * 1000)


class SaleLine(BaseModel):
    """A line of a sale, for returns that name it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    line_id: Id = Field(description="unique within the sale")
    amount_minor: AmountMinorOrZero
    group: Ref | None = Field(None, description="group of products, as release schedules name it")


def _kind_of_lines(value: object) -> str:
    return "each" if isinstance(value, list | tuple) else "count"


Lines = Annotated[
    Annotated[int, Field(strict=True, ge=0, le=100_000), Tag("count")]
    | Annotated[tuple[SaleLine, ...], Field(max_length=LINES_MAX), Tag("each")],
    Discriminator(_kind_of_lines),
]


class SaleCompleted(Event):
    """A seller sold something. Earns her a commission by the plan."""

    type: Literal["sale.completed"] = "sale.completed"
    sale_id: Id
    currency: CurrencyCode
    amount_minor: AmountMinorOrZero = Field(description="net of tax and shipping")
    customer_ref: Ref | None = None
    instrument_ref: Ref | None = Field(None, description="token of the card or account paid with")
    device_ref: Ref | None = Field(None, description="token of the till or device")
    country: Country | None = None
    lines: Lines | None = Field(
        None, description="how many there are, or each with its id and what it is of the amount"
    )

    @field_validator("lines")
    @classmethod
    def _within_the_sale(cls, lines: Lines | None, known: ValidationInfo) -> Lines | None:
        each = lines if isinstance(lines, tuple) else ()
        if len({line.line_id for line in each}) < len(each):
            raise PydanticCustomError("lines_conflict", "two lines have the same id")
        if sum(line.amount_minor for line in each) > known.data.get("amount_minor", MINOR_MAX):
            raise PydanticCustomError("lines_conflict", "the lines come to more than the sale")
        return lines


class SaleReturned(Event):
    """Goods came back, whole or part. Takes back what the sale earned, along the same lineage.

    Without ``sale_id`` (a return without receipt) the commission is computed as a sale's would be.
    """

    type: Literal["sale.returned"] = "sale.returned"
    sale_id: Id | None = None
    currency: CurrencyCode
    amount_minor: AmountMinor = Field(description="how much of the sale came back")
    line_id: Id | None = Field(None, description="of which line of the sale")
    reason: Annotated[str, Field(max_length=64)] | None = None

    @field_validator("line_id")
    @classmethod
    def _of_a_sale(cls, line_id: str | None, known: ValidationInfo) -> str | None:
        if line_id is not None and "sale_id" in known.data and known.data["sale_id"] is None:
            raise PydanticCustomError("unknown_line", "a line of no sale: name the sale as well")
        return line_id


class Source(BaseModel):
    """Where an upline commission comes from: the sale and the level above its seller."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sale_id: Id
    seller_id: Id = Field(description="who made the sale")
    level: Annotated[int, Field(strict=True, ge=1, le=64)]
    base_minor: AmountMinorOrZero = Field(description="the sale's amount, or the part returned")
    held: Annotated[bool, Field(strict=True)] = Field(
        False, description="the sale is held for review, and so is this"
    )
    sold: Sold | None = Field(None, description="what release schedules look at of the sale")


class CommissionEarned(Event):
    """A seller earned a commission: from an outside plan engine, or from her downline's sale."""

    type: Literal["commission.earned"] = "commission.earned"
    commission_id: Id
    currency: CurrencyCode
    amount_minor: AmountMinorOrZero
    source: Source | None = None


class CommissionReversed(Event):
    """A commission is taken back, whole or part. With a ``source``, in proportion to its base."""

    type: Literal["commission.reversed"] = "commission.reversed"
    commission_id: Id | None = None
    currency: CurrencyCode
    amount_minor: AmountMinorOrZero
    source: Source | None = None


class DebtWrittenOff(Event):
    """Somebody who answers for it writes a seller's debt off: she need not work it off."""

    type: Literal["debt.written_off"] = "debt.written_off"
    currency: CurrencyCode
    amount_minor: AmountMinor = Field(description="at most what she owes")
    by: Name = Field(description="who decided it, by name")
    reason: Words


class PayoutResolved(Event):
    """Somebody asked the provider, and says what became of a payout that stays unknown."""

    type: Literal["payout.resolved"] = "payout.resolved"
    payout_id: PayoutId
    attempt: Annotated[int, Field(strict=True, ge=0, lt=ATTEMPTS_MAX)] = Field(
        description="which submission under the payout's id was asked about, from 0"
    )
    outcome: ResolvedState = Field(
        description="settled: it was paid. returned: it was, and came back. failed: it was not paid"
        " and never will be. The last two give the money back to the seller"
    )
    currency: CurrencyCode
    amount_minor: AmountMinor = Field(description="the payout's, without its fee")
    by: Name = Field(description="who says so, by name: not the seller")
    reason: Words
    reference: ProviderRef | None = Field(
        None, description="the provider's own id of it: the one that is known, if one is"
    )


class CommissionLabelled(Event):
    """What became known of the sale that a commission comes from. The product sends it itself."""

    type: Literal["commission.labelled"] = "commission.labelled"
    commission_id: Id
    verdict: Verdict
    by: Name
    reason: Words
    source: Source


class FraudLabelled(Event):
    """Somebody says whether a sale was a fraud: what is held of it is released, or forfeited."""

    type: Literal["fraud.labelled"] = "fraud.labelled"
    sale_id: Id = Field(description="the sale, as returns name it")
    verdict: Verdict
    by: Name = Field(description="who says so, a person or a system: nobody who earns by the sale")
    reason: Words


class FraudTaught(Event):
    """What a label says of a card or a device. The product sends it itself, keyed by ``entity``."""

    type: Literal["fraud.taught"] = "fraud.taught"
    entity: Annotated[str, Field(pattern=r"^l[a-z]:[A-Za-z0-9._:-]{1,64}$")]
    sold_at_ms: Annotated[
        int, Field(strict=True, ge=0, lt=2**32 * 1000, description="when the sale took place")
    ]
    fraud: Annotated[bool, Field(strict=True)]


class SellerStatus(StrEnum):
    """Whether a seller is paid at once."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class PayoutMethod(BaseModel):
    """One way to pay a seller. The destination is sealed: never in the clear in a topic."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rail: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")] | None = Field(
        None, description="the rail to use; without it any that takes the destination"
    )
    destination: Annotated[str, Field(pattern=r"^v1\.[A-Za-z0-9._~=-]{8,1024}$")]


class PayoutPreference(PayoutMethod):
    """Where a seller wants her money, and where else if it cannot go there, in her order."""

    others: Annotated[tuple[PayoutMethod, ...], Field(max_length=OTHER_METHODS_MAX)] = ()
    changed_at: Moment | None = None


class ReinvestPreference(BaseModel):
    """How much of each earning in a currency becomes credit instead of going out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    percent: Annotated[int, Field(strict=True, ge=0, le=100)] = Field(
        description="of each earning, what debt left of it; whole percent"
    )
    keep_minor: AmountMinorOrZero = Field(
        0, description="so much of what is available is not reinvested"
    )


ReinvestPreferences = dict[CurrencyCode, ReinvestPreference]
"""By currency; one that is not there is not reinvested."""


class SellerUpdated(Event):
    """A seller's profile, whole; replaces the one before. The topic is compacted."""

    type: Literal["seller.updated"] = "seller.updated"
    country: Country
    zone: Zone = "UTC"
    status: SellerStatus = SellerStatus.ACTIVE
    sponsor_id: Id | None = Field(None, description="the next seller up the tree")
    joined_at: Moment | None = None
    tier: Label | None = Field(None, description="her rank, in the company's own words")
    tags: Annotated[list[Label], Field(max_length=TAGS_MAX)] = Field(
        default_factory=list, description="what else campaigns choose sellers by"
    )
    payout: PayoutPreference | None = None
    reinvest: ReinvestPreferences = Field(
        default_factory=dict, description="what of her earnings becomes credit, by currency"
    )


class CreditRedeemed(Event):
    """Spendback credit was spent on the company's products."""

    type: Literal["credit.redeemed"] = "credit.redeemed"
    currency: CurrencyCode
    amount_minor: AmountMinor
    order_ref: Ref


class PurchaseLine(BaseModel):
    """A line of a basket, for credit and discounts that are for some products only."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    group: Ref = Field(description="the group of products that the company's campaigns name")
    amount_minor: AmountMinorOrZero


class PurchaseAuthorised(Event):
    """A till asks to pay a purchase from the wallet: discounts, then credit, then earnings."""

    type: Literal["purchase.authorised"] = "purchase.authorised"
    authorisation_id: Id = Field(description="unique for ever for the seller")
    currency: CurrencyCode
    amount_minor: AmountMinor = Field(description="what is to be paid in all")
    order_ref: Ref | None = None
    lines: Annotated[tuple[PurchaseLine, ...], Field(max_length=LINES_MAX)] = Field(
        (),
        description="what of the amount is for products of which group",
    )
    partial: Annotated[bool, Field(strict=True)] = Field(
        False, description="authorise what there is, if it is less"
    )
    discounts: Annotated[bool, Field(strict=True)] = Field(
        True, description="use the discounts that take most off"
    )


class PurchaseCaptured(Event):
    """A purchase that was authorised is made, whole or in part: what it takes is spent."""

    type: Literal["purchase.captured"] = "purchase.captured"
    authorisation_id: Id
    currency: CurrencyCode
    amount_minor: AmountMinor
    final: Annotated[bool, Field(strict=True)] = Field(
        False, description="no more will be captured: release the rest"
    )


class PurchaseVoided(Event):
    """What is authorised and not captured is not needed any more."""

    type: Literal["purchase.voided"] = "purchase.voided"
    authorisation_id: Id


class PurchaseRefunded(Event):
    """Goods came back: what was captured goes back to where it came from, whole or in part."""

    type: Literal["purchase.refunded"] = "purchase.refunded"
    authorisation_id: Id
    currency: CurrencyCode
    amount_minor: AmountMinor


class EarningsReinvested(Event):
    """A seller turns earnings that are available into credit, once; with the policy's bonus."""

    type: Literal["earnings.reinvested"] = "earnings.reinvested"
    currency: CurrencyCode
    amount_minor: AmountMinor | None = Field(
        None, description="integer minor units; without it all that is available"
    )


class Exchange(BaseModel):
    """Money of one currency that is wanted in another: how much of either is fixed."""

    source_currency: CurrencyCode
    target_currency: CurrencyCode
    source_minor: AmountMinor | None = Field(None, description="what is to be sold; or")
    target_minor: AmountMinor | None = Field(None, description="what is to be bought")

    @model_validator(mode="after")
    def _one_side_is_fixed(self) -> Self:
        _apart(self.source_currency, self.target_currency)
        if (self.source_minor is None) == (self.target_minor is None):
            raise PydanticCustomError("one_side", "either source_minor or target_minor is given")
        return self


class ConversionQuoted(Event, Exchange):
    """A seller wants money in another currency: promise a rate, and reserve what it is for."""

    type: Literal["conversion.quoted"] = "conversion.quoted"
    quote_id: Id = Field(description="unique for ever for the seller")


class ConversionMade(Event):
    """What a quote is for is exchanged, at its rate."""

    type: Literal["conversion.made"] = "conversion.made"
    quote_id: Id


class RateQuoted(Event):
    """A treasury's mid rate, as a ratio of integers. In place of a seller it names its pair."""

    type: Literal["rate.quoted"] = "rate.quoted"
    source_currency: CurrencyCode
    target_currency: CurrencyCode
    numerator: Annotated[int, Field(strict=True, gt=0, le=10**15)]
    denominator: Annotated[int, Field(strict=True, gt=0, le=10**15)]
    expires_at: Moment

    @cached_property
    def expires_ms(self) -> int:
        """From when on it may not be used, in milliseconds since the epoch."""
        return round(self.expires_at.timestamp() * 1000)

    @model_validator(mode="after")
    def _of_its_pair(self) -> Self:
        _apart(self.source_currency, self.target_currency)
        # Ids are remembered, and the rate is kept, where this leads to.
        if self.seller_id != pair(self.source_currency, self.target_currency):
            raise PydanticCustomError("not_the_pair", "seller_id is not the pair, such as EUR-USD")
        return self


class PayoutReported(Event):
    """What a rail says of a payout: from a webhook or an enquiry, verified and normalised."""

    type: Literal["payout.reported"] = "payout.reported"
    payout_id: PayoutId
    rail: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")]
    state: ReportedState
    provider_ref: Annotated[str, Field(max_length=128)] | None = None
    category: FailureCategory | None = None
    reason: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")] | None = None
    attempt: Annotated[int, Field(strict=True, ge=0, lt=ATTEMPTS_MAX)] = Field(
        0, description="which submission under the payout's id it speaks of"
    )


SaleEvent = Annotated[SaleCompleted | SaleReturned, Field(discriminator="type")]
CommissionEvent = Annotated[
    CommissionEarned | CommissionReversed | CommissionLabelled | DebtWrittenOff | PayoutResolved,
    Field(discriminator="type"),
]
LabelEvent = Annotated[FraudLabelled | FraudTaught, Field(discriminator="type")]
RedemptionEvent = Annotated[
    CreditRedeemed
    | PurchaseAuthorised
    | PurchaseCaptured
    | PurchaseVoided
    | PurchaseRefunded
    | EarningsReinvested
    | ConversionQuoted
    | ConversionMade,
    Field(discriminator="type"),
]

TOPICS: dict[str, tuple[type[Event], ...]] = {
    "sales": (SaleCompleted, SaleReturned),
    "commissions": (
        *(CommissionEarned, CommissionReversed, CommissionLabelled),
        *(DebtWrittenOff, PayoutResolved),
    ),
    "sellers": (SellerUpdated,),
    "redemptions": (
        CreditRedeemed,
        PurchaseAuthorised,
        PurchaseCaptured,
        PurchaseVoided,
        PurchaseRefunded,
        EarningsReinvested,
        ConversionQuoted,
        ConversionMade,
    ),
    "rates": (RateQuoted,),
    "fraud.labels": (FraudLabelled, FraudTaught),
    "rail.updates": (PayoutReported,),
}
"""The event types that each inbound topic carries."""

_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "sales": TypeAdapter(SaleEvent),
    "commissions": TypeAdapter(CommissionEvent),
    "sellers": TypeAdapter(Annotated[SellerUpdated, Field()]),
    "redemptions": TypeAdapter(RedemptionEvent),
    "rates": TypeAdapter(RateQuoted),
    "fraud.labels": TypeAdapter(LabelEvent),
    "rail.updates": TypeAdapter(PayoutReported),
}
if set(_ADAPTERS) != set(TOPICS):
    raise RuntimeError("every inbound topic needs a decoder")


def decode(topic: str, value: bytes | None, *, now_ms: int, retention_ms: int) -> Any:
    """The event that a message of an inbound topic holds.

    ``retention_ms`` is how long ids are remembered: an older event could be a repeat that nobody
    would notice, so it is refused. Not a profile: it may stand for years, and a repeat of one is
    outdated by the next; nor the commission of a sale, which the product sends when the sale is
    booked. Raises :class:`~models.refusals.Refused`.
    """
    if not value:
        raise Refused(Reason.EMPTY, "the message has no body")
    if len(value) > EVENT_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, f"{len(value)} bytes; at most {EVENT_BYTES_MAX}")
    try:
        event: Event = _ADAPTERS[topic].validate_json(value)
    except ValidationError as error:
        raise refusal_of(value, error.errors(include_url=False, include_input=False)[0]) from None
    occurred_ms = event.occurred_ms
    if occurred_ms > now_ms + _CLOCK_AHEAD_MAX_MS:
        raise Refused(Reason.DATE_OUT_OF_RANGE, "occurred_at lies in the future")
    if occurred_ms < _DATE_MIN_MS:
        raise Refused(Reason.DATE_OUT_OF_RANGE, f"occurred_at is before {DATE_MIN.date()}")
    if occurred_ms < now_ms - retention_ms and not _dated_by_another(event):
        raise Refused(Reason.PAST_RETENTION, "occurred_at is older than ids are remembered")
    return event


def _dated_by_another(event: Event) -> bool:
    """Whether an event may be older than ids are remembered: a profile, and what the product itself
    sends up the tree, which carries the time of its sale."""
    return isinstance(event, SellerUpdated) or getattr(event, "source", None) is not None


def body_hash(value: bytes) -> str:
    """A short digest of an event's bytes, to tell a repeat from another event under its id."""
    return blake2b(value, digest_size=8).hexdigest()
