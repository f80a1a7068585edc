"""What befalls a simulated history, and when: drawn from its seed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.log import PARTITIONS

if TYPE_CHECKING:
    from tests.simulation.world import World


class Faults:
    """Plans faults and carries them out. ``done``: how many there were."""

    def __init__(self, world: World) -> None:
        self.done = 0
        self._world = world
        self._stopped = False
        self._snapshots: list[asyncio.Task[None]] = []
        self._kinds: tuple[tuple[Callable[[], None], float], ...] = (
            (self.kill, 20.0),
            (self.kill_all, 4.0),
            (self.rebalance, 10.0),
            (self.zombies, 14.0),
            (self.redis_restarts, 6.0),
            (self.redis_rewinds, 14.0),
            (self.redis_emptied, 4.0),
            (self.redis_flushed, 3.0),
            (self.redis_down, 6.0),
            (self.redis_full, 4.0),
            (self.network_cut, 6.0),
            (self.broker_stalls, 8.0),
            (self.clock_jumps, 4.0),
            (self.rail_down, 5.0),
        )

    def plan(self, span_s: float) -> None:
        """Draw the faults of a history and their times."""
        dice = self._world.dice
        for _ in range(dice.one_of(((0, 4.0), (1, 12.0), (2, 20.0), (4, 30.0), (8, 20.0)))):
            self._world.loop.call_at(
                dice.random() * (span_s + 1), self._strike, dice.one_of(self._kinds)
            )

        if dice.chance(0.4):
            self._world.loop.call_at(dice.random() * (span_s + 1), self._snapshot)

    def _snapshot(self) -> None:
        self._snapshots.append(self._world.loop.create_task(self._world.snapshots.take()))

    def stop(self) -> None:
        """Nothing more befalls the world, and what did is over."""
        world = self._world
        self._stopped = True
        world.redis.refuse_writes(full=False)
        world.redis_down_until_s = 0.0
        world.bank.down_until_s = 0.0
        world.log.stalled_until.clear()
        for worker in world.workers.values():
            worker.server.cut_until_s = 0.0

    def _strike(self, kind: Callable[[], None]) -> None:
        if not self._stopped:
            self.done += 1
            self._world.note("FAULT %s", kind.__name__)
            kind()

    def kill(self) -> None:
        """A worker is killed."""
        dice = self._world.dice
        self._world.kill(dice.choice(sorted(self._world.slots)), dice.choice((0.05, 1.0, 4.0)))

    def kill_all(self) -> None:
        """All workers are killed."""
        for slot in self._world.slots:
            self._world.kill(slot, self._world.dice.random() * 2)

    def rebalance(self) -> None:
        """Partitions are dealt out anew, in good order."""
        self._world.rebalance(polite=True)

    def zombies(self) -> None:
        """Partitions are dealt out anew; who loses some goes on for a while."""
        self._world.rebalance(polite=False)

    def redis_restarts(self) -> None:
        """Redis restarts and has everything."""
        self._world.redis.restart()

    def redis_rewinds(self) -> None:
        """Redis restarts, or a replica takes over, without the last acknowledged writes."""
        calls = self._world.dice.choice((1, 2, 3, 5, 10, 40))
        self._world.note("%d of %d calls are lost", calls, self._world.redis.calls)
        self._world.redis.rewind(calls)

    def redis_emptied(self) -> None:
        """Redis restarts with nothing."""
        self._world.redis.emptied()

    def redis_flushed(self) -> None:
        """Somebody deletes every key."""
        self._world.redis.empty()

    def redis_down(self) -> None:
        """Nobody reaches Redis for a while."""
        self._world.redis_down_until_s = self._world.loop.time() + self._world.dice.random() * 3

    def redis_full(self) -> None:
        """Redis refuses writes for a while."""
        world = self._world
        world.redis.refuse_writes(full=True)
        world.loop.call_later(world.dice.random() * 2, self._room)

    def _room(self) -> None:
        self._world.redis.refuse_writes(full=False)

    def network_cut(self) -> None:
        """One worker does not reach Redis for a while."""
        world = self._world
        worker = world.workers[world.dice.choice(sorted(world.slots))]
        worker.server.cut_until_s = world.loop.time() + world.dice.random() * 4

    def broker_stalls(self) -> None:
        """Some partitions take nothing for a while."""
        world, dice = self._world, self._world.dice
        topics = ("ledger", "commissions", "payouts.commands", "decisions", "dead-letters")
        for topic in dice.sample(topics, dice.randint(1, 3)):
            until_s = world.loop.time() + dice.random() * 4
            world.log.stalled_until[topic, dice.randrange(PARTITIONS)] = until_s

    def clock_jumps(self) -> None:
        """The clocks are set ahead a little."""
        self._world.ahead_ms += self._world.dice.choice((1, 500, 5_000, 40_000))

    def rail_down(self) -> None:
        """The rail answers no enquiry for a while."""
        self._world.bank.down_until_s = self._world.loop.time() + self._world.dice.random() * 5
