"""Payouts: commands are handed to their rail, once.

First Redis marks the payout as submitted, and only one caller can: whoever finds it marked leaves
it to an enquiry. So a crash between mark and call, or a call without an answer, never sends twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from models.ids import derived
from models.payouts import FailureCategory, PayoutState, enquire_after_ms
from models.rules import transition
from rails.destination import Seal, SealError
from rails.rail import Instruction, Outcome, Rail, failed, unknown
from streams.engine import Batch
from streams.metrics import Metrics
from streams.wallets.store import Operation
from streams.wallets.wallets import Wallets

logger = logging.getLogger(__name__)

SUBMITTING_MAX = 64
"""Calls to rails under way at once, of one worker."""

CALL_MARGIN_MS = 5_000
"""How long after a call must have ended the payout is asked about, if nothing was heard of it."""

Ask = Callable[[Rail, Instruction], Awaitable[Outcome]]


class Cashier:
    """Talks to the rails about payouts, and books what they answer."""

    def __init__(
        self,
        wallets: Wallets,
        rails: Mapping[str, Rail],
        seal: Seal,
        metrics: Metrics,
        *,
        call_ms_max: int,
    ) -> None:
        """``call_ms_max``: how long a call to a rail takes at most, in milliseconds."""
        self._wallets = wallets
        self._rails = rails
        self._seal = seal
        self._metrics = metrics
        self._ask_ms = call_ms_max + CALL_MARGIN_MS
        self._places = asyncio.Semaphore(SUBMITTING_MAX)

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """One batch of ``payouts.commands``: all of it may be done beside the next."""
        return self._handle(batch)

    async def _handle(self, batch: Batch) -> None:
        await self.submit([from_json(message.value or b"") for message in batch.messages])
        batch.ack()

    async def submit(self, payouts: Sequence[Mapping[str, Any]]) -> None:
        """Hand payouts that are reserved to their rails; leave the others alone."""
        marks = [
            {
                **transition(
                    derived(payout["payout_id"] + "/submit"),
                    payout["payout_id"],
                    PayoutState.SUBMITTED,
                ),
                "only_from": PayoutState.RESERVED.value,
                "ask_ms": self._ask_ms,
            }
            for payout in payouts
        ]
        marked = await self._wallets.post(marks)
        mine = [p for p, outcome in zip(payouts, marked, strict=True) if outcome == "booked"]
        await self._call(mine, lambda rail, instruction: rail.submit(instruction), first=True)

    async def enquire(self, payouts: Sequence[Mapping[str, Any]]) -> None:
        """Ask the rails what became of payouts that may be there."""
        await self._call(payouts, lambda rail, instruction: rail.enquire(instruction), first=False)

    async def _call(self, payouts: Sequence[Mapping[str, Any]], ask: Ask, *, first: bool) -> None:
        outcomes = await asyncio.gather(*(self._outcome(p, ask, first=first) for p in payouts))
        operations = [
            self._booking(payout, outcome)
            for payout, outcome in zip(payouts, outcomes, strict=True)
        ]
        booked = await self._wallets.post(operations)
        self._metrics.payouts(
            Counter(
                (payout["rail"], outcome.state)
                for payout, outcome, word in zip(payouts, outcomes, booked, strict=True)
                if word == "booked"
            )
        )

    async def _outcome(self, payout: Mapping[str, Any], ask: Ask, *, first: bool) -> Outcome:
        """What a rail answers. ``first``: the rail has never been told of this payout."""
        rail = self._rails.get(payout["rail"])
        if rail is None:
            return unknown("rail_not_configured", payout.get("provider_ref"))
        try:
            destination = self._seal.open(payout["seller_id"], payout["destination"])
        except SealError:
            if first:
                return failed(FailureCategory.METHOD, "destination_unreadable")
            return unknown("destination_unreadable", payout.get("provider_ref"))
        instruction = Instruction(
            payout_id=payout["payout_id"],
            amount_minor=payout["amount_minor"],
            currency=payout["currency"],
            destination=destination,
            seller_ref=payout["seller_id"],
            provider_ref=payout.get("provider_ref"),
            first_submitted_ms=payout.get("submitted_ms"),
        )
        async with self._places:
            return await ask(rail, instruction)

    def _booking(self, payout: Mapping[str, Any], outcome: Outcome) -> Operation:
        before = PayoutState(payout.get("state", PayoutState.SUBMITTED))
        # A rail that is silent about a payout it has accepted leaves it where it was.
        silent = outcome.state is PayoutState.UNKNOWN and before is not PayoutState.SUBMITTED
        news = not silent and outcome.state is not before
        asked = 0 if news else int(payout.get("asked", 0)) + 1
        operation = transition(
            derived(f"{payout['payout_id']}/{outcome.state}/{payout.get('changed_ms', 0)}"),
            payout["payout_id"],
            outcome.state,
            provider_ref=outcome.provider_ref,
            category=outcome.category,
            reason=outcome.reason,
        )
        if wait_ms := enquire_after_ms(before if silent else outcome.state, asked):
            operation["ask_ms"] = wait_ms
        # The same answer as before is booked as well: it sets the time of the next enquiry.
        operation["again"] = True
        return operation
