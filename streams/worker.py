"""The worker: everything of one process put together, and run until a signal ends it."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Protocol

from aiohttp import web
from pydantic_core import from_json

from models.campaigns import Campaigns, check_levels
from models.compiled import RUN, form
from models.config import load
from models.ids import shard_of_payout
from models.notices import TOPICS as NOTICE_TOPICS
from models.plan import CommissionPlan
from models.policy import PayoutPolicy
from models.rules import Rules
from models.shards import shards_of_partition
from rails.gate import Gate, open_gates
from rails.inspection import Inspector
from rails.registry import open_feeds, open_rails, open_verifiers, refusals
from rails.routing import Router
from rails.webhooks import webhook_app
from streams.agents.commissions import Commissions
from streams.agents.labels import Labels
from streams.agents.notices import Notices
from streams.agents.payouts import Cashier
from streams.agents.rail_updates import RailUpdates
from streams.agents.rates import Rates
from streams.agents.redemptions import Redemptions
from streams.agents.sales import Sales
from streams.agents.sellers import Sellers
from streams.connections import engine_settings, redis_server
from streams.desk import Desk
from streams.engine import Batch, BatchStream, Outgoing, engine_app, run_worker
from streams.exposure import ExposureWatch
from streams.fraud.serving import Serving
from streams.health import Health, HealthServer
from streams.janitor import Janitor, Round
from streams.metrics import Metrics
from streams.notices.courier import Courier
from streams.notices.pending import PendingNotices
from streams.notices.sender import Sender
from streams.overdue import Overdue
from streams.settings import Role, Settings, SettingsError, variable
from streams.soundings import Soundings
from streams.tracing import UNTRACED, Untraced, open_traces
from streams.wallets.healing import Send
from streams.wallets.journal import LEDGER, Journal
from streams.wallets.movements import SpotCheck, moved
from streams.wallets.snapshots import Snapshots
from streams.wallets.store import Store, Timers
from streams.wallets.terms import Terms
from streams.wallets.wallets import Wallets
from streams.webhooks import kept

logger = logging.getLogger(__name__)

ROLE_TOPICS: Mapping[Role, tuple[str, ...]] = {
    "book": ("sales", "commissions", "sellers", "redemptions", "rates", "fraud.labels"),
    "pay": ("payouts.commands", "rail.updates"),
    "webhooks": (),
    "notices": NOTICE_TOPICS,
}
"""The topics that a worker takes messages from, by role."""

OWN_TOPICS = {topics[0] for topics in ROLE_TOPICS.values() if topics}
"""A role's own topic: whoever has a partition of it looks after that partition's timers."""

GARBAGE_THRESHOLD = 50_000
"""Containers made more than freed, after which the young ones are looked through for cycles."""

PUBLISHING_MAX = 2
"""Batches of one topic that are published at once, the one being booked beside them."""

SITE_STOP_S = 2.0
"""How long a webhook that is being taken in may hold up a stop."""

REPORT_INTERVAL_S = 2.0
"""How often assignment and the rails' gates are reported."""

ASK_AFTER_MS = 60_000
"""When a payout that nobody reports on is first looked after."""


def now_ms() -> int:
    """The wall clock, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def spare_garbage_collection() -> None:
    """Collect seldom, and never what is loaded by now.

    That stays; looking through it again and again, and for cycles after every few hundred
    allocations of a batch, would cost a tenth of the CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 20)


def open_wallets(
    settings: Settings,
    rules: Rules,
    store: Store,
    send: Send,
    metrics: Metrics,
    *,
    outage_s_max: float,
    traces: Untraced = UNTRACED,
    ahead: Send | None = None,
) -> Wallets:
    """The wallets of a process. ``outage_s_max``: how long Redis may be away; ``ahead``: see
    :class:`Wallets`."""
    return Wallets(
        store,
        Journal(settings.kafka_client()),
        send,
        Terms(
            settings.event_retention_ms,
            settings.waiting_ms,
            ASK_AFTER_MS,
            rules.context(),
            debt_bp=rules.policy.debt.share,
            spent_is_debt=rules.policy.spendback.unfired_spent == "debt",
        ),
        partitions=settings.partitions,
        clock=now_ms,
        metrics=metrics,
        outage_s_max=outage_s_max,
        snapshots=Snapshots(settings.kafka_client(), settings.partitions),
        traces=traces,
        ahead=ahead,
    )


def open_router(settings: Settings, gates: Mapping[str, Gate]) -> Router:
    """Finds the routes of payouts by the policy in its file. Raises ConfigError, OSError."""
    text = settings.policy.read_text(encoding="utf-8")
    return Router(load(text, PayoutPolicy, settings.policy.name), gates, now_ms)


def company_rules(settings: Settings, router: Router | None = None) -> Rules:
    """Plan, policy and campaigns from their files. Raises ConfigError, OSError.

    ``router``: the one that knows how rails are; without it all are taken to be well.
    """
    if router is None:
        gates = open_gates(open_rails(settings.rails()), settings.rails())
        router = open_router(settings, gates)
    plan = load(settings.plan.read_text(encoding="utf-8"), CommissionPlan, settings.plan.name)
    text = settings.campaigns.read_text(encoding="utf-8")
    campaigns = load(text, Campaigns, settings.campaigns.name)
    check_levels(campaigns, plan, settings.campaigns.name)
    return Rules(
        plan,
        router.policy,
        campaigns,
        router.pay,
        retention_ms=settings.event_retention_ms,
    )


class Handler(Protocol):
    """An agent's work."""

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """Take a batch as far as must be before the next; what is left, up to acknowledging."""
        ...


class Worker:
    """One process of the product: agents, janitor, webhooks, metrics."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.health = Health(float(settings.heartbeat_timeout_s))
        self.app = engine_app(
            settings.group,
            engine_settings(settings),
            on_assigned=self._assigned,
            on_revoked=self._revoked,
        )
        self._partitions: set[tuple[str, int]] = set()
        self._serving: Serving | None = None
        rail_settings = settings.rails()
        self.rails = open_rails(rail_settings)
        self._gates = open_gates(self.rails, rail_settings)
        router = open_router(settings, self._gates)
        rules = company_rules(settings, router)
        self._verifiers = open_verifiers(rail_settings)
        self._feeds = open_feeds(rail_settings) if "webhooks" in settings.roles else []
        server = self._server = redis_server(settings)
        self._spot_check = SpotCheck(time.monotonic)
        self.metrics.watch(self.app.counters)
        if "pay" in settings.roles:
            self.metrics.begin_rails(self.rails)
        self.store = Store(server)
        traces = self._traces = open_traces(settings)
        self.wallets = open_wallets(
            settings,
            rules,
            self.store,
            self._send,
            self.metrics,
            outage_s_max=settings.retry_timeout_s,
            traces=traces,
        )
        desk = Desk(
            self.wallets,
            self._send,
            self.metrics,
            clock=now_ms,
            retention_ms=settings.event_retention_ms,
            traces=traces,
        )
        seal = self._seal = settings.seal()
        cashier = Cashier(
            self.wallets,
            self._gates,
            router,
            seal,
            self.metrics,
            clock=now_ms,
            call_ms_max=max(one.timeout_ms for one in rail_settings.values()),
            traces=traces,
        )
        self.janitor = Janitor(
            self.wallets, cashier, rules, self._rounds(), clock=now_ms, metrics=self.metrics
        )
        self._sender, notices = self._notices(PendingNotices(server))
        inspector = Inspector(seal, refusals(rail_settings), account_key=settings.accounts_by)
        if rules.policy.fraud.looks_at_accounts and not settings.accounts_by:
            logger.warning(
                "no rule on account_sellers ever fits: %s is not set", variable("account_key")
            )
        handlers: dict[str, Callable[[], Handler]] = {
            "sales": lambda: self._sales(desk, rules),
            "commissions": lambda: Commissions(desk, rules),
            "sellers": lambda: Sellers(desk, rules, inspector),
            "redemptions": lambda: Redemptions(desk, rules),
            "rates": lambda: Rates(desk, rules),
            "fraud.labels": lambda: Labels(desk, rules),
            "rail.updates": lambda: RailUpdates(desk, rules),
            "payouts.commands": lambda: cashier,
        }
        if notices is not None:
            telling: Handler = notices
            handlers |= {topic: lambda: telling for topic in NOTICE_TOPICS}
        for topic in self._topics():
            self._agent(topic, handlers[topic]())
        self.app.task(self._background)

    def _sales(self, desk: Desk, rules: Rules) -> Sales:
        """The agent that scores, on the models that lie in their files now."""
        sales = Sales(desk, rules, None, self.settings.draws_by)
        settings = self.settings
        self._serving = Serving(settings.model, settings.model_challenger, sales.use, self.metrics)
        self._serving.begin()
        return sales

    def _notices(self, pending: PendingNotices) -> tuple[Sender | None, Notices | None]:
        """What tells the company, if it wants to be told. Raises SettingsError."""
        settings = self.settings
        endpoint = settings.notices() if "notices" in settings.roles else None
        if endpoint is None:
            if settings.roles == ("notices",):
                raise SettingsError(f"{variable('roles')}=notices needs {variable('notices_url')}")
            return None, None
        sender = Sender(
            pending,
            Courier(endpoint),
            self._send,
            partial(self._shards, ROLE_TOPICS["notices"][0]),
            clock=now_ms,
            metrics=self.metrics,
        )
        notices = Notices(
            pending,
            sender,
            self._send,
            clock=now_ms,
            metrics=self.metrics,
            outage_s_max=settings.retry_timeout_s,
        )
        return sender, notices

    def _topics(self) -> list[str]:
        """The topics that this worker takes messages from."""
        roles = [r for r in self.settings.roles if r != "notices" or self._sender is not None]
        return [topic for role in roles for topic in ROLE_TOPICS[role]]

    def run(self) -> int:
        """Work until SIGTERM, SIGINT or a failure; the exit code of the process."""
        settings = self.settings
        with HealthServer(
            self.metrics, self.health, settings.metrics_host, settings.metrics_port
        ) as server:
            logger.info("metrics at %s/metrics", server.url)
            logger.info("features and decisions run %s", RUN[form()])
            spare_garbage_collection()
            return run_worker(self.app)

    def _agent(self, topic: str, handler: Handler) -> None:
        async def agent(stream: BatchStream) -> None:
            # The next batch is decided and booked while the ones before are published. Their
            # acknowledgements may overtake each other: the engine commits contiguously.
            places = asyncio.Semaphore(PUBLISHING_MAX)
            async with asyncio.TaskGroup() as tasks:
                async for batch in stream.batches():
                    await places.acquire()
                    began = time.perf_counter()
                    rest = await handler.handle(batch)
                    tasks.create_task(self._timed(topic, began, rest)).add_done_callback(
                        lambda _: places.release()
                    )

        agent.__name__ = topic.replace(".", "_")
        self.app.agent(self.app.topic(topic, value_serializer="raw"))(agent)

    async def _timed(self, topic: str, began: float, rest: Coroutine[Any, Any, None]) -> None:
        await rest
        self.metrics.batch_took(topic, time.perf_counter() - began)

    async def _background(self) -> None:
        """What goes on beside the agents, as long as they do."""
        async with AsyncExitStack() as stack:
            if self._verifiers and "webhooks" in self.settings.roles:
                await stack.enter_async_context(self._webhooks())
            for rail in self.rails.values():
                stack.push_async_callback(rail.close)
            stack.push_async_callback(self._traces.close)
            stack.push_async_callback(self.store.close)
            if self._sender is not None:
                stack.push_async_callback(self._sender.close)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.janitor.run())
                tasks.create_task(self.health.keep_beating())
                tasks.create_task(self._report())
                tasks.create_task(self._soundings().run())
                if self._serving is not None:
                    tasks.create_task(self._serving.run())
                if "book" in self.settings.roles:
                    tasks.create_task(self._exposure().run())
                if "pay" in self.settings.roles:
                    tasks.create_task(self._overdue().run())
                if self._sender is not None:
                    tasks.create_task(self._sender.run())
                for feed in self._feeds:
                    tasks.create_task(feed.run(self._publish_report, self._seller_of))

    def _overdue(self) -> Overdue:
        shards = partial(self._shards, ROLE_TOPICS["pay"][0])
        return Overdue(self.wallets, shards, clock=now_ms, metrics=self.metrics)

    def _exposure(self) -> ExposureWatch:
        shards = partial(self._shards, ROLE_TOPICS["book"][0])
        return ExposureWatch(self.wallets, shards, clock=now_ms, metrics=self.metrics)

    def _soundings(self) -> Soundings:
        # One topic only is of the role that books: its partitions say whose shards these are.
        shards = partial(self._shards, ROLE_TOPICS["book"][0])
        return Soundings(self.wallets, self._server, shards, self.metrics)

    def _webhooks(self) -> _Site:
        app = webhook_app(
            self._verifiers,
            self._publish_report,
            self._seller_of,
            attempt_of_reference=self.store.attempt_of,
            keep=self._keep_call,
            count=self.metrics.webhook,
        )
        return _Site(app, self.settings.webhook_host, self.settings.webhook_port)

    async def _keep_call(self, rail: str, headers: Mapping[str, str], body: bytes) -> None:
        await self._send([kept(rail, headers, body, self._seal, now_ms())])

    async def _publish_report(self, *, topic: str, key: bytes, value: bytes) -> None:
        await self._send([Outgoing(topic, key, value)])

    async def _seller_of(self, payout_id: str) -> str | None:
        try:
            shard = shard_of_payout(payout_id)
        except ValueError:
            return None
        stored = await self.store.payout(shard, payout_id)
        return from_json(stored)["seller_id"] if stored else None

    async def _report(self) -> None:
        while True:
            if "pay" in self.settings.roles:
                self._report_rails()
            # A worker that only receives webhooks is never given partitions.
            consumes = bool(self._topics())
            self.health.set("assigned", bool(self.app.counters.assigned) or not consumes)
            self.health.set("healed", not self.app.counters.healing)
            await asyncio.sleep(REPORT_INTERVAL_S)

    def _report_rails(self) -> None:
        breakers = {name: gate.breaker for name, gate in self._gates.items()}
        self.metrics.gates({name: each.why_not() is not None for name, each in breakers.items()})
        self.metrics.rail_success({name: each.success_bp() for name, each in breakers.items()})
        for name, gate in self._gates.items():
            self.metrics.rail_queue(name, *gate.queue())

    async def _assigned(self, partitions: set[tuple[str, int]]) -> None:
        await self.wallets.heal(
            shard
            for partition in sorted({partition for _, partition in partitions})
            for shard in shards_of_partition(partition, self.settings.partitions)
        )
        self._partitions |= {each for each in partitions if each[0] in OWN_TOPICS}
        self._share_paces()
        self.metrics.rebalanced(assigned=len(partitions))

    async def _revoked(self, partitions: set[tuple[str, int]]) -> None:
        self._partitions -= partitions
        self._share_paces()
        self.metrics.rebalanced(revoked=len(partitions))

    def _share_paces(self) -> None:
        """A provider's pace is shared as payouts are: by the partitions of their commands.

        A worker that has none keeps the share of one, for what it is still about to hand over.
        """
        commands = ROLE_TOPICS["pay"][0]
        mine = sum(topic == commands for topic, _ in self._partitions)
        for gate in self._gates.values():
            gate.share(max(1, mine), self.settings.partitions)

    def _rounds(self) -> list[Round]:
        timers: dict[Role, Timers] = {"book": Timers.BOOKING, "pay": Timers.RAIL}
        return [
            Round(timers[role], partial(self._shards, ROLE_TOPICS[role][0]))
            for role in self.settings.roles
            if role in timers
        ]

    def _shards(self, own: str) -> Sequence[int]:
        return [
            shard
            for topic, partition in sorted(self._partitions)
            if topic == own
            for shard in shards_of_partition(partition, self.settings.partitions)
        ]

    async def _send(self, messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
        started = time.perf_counter()
        offsets = await self.app.producer.send_batch(messages, tracked=LEDGER)
        self.metrics.stage_took("publish", time.perf_counter() - started)
        if messages and messages[0].topic == LEDGER:
            # Entries are sent by themselves, behind what follows from them.
            self.metrics.moved(*moved(messages))
            self.metrics.checked(*self._spot_check.look(messages))
        else:
            self._count_credits(messages)
        return offsets

    def _count_credits(self, messages: Sequence[Outgoing]) -> None:
        words = [
            _credit_word(message.value or b"")
            for message in messages
            if message.topic == "spendback.credits"
        ]
        if words:
            self.metrics.spendback(**Counter(words))


_CREDIT_TYPE = re.compile(rb'"(?:credit|bonus)\.(granted|unfired|refused)"')


def _credit_word(value: bytes) -> str:
    """What a message of ``spendback.credits`` tells: granted, unfired or refused."""
    found = _CREDIT_TYPE.search(value, 0, 64)
    return found[1].decode() if found else "refused"


class _Site:
    """An aiohttp application served as long as the context lasts."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        # A report that cannot be published in time is refused: its sender comes again.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SITE_STOP_S)
        self._host = host
        self._port = port

    async def __aenter__(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        logger.info("webhooks at port %d", self._port)

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
