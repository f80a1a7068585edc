"""The janitor: what is due by the clock, of the shards that this worker looks after.

Coalescing windows and retries that have run out, payouts to ask a rail about, lots that expire,
pending earnings that are released, authorisations and quotes that end, events that waited too long.
Every timer is removed by the operation it leads to, so that one that two workers see is carried out
once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from models.budgets import read_needs, topping_up
from models.rules import Rules
from models.sellers import read_seller
from streams.agents.payouts import Cashier
from streams.lanes import Lanes
from streams.metrics import Metrics
from streams.wallets.store import NOTHING, Clock, Due, Operation, ShardStanding, Timers
from streams.wallets.wallets import Wallets

logger = logging.getLogger(__name__)

ROUND_INTERVAL_S = 0.5
"""Time between two looks at the timers."""

TIMERS_MAX = 200
"""Timers of a shard that are taken in one round."""

OUTBOX_AGE_MAX_S = 10.0
"""How long an entry may stand in an outbox before whoever booked it is taken for dead."""


class Round(NamedTuple):
    """Timers that are looked after together."""

    which: Timers
    shards: Callable[[], Sequence[int]]
    """The shards of which this worker looks after these timers now."""


class Janitor:
    """Carries out timers, and empties the outboxes of the dead."""

    def __init__(
        self,
        wallets: Wallets,
        cashier: Cashier,
        rules: Rules,
        rounds: Sequence[Round],
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """``rounds``: what this worker looks after."""
        self._wallets = wallets
        self._lanes = Lanes(cashier)
        self._rules = rules
        self._rounds = rounds
        self._clock = clock
        self._metrics = metrics
        self._first_seen: dict[int, tuple[int, float]] = {}
        """Shard → the first seq of its outbox, and since when it has been that."""

    async def run(self) -> None:
        """Go on until cancelled. Each round keeps its own time: a slow rail holds up no booking.

        Nor does a round wait for what it began at rails.
        """
        async with asyncio.TaskGroup() as tasks:
            for one in self._rounds:
                tasks.create_task(_again_and_again(partial(self._begin, one, tasks)))

    async def once(self) -> int:
        """Go one round of each kind; how many timers were carried out."""
        return sum([await self.round(one) for one in self._rounds])

    async def round(self, one: Round) -> int:
        """Carry out what is due, to its end; how many timers that were."""
        async with asyncio.TaskGroup() as tasks:
            return await self._begin(one, tasks)

    async def _begin(self, one: Round, tasks: asyncio.TaskGroup) -> int:
        """Book what is due, or begin with it at the rails; how many timers that were."""
        mine = one.shards()
        if not mine:
            return 0
        at_rails = one.which is Timers.RAIL
        page = self._lanes.page(TIMERS_MAX) if at_rails else TIMERS_MAX
        passed_over = self._lanes.passed_over if at_rails else NOTHING
        standings = await self._wallets.due(mine, one.which, page, passed_over)
        found = [(shard, due) for shard, at in standings.items() for due in at.timers]
        if at_rails:
            self._lanes.send(standings, page, tasks)
            await self._post([_drop(*each) for each in found if each[1].stored is None])
        else:
            await self._look_at_outboxes(standings)
            await self._book(found)
        self._metrics.timers("rail" if at_rails else "booking", len(found))
        return len(found)

    async def _book(self, found: Sequence[tuple[int, Due]]) -> None:
        budgets = [each for each in found if each[1].timer.startswith("bud:")]
        await self._post([self._booking(*each) for each in found if each not in budgets])
        for shard, due in budgets:
            await self._top_up(shard, due)

    async def _post(self, operations: Sequence[Operation]) -> None:
        if operations:
            outcomes = await self._wallets.post(operations)
            ended = zip(operations, outcomes, strict=True)
            expired = sum(one["op"] == "unquote" and done == "booked" for one, done in ended)
            self._metrics.conversions({"expired": expired})

    async def _top_up(self, shard: int, due: Due) -> None:
        """See that a shard has what it needs of a campaign's budget, as far as anything is left.

        Each step counts for ever before the next is booked.
        """
        needs = read_needs(due.timer, due.stored or b"")
        steps = topping_up(shard, needs, self._rules.budget(needs.campaign, needs.currency))
        try:
            operations = next(steps)
            while True:
                operations = steps.send(await self._wallets.post(operations))
        except StopIteration as end:
            top_up: Operation | None = end.value
        if top_up is not None:
            await self._wallets.post([{**top_up, "timer": due.timer, "due": due.due_ms}])

    async def _look_at_outboxes(self, standings: Mapping[int, ShardStanding]) -> None:
        """Say what waits and how old the outboxes are; publish what stays in them."""
        self._metrics.waiting("sales", sum(at.waiting for at in standings.values()))
        self._metrics.waiting("returns", sum(at.parked for at in standings.values()))
        pending: Counter[str] = Counter()
        for at in standings.values():
            pending.update(at.pending)
        self._metrics.pending(pending)
        held_since = [at.held_since_ms for at in standings.values() if at.held_since_ms is not None]
        oldest_ms = self._clock() - min(held_since) if held_since else 0
        self._metrics.review(sum(at.held for at in standings.values()), max(0, oldest_ms) / 1000)
        now = asyncio.get_running_loop().time()
        first_seen: dict[int, tuple[int, float]] = {}
        for shard, at in standings.items():
            if at.outbox_first is None:
                continue
            seq, since = self._first_seen.get(shard, (at.outbox_first, now))
            first_seen[shard] = (seq, since) if seq == at.outbox_first else (at.outbox_first, now)
        self._first_seen = first_seen
        ages = {shard: now - since for shard, (_, since) in first_seen.items()}
        waiting = sum(at.outbox_length for at in standings.values())
        self._metrics.outbox(waiting, max(ages.values(), default=0.0))
        stuck = [shard for shard, age_s in ages.items() if age_s > OUTBOX_AGE_MAX_S]
        if stuck:
            await self._wallets.republish(stuck)

    def _booking(self, shard: int, due: Due) -> Operation:
        kind, _, rest = due.timer.partition(":")
        operation: Operation = {
            "id": f"{due.timer}:{due.due_ms}",
            "shard": shard,
            "timer": due.timer,
            "due": due.due_ms,
        }
        if kind == "pay":
            return operation | self._sweep(rest, due)
        if kind == "lot":
            seller_id, _, lot = rest.rpartition(":")
            return operation | {"op": "expire", "seller": seller_id, "lot": lot}
        if kind == "rel":
            seller_id, currency, record = rest.split("/")
            seller = read_seller(seller_id, due.stored) if due.stored else None
            return operation | self._rules.released(seller_id, seller, currency, record, due.due_ms)
        if kind in {"auth", "discount"}:
            return operation | self._ends_at_the_till(kind, rest)
        if kind == "quote":
            seller_id, _, quote_id = rest.partition("/")
            return operation | {"op": "unquote", "seller": seller_id, "quote": quote_id}
        return operation | {"op": "lapse"}

    def _ends_at_the_till(self, kind: str, rest: str) -> Operation:
        seller_id, _, name = rest.partition("/")
        if kind == "discount":
            return {"op": "expire_discount", "seller": seller_id, "discount": name}
        return {
            "op": "unauthorise",
            "seller": seller_id,
            "authorisation": name,
            "grace_ms": self._rules.policy.till.release_grace_ms,
        }

    def _sweep(self, rest: str, due: Due) -> Operation:
        seller_id, _, currency = rest.rpartition(":")
        seller = read_seller(seller_id, due.stored) if due.stored else None
        sweep: Operation = {
            "op": "sweep",
            "seller": seller_id,
            "currency": currency,
            "rev": seller.rev if seller else 0,
        }
        pay = self._rules.pay(seller, currency)
        if pay is not None:
            sweep["pay"] = pay
        return sweep


def _drop(shard: int, due: Due) -> Operation:
    """Ask no more about a payout that is gone."""
    return {
        "op": "drop",
        "id": f"{due.timer}:{due.due_ms}",
        "shard": shard,
        "payout": due.timer,
        "due": due.due_ms,
    }


async def _again_and_again(work: Callable[[], Awaitable[object]]) -> None:
    while True:
        await work()
        await asyncio.sleep(ROUND_INTERVAL_S)
