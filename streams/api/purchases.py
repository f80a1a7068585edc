"""Purchases over HTTP: authorised, captured, voided and refunded, as the events of ``redemptions``.

What is asked for is told to the same rules as such an event, and booked by the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from models.events import (
    LINES_MAX,
    PurchaseAuthorised,
    PurchaseCaptured,
    PurchaseRefunded,
    PurchaseVoided,
)
from models.fields import AmountMinor, AmountMinorOrZero, CurrencyCode, Id, Ref
from models.refusals import Reason
from models.rules import Rules
from models.till import Authorised, PurchaseEvent
from streams.api.booking import Bookings
from streams.api.endpoints import SELLER, AtMs, Body, Booked, Call, Endpoint, Minor, booked, told
from streams.api.keys import Scope
from streams.api.problems import Problem
from streams.wallets.store import Operation
from streams.wallets.wallets import Wallets


class Line(Body):
    """A line of a basket, for credit and discounts that are for some products only."""

    group: Ref = Field(description="the group of products that the company's campaigns name")
    amount_minor: AmountMinorOrZero


class PurchaseRequest(Body):
    """A purchase is to be paid from the wallet: discounts, then credit, then earnings."""

    authorisation_id: Id = Field(description="unique for ever for the seller")
    currency: CurrencyCode
    amount_minor: AmountMinor = Field(description="what is to be paid in all")
    order_ref: Ref | None = None
    lines: Annotated[tuple[Line, ...], Field(max_length=LINES_MAX)] = Field(
        (), description="what of the amount is for products of which group"
    )
    partial: Annotated[bool, Field(strict=True)] = Field(
        False, description="authorise what there is, if it is less"
    )
    discounts: Annotated[bool, Field(strict=True)] = Field(
        True, description="use the discounts that take most off"
    )


class CaptureRequest(Body):
    """The purchase is made, whole or in part: what it takes is spent."""

    currency: CurrencyCode
    amount_minor: AmountMinor
    final: Annotated[bool, Field(strict=True)] = Field(
        False, description="no more will be captured: release the rest"
    )


class RefundRequest(Body):
    """Goods came back: what was captured goes back to where it came from, whole or in part."""

    currency: CurrencyCode
    amount_minor: AmountMinor


Account = Literal["discount", "credit", "available"]


class Figures(BaseModel):
    """What was authorised, and what became of it."""

    amount_minor: Annotated[int, Field(description="integer minor units, authorised in all")]
    captured_minor: Minor
    refunded_minor: Annotated[int, Field(description="integer minor units, of what was captured")]
    released_minor: Minor


class Purchase(Figures):
    """An authorisation. What is neither captured nor released can still be captured."""

    authorisation_id: str
    currency: str
    left_minor: Annotated[int, Field(description="integer minor units that can be captured")]
    expires_ms: AtMs
    partial: bool = Field(description="whether less was there than was asked for")
    ended: Literal["captured", "voided", "expired"] | None = Field(
        None, description="why nothing of it is left to capture"
    )
    sources: dict[Account, Figures] = Field(description="where it was taken from")


class Part(Figures):
    """What of a purchase comes from one lot of credit, one discount, or from earnings."""

    account: Account
    id: str | None = Field(None, description="the lot's or discount's")
    campaign: str | None = None


class WholePurchase(Purchase):
    """An authorisation as it stands, with every lot and discount that it takes from."""

    order_ref: str | None = None
    parts: list[Part] = Field(description="in the order in which they are captured")


class BookedPurchase(Booked):
    """What a till asked for is booked."""

    purchase: Purchase = Field(description="the authorisation, behind it")


_ALL = f"{SELLER}/authorisations"
_ONE = f"{_ALL}/{{authorisation_id}}"

PURCHASES = (
    Endpoint("authorise", "POST", _ALL, Scope.BUY,
             "Take a purchase from the wallet, not for good yet", 201, BookedPurchase,
             body=PurchaseRequest, keyed=True, refusals=(
                 Reason.UNKNOWN_SELLER, Reason.SELLER_SUSPENDED, Reason.AUTHORISATION_REUSED,
                 Reason.INSUFFICIENT_FUNDS)),
    Endpoint("authorisation", "GET", _ONE, Scope.READ,
             "An authorisation as it stands", 200, WholePurchase,
             refusals=(Reason.UNKNOWN_AUTHORISATION,)),
    Endpoint("capture", "POST", f"{_ONE}/captures", Scope.BUY,
             "Take it for good, whole or a part", 201, BookedPurchase,
             body=CaptureRequest, keyed=True, refusals=(
                 Reason.UNKNOWN_AUTHORISATION, Reason.CURRENCY_MISMATCH,
                 Reason.AUTHORISATION_EXPIRED, Reason.AUTHORISATION_CLOSED,
                 Reason.CAPTURE_EXCEEDS_AUTHORISATION)),
    Endpoint("void", "POST", f"{_ONE}/voids", Scope.BUY,
             "Release what is not captured", 201, BookedPurchase, keyed=True, refusals=(
                 Reason.UNKNOWN_AUTHORISATION, Reason.AUTHORISATION_EXPIRED,
                 Reason.AUTHORISATION_CLOSED)),
    Endpoint("refund", "POST", f"{_ONE}/refunds", Scope.REFUND,
             "Give back what was captured, whole or a part", 201, BookedPurchase,
             body=RefundRequest, keyed=True, refusals=(
                 Reason.UNKNOWN_AUTHORISATION, Reason.CURRENCY_MISMATCH,
                 Reason.REFUND_EXCEEDS_CAPTURE)),
)  # fmt: skip
"""What a till can ask."""

_EVENTS: Mapping[str, type[PurchaseEvent]] = MappingProxyType({
    "authorise": PurchaseAuthorised,
    "capture": PurchaseCaptured,
    "void": PurchaseVoided,
    "refund": PurchaseRefunded,
})  # fmt: skip


class Till:
    """Does what a till asks: one method an endpoint, under its name."""

    def __init__(self, wallets: Wallets, bookings: Bookings, rules: Rules) -> None:
        self._wallets = wallets
        self._bookings = bookings
        self._rules = rules

    async def authorise(self, call: Call) -> BaseModel:
        """A purchase is taken from the wallet."""
        return await self._booked("authorise", call)

    async def capture(self, call: Call) -> BaseModel:
        """It is made, whole or in part."""
        return await self._booked("capture", call)

    async def void(self, call: Call) -> BaseModel:
        """What is left of it is not needed."""
        return await self._booked("void", call)

    async def refund(self, call: Call) -> BaseModel:
        """Goods came back."""
        return await self._booked("refund", call)

    async def authorisation(self, call: Call) -> BaseModel:
        """An authorisation as it stands."""
        name = call.path["authorisation_id"]
        found = await self._wallets.authorised(call.seller_id, name)
        if found is None:
            raise Problem(Reason.UNKNOWN_AUTHORISATION)
        return _whole(found)

    async def _booked(self, name: str, call: Call) -> BaseModel:
        async def decide() -> Operation:
            return self._rules.purchase(told(_EVENTS[name], call))

        answered = await self._bookings.book(call.to_book, decide)
        purchase = _purchase(answered.figures["purchase"])
        return BookedPurchase(**booked(answered, purchase.currency), purchase=purchase)


def _purchase(raw: Mapping[str, Any]) -> Purchase:
    """From what ``till.lua`` answers a request with."""
    figures = _figures(*raw["figures"])
    return Purchase(
        **dict(figures),
        authorisation_id=raw["id"],
        currency=raw["currency"],
        left_minor=_left(figures),
        expires_ms=raw["expires"],
        partial=raw.get("partial", False),
        ended=raw.get("ended"),
        sources={account: _figures(*of) for account, of in raw["by"].items()},
    )


def _whole(found: Authorised) -> WholePurchase:
    parts = [Part.model_validate(part, from_attributes=True) for part in found.parts]
    sums: dict[Account, list[int]] = {}
    for part in parts:
        of = sums.setdefault(part.account, [0] * len(Figures.model_fields))
        for place, name in enumerate(Figures.model_fields):
            of[place] += getattr(part, name)
    return WholePurchase(
        **{name: getattr(found, name) for name in Figures.model_fields},
        authorisation_id=found.authorisation_id,
        currency=found.currency,
        left_minor=found.left_minor,
        expires_ms=found.expires_ms,
        partial=found.partial,
        ended=found.ended,
        order_ref=found.order_ref,
        sources={account: _figures(*of) for account, of in sums.items()},
        parts=parts,
    )


def _figures(amount: int, captured: int, refunded: int, released: int) -> Figures:
    return Figures(
        amount_minor=amount,
        captured_minor=captured,
        refunded_minor=refunded,
        released_minor=released,
    )


def _left(figures: Figures) -> int:
    return figures.amount_minor - figures.captured_minor - figures.released_minor
