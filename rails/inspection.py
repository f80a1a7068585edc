"""Inspection: what can be said of a way to pay a seller before any money is reserved for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from models.events import PayoutMethod, SellerUpdated
from models.sellers import EXPIRED, Method
from rails.destination import Seal, SealError
from rails.expiry import expires_ms
from rails.fingerprint import fingerprint
from rails.rail import wall_clock_ms

Refusal = Callable[[str], str | None]
"""Why a provider cannot pay to an opened destination, as a code; None if it can."""

UNREADABLE = "destination_unreadable"
OTHER_KIND = "destination_invalid"
"""What a provider says of a destination that is none of its kinds at all."""


class Inspector:
    """Opens destinations and asks the providers' own checks about them. Nothing of them is kept."""

    def __init__(
        self,
        seal: Seal,
        refusals: Mapping[str, Refusal],
        now_ms: Callable[[], int] = wall_clock_ms,
        *,
        account_key: bytes = b"",
    ) -> None:
        """``refusals``: each rail's check, by the rail's name. ``account_key``: what accounts are
        fingerprinted by; without it they are not."""
        self._seal = seal
        self._refusals = refusals
        self._now_ms = now_ms
        self._account_key = account_key

    def methods(self, event: SellerUpdated) -> list[Method]:
        """The ways to pay a seller that a profile names, in her order, inspected."""
        if event.payout is None:
            return []
        wanted = (event.payout, *event.payout.others)
        return [self.inspect(event.seller_id, method) for method in wanted]

    def inspect(self, seller_id: str, method: PayoutMethod) -> Method:
        """The method with the rails that can pay to it, or why none can."""
        asked = (method.rail,) if method.rail is not None else tuple(self._refusals)
        try:
            destination = self._seal.open(seller_id, method.destination)
        except SealError:
            return Method(method.destination, asked, UNREADABLE)
        until_ms = expires_ms(destination)
        account = fingerprint(destination, self._account_key) if self._account_key else None
        known = Method(method.destination, asked, until_ms=until_ms, account=account)
        if 0 < until_ms <= self._now_ms():
            return known._replace(refused=EXPIRED)
        refusals = {
            rail: self._refusals[rail](destination) if rail in self._refusals else "rail_unknown"
            for rail in asked
        }
        rails = tuple(rail for rail, refusal in refusals.items() if refusal is None)
        if rails:
            return known._replace(rails=rails)
        # Of a kind that a rail does take, its own word is the one that helps.
        reasons = sorted(set(refusals.values()) - {None, OTHER_KIND}, key=str) or [OTHER_KIND]
        return known._replace(refused=reasons[0])
