"""Labels: what became known of sales releases or forfeits what is held, and teaches the features.

A label comes by its seller. What it tells of a card or device is booked where that is kept: the
label's entry sends it there, over the same topic, keyed by the card or device. So each of these
states has one writer, and no label is lost to another.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from models.events import CommissionLabelled, FraudLabelled, FraudTaught
from models.labels import learn, sale_label
from models.rules import Rules
from models.shards import shard_of
from streams.agents.sales import seller_of
from streams.desk import Desk, Taken
from streams.engine import Batch
from streams.wallets.store import Operation
from streams.wallets.wallets import Wallets


class Labels:
    """Decides about batches of ``fraud.labels``."""

    def __init__(self, desk: Desk, rules: Rules) -> None:
        self._desk = desk
        self._rules = rules

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """One batch, as far as Redis; what is left to do."""
        return (await self._desk.handle(batch, self.decide)).rest

    async def decide(self, taken: Sequence[Taken]) -> list[Operation]:
        """An operation for each event, in order; several of one card or device build on another."""
        wallets = self._desk.wallets
        sellers = {t.event.seller_id for t in taken if isinstance(t.event, FraudLabelled)}
        entities = {t.event.entity for t in taken if isinstance(t.event, FraudTaught)}
        look = await wallets.look(sellers, [(each, shard_of(each)) for each in entities])
        records = await records_of(wallets, taken)
        states = dict(look.states)
        operations = []
        for t, record in zip(taken, records, strict=True):
            event = t.event
            if isinstance(event, FraudTaught):
                operation = learn(event, states.get(event.entity))
                states[event.entity] = operation["state"]
            else:
                seller = seller_of(look, event.seller_id)
                operation = sale_label(event, record, seller, self._rules)
            operations.append(operation)
        return operations


async def records_of(wallets: Wallets, taken: Sequence[Taken]) -> list[bytes | None]:
    """What the sale or commission of each label earned, as stored; None where it is no label."""
    names = [_record_of(t.event) for t in taken]
    wanted = {name: None for name in names if name is not None}
    if not wanted:
        return [None] * len(taken)
    found = dict(zip(wanted, await wallets.records(wanted), strict=True))
    return [None if name is None else found[name] for name in names]


def _record_of(event: Any) -> tuple[str, str] | None:
    if isinstance(event, FraudLabelled):
        return event.seller_id, "s:" + event.sale_id
    if isinstance(event, CommissionLabelled):
        return event.seller_id, "c:" + event.commission_id
    return None
