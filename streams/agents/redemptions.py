"""Redemptions: credit spent, purchases that a till takes, and money in another currency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from models.events import (
    ConversionMade,
    ConversionQuoted,
    CreditRedeemed,
    PurchaseAuthorised,
    PurchaseCaptured,
    PurchaseRefunded,
    PurchaseVoided,
)
from models.rules import Rules
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
            PurchaseAuthorised: rules.authorisation,
            PurchaseCaptured: rules.captured,
            PurchaseVoided: rules.voided,
            PurchaseRefunded: rules.refunded,
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
