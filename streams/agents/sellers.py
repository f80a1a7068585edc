"""Sellers: keep the profile, release what waited for it."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from models.events import SellerUpdated
from models.rules import Rules
from models.sellers import Seller, read_seller
from rails.inspection import Inspector
from streams.agents.sales import seller_of
from streams.desk import Desk, Taken
from streams.engine import Batch
from streams.wallets.store import Operation


class Sellers:
    """Decides about batches of ``sellers``."""

    def __init__(self, desk: Desk, rules: Rules, inspector: Inspector) -> None:
        self._desk = desk
        self._rules = rules
        self._inspector = inspector

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """One batch, as far as Redis; what is left to do."""
        return (await self._desk.handle(batch, self.decide)).rest

    async def decide(self, taken: Sequence[Taken]) -> list[Operation]:
        """An operation for each event, in order; several of one seller build on each other."""
        look = await self._desk.wallets.look({t.event.seller_id for t in taken}, waiting=True)
        known: dict[str, Seller | None] = {}
        operations = []
        for t in taken:
            event: SellerUpdated = t.event
            seller_id = event.seller_id
            first = seller_id not in known
            before = seller_of(look, seller_id) if first else known[seller_id]
            if before is not None and event.occurred_ms < before.occurred_ms:
                known[seller_id] = before
                operations.append(self._rules.outdated(event, before))
                continue
            waiting = look.waiting.get(seller_id, []) if first else []
            rev = before.rev if before else 0
            methods = self._inspector.methods(event)
            operation = self._rules.profile(event, methods, before, waiting)
            known[seller_id] = read_seller(seller_id, f"{rev + 1}|{operation['profile']}".encode())
            operations.append(operation)
        return operations
