"""Redemptions: credit spent on products, purchases at the till, reinvestments, conversions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, get_args

from models.events import ConversionMade, ConversionQuoted, CreditRedeemed, EarningsReinvested
from models.fx import Rate
from models.rules import Rules
from models.sellers import read_seller
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
        profiles = await self._profiles(taken)
        rates = await self._rates(taken)
        return [self._decided(t.event, profiles, rates) for t in taken]

    async def _profiles(self, taken: Sequence[Taken]) -> Mapping[str, bytes]:
        """Of those who reinvest, where campaigns have a bonus for some of them."""
        wanted = {t.event.seller_id for t in taken if isinstance(t.event, EarningsReinvested)}
        if not wanted or not self._rules.boosts:
            return {}
        return (await self._desk.wallets.look(wanted)).profiles

    async def _rates(self, taken: Sequence[Taken]) -> Mapping[tuple[str, str], Rate | None]:
        """The latest of each pair that somebody wants a quote of."""
        pairs = {_pair(t.event) for t in taken if isinstance(t.event, ConversionQuoted)}
        return await self._desk.wallets.rates(pairs)

    def _decided(
        self,
        event: Any,
        profiles: Mapping[str, bytes],
        rates: Mapping[tuple[str, str], Rate | None],
    ) -> Operation:
        if isinstance(event, EarningsReinvested):
            stored = profiles.get(event.seller_id)
            seller = None if stored is None else read_seller(event.seller_id, stored)
            return self._rules.reinvestment(event, seller)
        if isinstance(event, ConversionQuoted):
            return self._rules.quoted(event, rates[_pair(event)])
        return self._deciders[type(event)](event)


def _pair(event: ConversionQuoted) -> tuple[str, str]:
    return event.source_currency, event.target_currency
