"""A worker in simulation: the real agents, desk, wallets and janitor between simulated edges.

It may be killed between any two steps: its tasks end where they stand, and of what was on its way
to a server some still arrives. What the engine does (partitions, batches, contiguous commits) is
done here with the engine's own inboxes and offsets.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic_core import from_json, to_json

from models import fx
from models.campaigns import Campaigns
from models.config import load
from models.ids import shard_of_payout
from models.plan import CommissionPlan
from models.policy import PayoutPolicy
from models.refusals import Reason
from models.reinvestment import reinvest
from models.rules import Rules
from models.sellers import read_seller
from rails.gate import open_gates
from rails.inspection import Inspector
from rails.routing import Router
from streams.agents.commissions import Commissions
from streams.agents.labels import Labels
from streams.agents.payouts import Cashier
from streams.agents.rail_updates import RailUpdates
from streams.agents.rates import Rates
from streams.agents.redemptions import Redemptions
from streams.agents.sales import Sales
from streams.agents.sellers import Sellers
from streams.api.booking import Bookings, Requested
from streams.api.problems import Problem
from streams.desk import Desk
from streams.engine import Batch, Outgoing
from streams.engine.counters import EngineCounters
from streams.engine.offsets import PartitionOffsets
from streams.engine.stream import Inbox
from streams.janitor import Janitor, Round
from streams.metrics import Metrics
from streams.wallets.store import Operation, Store, Timers
from streams.wallets.terms import Terms
from streams.wallets.wallets import Wallets
from streams.worker import OWN_TOPICS, PUBLISHING_MAX, ROLE_TOPICS
from tests.simulation import client
from tests.simulation.log import PARTITIONS, Place, SimulatedJournal, SimulatedProducer
from tests.simulation.rail import NAMES, SimulatedRail
from tests.simulation.server import SimulatedServer

if TYPE_CHECKING:
    from tests.simulation.world import World

RETENTION_MS = 90 * 86_400_000
WAIT_MS = 600_000
ASK_MS = 60_000
CALL_MS_MAX = 3_000
COMMIT_INTERVAL_S = 0.4
BATCH_MAX = 20
DRAIN_S_MAX = 2.0

owner: contextvars.ContextVar[SimulatedWorker | None] = contextvars.ContextVar(
    "owner", default=None
)
"""The process that a task belongs to."""


UNSCORED = "  unscored_cap: {EUR: 2000}\n"
"""The line of the policy behind which more about fraud may stand."""


class SuspiciousScorer:
    """Scores as the amount's digits have it: no model, but every score comes to be."""

    digest = "5" * 64

    def score(self, rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
        """Tenths, from the logarithm of the amount."""
        return np.array([int(row[0] * 100) % 10 / 10 for row in rows])

    def reasons(self, _: Sequence[float]) -> list[str]:
        """The same for all."""
        return ["large amount"]


class Company(NamedTuple):
    """What every worker is configured with."""

    plan: CommissionPlan
    policy: PayoutPolicy
    campaigns: Campaigns
    metrics: Metrics


@cache
def company(
    *, releasing: bool = False, offering: bool = False, suspecting: bool = False
) -> Company:
    """Plan, policy and campaigns of the simulation; one set of metrics for all its workers.

    ``releasing``: whether the policy holds a share of some earnings back for a while;
    ``offering``: whether campaigns give discounts, and bonuses on what is reinvested.
    ``suspecting``: whether sales are scored, and more may become of them than all or nothing.
    """
    files = yaml.safe_load(Path(__file__).with_name("company.yaml").read_text(encoding="utf-8"))
    policy = files["policy"]
    if suspecting:
        policy = policy.replace("instant: [instant]", "instant: [instant, partial]").replace(
            UNSCORED, UNSCORED + files["suspicion"]
        )
    return Company(
        load(files["plan"], CommissionPlan, "plan"),
        load(policy + files["release"] * releasing, PayoutPolicy, "policy"),
        load(files["campaigns"] + files["offers"] * offering, Campaigns, "campaigns"),
        Metrics(),
    )


class SimulatedWorker:
    """One process. ``name`` is its own; a restart is another worker."""

    def __init__(self, world: World, name: str, roles: Sequence[str]) -> None:
        self.name = name
        self.dead = False
        # One topic more deals out the partitions otherwise: only histories with rates have it.
        absent = {"rates", "fraud.labels"} - world.script.topics
        topics = [topic for role in roles for topic in ROLE_TOPICS[role]]  # type: ignore[index]
        self.topics = [topic for topic in topics if topic not in absent]
        self.tasks: list[asyncio.Task[Any]] = []
        self.held: dict[Place, PartitionOffsets] = {}
        self.healing = 0
        self._world = world
        self._ways: dict[int, Callable[[], object]] = {}
        self._launched = 0
        self._read: dict[Place, int] = {}
        self._delivering: set[Place] = set()
        self._inboxes = {topic: Inbox(topic, EngineCounters()) for topic in self.topics}
        self._own: set[Place] = set()
        self._leaving: set[PartitionOffsets] = set()
        self.producer = SimulatedProducer(world.log, world.dice, world.loop)
        self.server = SimulatedServer(world, name, self.launch)
        self._build(roles)
        context = contextvars.copy_context()
        context.run(owner.set, self)
        self._context = context
        self.spawn(self._run(roles))
        world.loop.call_later(COMMIT_INTERVAL_S, self._commit)

    def _build(self, roles: Sequence[str]) -> None:
        """Put together what :class:`streams.worker.Worker` does."""
        world = self._world
        plan, policy, campaigns, metrics = world.company
        rails = {name: SimulatedRail(name, world, self.launch) for name in NAMES}
        gates = open_gates(rails, {}, lambda: world.now_ms() / 1000)
        router = Router(policy, gates, world.now_ms, world.dice.random)
        rules = Rules(plan, policy, campaigns, router.pay, retention_ms=RETENTION_MS)
        self.store = Store(self.server)
        self.wallets = Wallets(
            self.store,
            SimulatedJournal(world.log),  # type: ignore[arg-type]
            self.producer.send,
            Terms(RETENTION_MS, WAIT_MS, ASK_MS, rules.context(), *world.script.debt),
            partitions=PARTITIONS,
            clock=world.now_ms,
            metrics=world,
            snapshots=world.snapshots,  # type: ignore[arg-type]
            ahead=self.producer.send if world.script.impatient else None,
        )
        desk = Desk(
            self.wallets, self.producer.send, metrics,
            clock=world.now_ms, retention_ms=RETENTION_MS,
        )  # fmt: skip
        cashier = Cashier(
            self.wallets, gates, router, client.seal(), metrics,
            clock=world.now_ms, call_ms_max=CALL_MS_MAX,
        )  # fmt: skip
        self._rules = rules
        self._bookings = Bookings(self.wallets, lambda error: world.raised(self, error))
        inspector = Inspector(client.seal(), dict.fromkeys(NAMES, lambda _: None))
        timers = {"book": Timers.BOOKING, "pay": Timers.RAIL}
        rounds = [Round(timers[role], partial(self._shards, role)) for role in roles]
        self._janitor = Janitor(
            self.wallets, cashier, rules, rounds, clock=world.now_ms, metrics=metrics
        )
        self._agents: dict[str, Any] = {
            "sales": self._sales(desk, rules),
            "commissions": Commissions(desk, rules),
            "sellers": Sellers(desk, rules, inspector),
            "redemptions": Redemptions(desk, rules),
            "rates": Rates(desk, rules),
            "fraud.labels": Labels(desk, rules),
            "rail.updates": RailUpdates(desk, rules),
            "payouts.commands": cashier,
        }

    def _sales(self, desk: Desk, rules: Rules) -> Sales:
        sales = Sales(desk, rules, None, b"drawn in a simulation")
        if self._world.script.suspecting:
            sales._scorer = SuspiciousScorer()  # type: ignore[assignment]
        return sales

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin a task of this process; what it raises ends the process."""
        task: asyncio.Task[Any] = self._context.run(self._world.loop.create_task, work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self.dead:
            self._world.raised(self, error)

    async def _run(self, roles: Sequence[str]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for topic in self.topics:
                tasks.create_task(self._agent(self._inboxes[topic], self._agents[topic]))
            tasks.create_task(self._janitor.run())

    async def _agent(self, inbox: Inbox, handler: Any) -> None:
        # As in streams/worker.py.
        places = asyncio.Semaphore(PUBLISHING_MAX)
        async with asyncio.TaskGroup() as tasks:
            while (batch := await inbox.take(BATCH_MAX)) is not None:
                await places.acquire()
                self._tell_batch(batch)
                rest = await handler.handle(batch)
                tasks.create_task(rest).add_done_callback(lambda _: places.release())

    def _tell_batch(self, batch: Batch) -> None:
        if self._world.tracing:
            places = " ".join(f"{m.partition}:{m.offset}" for m in batch.messages)
            self._world.note("%s takes of %s %s", self.name, batch.topic, places)

    # Life and death

    def launch(self, arrive: Callable[[], object]) -> Callable[[], None]:
        """Something leaves for a server; the result is to be called when it is there."""
        self._launched += 1
        number = self._launched
        self._ways[number] = arrive

        def landed() -> None:
            del self._ways[number]

        return landed

    def die(self) -> None:
        """The process is gone, from one step to the next."""
        if self.dead:
            return
        self.dead = True
        self._world.note("%s dies", self.name)
        dice = self._world.dice
        self.producer.die()
        for arrive in self._ways.values():
            if dice.chance(0.3):
                delay_s = dice.choice((0.001, 0.1, 1.0, 6.0)) * dice.random()
                self._world.loop.call_later(delay_s, arrive)
        for task in self.tasks:
            task.cancel()

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way and nothing in hand."""
        return (
            not self._ways
            and not self.healing
            and self.producer.idle
            and not any(inbox.depth for inbox in self._inboxes.values())
        )

    # What the engine does

    async def take(self, places: Sequence[Place], committed: Mapping[Place, int]) -> None:
        """The group gives this worker partitions: heal their shards, then read."""
        self.healing += 1
        try:
            for place in places:
                if place in self.held:
                    self.release([place])
            await self._assigned(places)
        finally:
            self.healing -= 1
        for place in places:
            offsets = PartitionOffsets(*place)
            self.held[place] = offsets
            self._read[place] = committed[place]
            self.hear(place)

    async def _assigned(self, places: Sequence[Place]) -> None:
        # As in streams/worker.py, for the shards that anyone lives in.
        partitions = {partition for _, partition in places}
        await self.wallets.heal([s for s in client.HOMES if s % PARTITIONS in partitions])
        self._own |= {place for place in places if place[0] in OWN_TOPICS}

    def _shards(self, role: str) -> list[int]:
        own = ROLE_TOPICS[role][0]  # type: ignore[index]
        mine = {partition for topic, partition in self._own if topic == own}
        return [shard for shard in client.HOMES if shard % PARTITIONS in mine]

    async def give_back(self, places: Sequence[Place]) -> None:
        """Finish what is in hand, commit, and let go: a rebalance in good order."""
        mine = [self.held[place] for place in places if place in self.held]
        for offsets in mine:
            self._leaving.add(offsets)
            self._inboxes[offsets.topic].discard({offsets})
        until_s = self._world.loop.time() + DRAIN_S_MAX
        while any(each.in_hand for each in mine) and self._world.loop.time() < until_s:
            await self._world.pause()
        self._commit_now()
        # By then the group may have given some back, under offsets of their own.
        self.release([each.key for each in mine if self.held.get(each.key) is each])

    def release(self, places: Sequence[Place]) -> None:
        """Partitions are another's now."""
        for place in places:
            offsets = self.held.pop(place, None)
            if offsets is not None:
                self._inboxes[place[0]].discard({offsets})
                offsets.close()
        self._own -= set(places)

    def hear(self, place: Place) -> None:
        """There is something to read in a partition."""
        if not self.dead and place in self.held and place not in self._delivering:
            self._delivering.add(place)
            self._world.loop.call_later(self._world.dice.pause_s(), self._deliver, place)

    def _deliver(self, place: Place) -> None:
        self._delivering.discard(place)
        if self.dead or place not in self.held or self.held[place] in self._leaving:
            return
        offset = self._read[place]
        messages = self._world.log.read(place, offset, self._world.dice.randint(1, BATCH_MAX))
        if messages:
            self._read[place] = offset + len(messages)
            inbox = self._inboxes[place[0]]
            inbox.handed += len(messages)
            inbox.put(self.held[place], messages)
            self.hear(place)

    def _commit(self) -> None:
        if not self.dead:
            self._commit_now()
            self._world.loop.call_later(COMMIT_INTERVAL_S, self._commit)

    def _commit_now(self) -> None:
        for place, offsets in self.held.items():
            offset = offsets.to_commit()
            if offset is not None and self._world.commit(self, place, offset):
                offsets.committed = offset

    # What a rail's report does

    async def report(self, report: Mapping[str, Any]) -> None:
        """A webhook came: publish it under its seller, as rails/webhooks.py does."""
        payout_id = str(report["payout_id"])
        stored = await self.store.payout(shard_of_payout(payout_id), payout_id)
        if stored is None:
            return
        seller = from_json(stored)["seller_id"]
        event = {**report, "seller_id": seller}
        await self.producer.send([Outgoing("rail.updates", seller.encode(), to_json(event))])

    # What a process of the API does

    async def answer(self, request: Request) -> str:
        """Book a request that came over no topic, as streams/api does; what it is answered.

        Raises :class:`Problem` when nobody knows.
        """

        async def decide() -> Operation:
            return await self._decided(request)

        try:
            answered = await self._bookings.book(request.requested, decide)
        except Problem as problem:
            if not isinstance(problem.code, Reason):
                raise
            return f"refused:{problem.code}"
        return f"booked:{to_json(answered.figures).decode()}"

    async def _decided(self, request: Request) -> Operation:
        policy = self._world.company.policy
        asked, seller, amount = request.does, request.seller, request.amount
        if asked is Asked.SPEND:
            return {"op": "redeem", "kind": "credit.redeemed", "currency": "EUR", "amount": amount}
        if asked is Asked.REINVEST:
            return reinvest("", seller, "EUR", amount or None, policy=policy.reinvest)
        if asked is Asked.QUOTE:
            wanted = fx.Wanted(*client.PAIR, amount, None)
            rate = await self.wallets.rate(*client.PAIR)
            return fx.quote("", seller, request.quote, wanted, rate, policy=policy.fx)
        if asked is Asked.CONVERT:
            return fx.convert("", seller, request.quote)
        currency = client.PAIR[1] if request.quote else "EUR"
        stored = (await self.wallets.look([seller])).profiles.get(seller)
        profile = None if stored is None else read_seller(seller, stored)
        pay = self._rules.pay(profile, currency)
        operation: Operation = {} if pay is None else {"pay": pay}
        if request.quote:
            operation["quote"] = request.quote
        return operation | {
            "op": "request", "kind": "payout.requested", "currency": currency,
            "rev": 0 if profile is None else profile.rev,
        }  # fmt: skip


class Asked(StrEnum):
    """What a request asks for."""

    SPEND = "spend"
    """Credit, of an amount."""
    PAY = "pay"
    """All that is available is to go out, and what a quote buys, if one is named."""
    REINVEST = "reinvest"
    """An amount; 0 for all that is available."""
    QUOTE = "quote"
    """For selling an amount."""
    CONVERT = "convert"
    """What a quote is for."""


class Request(NamedTuple):
    """A request that comes over no topic."""

    does: Asked
    key: str
    seller: str
    amount: int
    at_s: float
    times: int
    """How often it is sent, whatever is answered."""
    quote: str = ""
    """The quote's id."""

    @property
    def requested(self) -> Requested:
        """The same, as the API has it."""
        asked = f"{self.does} {self.amount} {self.quote}"
        return Requested("sim", self.seller, self.key, asked.encode())
