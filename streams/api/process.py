"""The process that serves the API: wallets, producer and site put together, until a signal.

It books as workers do, beside them, and takes no partition: shards are healed when it starts, and
whenever Redis refuses one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack

import uvicorn

from models.config import ConfigError
from models.shards import SHARDS
from streams.api.booking import Bookings
from streams.api.endpoints import Counter
from streams.api.history import Histories
from streams.api.keys import KeyRing
from streams.api.limits import Limits
from streams.api.purchases import Till
from streams.api.routes import handles
from streams.api.site import Bounds, Site
from streams.api.wire import PROTOCOL
from streams.connections import engine_settings, redis_server
from streams.engine import Outgoing
from streams.engine.counters import EngineCounters
from streams.engine.errors import ExitCode
from streams.engine.producer import EngineProducer
from streams.engine.worker import new_loop
from streams.health import Health, HealthServer
from streams.metrics import Metrics
from streams.settings import Settings, SettingsError, variable
from streams.statements.ledger import Ledger
from streams.wallets.journal import LEDGER
from streams.wallets.movements import SpotCheck, moved
from streams.wallets.store import Store
from streams.wallets.wallets import EntriesVoid
from streams.worker import company_rules, open_wallets, spare_garbage_collection

logger = logging.getLogger(__name__)

KEYS_LOOK_S = 1.0
"""Time between two looks at the file of keys: a key that was revoked goes on for so long."""

BACKLOG = 1_024
"""Connections that may wait to be taken."""

KEEP_ALIVE_S = 75
"""How long an idle connection stays open. Longer than a proxy keeps one (60 s at nginx and AWS):
a request on a connection that is being closed here is lost on its way."""


class Api:
    """One process of the API."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError, ConfigError, OSError."""
        if settings.api_keys is None:
            raise SettingsError(
                f"{variable('api_keys')} is not set: name a file, and make a key with "
                "`payouts api-key create`"
            )
        self.settings = settings
        self.metrics = Metrics()
        self._spot_check = SpotCheck(time.monotonic)
        self.health = Health(float(settings.heartbeat_timeout_s), ("healed",))
        self.keys = KeyRing(settings.api_keys)
        self.stopping = asyncio.Event()
        self.started = asyncio.Event()
        self.port = settings.api_port
        self._code = ExitCode.OK
        timeout_ms = settings.api_timeout_s * 1000
        self._producer = EngineProducer(
            engine_settings(settings, delivery_timeout_ms=timeout_ms, linger_ms=0), EngineCounters()
        )
        rules = company_rules(settings)
        self.store = Store(redis_server(settings))
        self.wallets = open_wallets(
            settings,
            rules,
            self.store,
            self._send,
            self.metrics,
            outage_s_max=float(settings.api_timeout_s),
            ahead=self._publish,
        )
        bookings = Bookings(self.wallets, self._lost)
        doing = handles(
            Counter(self.wallets, bookings, rules, self._send, settings.rails()),
            Till(self.wallets, bookings, rules),
            Histories(Ledger(settings)),
        )
        limits = Limits(settings.api_requests_per_second, settings.api_burst, time.monotonic)
        bounds = Bounds(
            settings.api_body_bytes_max, float(settings.api_timeout_s), settings.api_concurrency
        )
        self.site = Site(doing, self.keys, limits, bounds, metrics=self.metrics, health=self.health)

    def run(self) -> int:
        """Serve until SIGTERM, SIGINT or a failure; the exit code of the process."""
        settings = self.settings
        with (
            HealthServer(
                self.metrics, self.health, settings.metrics_host, settings.metrics_port
            ) as server,
            asyncio.Runner(loop_factory=new_loop) as runner,
        ):
            logger.info("metrics at %s/metrics", server.url)
            spare_garbage_collection()
            return runner.run(self._until_told())

    async def _until_told(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        try:
            return await self.serve()
        except Exception:
            logger.critical("the API ends", exc_info=True)
            return ExitCode.START_FAILED if not self.started.is_set() else ExitCode.AGENT_RAISED

    async def serve(self) -> int:
        """Serve until ``stopping`` is set: then the requests under way are finished."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.store.close)
            await self._producer.start()
            stack.push_async_callback(self._producer.stop)
            await self.wallets.heal(range(SHARDS))
            self.health.set("healed", True)
            with self._listening() as listener:
                server = _Server(self._config())
                async with asyncio.TaskGroup() as tasks:
                    others = [
                        tasks.create_task(self.health.keep_beating()),
                        tasks.create_task(self._look_at_keys()),
                        tasks.create_task(self._announce(server)),
                    ]
                    await server.serve([listener])
                    for task in others:
                        task.cancel()
        return int(self._code)

    async def _announce(self, server: _Server) -> None:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        logger.info("API at http://%s:%d", self.settings.api_host, self.port)
        self.started.set()
        await self.stopping.wait()
        logger.info("stopping")
        server.should_exit = True

    async def _look_at_keys(self) -> None:
        while True:
            await asyncio.sleep(KEYS_LOOK_S)
            try:
                if self.keys.refresh():
                    logger.info("the keys were read again")
            except (ConfigError, OSError) as error:
                logger.error("the keys stay as they were: %s", error)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        """A socket that listens. Raises OSError for a port in use."""
        host, port = self.settings.api_host, self.settings.api_port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        with listener:
            self.port = int(listener.getsockname()[1])
            yield listener

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self.site.app,
            http=PROTOCOL,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            backlog=BACKLOG,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=self.settings.drain_timeout_s,
        )

    async def _send(self, messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
        offsets = await self._publish(messages)
        if messages and messages[0].topic == LEDGER:
            self.metrics.moved(*moved(messages))
            self.metrics.checked(*self._spot_check.look(messages))
        return offsets

    async def _publish(self, messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
        """Without counting: what a worker has booked, it counts."""
        return await self._producer.send_batch(messages, tracked=LEDGER)

    def _lost(self, error: EntriesVoid) -> None:
        """Nothing more may be booked here: the process ends, and its supervisor starts another."""
        if self._code is ExitCode.OK:
            logger.critical("%s", error)
            self._code = ExitCode.AGENT_RAISED
            self.stopping.set()


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the process's business."""
        yield
