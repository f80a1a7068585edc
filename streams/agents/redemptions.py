"""Redemptions: credit spent on products, purchases at the till, reinvestments, conversions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, get_args

from models.events import ConversionMade, ConversionQuoted, CreditRedeemed, EarningsReinvested
from models.rules import Rules
from models.till import PurchaseEvent
from streams.desk import Desk, Taken
from streams.engine import Batch
from streams.wallets.store import Operation

_STEPS = {"quote": "quoted", "convert": "converted"}


class Redemptions:
    """Decides about batches of ``redemptions``."""

    def __init__(self, desk: Desk, rules: Rules) -> None:
        self._desk = desk
        self._rules = rules
        self._deciders: dict[type[Any], Callable[[Any], Operation]] = {
            CreditRedeemed: rules.redemption,
            **dict.fromkeys(get_args(PurchaseEvent), rules.purchase),
            EarningsReinvested: rules.reinvestment,
            ConversionMade: rules.converted,
        }

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """One batch, as far as Redis; what is left to do."""
        handled = await self._desk.handle(batch, self.decide)
        done = (_STEPS.get(o.operation["op"]) for o in handled.settled if o.outcome == "booked")
        self._desk.metrics.conversions(Counter(step for step in done if step))
        return handled.rest

    async def decide(self, taken: Sequence[Taken]) -> list[Operation]:
        """An operation for each event, in order."""
        pairs = {_pair(t.event) for t in taken if isinstance(t.event, ConversionQuoted)}
        rates = {pair: await self._desk.wallets.rate(*pair) for pair in pairs}
        return [
            self._rules.quoted(t.event, rates[_pair(t.event)])
            if isinstance(t.event, ConversionQuoted)
            else self._deciders[type(t.event)](t.event)
            for t in taken
        ]


def _pair(event: ConversionQuoted) -> tuple[str, str]:
    return event.source_currency, event.target_currency
