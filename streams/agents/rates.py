"""Rates: a treasury's mid rates, kept where quotes are made from them."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from models.events import RateQuoted
from models.rules import Rules
from streams.desk import Desk, Taken
from streams.engine import Batch
from streams.wallets.store import Operation


class Rates:
    """Decides about batches of ``rates``."""

    def __init__(self, desk: Desk, rules: Rules) -> None:
        self._desk = desk
        self._rules = rules

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """One batch, as far as Redis; what is left to do."""
        handled = await self._desk.handle(batch, self.decide)
        for one in handled.settled:
            if one.outcome == "booked":
                event: RateQuoted = one.taken.event
                pair = event.source_currency, event.target_currency
                self._desk.metrics.rate_observed(*pair, event.occurred_ms)
        return handled.rest

    async def decide(self, taken: Sequence[Taken]) -> list[Operation]:
        """An operation for each event, in order."""
        return [self._rules.rate(t.event) for t in taken]
