"""Endpoints: what the API offers, as a table, and what each does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from models.events import (
    TAGS_MAX,
    CreditRedeemed,
    EarningsReinvested,
    Event,
    Exchange,
    PayoutPreference,
    ReinvestPreferences,
    SellerStatus,
    SellerUpdated,
)
from models.fields import AmountMinor, Country, CurrencyCode, Id, Label, Moment, Ref, Zone
from models.fx import Wanted, convert, decimal_rate, quote
from models.ids import shard_of_payout
from models.payouts import PayoutState
from models.quotes import Quote
from models.refusals import Denied, Reason
from models.rules import Rules
from models.sellers import Seller, read_seller
from rails.registry import provider
from rails.settings import RailSettings
from streams.agents.payouts import CANCEL, cancellable
from streams.api.booking import Answered, Bookings, Requested
from streams.api.keys import Key, Scope
from streams.api.problems import Problem
from streams.engine import Outgoing
from streams.engine.errors import DeliveryFailed, EngineNotRunning
from streams.wallets.statement import (
    PENDING_MAX,
    accounts_of,
    discounts_of,
    lots_of,
    pending_of,
    profile_shown,
)
from streams.wallets.store import Operation
from streams.wallets.wallets import Wallets

E = TypeVar("E", bound=Event)

Minor = Annotated[int, Field(description="integer minor units")]
AtMs = Annotated[int, Field(description="milliseconds since the epoch")]


class Body(BaseModel):
    """What a request asks for. A field that is not known is refused: it may be a misspelt one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Redemption(Body):
    """Spendback credit is spent on the company's products."""

    currency: CurrencyCode
    amount_minor: AmountMinor
    order_ref: Ref = Field(description="what it is spent on")


class ReinvestRequest(Body):
    """Earnings that are available are to become credit now, with the policy's bonus."""

    currency: CurrencyCode
    amount_minor: AmountMinor | None = Field(
        None, description="integer minor units; without it all that is available"
    )


class PayoutRequest(Body):
    """All that is available in a currency is to be paid out now."""

    currency: CurrencyCode
    quote_id: Id | None = Field(
        None, description="a quote for `currency`, which is used first; both are done, or neither"
    )


class QuoteRequest(Body, Exchange):
    """Money of one currency is wanted in another: either amount is given."""


class ConversionRequest(Body):
    """What a quote is for is to be exchanged."""

    quote_id: Id


class ProfileUpdate(Body):
    """A seller's profile, whole, as in `seller.updated`; replaces the one before."""

    country: Country
    zone: Zone = "UTC"
    status: SellerStatus = SellerStatus.ACTIVE
    sponsor_id: Id | None = None
    joined_at: Moment | None = None
    tier: Label | None = Field(None, description="her rank, in the company's own words")
    tags: Annotated[list[Label], Field(max_length=TAGS_MAX)] = Field(
        default_factory=list, description="what else campaigns choose sellers by"
    )
    payout: PayoutPreference | None = Field(None, description="destinations are sealed")
    reinvest: ReinvestPreferences = Field(
        default_factory=dict, description="what of her earnings becomes credit, by currency"
    )


class Balances(BaseModel):
    """A seller's accounts in one currency."""

    available: Minor
    held: Minor
    pending: Annotated[int, Field(description="integer minor units, to be released later")]
    in_flight: Minor
    authorised: Annotated[int, Field(description="integer minor units, of open purchases")]
    quoted: Annotated[int, Field(description="integer minor units, of open quotes")] = 0
    credit: Minor
    debt: Annotated[int, Field(description="integer minor units, zero or below")]


class Lot(BaseModel):
    """Credit of one grant, or what was reinvested, or the bonus on that."""

    lot: str
    currency: str
    left_minor: Minor
    granted_minor: Minor
    expires_ms: Annotated[int, Field(description="milliseconds since the epoch; 0 for never")]
    campaign: str = Field(
        description="`@reinvested` for what was reinvested, `@reinvest-bonus` for the bonus on it"
    )


class PendingEarning(BaseModel):
    """What of an earning is not hers yet: until when, and why."""

    earning: Literal["sale", "commission"]
    id: str = Field(description="of the sale or commission")
    currency: str
    left_minor: Minor
    held_minor: Annotated[int, Field(description="integer minor units, before any return")]
    until_ms: AtMs
    reason: str = Field(description="the code that the company's schedule gives, `return_window`")


class Discount(BaseModel):
    """Something off one purchase to come: a share of it, or an amount."""

    discount: str
    currency: str
    percent_bp: int | None = Field(None, description="in basis points; in place of `off_minor`")
    cap_minor: Annotated[int, Field(description="the most with `percent_bp`; 0 for no cap")] = 0
    off_minor: int | None = Field(None, description="integer minor units")
    basket_min_minor: Minor
    products: list[str] = Field(description="groups of products that it is for; empty for all")
    stacks: bool = Field(description="whether it is used together with others that stack")
    expires_ms: Annotated[int, Field(description="milliseconds since the epoch; 0 for never")]
    campaign: str


class Wallet(BaseModel):
    """What a seller has. Nothing for one who is not known."""

    seller_id: str
    accounts: dict[str, Balances] = Field(description="by currency")
    lots: list[Lot] = Field(description="unspent credit, soonest expiry first")
    pending: list[PendingEarning] = Field(
        description=f"the first {PENDING_MAX:,} to be released, soonest first"
    )
    discounts: list[Discount] = Field(description="unused discounts, soonest expiry first")
    waiting: int = Field(description="events that wait for her profile")


class Method(BaseModel):
    """A way to pay her; never to where."""

    rails: list[str]
    standing: str = Field(description="`on file`, or `refused: <code>`")


class Reinvesting(BaseModel):
    """How much of each earning in a currency becomes credit."""

    percent: int
    keep_minor: Annotated[int, Field(description="integer minor units that stay available")]


class Profile(BaseModel):
    """A seller's profile, as the wallets have it."""

    revision: int
    country: str
    zone: str
    status: str
    sponsor: str | None = None
    methods: list[Method]
    reinvest: dict[str, Reinvesting] = Field(description="by currency")


class Payout(BaseModel):
    """A payout as it stands."""

    payout_id: str
    state: PayoutState
    rail: str
    currency: str
    amount_minor: Minor
    fee_minor: Minor
    attempt: int
    reserved_ms: AtMs
    changed_ms: AtMs
    category: str | None = None
    reason: str | None = Field(None, description="the rail's word for it")


class Booked(BaseModel):
    """A request that is booked. A repeat of it is answered alike, whatever happened since."""

    id: str = Field(description="the id of its journal entry")
    at_ms: AtMs
    currency: str
    balances: Balances = Field(description="of the currency, behind it")


class BookedPayout(Booked):
    """A payout that is reserved, and on its way to its rail."""

    payout_id: str
    rail: str
    amount_minor: Minor
    fee_minor: Minor


class BookedReinvestment(Booked):
    """Earnings that are credit now."""

    amount_minor: Minor
    bonus_minor: Minor


class Quoted(Booked):
    """A promise of a rate; what is to be sold is reserved until it is used or its time is over."""

    quote_id: str
    target_currency: str
    sold_minor: Annotated[int, Field(description="minor units of `currency`")]
    bought_minor: Annotated[int, Field(description="minor units of `target_currency`")]
    markup_minor: Annotated[int, Field(description="the company's, in `target_currency`")]
    rounding_minor: Annotated[int, Field(description="lost to whole minor units, the same")]
    mid: Annotated[str, Field(description="mid rate: a decimal, of 12 digits at most")]
    rate: Annotated[str, Field(description="the seller's: mid less markup, told likewise")]
    rate_id: Annotated[str, Field(description="the event that the rate came by")]
    expires_ms: AtMs


class Converted(Quoted):
    """A quote that was used: what was sold is gone, what was bought has come."""

    target_balances: Balances = Field(description="of the target currency, behind it")


class Accepted(BaseModel):
    """An event that stands in its topic: workers take it from there."""

    id: str = Field(description="of the event, or of the payout that is to be stopped")
    status: Literal["accepted"] = "accepted"


class Call(NamedTuple):
    """A request that may be made: who makes it, and what was read of it."""

    key: Key
    path: Mapping[str, str]
    """The ids in its path, by their names there."""
    query: Any
    body: Any
    requested: Requested | None

    @property
    def seller_id(self) -> str:
        """Whose wallet it is about."""
        return self.path["seller_id"]

    @property
    def to_book(self) -> Requested:
        """What is to be booked once."""
        if self.requested is None:
            raise RuntimeError("an endpoint that books takes an Idempotency-Key")
        return self.requested


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that can be asked."""

    name: str
    method: str
    path: str
    scope: Scope
    summary: str
    status: int
    answer: type[BaseModel]
    body: type[Body] | None = None
    query: type[Body] | None = None
    keyed: bool = False
    """Whether it takes an Idempotency-Key."""
    refusals: Sequence[Reason | Denied] = ()
    """Codes of its own, beside those of every request."""


SELLER = "/v1/sellers/{seller_id}"

ENDPOINTS = (
    Endpoint("wallet", "GET", f"{SELLER}/wallet", Scope.READ,
             "Balances, and credit by lot", 200, Wallet),
    Endpoint("profile", "GET", f"{SELLER}/profile", Scope.READ,
             "The profile that the wallets have", 200, Profile,
             refusals=(Denied.NOT_FOUND,)),
    Endpoint("update_profile", "PUT", f"{SELLER}/profile", Scope.PROFILE,
             "Replace the profile: preferences and destinations too", 202, Accepted,
             body=ProfileUpdate),
    Endpoint("redeem", "POST", f"{SELLER}/redemptions", Scope.SPEND,
             "Spend credit, soonest expiry first", 201, Booked,
             body=Redemption, keyed=True, refusals=(Reason.INSUFFICIENT_CREDIT,)),
    Endpoint("reinvest", "POST", f"{SELLER}/reinvestments", Scope.SPEND,
             "Turn what is available into credit", 201, BookedReinvestment,
             body=ReinvestRequest, keyed=True, refusals=(
                 Reason.UNKNOWN_SELLER, Reason.SELLER_SUSPENDED, Reason.NOTHING_AVAILABLE,
                 Reason.INSUFFICIENT_FUNDS)),
    Endpoint("pay", "POST", f"{SELLER}/payouts", Scope.PAY,
             "Pay out now what is available", 201, BookedPayout,
             body=PayoutRequest, keyed=True, refusals=(
                 Reason.PAYOUT_NOT_POSSIBLE, Reason.NOTHING_AVAILABLE, Reason.RAILS_CLOSED,
                 Reason.DAY_LIMIT, Reason.AMOUNT_BELOW_MINIMUM, Reason.CURRENCY_MISMATCH,
                 Reason.QUOTE_UNKNOWN, Reason.QUOTE_USED, Reason.QUOTE_EXPIRED)),
    Endpoint("quote", "POST", f"{SELLER}/quotes", Scope.EXCHANGE,
             "Promise a rate for a while, and reserve what is to be sold", 201, Quoted,
             body=QuoteRequest, keyed=True, refusals=(
                 Reason.UNKNOWN_SELLER, Reason.SELLER_SUSPENDED, Reason.RATE_UNKNOWN,
                 Reason.RATE_EXPIRED, Reason.CONVERSION_TOO_SMALL,
                 Reason.INSUFFICIENT_AVAILABLE)),
    Endpoint("convert", "POST", f"{SELLER}/conversions", Scope.EXCHANGE,
             "Exchange what a quote is for, at its rate", 201, Converted,
             body=ConversionRequest, keyed=True, refusals=(
                 Reason.QUOTE_UNKNOWN, Reason.QUOTE_USED, Reason.QUOTE_EXPIRED)),
    Endpoint("payout", "GET", f"{SELLER}/payouts/{{payout_id}}", Scope.READ,
             "A payout as it stands", 200, Payout, refusals=(Reason.UNKNOWN_PAYOUT,)),
    Endpoint("cancel", "POST", f"{SELLER}/payouts/{{payout_id}}/cancel", Scope.PAY,
             "Have a payout stopped, if it still can be", 202, Accepted,
             refusals=(Reason.UNKNOWN_PAYOUT, Denied.TOO_LATE_TO_CANCEL)),
)  # fmt: skip
"""What the counter does; :mod:`streams.api.routes` has everything."""

Send = Callable[[Sequence[Outgoing]], Awaitable[object]]


class Counter:
    """Does what is asked: one method an endpoint, under its name."""

    def __init__(
        self,
        wallets: Wallets,
        bookings: Bookings,
        rules: Rules,
        send: Send,
        rails: Mapping[str, RailSettings],
    ) -> None:
        self._wallets = wallets
        self._bookings = bookings
        self._rules = rules
        self._send = send
        self._rails = rails

    async def wallet(self, call: Call) -> BaseModel:
        """What a seller has."""
        holdings = await self._wallets.holdings(call.seller_id)
        return Wallet.model_validate(
            {
                "seller_id": call.seller_id,
                "accounts": accounts_of(holdings.accounts),
                "lots": lots_of(holdings.lots),
                "pending": pending_of(holdings.pending),
                "discounts": discounts_of(holdings.discounts),
                "waiting": holdings.waiting,
            }
        )

    async def profile(self, call: Call) -> BaseModel:
        """Her profile, without where she is paid to."""
        stored = (await self._wallets.holdings(call.seller_id)).profile
        if stored is None:
            raise Problem(Denied.NOT_FOUND, "no profile of this seller has come")
        return Profile.model_validate(profile_shown(call.seller_id, stored))

    async def update_profile(self, call: Call) -> BaseModel:
        """Her profile goes to the topic that all profiles come from: it is whole, so that it does
        not matter what another source has sent before."""
        update: ProfileUpdate = call.body
        event = SellerUpdated(
            id=str(uuid4()),
            occurred_at=datetime.now(UTC),
            seller_id=call.seller_id,
            **{name: getattr(update, name) for name in ProfileUpdate.model_fields},
        )
        await self._publish("sellers", call.seller_id, to_json(event, exclude_none=True))
        return Accepted(id=event.id)

    async def redeem(self, call: Call) -> BaseModel:
        """Credit is spent."""
        body: Redemption = call.body

        async def decide() -> Operation:
            return self._rules.redemption(told(CreditRedeemed, call))

        answered = await self._booked(call, decide)
        return Booked(**booked(answered, body.currency))

    async def reinvest(self, call: Call) -> BaseModel:
        """Earnings become credit."""
        body: ReinvestRequest = call.body

        async def decide() -> Operation:
            seller = await self._seller(call.seller_id) if self._rules.boosts else None
            return self._rules.reinvestment(told(EarningsReinvested, call), seller)

        answered = await self._booked(call, decide)
        amount_minor, bonus_minor = answered.figures["reinvested"]
        return BookedReinvestment(
            **booked(answered, body.currency), amount_minor=amount_minor, bonus_minor=bonus_minor
        )

    async def _seller(self, seller_id: str) -> Seller | None:
        stored = (await self._wallets.look([seller_id])).profiles.get(seller_id)
        return None if stored is None else read_seller(seller_id, stored)

    async def pay(self, call: Call) -> BaseModel:
        """What is available is paid out."""
        body: PayoutRequest = call.body

        async def decide() -> Operation:
            seller = await self._seller(call.seller_id)
            pay = self._rules.pay(seller, body.currency)
            named = {"pay": pay, "quote": body.quote_id}
            return {key: value for key, value in named.items() if value is not None} | {
                "op": "request",
                "kind": "payout.requested",
                "currency": body.currency,
                "rev": 0 if seller is None else seller.rev,
            }

        answered = await self._booked(call, decide)
        payout_id, _, rail, amount_minor, fee_minor = answered.figures["payout"]
        return BookedPayout(
            **booked(answered, body.currency), payout_id=payout_id, rail=rail,
            amount_minor=amount_minor, fee_minor=fee_minor,
        )  # fmt: skip

    async def quote(self, call: Call) -> BaseModel:
        """A rate is promised."""
        body: QuoteRequest = call.body
        source, target = body.source_currency, body.target_currency
        wanted = Wanted(source, target, body.source_minor, body.target_minor)
        # A quote is known by the request that asked for it.
        id_ = "" if call.requested is None else call.requested.id

        async def decide() -> Operation:
            rate = await self._wallets.rate(source, target)
            policy = self._rules.policy.fx
            return quote(id_, call.seller_id, id_, wanted, rate, policy=policy)

        return Quoted(**_quoted(await self._booked(call, decide)))

    async def convert(self, call: Call) -> BaseModel:
        """A quote is used."""
        body: ConversionRequest = call.body

        async def decide() -> Operation:
            return convert("", call.seller_id, body.quote_id)

        answered = await self._booked(call, decide)
        return Converted(**_quoted(answered), target_balances=_balances(answered.figures["also"]))

    async def payout(self, call: Call) -> BaseModel:
        """A payout as it stands."""
        found = await self._payout_of(call)
        return Payout.model_validate({"changed_ms": found["reserved_ms"], **found})

    async def cancel(self, call: Call) -> BaseModel:
        """Ask the workers to stop a payout."""
        found = await self._payout_of(call)
        if not self._stoppable(found):
            raise Problem(Denied.TOO_LATE_TO_CANCEL, f"it is {found['state']}")
        order = {
            "v": 1,
            "type": CANCEL,
            "payout_id": found["payout_id"],
            "seller_id": call.seller_id,
            "at_ms": time.time_ns() // 1_000_000,
        }
        await self._publish("payouts.commands", call.seller_id, to_json(order))
        return Accepted(id=found["payout_id"])

    async def _booked(self, call: Call, decide: Callable[[], Awaitable[Operation]]) -> Answered:
        return await self._bookings.book(call.to_book, decide)

    async def _payout_of(self, call: Call) -> Mapping[str, Any]:
        """Raises Problem if there is none, or it is another seller's."""
        payout_id = call.path["payout_id"]
        try:
            shard_of_payout(payout_id)
        except ValueError:
            raise Problem(Reason.UNKNOWN_PAYOUT) from None
        found = (await self._wallets.payouts([payout_id]))[payout_id]
        if found is None or found["seller_id"] != call.seller_id:
            raise Problem(Reason.UNKNOWN_PAYOUT)
        return found

    def _stoppable(self, payout: Mapping[str, Any]) -> bool:
        rail = self._rails.get(payout["rail"])
        return payout["state"] == PayoutState.RESERVED or (
            rail is not None and cancellable(payout["state"], provider(rail.provider).capabilities)
        )

    async def _publish(self, topic: str, seller_id: str, value: bytes) -> None:
        try:
            await self._send([Outgoing(topic, seller_id.encode(), value)])
        except (DeliveryFailed, EngineNotRunning) as error:
            raise Problem(Denied.UNAVAILABLE, retry_s=1.0) from error


def told(event: type[E], call: Call) -> E:
    """What is asked for, as the event that would tell of it: rules know no other way in."""
    return event(
        id=call.to_book.id,
        occurred_at=datetime.now(UTC),
        **call.path,
        **(call.body.model_dump() if call.body is not None else {}),
    )


def booked(answered: Answered, currency: str) -> dict[str, Any]:
    """The fields of :class:`Booked`."""
    figures = answered.figures
    return {
        "id": answered.id,
        "at_ms": figures["at_ms"],
        "currency": currency,
        "balances": _balances(figures),
    }


def _balances(figures: Mapping[str, Any]) -> Balances:
    # An answer that an older version kept does not know every account.
    return Balances(**{name: figures.get(name, 0) for name in Balances.model_fields})


def _quoted(answered: Answered) -> dict[str, Any]:
    found = Quote(**answered.figures["quote"])
    return booked(answered, found.source) | {
        "quote_id": found.id,
        "target_currency": found.target,
        "sold_minor": found.sold,
        "bought_minor": found.bought,
        "markup_minor": found.markup,
        "rounding_minor": found.rounding,
        "mid": decimal_rate(found.numerator, found.denominator),
        "rate": decimal_rate(found.numerator, found.denominator, found.markup_bp),
        "rate_id": found.rate,
        "expires_ms": found.expires,
    }
