"""Redemptions: credit spent on the company's products, purchases at the till, reinvestments."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, get_args

from models.events import CreditRedeemed, EarningsReinvested
from models.rules import Rules
from models.till import PurchaseEvent
from streams.desk import Desk, Taken
from streams.engine import Batch
from streams.wallets.store import Operation


class Redemptions:
    """Decides about batches of ``redemptions``."""

    def __init__(self, desk: Desk, rules: Rules) -> None:
        self._desk = desk
        self._deciders: dict[type[Any], Callable[[Any], Operation]] = {
            CreditRedeemed: rules.redemption,
            **dict.fromkeys(get_args(PurchaseEvent), rules.purchase),
            EarningsReinvested: rules.reinvestment,
        }

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """One batch, as far as Redis; what is left to do."""
        return (await self._desk.handle(batch, self.decide)).rest

    async def decide(self, taken: Sequence[Taken]) -> list[Operation]:
        """An operation for each event, in order."""
        return [self._deciders[type(t.event)](t.event) for t in taken]
