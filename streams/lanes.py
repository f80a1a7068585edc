"""Lanes: what is due at rails is carried out rail by rail, and enquiries beside submissions.

A rail that hangs, or has its payouts wait for their turn, fills its own lane and holds up no other:
neither another rail's nor the one in which it is asked what became of its payouts.
"""

from __future__ import annotations

from asyncio import TaskGroup
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json

from models.payouts import PayoutState
from streams.agents.payouts import Cashier
from streams.wallets.store import Due, ShardStanding

LANE_PAYOUTS_MAX = 1_000
"""Payouts in one lane at a time, of one worker. The others stay due where they are."""


class Lane(NamedTuple):
    """Where payouts wait for nothing but each other."""

    rail: str
    is_new: bool
    """Whether they are handed over; otherwise the rail is asked about them."""


class Lanes:
    """All lanes of a worker, and how far it has looked into each shard's timers."""

    def __init__(self, cashier: Cashier) -> None:
        self._cashier = cashier
        self._inside: dict[Lane, set[str]] = defaultdict(set)
        self._passed_over: dict[int, int] = {}

    @property
    def passed_over(self) -> Mapping[int, int]:
        """How many of the first timers of a shard are left out at the next look: their lanes were
        full, or they were in them. Else what is due behind them would never be seen."""
        return self._passed_over

    def page(self, timers_max: int) -> int:
        """How many timers of a shard to look at: a quarter while a lane is full, as one that is
        looked at and left costs as much as one that is carried out."""
        is_full = any(len(inside) >= LANE_PAYOUTS_MAX for inside in self._inside.values())
        return max(1, timers_max // 4) if is_full else timers_max

    def send(self, standings: Mapping[int, ShardStanding], page: int, tasks: TaskGroup) -> None:
        """Payouts that are due enter their lanes, as far as there is room. Nobody waits for them.

        ``page``: the most timers of a shard that a look shows.
        """
        entering: dict[Lane, list[dict[str, Any]]] = defaultdict(list)
        for shard, at in standings.items():
            left = sum(not self._enter(due, entering) for due in at.timers)
            before = self._passed_over.pop(shard, 0)
            if len(at.timers) == page:
                self._passed_over[shard] = before + left
        for lane, payouts in entering.items():
            tasks.create_task(self._carry_out(lane, payouts))

    def _enter(self, due: Due, entering: Mapping[Lane, list[dict[str, Any]]]) -> bool:
        """Whether a payout enters its lane, or has none."""
        if due.stored is None:
            return True
        payout = from_json(due.stored)
        lane = Lane(payout["rail"], payout["state"] == PayoutState.RESERVED)
        inside = self._inside[lane]
        if due.timer in inside or len(inside) >= LANE_PAYOUTS_MAX:
            return False
        inside.add(due.timer)
        entering[lane].append(payout)
        return True

    async def _carry_out(self, lane: Lane, payouts: Sequence[Mapping[str, Any]]) -> None:
        try:
            # The command of a new one was lost between Kafka and the rail, or is late; the mark
            # makes a second one harmless.
            await (self._cashier.submit if lane.is_new else self._cashier.enquire)(payouts)
        finally:
            self._inside[lane].difference_update(payout["payout_id"] for payout in payouts)
