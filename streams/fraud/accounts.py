"""Accounts that several sellers are paid to, as their profiles name them now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from models.sellers import read_seller
from streams.connections import stored


@dataclass(frozen=True, slots=True)
class Shared:
    """An account, by its fingerprint, and whom it is paid for, in the order of their ids."""

    fingerprint: str
    sellers: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sharing:
    """What was found among ``profiles`` profiles, of which ``known`` name an account."""

    shared: list[Shared]
    """Those with most sellers first."""
    profiles: int
    known: int


def shared_accounts(client: Any, *, least: int = 2, seller_id: str | None = None) -> Sharing:
    """The accounts that at least so many sellers are paid to; of ``seller_id`` only, if named.

    ``client`` is a blocking redis client. Walks through the key space once, and keeps a fingerprint
    and an id for each seller.
    """
    named: dict[str, set[str]] = {}
    known: set[str] = set()
    profiles: set[str] = set()
    for key, value in stored(client, "{s*}:p:*"):
        seller = read_seller(key.decode().split(":", 2)[2], value)
        profiles.add(seller.seller_id)
        for method in seller.methods:
            if method.account:
                known.add(seller.seller_id)
                named.setdefault(method.account, set()).add(seller.seller_id)
    shared = [
        Shared(fingerprint, sorted(sellers))
        for fingerprint, sellers in named.items()
        if len(sellers) >= least and (seller_id is None or seller_id in sellers)
    ]
    shared.sort(key=lambda one: (-len(one.sellers), one.fingerprint))
    return Sharing(shared, len(profiles), len(known))
