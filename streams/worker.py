"""The worker: everything of one process put together, and run until a signal ends it."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Protocol

from aiohttp import web
from pydantic_core import from_json

from models.campaigns import Campaigns
from models.config import load
from models.ids import shard_of_payout
from models.plan import CommissionPlan
from models.policy import PayoutPolicy
from models.rules import Rules
from models.scorer import ModelUnreadable, Scorer
from models.shards import SHARDS, shards_of_partition
from rails.destination import KeysInvalid, Seal
from rails.rail import Rail
from rails.registry import open_rails, open_verifiers
from rails.webhooks import webhook_app
from streams.agents.commissions import Commissions
from streams.agents.payouts import Cashier
from streams.agents.rail_updates import RailUpdates
from streams.agents.redemptions import Redemptions
from streams.agents.sales import Sales
from streams.agents.sellers import Sellers
from streams.connections import engine_settings
from streams.desk import Desk
from streams.engine import Batch, BatchStream, Outgoing, engine_app, run_worker
from streams.health import Health, HealthServer
from streams.janitor import BOOKING_TIMERS, RAIL_TIMERS, Janitor, Round
from streams.metrics import Metrics
from streams.settings import Role, Settings, SettingsError, variable
from streams.wallets.journal import LEDGER, Journal
from streams.wallets.store import Store
from streams.wallets.wallets import Terms, Wallets

logger = logging.getLogger(__name__)

ROLE_TOPICS: Mapping[Role, tuple[str, ...]] = {
    "book": ("sales", "commissions", "sellers", "redemptions"),
    "pay": ("payouts.commands", "rail.updates"),
    "webhooks": (),
}
"""The topics that a worker takes messages from, by role."""

OWN_TOPICS = {topics[0] for topics in ROLE_TOPICS.values() if topics}
"""A role's own topic: whoever has a partition of it looks after that partition's timers."""

GARBAGE_THRESHOLD = 50_000
"""Containers made more than freed, after which the young ones are looked through for cycles."""

PUBLISHING_MAX = 2
"""Batches of one topic that are published at once, the one being booked beside them."""

LAG_INTERVAL_S = 2.0
"""How often lag, assignment and heartbeat are reported."""

ASK_AFTER_MS = 60_000
"""When a payout that nobody reports on is first looked after."""


def now_ms() -> int:
    """The wall clock, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def company_rules(settings: Settings) -> Rules:
    """Plan, policy and campaigns from their files. Raises ConfigError, OSError."""
    return Rules(
        load(settings.plan.read_text(encoding="utf-8"), CommissionPlan, settings.plan.name),
        load(settings.policy.read_text(encoding="utf-8"), PayoutPolicy, settings.policy.name),
        load(settings.campaigns.read_text(encoding="utf-8"), Campaigns, settings.campaigns.name),
        retention_ms=settings.event_retention_ms,
        amount_steps=amount_steps(open_rails({"paypal": settings.paypal()})),
    )


def amount_steps(rails: Mapping[str, Rail]) -> dict[tuple[str, str], int]:
    """Per (rail, currency), what amounts must be a multiple of."""
    return {
        (name, currency): step
        for name, rail in rails.items()
        for currency, step in rail.capabilities.amount_minor_step.items()
    }


def scorer_of(settings: Settings) -> Scorer | None:
    """The fraud model; None, and an error in the log, if it cannot be used: then little is paid."""
    try:
        return Scorer.load(settings.model.read_text(encoding="utf-8"))
    except (OSError, ModelUnreadable) as error:
        logger.error("no fraud model, so only small amounts are paid at once: %s", error)
        return None


class Handler(Protocol):
    """An agent's work."""

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """Take a batch as far as must be before the next; what is left, up to acknowledging."""
        ...


def _seal(settings: Settings) -> Seal:
    """What opens sealed destinations. Raises SettingsError."""
    try:
        return Seal.parse(settings.seal_keys.get_secret_value())
    except KeysInvalid as error:
        name = variable("seal_keys")
        raise SettingsError(f"{name}: {error}; set it to id:base64key of 32 random bytes") from None


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
        rules = company_rules(settings)
        rail_settings = {"paypal": settings.paypal()}
        self.rails = open_rails(rail_settings)
        self._verifiers = open_verifiers(rail_settings)
        self.store = Store(
            settings.redis_url, cluster=settings.redis_cluster, **settings.redis_options()
        )
        self.wallets = Wallets(
            self.store,
            Journal(settings.kafka_client()),
            self._send,
            Terms(settings.event_retention_ms, settings.waiting_ms, ASK_AFTER_MS, rules.context()),
            partitions=settings.partitions,
            clock=now_ms,
            metrics=self,
            outage_s_max=settings.retry_timeout_s,
        )
        desk = Desk(
            self.wallets,
            self._send,
            self.metrics,
            clock=now_ms,
            retention_ms=settings.event_retention_ms,
        )
        seal = _seal(settings)
        cashier = Cashier(
            self.wallets,
            self.rails,
            seal,
            self.metrics,
            call_ms_max=settings.paypal_timeout_s * 1000,
        )
        self.janitor = Janitor(
            self.wallets, cashier, rules, self._rounds(), clock=now_ms, metrics=self.metrics
        )
        handlers: dict[str, Callable[[], Handler]] = {
            "sales": lambda: Sales(desk, rules, scorer_of(settings)),
            "commissions": lambda: Commissions(desk, rules),
            "sellers": lambda: Sellers(desk, rules),
            "redemptions": lambda: Redemptions(desk, rules),
            "rail.updates": lambda: RailUpdates(desk, rules),
            "payouts.commands": lambda: cashier,
        }
        for role in settings.roles:
            for topic in ROLE_TOPICS[role]:
                self._agent(topic, handlers[topic]())
        self.app.task(self._background)

    def run(self) -> int:
        """Work until SIGTERM, SIGINT or a failure; the exit code of the process."""
        settings = self.settings
        with HealthServer(
            self.metrics, self.health, settings.metrics_host, settings.metrics_port
        ) as server:
            logger.info("metrics at %s/metrics", server.url)
            # What is loaded by now stays; looking through it again and again for garbage, and for
            # cycles after every few hundred allocations of a batch, would cost a tenth of the CPU.
            gc.collect()
            gc.freeze()
            gc.set_threshold(GARBAGE_THRESHOLD, 20, 20)
            return run_worker(self.app)

    def _agent(self, topic: str, handler: Handler) -> None:
        async def agent(stream: BatchStream) -> None:
            # The next batch is decided and booked while the ones before are published. Their
            # acknowledgements may overtake each other: the engine commits contiguously.
            places = asyncio.Semaphore(PUBLISHING_MAX)
            async with asyncio.TaskGroup() as tasks:
                async for batch in stream.batches():
                    await places.acquire()
                    rest = await handler.handle(batch)
                    tasks.create_task(rest).add_done_callback(lambda _: places.release())

        agent.__name__ = topic.replace(".", "_")
        self.app.agent(self.app.topic(topic, value_serializer="raw"))(agent)

    async def _background(self) -> None:
        """What goes on beside the agents, as long as they do."""
        async with AsyncExitStack() as stack:
            if self._verifiers and "webhooks" in self.settings.roles:
                await stack.enter_async_context(self._webhooks())
            for rail in self.rails.values():
                stack.push_async_callback(rail.close)
            stack.push_async_callback(self.store.close)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.janitor.run())
                tasks.create_task(self.health.keep_beating())
                tasks.create_task(self._report())

    def _webhooks(self) -> _Site:
        app = webhook_app(self._verifiers, self._publish_report, self._seller_of)
        return _Site(app, self.settings.webhook_host, self.settings.webhook_port)

    async def _publish_report(self, *, topic: str, key: bytes, value: bytes) -> None:
        await self._send([Outgoing(topic, key, value)])

    async def _seller_of(self, payout_id: str) -> str | None:
        try:
            shard = shard_of_payout(payout_id)
        except ValueError:
            return None
        stored = await self.store.payout(shard, payout_id) if shard < SHARDS else None
        return from_json(stored)["seller_id"] if stored else None

    async def _report(self) -> None:
        while True:
            self.metrics.lag(self.app.counters.lag)
            # A worker that only receives webhooks is never given partitions.
            consumes = any(ROLE_TOPICS[role] for role in self.settings.roles)
            self.health.set("assigned", bool(self.app.counters.assigned) or not consumes)
            self.health.set("healed", not self.app.counters.healing)
            await asyncio.sleep(LAG_INTERVAL_S)

    async def _assigned(self, partitions: set[tuple[str, int]]) -> None:
        await self.wallets.heal(
            shard
            for partition in sorted({partition for _, partition in partitions})
            for shard in shards_of_partition(partition, self.settings.partitions)
        )
        self._partitions |= {each for each in partitions if each[0] in OWN_TOPICS}
        self.metrics.rebalanced(assigned=len(partitions))

    async def _revoked(self, partitions: set[tuple[str, int]]) -> None:
        self._partitions -= partitions
        self.metrics.rebalanced(revoked=len(partitions))

    def _rounds(self) -> list[Round]:
        kinds: dict[Role, tuple[str, ...]] = {"book": BOOKING_TIMERS, "pay": RAIL_TIMERS}
        return [
            Round(kinds[role], partial(self._shards, ROLE_TOPICS[role][0]))
            for role in self.settings.roles
            if role in kinds
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
        credits = Counter(
            "granted" if b'"credit.granted"' in (message.value or b"")[:64] else "unfired"
            for message in messages
            if message.topic == "spendback.credits"
        )
        if credits:
            self.metrics.spendback(granted=credits["granted"], unfired=credits["unfired"])
        return offsets

    # What the wallets report.

    def redis_retry(self) -> None:
        """A call to Redis is tried again."""
        self.metrics.retried("redis")

    def healed(self, seconds: float, entries: int, republished: int) -> None:
        """Shards were compared with the journal and repaired."""
        self.metrics.healed(seconds)


class _Site:
    """An aiohttp application served as long as the context lasts."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        self._runner = web.AppRunner(app, access_log=None)
        self._host = host
        self._port = port

    async def __aenter__(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        logger.info("webhooks at port %d", self._port)

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
