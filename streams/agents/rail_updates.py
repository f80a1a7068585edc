"""Rail updates: what rails say of payouts moves their states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

from models.payouts import PayoutState
from models.rules import Rules
from streams.desk import Desk, Taken
from streams.engine import Batch
from streams.wallets.store import Operation


class RailUpdates:
    """Decides about batches of ``rail.updates``."""

    def __init__(self, desk: Desk, rules: Rules) -> None:
        self._desk = desk
        self._rules = rules

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """One batch, as far as Redis; what is left to do."""
        settled, rest = await self._desk.handle(batch, self.decide)
        self._desk.metrics.payouts(
            Counter(
                (one.taken.event.rail, PayoutState(one.operation["state"]))
                for one in settled
                # Of money that comes back the rail is only asked: that is no state yet.
                if one.outcome == "booked" and one.operation["op"] == "transit"
            )
        )
        for one in settled:
            if one.outcome == "ignored:contradicted":
                self._desk.metrics.contradicted(one.taken.event.rail)
        return rest

    async def decide(self, taken: Sequence[Taken]) -> list[Operation]:
        """An operation for each report, in order."""
        return [self._rules.report(t.event) for t in taken]
