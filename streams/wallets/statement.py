"""A seller's statement: all that Redis holds of her, without where she is paid to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import from_json

from models.ledger import SELLER_ACCOUNTS
from models.releases import read_pending
from models.sellers import Method, read_seller
from models.shards import shard_of
from streams.connections import stored

PAYOUTS_MAX = 1_000
"""Payouts that a statement shows: the newest."""

PENDING_MAX = 1_000
"""Pending earnings that a statement shows: the first to be released."""

_PAYOUT_FIELDS = (
    *("payout_id", "state", "rail", "currency", "amount_minor", "fee_minor", "cause"),
    *("provider_ref", "category", "reason", "asked", "caused_ms", "reserved_ms", "changed_ms"),
    "resolved",
)


def read_statement(client: Any, seller_id: str) -> dict[str, Any] | None:
    """The statement, amounts in minor units; None if nothing is known of the seller.

    ``client`` is a blocking redis client. Payouts are found by a walk through the key space.
    """
    shard = shard_of(seller_id)
    prefix = f"{{s{shard}}}:"
    pipe = client.pipeline(transaction=False)
    pipe.get(f"{prefix}p:{seller_id}")
    pipe.hgetall(f"{prefix}w:{seller_id}")
    pipe.hgetall(f"{prefix}l:{seller_id}")
    pipe.hgetall(f"{prefix}g:{seller_id}")
    pipe.llen(f"{prefix}q:{seller_id}")
    pipe.hgetall(f"{prefix}L:{seller_id}")
    stored, wallet, lots, discounts, waiting, pending = pipe.execute()
    if stored is None and not wallet and not waiting:
        return None
    payouts = _payouts(client, prefix, seller_id)
    return statement_of(
        seller_id, stored, wallet, lots,
        pending=pending, discounts=discounts, payouts=payouts, waiting=int(waiting),
    )  # fmt: skip


def statement_of(
    seller_id: str,
    stored: bytes | None,
    wallet: Mapping[bytes, bytes],
    lots: Mapping[bytes, bytes],
    *,
    pending: Mapping[bytes, bytes],
    discounts: Mapping[bytes, bytes],
    payouts: Iterable[dict[str, Any]],
    waiting: int,
) -> dict[str, Any]:
    """The statement, from what the keys of a seller hold, and payouts of hers."""
    return {
        "seller_id": seller_id,
        "shard": shard_of(seller_id),
        "profile": None if stored is None else profile_shown(seller_id, stored),
        "accounts": accounts_of(wallet),
        "lots": lots_of(lots),
        "pending": pending_of(pending),
        "discounts": discounts_of(discounts),
        "payouts": _newest(payouts),
        "waiting": waiting,
    }


def profile_shown(seller_id: str, stored: bytes) -> dict[str, Any]:
    seller = read_seller(seller_id, stored)
    return {
        "revision": seller.rev,
        "country": seller.country,
        "zone": seller.zone,
        "status": "suspended" if seller.suspended else "active",
        "sponsor": seller.sponsor_id,
        "methods": [
            {"rails": list(method.rails), "standing": _standing(method)}
            for method in seller.methods
        ],
        "reinvest": {currency: one._asdict() for currency, one in seller.reinvest.items()},
    }


def _standing(method: Method) -> str:
    refusal = method.disabled or method.refused
    return "on file" if refusal is None else f"refused: {refusal}"


def accounts_of(wallet: Mapping[bytes, bytes]) -> dict[str, dict[str, int]]:
    accounts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(SELLER_ACCOUNTS, 0))
    for name, minor in wallet.items():
        currency, _, account = name.decode().partition(":")
        accounts[currency][account] = int(minor)
    return dict(sorted(accounts.items()))


def lots_of(lots: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    found = []
    for lot, value in lots.items():
        currency, left, granted, expires, campaign, *_ = value.decode().split(",")
        found.append(
            {
                "lot": lot.decode(),
                "currency": currency,
                "left_minor": int(left),
                "granted_minor": int(granted),
                "expires_ms": int(expires),
                "campaign": campaign,
            }
        )
    return sorted(found, key=lambda lot: (lot["expires_ms"] or 2**63, lot["lot"]))


def pending_of(pending: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    """What is pending of which earning, until when and why: the soonest to be released first."""
    found = []
    for name, text in pending.items():
        lot, held = read_pending(text.decode())
        kind, _, id_ = name.decode().partition(":")
        found.append(
            {
                "earning": _EARNINGS[kind],
                "id": id_,
                "currency": lot.currency,
                "left_minor": lot.left,
                "held_minor": held,
                "until_ms": lot.until_ms,
                "reason": lot.reason,
            }
        )
    found.sort(key=lambda lot: (lot["until_ms"], lot["id"]))
    return found[:PENDING_MAX]


_EARNINGS = {"s": "sale", "c": "commission"}


def discounts_of(discounts: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    """What a seller may take off purchases to come, soonest expiry first."""
    found = [
        {
            "discount": raw["id"],
            "currency": raw["currency"],
            "percent_bp": raw.get("bp"),
            "cap_minor": raw.get("cap", 0),
            "off_minor": raw.get("amount"),
            "basket_min_minor": raw["min"],
            "products": raw["only"].split("|") if raw["only"] else [],
            "stacks": raw["stacks"],
            "expires_ms": raw["expires"],
            "campaign": raw["campaign"],
        }
        for raw in map(from_json, discounts.values())
    ]
    return sorted(found, key=lambda one: (one["expires_ms"] or 2**63, one["discount"]))


def _payouts(client: Any, prefix: str, seller_id: str) -> Iterator[dict[str, Any]]:
    for _, value in stored(client, f"{prefix}y:*"):
        payout = from_json(value)
        if payout.get("seller_id") == seller_id:
            yield payout


def _newest(payouts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for payout in payouts:
        payout.setdefault("changed_ms", payout["reserved_ms"])
        found.append({name: payout[name] for name in _PAYOUT_FIELDS if name in payout})
    found.sort(key=lambda payout: payout["reserved_ms"], reverse=True)
    return found[:PAYOUTS_MAX]
