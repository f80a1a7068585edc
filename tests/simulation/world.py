"""A simulated history: one seed decides everything that happens, down to the last step.

Workers, broker, Redis, rail and client, on virtual time. First all of it runs while faults befall
it; then the faults stop, the clock is set ahead from timer to timer until nothing is left to do,
and everything is judged.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from redis.exceptions import ResponseError

from models import resolutions
from streams import janitor
from streams.engine import Outgoing
from streams.wallets import healing, wallets
from streams.wallets.healing import Diverged
from streams.wallets.library import library
from streams.wallets.server import meta_key
from streams.wallets.store import Timers
from tests.simulation import judge
from tests.simulation.client import HOMES, Client
from tests.simulation.dice import Dice
from tests.simulation.faults import Faults
from tests.simulation.log import PARTITIONS, Log, Place, place_of
from tests.simulation.loop import NothingHappens, VirtualLoop
from tests.simulation.memory import MemoryRedis
from tests.simulation.person import QUIET_MS, Person
from tests.simulation.rail import Bank
from tests.simulation.snapshots import SimulatedSnapshots
from tests.simulation.worker import Asked, Request, SimulatedWorker, company, owner

START_MS = 1_790_000_000_000
"""The wall clock when a history begins, in milliseconds since the epoch."""

SETTLE_S_MAX = 240.0
"""How long a world may take to come to rest."""

JUMPS_MAX = 60
"""How often the clock is set ahead to the next timer."""

COLLECT_EVERY = 50
"""Histories after which garbage is collected: never within one, where it could raise anywhere."""

REBUILD_EVERY = 4
"""In one of so many histories Redis is emptied at the end and made again."""

ROUND_S = 3.0
"""Time between two looks at the timers, in seconds: half of what goes on would be looking."""

REQUESTS_EVERY = 8
"""In one of so many histories requests come over no topic as well."""

ASKED_QUOTES = ("asked-0", "asked-1")
"""Quotes that are asked for by requests, not by events."""

REDONE = "the journal makes every key again"
"""The promise that a Redis which lost everything is made again."""

SESSION_S_MAX = 3.0
"""After which time a dead worker's partitions are given to others, at most."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Scale(NamedTuple):
    """How much happens in a history."""

    sales: tuple[tuple[int, float], ...]
    """How many sales there are, by weight."""
    spans_s: tuple[float, ...]
    """Within how many seconds everything is sent: one of these."""
    look_s: float
    """Time between two looks at what another healer does, in seconds."""


SHORT = Scale(((1, 5.0), (2, 3.0), (3, 2.0)), (0.5, 1.0, 3.0), 0.3)
LONG = Scale(tuple((count, 1.0) for count in range(2, 12)), (1.0, 3.0, 6.0), 0.05)
"""A longer history takes twice the time of a short one."""


class Outcome(NamedTuple):
    """What came of a seed: its violations, and what happened in numbers."""

    seed: int
    violations: list[str]
    events: int
    faults: int
    summary: str
    """A digest of everything that was ever sent: equal for equal histories."""
    digest: str
    """A digest of the trace; empty if none was kept."""
    trace: list[str]


class World:
    """Everything there is. ``tracing`` keeps a line for each step; ``source``: of the functions."""

    def __init__(
        self, seed: int, scale: Scale, *, tracing: bool = False, source: str | None = None
    ) -> None:
        self.source = library().source if source is None else source
        self.dice = Dice(seed)
        self.loop = VirtualLoop(self.dice)
        self.tracing = tracing
        self.trace: list[str] = []
        self.ahead_ms = 0
        self.redis_down_until_s = 0.0
        self.violations: list[str] = []
        self._unsent = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self.settling = False
        self.cut_chance = self.dice.choice((0.0, 0.003, 0.02))
        self.redis = MemoryRedis(self.now_ms)
        self.log = Log(self.now_ms, self._line if tracing else None)
        self.log.heard = self._heard
        self.person = Person(self, seed)
        self.bank = Bank(self)
        self.snapshots = SimulatedSnapshots(self)
        self.workers: dict[str, SimulatedWorker] = {}
        self.assigned: dict[Place, SimulatedWorker | None] = {}
        apart = self.dice.chance(0.25)
        self.slots = (
            {"a": ("book",), "b": ("book",), "c": ("pay",)}
            if apart
            else {"a": ("book", "pay"), "b": ("book", "pay")}
        )
        self._starts = 0
        self._seed = seed
        span_s = self.dice.choice(scale.spans_s)
        self.script = Client(seed, START_MS, self.text, span_s).script(scale.sales)
        self.company = company(
            releasing=self.script.releasing,
            offering=self.script.offering,
            suspecting=self.script.suspecting,
        )
        self._span_s = span_s
        self.requests = self._asked(seed)
        self.answers: dict[str, set[str]] = {}
        """What each request was answered with, by the id of its operation."""
        self._asking = 0
        self.faults = Faults(self)

    # Time and what is told of it

    def now_ms(self) -> int:
        """The wall clock, in milliseconds since the epoch."""
        return START_MS + int(self.loop.time() * 1000) + self.ahead_ms

    @staticmethod
    def text(at_ms: int) -> str:
        """A time as RFC 3339."""
        return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat()

    def note(self, text: str, *values: object) -> None:
        """Keep a line of the trace."""
        if self.tracing:
            self._line(text % values)

    def _line(self, text: str) -> None:
        self.trace.append(f"{self.loop.time():11.6f} {text}")

    async def pause(self) -> None:
        """A step on a network; often it takes no time."""
        if self.dice.chance(0.3):
            return
        future = self.loop.create_future()
        self.loop.call_later(self.dice.pause_s(), _done, future)
        await future

    # What the wallets report

    def redis_retry(self) -> None:
        """A call to Redis is tried again."""

    def healed(self, seconds: float, entries: int, republished: int) -> None:
        """Shards were repaired."""
        self.note("healed: %d redone, %d published again", entries, republished)

    def __getattr__(self, name: str) -> Callable[..., None]:
        # Counters that the wallets may have beside those above are no part of the history.
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **more: None

    # Workers

    def start(self, *slots: str) -> None:
        """A supervisor starts processes; those that are up are left."""
        down = [s for s in slots if s not in self.workers or self.workers[s].dead]
        for slot in down:
            self._starts += 1
            name = f"{slot}{self._starts}"
            self.note("%s starts", name)
            self.workers[slot] = SimulatedWorker(self, name, self.slots[slot])
        if down:
            self.rebalance(polite=True)

    def kill(self, slot: str, back_s: float) -> None:
        """A process is killed, and started again after a while."""
        worker = self.workers[slot]
        if worker.dead:
            return
        worker.die()
        self.loop.call_later(back_s, self.start, slot)
        self.loop.call_later(self.dice.random() * SESSION_S_MAX, self.rebalance)

    def raised(self, worker: SimulatedWorker, error: BaseException) -> None:
        """A worker's task raised: its process ends."""
        cause = judge.cause_of(error)
        self.note("%s raised %r", worker.name, cause)
        if not judge.may_raise(cause):
            for line in traceback.format_exception(cause) if self.tracing else ():
                self.note("%s", line.rstrip())
            text = f"an agent never raises: {type(cause).__name__}: {cause}"
            if text not in self.violations:
                self.violations.append(text)
        slot = next((s for s, w in self.workers.items() if w is worker), None)
        if slot is not None:
            self.kill(slot, 0.5 + self.dice.random())

    def rebalance(self, *, polite: bool = False) -> None:
        """The group's partitions are dealt out anew. Impolitely, a loser learns of it too late."""
        moves: dict[SimulatedWorker, list[Place]] = {}
        for topic in sorted({t for w in self.workers.values() for t in w.topics}):
            able = [w for w in self.workers.values() if topic in w.topics and not w.dead]
            for partition in range(PARTITIONS):
                place = (topic, partition)
                before = self.assigned.get(place)
                if not able or (before in able and self.dice.chance(0.5)):
                    continue
                after = self.dice.choice(able)
                if after is not before:
                    moves.setdefault(after, []).append(place)
        for worker, places in moves.items():
            self._hand_over(worker, places, polite=polite)

    def _hand_over(self, after: SimulatedWorker, places: list[Place], *, polite: bool) -> None:
        losers: dict[SimulatedWorker, list[Place]] = {}
        for place in places:
            before = self.assigned.get(place)
            if before is not None and not before.dead:
                losers.setdefault(before, []).append(place)
            self.assigned[place] = after
        self.note("%s gets %s", after.name, " ".join(f"{t}:{p}" for t, p in places))
        if not polite:
            for loser, lost in losers.items():
                self.loop.call_later(self.dice.random() * 3, self._lose, loser, lost)
            losers = {}
        after.spawn(self._give(after, places, losers))

    def _lose(self, loser: SimulatedWorker, places: list[Place]) -> None:
        mine = [place for place in places if self.assigned.get(place) is not loser]
        if not loser.dead:
            loser.release(mine)

    async def _give(
        self,
        after: SimulatedWorker,
        places: list[Place],
        losers: Mapping[SimulatedWorker, list[Place]],
    ) -> None:
        for loser, lost in losers.items():
            if not loser.dead:
                giving = loser.spawn(loser.give_back(lost))
                await asyncio.wait([giving])
        still = [place for place in places if self.assigned[place] is after]
        committed = {place: self.log.committed[place] for place in still}
        await after.take(still, committed)

    def commit(self, worker: SimulatedWorker, place: Place, offset: int) -> bool:
        """A worker commits an offset; refused unless the partition is its own."""
        if self.assigned.get(place) is not worker:
            return False
        self.note("%s commits %s:%d:%d", worker.name, *place, offset)
        self.log.committed[place] = max(offset, self.log.committed[place])
        return True

    def _heard(self, place: Place) -> None:
        for worker in self.workers.values():
            worker.hear(place)

    def report(self, report: dict[str, Any], tries: int = 0) -> None:
        """The rail calls a webhook; it comes again if nobody answers."""
        alive = [worker for worker in self.workers.values() if not worker.dead]
        if not alive:
            self.loop.call_later(1.0, self.report, report, tries + 1)
            return
        worker = self.dice.choice(alive)
        self.note("report of %s: %s", report["payout_id"], report["state"])
        task = worker._context.run(self.loop.create_task, worker.report(report))

        def answered(task: asyncio.Task[None]) -> None:
            if task.cancelled() or task.exception() is not None:
                self.loop.call_later(0.5 + self.dice.random(), self.report, report, tries + 1)
            else:
                self.bank.reporting -= 1

        task.add_done_callback(answered)

    def _asked(self, seed: int) -> list[Request]:
        """Requests over no topic, in some histories; drawn apart, so that the others stay."""
        asked = []
        if seed % REQUESTS_EVERY == 6:
            dice, reinvesting = Dice(seed + REQUESTS_EVERY), Dice(f"{seed} reinvesting requests")
            for number in range(dice.randint(1, 4)):
                some = self._request(dice, Asked.SPEND, f"k{number}", (0, 50, 120, 400))
                asked.append(some if some.amount else some._replace(does=Asked.PAY))
            asked += [
                self._request(reinvesting, Asked.REINVEST, f"r{number}", (0, 50, 400))
                for number in range(reinvesting.randint(0, 2))
            ]
        if "rates" in self.script.topics:
            dice = Dice(f"{seed} exchanging requests")
            kinds = (Asked.QUOTE, Asked.CONVERT, Asked.PAY)
            asked += [
                self._exchanging(dice, dice.choice(kinds), f"x{number}")
                for number in range(dice.randint(0, 3))
            ]
        return asked

    def _request(self, dice: Dice, does: Asked, key: str, amounts: Sequence[int]) -> Request:
        return Request(
            does, key, dice.choice(self.script.sellers), dice.choice(amounts),
            dice.random() * self._span_s, dice.randint(1, 3),
        )  # fmt: skip

    def _exchanging(self, dice: Dice, does: Asked, key: str) -> Request:
        """A request about a quote; a new one has a name of its own."""
        quotes = ASKED_QUOTES if does is Asked.QUOTE else (*ASKED_QUOTES, *self.script.quotes)
        return self._request(dice, does, key, (7, 60))._replace(quote=dice.choice(quotes))

    def ask(self, request: Request) -> None:
        """Somebody asks a process, and asks again until there is an answer."""
        alive = [w for w in self.workers.values() if not w.dead and "sales" in w.topics]
        if not alive:
            self.loop.call_later(1.0, self.ask, request)
            return
        worker = self.dice.choice(alive)
        self.note("%s is asked for %s of %s", worker.name, request.key, request.seller)
        task = worker._context.run(self.loop.create_task, worker.answer(request))

        def answered(task: asyncio.Task[str]) -> None:
            if task.cancelled() or task.exception() is not None:
                self.loop.call_later(0.5 + self.dice.random(), self.ask, request)
                return
            self._asking -= 1
            self.note("%s is answered %s", request.key, task.result())
            self.answers.setdefault(request.requested.id, set()).add(task.result())

        task.add_done_callback(answered)

    # The course of things

    def run(self) -> Outcome:
        """Live the history to its end, and judge it."""
        loop = self.loop
        loop.set_task_factory(self._begun)
        loop.set_exception_handler(lambda _loop, context: None)
        try:
            loop.run_until_complete(self._live())
            if not self.violations:
                self.violations += judge.violations(self)
        except NothingHappens as error:
            self.violations.append(f"it goes on: {error}")
        finally:
            self._end()
        digest = hashlib.sha256("\n".join(self.trace).encode()).hexdigest() if self.tracing else ""
        return Outcome(
            self._seed, self.violations, len(self.script.messages), self.faults.done,
            self.log.digest(), digest, self.trace,
        )  # fmt: skip

    async def _live(self) -> None:
        self.start(*self.slots)
        self._unsent = len(self.script.messages)
        for message in self.script.messages:
            at_s = (message.at_ms - START_MS) / 1000
            self.loop.call_at(at_s, self._publish, message)
        for request in self.requests:
            for _ in range(request.times):
                self._asking += 1
                self.loop.call_at(request.at_s + self.dice.random(), self.ask, request)
        self.person.plan(self._span_s)
        self.faults.plan(self._span_s)
        await asyncio.sleep(self._span_s + 1.0)
        await self._settle()
        if not self.violations and self._seed % REBUILD_EVERY == 0:
            await self._rebuild()

    def send_later(self, after_s: float, message: Any) -> None:
        """Somebody outside sends a message that is not in the script."""
        self._unsent += 1
        self.loop.call_later(after_s, self._publish, message)

    def _publish(self, message: Any) -> None:
        self._unsent -= 1
        outgoing = Outgoing(message.topic, message.key, message.value)
        self.log.append(place_of(outgoing), [outgoing])

    async def _settle(self) -> None:
        """No more faults: let everything come to its end, timer by timer."""
        self.note("the faults stop")
        self.settling = True
        self.cut_chance = 0.0
        self.faults.stop()
        self.bank.calm = True
        self.start(*self.slots)
        self.bank.hurry()
        leap_ms = 1_000
        for _ in range(JUMPS_MAX):
            if not await self._rest():
                return
            due_ms = self._next_timer()
            if due_ms is None:
                return
            if (look_ms := self.person.looks_ms(due_ms)) is not None:
                self.ahead_ms += look_ms - self.now_ms()
                self.person.look()
                continue
            self.ahead_ms += max(0, due_ms - self.now_ms()) + leap_ms
            leap_ms = min(leap_ms * 8, 3_600_000)
            self.note("the clock is set ahead, to the next timer")
        self.violations.append(f"it comes to rest: timers go on after {JUMPS_MAX} of them")

    async def _rebuild(self) -> None:
        """Empty Redis, and have it made again from the journal: every key has to be as before."""
        before = judge.every_key(self.redis)
        self.redis.emptied()
        healer = next(iter(self.workers.values()))
        try:
            await healer.spawn(healer.wallets.heal(HOMES))
        except Diverged as error:
            self.violations.append(f"{REDONE}: {error}")
            return
        self.violations += [
            f"{REDONE}: {text}" for text in judge.apart(before, judge.every_key(self.redis))
        ]

    async def _rest(self) -> bool:
        """Wait until nothing is left to do now; False if that takes too long."""
        until_s = self.loop.time() + SETTLE_S_MAX
        while (why := next(self._reasons(), None)) is not None:
            if self.loop.time() > until_s:
                self.violations.append(f"it comes to rest: {why}")
                return False
            await asyncio.sleep(0.5)
        return True

    def _reasons(self) -> Iterator[str]:
        """Why the world is not at rest."""
        if self._unsent:
            yield "messages are still to be sent"
        for slot, worker in self.workers.items():
            if worker.dead:
                yield f"{slot} is down"
            elif not worker.idle:
                yield f"{worker.name} is at work"
        for place, worker in self.assigned.items():
            if worker is None or place not in worker.held:
                yield f"nobody reads {place}"
            if self.log.committed[place] < len(self.log.partitions[place]):
                yield f"{place} is not read to its end"
        if self._asking or self.bank.reporting:
            yield "requests or reports are on their way"
        now_ms = self.now_ms()
        for shard in HOMES:
            prefix = meta_key(shard)[:-1]
            if not self._sound(shard):
                yield f"shard {shard} is not healed"
            if self.redis.command("XLEN", prefix + "o"):
                yield f"the outbox of shard {shard} is not empty"
            if any(due_ms <= now_ms for due_ms in self._first_timers(shard)):
                yield f"a timer of shard {shard} is due"

    def _sound(self, shard: int) -> bool:
        stand = library().function("stand")
        try:
            return self.redis.fcall(stand, meta_key(shard), 0, 0, read_only=True)[0] == 1
        except ResponseError:
            return False  # emptied, and the functions are gone as well

    def _next_timer(self) -> int | None:
        """When the next timer is due, in milliseconds since the epoch."""
        return min((due for shard in HOMES for due in self._first_timers(shard)), default=None)

    def _first_timers(self, shard: int) -> Iterator[int]:
        """When the first timer of each kind is due, in milliseconds since the epoch."""
        for which in Timers:
            key = meta_key(shard)[:-1] + which
            first = self.redis.command(
                "ZRANGEBYSCORE", key, "-inf", "+inf", "WITHSCORES", "LIMIT", 0, 1
            )
            if first:
                yield int(float(first[1]))

    def _begun(
        self, loop: asyncio.AbstractEventLoop, work: Any, context: Any = None
    ) -> asyncio.Task[Any]:
        """A task that its process knows of."""
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
        self._tasks.append(task)
        worker = owner.get()
        if worker is not None:
            worker.tasks.append(task)
        return task

    def _end(self) -> None:
        for worker in self.workers.values():
            worker.dead = True
        # asyncio knows them as well, among those of all histories that are not collected yet.
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


PORTIONS = {"APPLY_MAX": 2, "RESTORE_MAX": 2, "READ_MAX": 3}
"""Sizes of the portions of healing: so small that a crash falls between two of them."""

LOOKS = {"CONFIRM_LOOK_S": 0.02, "CONFIRM_LOOK_GROWTH": 2.0}
"""How often a booker asks whether its entries count: each look costs as much as a booking."""


def run(
    seed: int, scale: Scale = SHORT, *, tracing: bool = False, source: str | None = None
) -> Outcome:
    """Live the history of a seed, with another source of the Redis functions if one is given.

    Quicker where garbage is not collected automatically.
    """
    world = World(seed, scale, tracing=tracing, source=source)
    nonces = Dice(seed)
    before, interval_s, quiet_ms = healing.uuid, janitor.ROUND_INTERVAL_S, resolutions.QUIET_MS
    ours = {**PORTIONS, "HEALER_LOOK_S": scale.look_s}
    theirs = {name: getattr(healing, name) for name in ours}
    looks = {name: getattr(wallets, name) for name in LOOKS}
    logging.disable(logging.CRITICAL)
    collects = gc.isenabled()
    gc.disable()
    try:
        # What a process draws from the system's chance has to follow from the seed as well.
        healing.uuid = _Nonces(nonces)  # type: ignore[assignment]
        janitor.ROUND_INTERVAL_S = ROUND_S
        resolutions.QUIET_MS = QUIET_MS
        for name, value in ours.items():
            setattr(healing, name, value)
        for name, pause in LOOKS.items():
            setattr(wallets, name, pause)
        with warnings.catch_warnings():
            # What a killed process had not begun yet is never awaited.
            warnings.simplefilter("ignore", RuntimeWarning)
            outcome = world.run()
            del world
            if collects or seed % COLLECT_EVERY == 0:
                gc.collect()
            return outcome
    finally:
        healing.uuid = before
        for name, value in theirs.items():
            setattr(healing, name, value)
        for name, pause in looks.items():
            setattr(wallets, name, pause)
        janitor.ROUND_INTERVAL_S = interval_s
        resolutions.QUIET_MS = quiet_ms
        logging.disable(logging.NOTSET)
        if collects:
            gc.enable()


class _Nonces:
    """Stands for the module uuid."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice

    def uuid4(self) -> UUID:
        """A random id that follows from the seed."""
        return UUID(int=self._dice.getrandbits(128), version=4)
