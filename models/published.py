"""What the product publishes, as models: the public contract of the outbound topics.

Readers of a topic must tolerate fields they do not know. Amounts are integer minor units, times
milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.decisions import Standing, Tier
from models.money import BASIS_POINTS
from models.payouts import ATTEMPTS_MAX, FailureCategory, PayoutState
from models.refusals import Reason
from models.shards import SHARDS
from models.verdicts import Verdict

Text = Annotated[str, Field(min_length=1)]
Minor = Annotated[int, Field(strict=True, description="integer minor units")]
MinorOrZero = Annotated[int, Field(strict=True, ge=0, description="integer minor units")]
Ms = Annotated[int, Field(strict=True, description="milliseconds since the epoch")]
Offset = Annotated[int, Field(strict=True, ge=0)]


LotSource = Literal["granted", "reinvested", "left", "authorised", "spent", "recovered", "forgiven"]
LotPlace = Literal["left", "authorised", "spent", "expired", "reversed", "recovered", "forgiven"]
PendingStep = Literal["held", "taken", "released", "forfeited"]
DiscountStep = Literal["granted", "used", "returned", "withdrawn", "expired"]


class Published(BaseModel):
    """A message that the product sends."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Quote(Published):
    """A conversion: what is sold of the source, and of the target what that is at mid, in parts."""

    id: Text
    step: Literal["quoted", "converted", "expired"]
    source: Text
    target: Text
    sold: MinorOrZero
    bought: MinorOrZero
    markup: MinorOrZero
    rounding: Annotated[MinorOrZero, Field(description="what is lost to whole minor units")]
    rate: Annotated[Text, Field(description="id of the event that the rate came by")]
    numerator: Annotated[int, Field(strict=True, gt=0, description="of the mid rate")]
    denominator: Annotated[int, Field(strict=True, gt=0)]
    markup_bp: Annotated[int, Field(strict=True, ge=0, description="basis points of the mid rate")]
    expires: Ms


class LedgerEntry(Published):
    """One journal entry. All balances follow from the entries of a shard in the order of `seq`.

    An entry counts if it stands in the epoch it was booked in, with the `more` entries behind it,
    and if every `seq` before its own counts. An entry of kind `epoch`, with `seq` 0, ends the epoch
    that it names, if that is the present one, and opens the next, numbered by the offset behind it.
    An entry may be published twice: apply each `seq` of a shard once.
    """

    v: Literal[1]
    shard: Annotated[int, Field(strict=True, ge=0, lt=SHARDS)]
    seq: Annotated[
        int, Field(strict=True, ge=0, description="per shard, without gaps; 0 opens an epoch")
    ]
    more: Annotated[int, Field(strict=True, ge=0)] = Field(
        0,
        description="entries behind it of the same event: they count together or not at all",
    )
    epoch: Annotated[int, Field(strict=True, ge=0, description="the epoch it was booked in")]
    kind: Annotated[Text, Field(description="the event type, or what the product did by itself")]
    id: Annotated[Text, Field(description="the event, or what else caused the entry")]
    seller: str
    at: Ms
    hash: Annotated[str, Field(pattern="^[0-9a-f]{16}$")] | None = Field(
        None, description="digest of the event's bytes, or of what a request asks for"
    )
    refused: Text | None = Field(
        None, description="why the event or the request was refused, if it was"
    )
    source: tuple[Text, Offset, Offset] | None = Field(
        None, description="topic, partition and offset of the event; a request has none"
    )
    postings: list[tuple[Text, Text, Minor, Minor]] = Field(
        description="account, currency, signed amount, what the account is at behind it; the"
        " amounts sum to zero per currency. An account is `<seller>/<account>`, or `/<account>` of"
        " the house, of which the shard has a share"
    )
    writes: list[list[str]] = Field(description="how the wallets redo the entry; internal")
    emits: list[Text] | None = Field(None, description="ids of commissions sent up the tree")
    tier: Tier | None = None
    partial: tuple[int, MinorOrZero, MinorOrZero] | None = Field(
        None,
        description="of a partial earning: basis points that are not held, of how much, what is"
        " held",
    )
    explored: tuple[Text, int, MinorOrZero, MinorOrZero, MinorOrZero] | None = Field(
        None,
        description="of one that is let through by chance: currency, day counted from 1970 (UTC),"
        " how much, what the shard let through on that day, the most it may",
    )
    payout: tuple[Text, PayoutState, Text, MinorOrZero, MinorOrZero] | None = Field(
        None, description="payout id, state, rail, amount, fee"
    )
    credits: (
        list[tuple[Literal["granted", "unfired"], Text, Text, Text, Text, int, MinorOrZero]] | None
    ) = Field(
        None,
        description="action, lot, campaign, period, currency, tier, amount (of a grant: what the"
        " threshold is worth, also where a part was used of an earlier grant)",
    )
    lots: list[tuple[Text, Text, LotSource, LotPlace, MinorOrZero]] | None = Field(
        None,
        description="lot, currency, from where and to where credit of it went, amount: what was"
        " granted or reinvested of a lot is what is left, authorised, spent, expired, reversed,"
        " recovered and forgiven of it; the last two were spent before a return undid the grant."
        " `reinvested` is the seller's own money",
    )
    purchase: tuple[Text, Text, MinorOrZero, MinorOrZero, MinorOrZero, MinorOrZero] | None = Field(
        None,
        description="authorisation, currency, and behind the entry: authorised in all, captured,"
        " refunded of that, released",
    )
    discounts: list[tuple[Text, DiscountStep]] | None = Field(
        None, description="discounts on purchases, and what became of each"
    )
    quote: Quote | None = Field(None, description="a conversion, as it stands behind the entry")
    budgets: list[tuple[Text, Text, Minor, MinorOrZero, MinorOrZero]] | None = Field(
        None,
        description="campaign, currency, what the entry draws of its budget, what the shard drew in"
        " all, of how much that it was handed and has not given back",
    )
    slice: tuple[Text, Text, int, MinorOrZero, MinorOrZero, MinorOrZero] | None = Field(
        None,
        description="of a campaign's budget: campaign, currency, a shard, what it was handed and"
        " has not given back, the same of all of them, the budget",
    )
    worked: (
        list[tuple[MinorOrZero, MinorOrZero, MinorOrZero, MinorOrZero, MinorOrZero, MinorOrZero]]
        | None
    ) = Field(
        None,
        description="earnings that met debt: the share that pays it in basis points, earned, of"
        " that paid before, what came now, the debt, what was paid of it",
    )
    lines: list[tuple[Text, Text, Literal["sold", "returned"], MinorOrZero]] | None = Field(
        None, description="record of a sale, a line of it, what became of it, how much of it"
    )
    written_off: tuple[Text, Text] | None = Field(
        None, description="who wrote debt off, and the reason"
    )
    resolved: tuple[Text, Text, str] | None = Field(
        None,
        description="of a payout that stayed unknown: who said what became of it, the reason, the"
        " provider's reference or nothing",
    )
    held: tuple[Text, Text, PendingStep, MinorOrZero, MinorOrZero] | None = Field(
        None,
        description="of an earning that is held for review: its record, currency, what became of"
        " it, how much, what is left",
    )
    label: tuple[Text, Text, Verdict, Text, Text, MinorOrZero, MinorOrZero] | None = Field(
        None,
        description="a label: the record of the sale or commission, currency, the verdict, who says"
        " so, the reason, what was forfeited, what of a fraud is with the seller or was paid",
    )
    pending: tuple[Text, Text, PendingStep, MinorOrZero, MinorOrZero, Ms, Text] | None = Field(
        None,
        description="of the lot of an earning that is released later: the earning's record,"
        " currency, what became of it, how much, what is left, until when, why",
    )
    schedule: tuple[MinorOrZero, MinorOrZero, MinorOrZero, Minor] | None = Field(
        None,
        description="of an earning of which a share is held back: the share in basis points,"
        " earned, of that taken back, what became available",
    )
    waiting: Text | None = Field(None, description="what waits for the seller's profile")
    released: Text | None = Field(None, description="what has waited and now counts")
    parked: Text | None = Field(None, description="the sale that a return came ahead of")
    lapsed: MinorOrZero | None = Field(None, description="how many have waited in vain")


Attempt = Annotated[
    int, Field(strict=True, ge=0, lt=ATTEMPTS_MAX, description="submission under the payout's id")
]


class PayoutCommand(Published):
    """Pay: the money is reserved. One command for each attempt; a repeat says the same."""

    v: Literal[1]
    type: Literal["payout.command"]
    payout_id: Text
    seller_id: Text
    rail: Text
    currency: Text
    amount_minor: Annotated[int, Field(strict=True, gt=0)]
    fee_minor: MinorOrZero
    destination: Annotated[str, Field(pattern=r"^v1\.", description="sealed")]
    attempt: Attempt
    route: list[Text] = Field(
        description="what was passed over and what was taken and why, as `rail:reason`, in order"
    )
    cause: Annotated[Text, Field(description="the event that made the payout due")]
    caused_ms: Ms
    reserved_ms: Ms


class PayoutCancel(Published):
    """Stop a payout, if it can still be stopped: somebody of the company asks for it."""

    v: Literal[1]
    type: Literal["payout.cancel"]
    payout_id: Text
    seller_id: Text
    at_ms: Ms


class PayoutUpdated(Published):
    """A payout went to another state."""

    v: Literal[1]
    type: Literal["payout.updated"]
    id: Text
    payout_id: Text
    seller_id: Text
    state: PayoutState
    rail: Text
    currency: Text
    amount_minor: MinorOrZero
    fee_minor: MinorOrZero
    attempt: Attempt
    at_ms: Ms
    category: FailureCategory | None = None
    reason: str | None = Field(None, description="the rail's word for it")


class DestinationRefused(Published):
    """A seller's destination is not paid to: it cannot be, or its rail refused it for good."""

    v: Literal[1]
    type: Literal["destination.refused"]
    id: Text
    seller_id: Text
    rail: Text
    reason: Annotated[Text, Field(description="a code, such as iban_check_digits_invalid")]
    at_ms: Ms


class Credit(Published):
    """What credit events have in common: a lot of spendback credit and where it comes from."""

    v: Literal[1]
    id: Text
    seller_id: Text
    lot: Text
    campaign: Text
    period: Annotated[Text, Field(description="such as 2026-11-23, 2026-W48, 2026-11 or life")]
    tier: Annotated[int, Field(strict=True, ge=1)]
    currency: Text
    amount_minor: MinorOrZero
    at_ms: Ms


class CreditGranted(Credit):
    """A seller's total crossed a threshold: she has a lot of credit."""

    type: Literal["credit.granted"]
    expires_ms: Annotated[Ms, Field(ge=0, description="when the lot expires; 0 for never")]


class CreditUnfired(Credit):
    """A return took the total back below the threshold: what was unspent is taken back."""

    type: Literal["credit.unfired"]
    spent_minor: Annotated[
        MinorOrZero, Field(description="what had been spent, authorised at a till, or expired")
    ]
    recovered_minor: MinorOrZero = Field(0, description="of that, what she owes for it now")
    forgiven_minor: MinorOrZero = Field(0, description="of that, what was spent, and stays so")


class CreditRefused(Credit):
    """A threshold was reached and nothing granted; the lot is none, its id is the threshold's."""

    type: Literal["credit.refused"]
    reason: Literal["budget_spent"]


class BonusGranted(Credit):
    """A seller's total crossed a threshold: she has money more, to be paid out."""

    type: Literal["bonus.granted"]


class BonusUnfired(Credit):
    """A return took the total back below the threshold: the money is taken back."""

    type: Literal["bonus.unfired"]


class BonusRefused(Credit):
    """A threshold was reached and no money granted; the lot is none."""

    type: Literal["bonus.refused"]
    reason: Literal["budget_spent"]


class DiscountGranted(Credit):
    """A seller's total crossed a threshold: she has something off one purchase to come.

    ``lot`` is the discount's id, and ``amount_minor`` the most that it takes off; 0 if that has no
    bound.
    """

    type: Literal["discount.granted"]
    expires_ms: Annotated[Ms, Field(ge=0, description="when it expires; 0 for never")]
    percent_bp: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = Field(
        None, description="of what it is for, in basis points; in place of off_minor"
    )
    cap_minor: MinorOrZero = Field(0, description="with percent_bp, the most; 0 for no cap")
    off_minor: MinorOrZero | None = None
    basket_min_minor: MinorOrZero = Field(description="what the basket must come to")
    products: list[Text] = Field(description="groups of products that it is for; empty for all")
    stacks: bool = Field(description="whether it is used together with others that stack")
    gone: bool = Field(
        description="the threshold was reached before, and what it gave then was used or has"
        " expired: it is not given again"
    )


class DiscountUnfired(Credit):
    """A return took the total back below the threshold: the discount is taken back."""

    type: Literal["discount.unfired"]
    gone: bool = Field(description="it was used, is in a purchase, or has expired, and stays so")


class DiscountRefused(Credit):
    """A threshold was reached and no discount given."""

    type: Literal["discount.refused"]
    reason: Literal["budget_spent"]


class DecisionSource(Published):
    """Which message was decided upon."""

    topic: Text
    partition: Offset
    offset: Offset


class ChallengerScore(Published):
    """What a model thought of a sale that decides nothing yet."""

    model: str = Field(description="digest of the model")
    score: Annotated[float, Field(ge=0, le=1)]


class DecisionMade(Published):
    """Whether a sale is paid at once and why, with all the decision was made from."""

    version: Literal[1]
    event_id: Text
    seller_id: Text
    source: DecisionSource
    at_ms: Ms
    amount_minor: MinorOrZero = Field(description="what the sale earns its seller")
    currency: Text
    standing: Standing = Field(description="how the seller stood; unknown: no profile had come")
    tier: Tier
    share_bp: Annotated[int, Field(ge=0, lt=BASIS_POINTS)] = Field(
        description="of a partial earning: basis points that are paid at once; else 0"
    )
    reasons: list[Text]
    rules: list[Text] = Field(description="rules of the policy that fit, by their reasons")
    score: Annotated[float, Field(ge=0, le=1)] | None
    cost: float | None = Field(
        description="what paying at once is expected to cost more than to wait, in minor units;"
        " null without a score, or a review's cost in that currency"
    )
    draw: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        description="what chance drew; null where nothing could be let through by chance"
    )
    explored: bool = Field(description="paid only to learn: it would have been held")
    propensity: Annotated[float, Field(gt=0, le=1)] = Field(
        description="probability of this outcome given all else; a training weighs by its inverse"
    )
    policy: Text = Field(description="digest of the fraud policy")
    model: str | None = Field(description="digest of the model")
    vector: str | None = Field(description="base64 of little-endian 64-bit floats")
    challenger: ChallengerScore | None = Field(
        None, description="by the challenger, of the same vector; absent if there is none"
    )
    sale_id: Text = Field(description="the sale, as returns and labels name it")


class DeadLetterHeaders(Published):
    """Headers of a dead letter. Its key and value are those of the refused message, untouched."""

    reason: Reason
    detail: Annotated[str, Field(description="one sentence: field and what is wrong")]
    topic: Text
    partition: Annotated[str, Field(pattern=r"^\d+$")]
    offset: Annotated[str, Field(pattern=r"^\d+$")]
    at: Annotated[str, Field(description="when it was refused, RFC 3339")]


TOPICS: dict[str, tuple[type[Published], ...]] = {
    "ledger": (LedgerEntry,),
    "payouts.commands": (PayoutCommand, PayoutCancel),
    "payouts.updates": (PayoutUpdated, DestinationRefused),
    "spendback.credits": (
        CreditGranted,
        CreditUnfired,
        CreditRefused,
        BonusGranted,
        BonusUnfired,
        BonusRefused,
        DiscountGranted,
        DiscountUnfired,
        DiscountRefused,
    ),
    "decisions": (DecisionMade,),
}
"""The messages that each outbound topic carries. ``dead-letters`` carries what came in."""
