"""The till: the operations of a purchase that is paid from a wallet, and how one stands.

Pure. A purchase is authorised, then captured, whole or in parts; what is not captured is voided or
expires, and what was captured may be refunded. Which lots, discounts and earnings it takes is
decided where the balances are (``till.lua``); :class:`Authorised` says it. An event and a request
over HTTP come to the same operation by :func:`operation_of`, which is booked like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic_core import from_json

from models.events import (
    PurchaseAuthorised,
    PurchaseCaptured,
    PurchaseRefunded,
    PurchaseVoided,
)
from models.policy import TillPolicy

Operation = dict[str, Any]

PurchaseEvent = PurchaseAuthorised | PurchaseCaptured | PurchaseVoided | PurchaseRefunded
"""What a till tells or asks."""


class BasketLine(NamedTuple):
    """A line of a basket: the group that its product is of, and its amount in minor units."""

    group: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Discount:
    """What a seller may take off one purchase to come. Amounts in minor units.

    Either ``percent_bp`` basis points of what it is for, at most ``cap_minor`` (0: no cap), or
    ``amount_minor``. ``only``: the groups of products that it is for; empty for any. One that
    ``stacks`` may be used together with others that do.
    """

    id: str
    currency: str
    campaign: str
    expires_ms: int = 0
    percent_bp: int = 0
    cap_minor: int = 0
    amount_minor: int = 0
    basket_min_minor: int = 0
    only: tuple[str, ...] = ()
    stacks: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError if it takes nothing off, or both a share and an amount."""
        if (self.percent_bp > 0) == (self.amount_minor > 0):
            raise ValueError(f"discount {self.id}: either a percentage or an amount")

    def stored(self) -> dict[str, Any]:
        """As the booking function keeps it."""
        worth: dict[str, Any] = (
            {"bp": self.percent_bp, "cap": self.cap_minor}
            if self.percent_bp
            else {"amount": self.amount_minor}
        )
        return worth | {
            "id": self.id,
            "currency": self.currency,
            "campaign": self.campaign,
            "expires": self.expires_ms,
            "min": self.basket_min_minor,
            "only": "|".join(self.only),
            "stacks": self.stacks,
        }


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a purchase and where it comes from: ``available``, a lot or a discount."""

    account: str
    """``available``, ``credit`` or ``discount``."""
    id: str | None
    """The lot's or discount's."""
    campaign: str | None
    amount_minor: int
    captured_minor: int
    refunded_minor: int
    released_minor: int


@dataclass(frozen=True, slots=True)
class Authorised:
    """An authorisation as it stands. Amounts in minor units, times in ms since the epoch."""

    authorisation_id: str
    currency: str
    amount_minor: int
    captured_minor: int
    refunded_minor: int
    released_minor: int
    expires_ms: int
    partial: bool
    """Whether less was there than the till asked for."""
    ended: str | None
    """``captured``, ``voided`` or ``expired`` once nothing is left to capture."""
    order_ref: str | None
    parts: tuple[Part, ...]

    @property
    def left_minor(self) -> int:
        """What can still be captured."""
        return self.amount_minor - self.captured_minor - self.released_minor

    @classmethod
    def parse(cls, stored: bytes) -> Authorised:
        """From what the booking function keeps."""
        raw: dict[str, Any] = from_json(stored)
        return cls(
            raw["id"],
            raw["currency"],
            raw["amount"],
            raw["captured"],
            raw["refunded"],
            raw["released"],
            raw["expires"],
            raw.get("partial", False),
            raw.get("ended"),
            raw.get("order"),
            tuple(_part(one) for one in raw["parts"]),
        )


def _part(raw: dict[str, Any]) -> Part:
    figures = (raw["amount"], raw["captured"], raw["refunded"], raw["released"])
    if "discount" in raw:
        discount = raw["discount"]
        return Part("discount", discount["id"], discount["campaign"], *figures)
    if "lot" in raw:
        return Part("credit", raw["lot"], raw["campaign"], *figures)
    return Part(raw["account"], None, None, *figures)


def authorise(
    operation_id: str,
    seller_id: str,
    authorisation_id: str,
    currency: str,
    amount_minor: int,
    *,
    policy: TillPolicy,
    lines: Sequence[BasketLine] = (),
    order_ref: str | None = None,
    partial: bool = False,
    discounts: bool = True,
) -> Operation:
    """Take a purchase from the wallet, not for good yet.

    ``amount_minor``: what is to be paid in all; ``lines``: what of it is for products of which
    group, for what may be spent on some only. ``partial``: less will do, if less is there.
    ``discounts``: whether those she has are used.
    """
    operation = _operation("authorise", operation_id, seller_id, authorisation_id) | {
        "currency": currency,
        "amount": amount_minor,
        "lines": [list(line) for line in lines],
        "good_ms": policy.authorisation_ms,
        "from_available": policy.from_available,
        "partial": partial,
        "discounts": discounts,
    }
    if order_ref is not None:
        operation["order"] = order_ref
    return operation


def capture(
    operation_id: str,
    seller_id: str,
    authorisation_id: str,
    currency: str,
    amount_minor: int,
    *,
    policy: TillPolicy,
    occurred_ms: int,
    final: bool = False,
) -> Operation:
    """Take what was authorised for good, whole or a part. ``final``: the rest is released."""
    return _operation("capture", operation_id, seller_id, authorisation_id) | {
        "currency": currency,
        "amount": amount_minor,
        "occurred": occurred_ms,
        "final": final,
        "grace_ms": policy.release_grace_ms,
    }


def void(
    operation_id: str,
    seller_id: str,
    authorisation_id: str,
    *,
    policy: TillPolicy,
    occurred_ms: int,
) -> Operation:
    """Release what is authorised and not captured."""
    return _operation("void", operation_id, seller_id, authorisation_id) | {
        "occurred": occurred_ms,
        "grace_ms": policy.release_grace_ms,
    }


def refund(
    operation_id: str,
    seller_id: str,
    authorisation_id: str,
    currency: str,
    amount_minor: int,
    *,
    policy: TillPolicy,
) -> Operation:
    """Give back what was captured, whole or a part, to where it came from."""
    return _operation("refund", operation_id, seller_id, authorisation_id) | {
        "currency": currency,
        "amount": amount_minor,
        "grace_ms": policy.refund_grace_ms,
    }


_KINDS = {
    "authorise": "purchase.authorised",
    "capture": "purchase.captured",
    "void": "purchase.voided",
    "refund": "purchase.refunded",
}


def _operation(op: str, operation_id: str, seller_id: str, authorisation_id: str) -> Operation:
    return {
        "op": op,
        "kind": _KINDS[op],
        "id": operation_id,
        "seller": seller_id,
        "authorisation": authorisation_id,
    }


def operation_of(event: PurchaseEvent, policy: TillPolicy) -> Operation:
    """What books an event of a purchase, or a request over HTTP, which is told as such an event."""
    names = (event.id, event.seller_id, event.authorisation_id)
    match event:
        case PurchaseAuthorised():
            return authorise(
                *names, event.currency, event.amount_minor, policy=policy,
                lines=[BasketLine(line.group, line.amount_minor) for line in event.lines],
                order_ref=event.order_ref, partial=event.partial, discounts=event.discounts,
            )  # fmt: skip
        case PurchaseCaptured():
            return capture(
                *names, event.currency, event.amount_minor, policy=policy,
                occurred_ms=event.occurred_ms, final=event.final,
            )  # fmt: skip
        case PurchaseVoided():
            return void(*names, policy=policy, occurred_ms=event.occurred_ms)
        case PurchaseRefunded():
            return refund(*names, event.currency, event.amount_minor, policy=policy)


def give_discount(operation_id: str, seller_id: str, discount: Discount) -> Operation:
    """Give a seller a discount on a purchase to come."""
    return {
        "op": "give_discount",
        "kind": "discount.granted",
        "id": operation_id,
        "seller": seller_id,
        "discount": discount.stored(),
    }
