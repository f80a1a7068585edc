"""Resolutions: what persons said became of payouts that stay unknown, as the journal tells it.

A rail that was silent, and that never knows, leaves a payout unknown for good. Somebody asks the
provider and tells the product. What is booked then, and what may follow, is checked here from the
journal's entries alone; the wallets go by ``resolve.lua``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models.payouts import PAID, RESOLVED_AS, PayoutState, may_follow
from models.shards import shard_of

if TYPE_CHECKING:
    from models.events import PayoutResolved
    from models.ledger import Entry

RESOLVED = "an unknown payout is resolved once, by somebody, for a reason"


QUIET_MS = 60_000
"""So long before the next enquiry nobody asks a payout's rail, nor so long behind the last one: an
enquiry that is under way leaves its time in the past until its answer is booked, and one that
another worker makes as well is over by then. Clocks of workers differ by less."""


_TOPIC = "commissions"
"""Over which persons say so; what rails say comes over another, or over none."""


def resolution(event: PayoutResolved) -> dict[str, Any]:
    """The operation that books what somebody says of a payout."""
    operation: dict[str, Any] = {
        "op": "resolve",
        "id": event.id,
        "seller": event.seller_id,
        "shard": shard_of(event.seller_id),
        "kind": event.type,
        "payout": event.payout_id,
        "attempt": event.attempt,
        "state": event.outcome.value,
        "currency": event.currency,
        "amount": event.amount_minor,
        "by": event.by,
        "why": event.reason,
        "said": event.occurred_ms,
        "quiet_ms": QUIET_MS,
    }
    return operation | ({} if event.reference is None else {"reference": event.reference})


@dataclass(slots=True)
class Resolutions:
    """What was said of which payout, and what is unknown still."""

    resolved: dict[str, PayoutState] = field(default_factory=dict)
    """By payout: what it was said to be."""
    unknown: set[str] = field(default_factory=set)

    def apply(self, entry: Entry) -> Iterator[str]:
        """Take an entry; what is wrong with it, if those before it are right."""
        if entry.payout is None:
            if entry.resolved is not None:
                yield f"{entry.id} resolves no payout"
            return
        payout_id, state = entry.payout[0], PayoutState(entry.payout[1])
        if entry.resolved is not None:
            yield from self._resolve(entry, payout_id, state)
        elif (said := self.resolved.get(payout_id)) is not None and not may_follow(said, state):
            yield f"{entry.id} takes {payout_id} to {state}, which was resolved as {said}"
        elif entry.kind == f"payout.{state}" and (entry.source or ("",))[0] == _TOPIC:
            yield f"{entry.id} takes {payout_id} to {state}, and names nobody"
        if state is PayoutState.UNKNOWN:
            self.unknown.add(payout_id)
        else:
            self.unknown.discard(payout_id)

    def _resolve(self, entry: Entry, payout_id: str, state: PayoutState) -> Iterator[str]:
        by, reason, _ = entry.resolved or ("", "", "")
        if payout_id in self.resolved:
            yield f"{entry.id} resolves {payout_id} again"
        elif payout_id not in self.unknown:
            yield f"{entry.id} resolves {payout_id}, which is not unknown"
        if state not in RESOLVED_AS or entry.kind != f"payout.{state}":
            yield f"{entry.id} resolves {payout_id} as {state}, and is {entry.kind}"
        if not (by and reason) or by == entry.seller:
            yield f"{entry.id} is by {by or 'nobody'}, because of {reason or 'nothing'}"
        if (moved := _moved(entry)) != (wanted := _wanted(entry, state)):
            yield f"{entry.id} moves {moved} of {payout_id}, as {state} that is {wanted}"
        self.resolved[payout_id] = state


def _moved(entry: Entry) -> tuple[int, int]:
    """What an entry took out of what is in flight, and what of it left over the payout's rail."""
    rail = entry.payout[2] if entry.payout else ""
    flown = sum(p.minor for p in entry.postings if p.account == f"{entry.seller}/in_flight")
    left = sum(p.minor for p in entry.postings if p.account == f"/clearing:{rail}")
    return -flown, left


def _wanted(entry: Entry, state: PayoutState) -> tuple[int, int]:
    """The same of the whole payout, that was paid or was not."""
    amount, fee = entry.payout[3:] if entry.payout else (0, 0)
    return amount + fee, amount if state in PAID else 0
