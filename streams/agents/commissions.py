"""Commissions: credit the seller, pass the sale's next share up, take back.

Beside them what a person decides: debt that is written off, an unknown payout that is resolved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

from models.decisions import Tier
from models.events import CommissionEarned, CommissionLabelled, DebtWrittenOff, PayoutResolved
from models.ids import shard_of_payout
from models.labels import commission_label
from models.payouts import PayoutState
from models.resolutions import resolution
from models.rules import Rules
from models.shards import shard_of
from streams.agents.labels import records_of
from streams.agents.sales import seller_of
from streams.desk import Desk, Taken, earned
from streams.engine import Batch
from streams.wallets.store import Operation


class Commissions:
    """Decides about batches of ``commissions``."""

    def __init__(self, desk: Desk, rules: Rules) -> None:
        self._desk = desk
        self._rules = rules

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """One batch, as far as Redis; what is left to do."""
        handled = await self._desk.handle(batch, self.decide)
        self._desk.metrics.booked(earned(handled.settled, "commission"))
        self._desk.metrics.payouts(
            Counter(
                (one.operation["rail"], PayoutState(one.operation["state"]))
                for one in handled.settled
                if one.operation["op"] == "resolve" and one.outcome == "booked"
            )
        )
        return handled.rest

    async def decide(self, taken: Sequence[Taken]) -> list[Operation]:
        """An operation for each event, in order.

        A commission has no card or device to score: it is held when its sale is, and when its
        seller is suspended.
        """
        look = await self._desk.wallets.look({t.event.seller_id for t in taken})
        records = await records_of(self._desk.wallets, taken)
        rails = await self._rails(taken)
        operations = []
        for t, record in zip(taken, records, strict=True):
            event = t.event
            seller = seller_of(look, event.seller_id)
            if isinstance(event, CommissionEarned):
                suspended = seller is not None and seller.suspended
                held = suspended or (event.source is not None and event.source.held)
                tier = Tier.HOLD if held else Tier.INSTANT
                operations.append(self._rules.commission(event, seller, tier))
            elif isinstance(event, CommissionLabelled):
                operations.append(commission_label(event, record, seller, self._rules))
            elif isinstance(event, DebtWrittenOff):
                operations.append(self._rules.write_off(event))
            elif isinstance(event, PayoutResolved):
                operations.append(resolution(event) | {"rail": rails.get(event.payout_id)})
            else:
                operations.append(self._rules.reversal(event, seller))
        return operations

    async def _rails(self, taken: Sequence[Taken]) -> dict[str, str]:
        """The rail of each payout that something is said of, as the metrics tell it.

        Looked for in the sellers' own shards only: another may be no one's, and not healed.
        """
        events = [t.event for t in taken if isinstance(t.event, PayoutResolved)]
        named = dict.fromkeys(
            event.payout_id
            for event in events
            if shard_of_payout(event.payout_id) == shard_of(event.seller_id)
        )
        found = await self._desk.wallets.payouts(named) if named else {}
        return {each: payout["rail"] for each, payout in found.items() if payout is not None}
