"""What the product publishes, as models: the public contract of the outbound topics.

Readers of a topic must tolerate fields they do not know. Amounts are integer minor units, times
milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.decisions import Tier
from models.payouts import FailureCategory, PayoutState
from models.refusals import Reason
from models.shards import SHARDS

Text = Annotated[str, Field(min_length=1)]
Minor = Annotated[int, Field(strict=True, description="integer minor units")]
MinorOrZero = Annotated[int, Field(strict=True, ge=0, description="integer minor units")]
Ms = Annotated[int, Field(strict=True, description="milliseconds since the epoch")]
Offset = Annotated[int, Field(strict=True, ge=0)]


class Published(BaseModel):
    """A message that the product sends."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class LedgerEntry(Published):
    """One journal entry. All balances follow from the entries of a shard in the order of `seq`.

    An entry may be published twice: apply each `seq` of a shard once.
    """

    v: Literal[1]
    shard: Annotated[int, Field(strict=True, ge=0, lt=SHARDS)]
    seq: Annotated[int, Field(strict=True, ge=1, description="per shard, without gaps")]
    kind: Annotated[Text, Field(description="the event type, or what the product did by itself")]
    id: Annotated[Text, Field(description="the event, or what else caused the entry")]
    seller: str
    at: Ms
    hash: Annotated[str, Field(pattern="^[0-9a-f]{16}$")] | None = Field(
        None, description="digest of the event's bytes"
    )
    source: tuple[Text, Offset, Offset] | None = Field(
        None, description="topic, partition and offset of the event"
    )
    postings: list[tuple[Text, Text, Minor]] = Field(
        description="account, currency, signed amount; they sum to zero per currency. An account"
        " is `<seller>/<account>`, or `/<account>` of the house"
    )
    writes: list[list[str]] = Field(description="how the wallets redo the entry; internal")
    emits: list[Text] | None = Field(None, description="ids of commissions sent up the tree")
    tier: Tier | None = None
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
    waiting: Text | None = Field(None, description="what waits for the seller's profile")
    released: Text | None = Field(None, description="what has waited and now counts")
    parked: Text | None = Field(None, description="the sale that a return came ahead of")
    lapsed: MinorOrZero | None = Field(None, description="how many have waited in vain")


class PayoutCommand(Published):
    """Pay: the money is reserved. One command for each payout; a repeat has the same id."""

    v: Literal[1]
    type: Literal["payout.command"]
    payout_id: Text
    seller_id: Text
    rail: Text
    currency: Text
    amount_minor: Annotated[int, Field(strict=True, gt=0)]
    fee_minor: MinorOrZero
    destination: Annotated[str, Field(pattern=r"^v1\.", description="sealed")]
    cause: Annotated[Text, Field(description="the event that made the payout due")]
    caused_ms: Ms
    reserved_ms: Ms


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
    at_ms: Ms
    category: FailureCategory | None = None
    reason: str | None = Field(None, description="the rail's word for it")


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
    spent_minor: Annotated[MinorOrZero, Field(description="what had been spent, and stays so")]


class DecisionSource(Published):
    """Which message was decided upon."""

    topic: Text
    partition: Offset
    offset: Offset


class DecisionMade(Published):
    """Whether a sale is paid at once and why, with all the decision was made from."""

    version: Literal[1]
    event_id: Text
    seller_id: Text
    source: DecisionSource
    at_ms: Ms
    tier: Tier
    reasons: list[Text]
    score: Annotated[float, Field(ge=0, le=1)] | None
    model: str | None = Field(description="digest of the model")
    vector: str | None = Field(description="base64 of little-endian 64-bit floats")


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
    "payouts.commands": (PayoutCommand,),
    "payouts.updates": (PayoutUpdated,),
    "spendback.credits": (CreditGranted, CreditUnfired),
    "decisions": (DecisionMade,),
}
"""The messages that each outbound topic carries. ``dead-letters`` carries what came in."""
