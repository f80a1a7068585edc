"""Sellers: what is kept of a seller's profile, and what decisions read from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pydantic_core import from_json, to_json

from models.events import SellerStatus, SellerUpdated
from models.features import Profile


@dataclass(frozen=True, slots=True)
class Seller:
    """A seller's profile as the wallets keep it. ``rev`` counts its changes, from 1.

    ``destination`` is sealed; ``refused`` says that a rail refused it for good.
    """

    seller_id: str
    rev: int
    country: str
    zone: str
    suspended: bool
    sponsor_id: str | None
    occurred_ms: int
    rail: str | None
    destination: str | None
    refused: bool
    profile: Profile

    @property
    def payable(self) -> bool:
        """Whether there is somewhere to send money, and nothing that forbids it."""
        return self.rail is not None and not self.refused and not self.suspended


@lru_cache(maxsize=65_536)
def read_seller(seller_id: str, stored: bytes) -> Seller:
    """A profile as Redis holds it: ``<revision>|<JSON>``."""
    rev, _, body = stored.partition(b"|")
    raw = from_json(body)
    suspended = raw["status"] != SellerStatus.ACTIVE
    return Seller(
        seller_id,
        int(rev),
        raw["country"],
        raw["zone"],
        suspended,
        raw.get("sponsor"),
        raw["occurred"],
        raw.get("rail"),
        raw.get("destination"),
        raw.get("refused", False),
        Profile(raw["country"], raw.get("joined"), raw.get("changed"), suspended),
    )


def stored_profile(event: SellerUpdated, before: Seller | None) -> str:
    """The JSON to keep of a profile event. A destination that a rail refused stays refused."""
    raw: dict[str, object] = {
        "country": event.country,
        "zone": event.zone,
        "status": event.status.value,
        "occurred": event.occurred_ms,
    }
    if event.sponsor_id and event.sponsor_id != event.seller_id:
        raw["sponsor"] = event.sponsor_id
    if event.joined_at:
        raw["joined"] = round(event.joined_at.timestamp() * 1000)
    if event.payout:
        raw["rail"] = event.payout.rail
        raw["destination"] = event.payout.destination
        if event.payout.changed_at:
            raw["changed"] = round(event.payout.changed_at.timestamp() * 1000)
        if before and before.refused and before.destination == event.payout.destination:
            raw["refused"] = True
    return to_json(raw).decode()
