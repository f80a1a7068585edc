"""Redemptions: credit spent on the company's products, purchases at the till, reinvestments."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, get_args

from models.events import CreditRedeemed, EarningsReinvested
from models.rules import Rules
from models.sellers import read_seller
from models.till import PurchaseEvent
from streams.desk import Desk, Taken
from streams.engine import Batch
from streams.wallets.store import Operation


class Redemptions:
    """Decides about batches of ``redemptions``."""

    def __init__(self, desk: Desk, rules: Rules) -> None:
        self._desk = desk
        self._rules = rules
        self._deciders: dict[type[Any], Callable[[Any], Operation]] = {
            CreditRedeemed: rules.redemption,
            **dict.fromkeys(get_args(PurchaseEvent), rules.purchase),
        }

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """One batch, as far as Redis; what is left to do."""
        return (await self._desk.handle(batch, self.decide)).rest

    async def decide(self, taken: Sequence[Taken]) -> list[Operation]:
        """An operation for each event, in order."""
        profiles = await self._profiles(taken)
        return [self._decided(t.event, profiles) for t in taken]

    async def _profiles(self, taken: Sequence[Taken]) -> Mapping[str, bytes]:
        """Of those who reinvest, where campaigns have a bonus for some of them."""
        wanted = {t.event.seller_id for t in taken if isinstance(t.event, EarningsReinvested)}
        if not wanted or not self._rules.boosts:
            return {}
        return (await self._desk.wallets.look(wanted)).profiles

    def _decided(self, event: Any, profiles: Mapping[str, bytes]) -> Operation:
        if isinstance(event, EarningsReinvested):
            stored = profiles.get(event.seller_id)
            seller = None if stored is None else read_seller(event.seller_id, stored)
            return self._rules.reinvestment(event, seller)
        return self._deciders[type(event)](event)
