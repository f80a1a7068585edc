"""Sellers: what is kept of a seller's profile, and what decisions read from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from models.accounts import account_key
from models.events import SellerStatus, SellerUpdated
from models.features import Profile
from models.reinvestment import Standing
from models.uplines import upline_key

EXPIRED = "destination_expired"
"""Why a card is not paid whose month is over."""


class Method(NamedTuple):
    """One way to pay a seller.

    ``destination`` is sealed. ``rails``: over which it may be paid. ``refused``: why it cannot be
    paid at all, as a code that the company can show; ``disabled``: why a rail refused it for good.
    ``until_ms``: from when on it cannot be paid (a card that expires); 0 for never.
    ``account``: its fingerprint, by which sellers on one account are told; None: there is none.
    """

    destination: str
    rails: tuple[str, ...]
    refused: str | None = None
    disabled: str | None = None
    until_ms: int = 0
    account: str | None = None

    def refusal(self, now_ms: int) -> str | None:
        """Why it cannot be paid now; None if it can."""
        expired = EXPIRED if 0 < self.until_ms <= now_ms else None
        return self.disabled or self.refused or expired


@dataclass(frozen=True, slots=True)
class Seller:
    """A seller's profile as the wallets keep it. ``rev`` counts its changes, from 1."""

    seller_id: str
    rev: int
    country: str
    zone: str
    suspended: bool
    sponsor_id: str | None
    occurred_ms: int
    methods: tuple[Method, ...]
    """Ways to pay her, in her order."""
    profile: Profile
    tier: str | None = None
    """Her rank, in the company's own words."""
    tags: frozenset[str] = frozenset()
    reinvest: Mapping[str, Standing] = field(default_factory=dict)
    """What of her earnings she wants to become credit, by currency."""


@lru_cache(maxsize=65_536)
def read_seller(seller_id: str, stored: bytes) -> Seller:
    """A profile as Redis holds it: ``<revision>|<JSON>``."""
    rev, _, body = stored.partition(b"|")
    raw = from_json(body)
    suspended = raw["status"] != SellerStatus.ACTIVE
    methods = tuple(_method(one) for one in raw.get("methods", ()))
    accounts = dict.fromkeys(one.account for one in methods if one.account)
    sponsor = raw.get("sponsor")
    return Seller(
        seller_id,
        int(rev),
        raw["country"],
        raw["zone"],
        suspended,
        sponsor,
        raw["occurred"],
        methods,
        Profile(
            raw["country"],
            raw.get("joined"),
            raw.get("changed"),
            suspended,
            tuple(map(account_key, accounts)),
            None if sponsor is None else upline_key(sponsor),
        ),
        raw.get("tier"),
        frozenset(raw.get("tags", ())),
        {currency: Standing(*terms) for currency, terms in raw.get("reinvest", {}).items()},
    )


def _method(raw: dict[str, Any]) -> Method:
    return Method(
        raw["destination"],
        tuple(raw["rails"]),
        raw.get("refused"),
        raw.get("disabled"),
        raw.get("until", 0),
        raw.get("account"),
    )


def stored_profile(event: SellerUpdated, methods: Sequence[Method], before: Seller | None) -> str:
    """The JSON to keep of a profile event and its inspected methods.

    A destination that a rail refused for good stays disabled.
    """
    raw: dict[str, object] = {
        "country": event.country,
        "zone": event.zone,
        "status": event.status.value,
        "occurred": event.occurred_ms,
    }
    if event.sponsor_id and event.sponsor_id != event.seller_id:
        raw["sponsor"] = event.sponsor_id
    if event.tier is not None:
        raw["tier"] = event.tier
    if event.tags:
        raw["tags"] = sorted(set(event.tags))
    if event.joined_at:
        raw["joined"] = round(event.joined_at.timestamp() * 1000)
    if event.payout and event.payout.changed_at:
        raw["changed"] = round(event.payout.changed_at.timestamp() * 1000)
    wanted = {currency: one for currency, one in event.reinvest.items() if one.percent}
    if wanted:
        raw["reinvest"] = {c: Standing(one.percent, one.keep_minor) for c, one in wanted.items()}
    if methods:
        known = {one.destination: one.disabled for one in before.methods} if before else {}
        raw["methods"] = [_stored(one, known.get(one.destination)) for one in methods]
    return to_json(raw).decode()


def _stored(method: Method, disabled: str | None) -> dict[str, object]:
    raw: dict[str, object] = {"destination": method.destination, "rails": method.rails}
    if method.refused:
        raw["refused"] = method.refused
    if disabled:
        raw["disabled"] = disabled
    if method.until_ms:
        raw["until"] = method.until_ms
    if method.account:
        raw["account"] = method.account
    return raw
