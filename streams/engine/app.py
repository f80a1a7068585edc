"""The Faust app on the engine, and what of Faust it refuses."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import faust
from faust.app.base import BootStrategy
from faust.types import TP
from faust.types.enums import ProcessingGuarantee
from mode.supervisors import ForfeitOneForOneSupervisor

from streams.engine.consumer import EngineConsumer, PartitionsHook
from streams.engine.counters import EngineCounters
from streams.engine.errors import EngineFailed, EngineRefusal, ExitCode
from streams.engine.producer import EngineProducer
from streams.engine.settings import EngineSettings
from streams.engine.stream import BatchStream
from streams.engine.transport import EngineTransport
from streams.engine.watchdog import Deadline, EndProcess, Progress, Watchdog, end_process

logger = logging.getLogger(__name__)

_STATE_IN_REDIS = "keep state in Redis"
_ROUND_TIMEOUT_S = 60.0
_FACTORY_OPTIONS = frozenset({"broker", "id", "Stream", "agent_supervisor", "web_enabled"})


class EngineBoot(BootStrategy):
    """Starts producer, consumer, agents and conductor; no tables, leader, replies, web."""

    def server(self) -> Iterable[Any]:
        """The services of a worker, in the order they start; they stop in the reverse one."""
        return [self.app.producer, self.app.consumer, self.app.agents, self.app.topics]


class EngineApp(faust.App):
    """A `faust.App` whose messages come and go through librdkafka. Made by `engine_app`."""

    BootStrategy = EngineBoot

    if TYPE_CHECKING:
        # Faust declares its own, wider interfaces for these two.
        producer: EngineProducer  # type: ignore[assignment]
        consumer: EngineConsumer  # type: ignore[assignment]

    def __init__(
        self,
        name: str,
        settings: EngineSettings,
        *,
        on_assigned: PartitionsHook | None,
        on_revoked: PartitionsHook | None,
        end: EndProcess,
        **options: Any,
    ) -> None:
        self.engine_settings = settings
        self.counters = EngineCounters()
        self.heal_hook = on_assigned
        self.release_hook = on_revoked
        #: Why the work of this process ended, None while it goes on.
        self.failure: EngineFailed | None = None
        #: Called on the event loop when the work has to end; the worker sets it.
        self.on_failure: Callable[[EngineFailed], None] | None = None
        self._end = end
        self._deadline: Deadline | None = None
        self._watchdog: Watchdog | None = None
        self._agent_topics: dict[str, str] = {}
        super().__init__(
            name,
            broker="kafka://" + settings.brokers.split(",")[0],
            Stream=BatchStream,
            agent_supervisor=ForfeitOneForOneSupervisor,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            autodiscover=False,
            stream_wait_empty=False,
            **options,
        )

    # How the work ends

    def fail(self, code: ExitCode, reason: str) -> None:
        """End the work of this process, in order if that is possible within `stop_timeout_s`.

        May be called from any thread; the first call counts.
        """
        if self.failure is not None:
            return
        self.failure = EngineFailed(code, reason)
        logger.critical("%s", reason)
        self._deadline = Deadline(self.engine_settings.stop_timeout_s, code, self._end)
        loop = self.loop
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._announce, self.failure)

    def _announce(self, failure: EngineFailed) -> None:
        if self.on_failure is not None:
            self.on_failure(failure)

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        # An agent handles what it can expect; anything else must not be retried in place, since
        # nobody knows what it had done already. What it had in hand was never acknowledged.
        logger.critical("agent %s raised", agent.name, exc_info=exc)
        for topic in agent.channel.topics:
            self.consumer.abandon(topic)
        self.fail(ExitCode.AGENT_RAISED, f"agent {agent.name} raised {type(exc).__name__}")

    def _stalled(self) -> str | None:
        consumer = self.consumer
        seconds = self._progress.stalled_for_s(consumer.work_waiting, self.counters.progress_at)
        if seconds is not None:
            return f"messages wait and none was finished for {seconds:.0f} s"
        rounds_at = consumer.rounds_at
        silent_s = 0.0 if rounds_at is None else time.monotonic() - rounds_at
        if silent_s > self.engine_settings.drain_timeout_s + _ROUND_TIMEOUT_S:
            return f"the consumer has not polled for {silent_s:.0f} s"
        return None

    # What of Faust's life cycle is replaced

    async def on_start(self) -> None:
        """Check what was declared and start the watchdog."""
        await super().on_start()
        timeout_s = self.engine_settings.progress_timeout_s
        self._progress = Progress(timeout_s)
        self._watchdog = Watchdog(self._stalled, timeout_s, self._end)
        self._watchdog.start()

    async def on_stop(self) -> None:
        """Let the batches in hand finish, then stop the rest."""
        if self._watchdog is not None:
            self._watchdog.finish()
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """Everything has stopped in time."""
        if self._deadline is not None:
            self._deadline.cancel()

    async def rebalanced(self, assigned: set[TP]) -> None:
        """Tell Faust's agents and signals about the whole assignment as it is now."""
        revoked, added = self._update_assignment(assigned)
        self.unassigned = not assigned
        await self.agents.on_rebalance(revoked, added)
        if revoked:
            await self.on_partitions_revoked.send(revoked)
        await self.on_partitions_assigned.send(assigned)

    async def _stop_consumer(self) -> None:
        if self._consumer is not None:
            await self.consumer.drain()

    async def _wait_for_table_recovery_completed(self) -> bool:
        return False

    def _create_directories(self) -> None:
        # Faust keeps tables there; there are none.
        return None

    def _new_transport(self) -> Any:
        return EngineTransport(self)

    # What is refused

    def agent(self, channel: Any = None, **options: Any) -> Any:
        """`faust.App.agent` for one raw topic, one instance, no sinks.

        Raises:
            EngineRefusal: anything else is asked for.
        """
        if options.get("concurrency", 1) > 1:
            raise EngineRefusal("concurrency above 1", "more partitions and more workers")
        if options.get("isolated_partitions"):
            raise EngineRefusal("isolated_partitions", "batch.partitions")
        if options.get("sink"):
            raise EngineRefusal("a sink", "await app.producer.send_batch([...])")
        topic = self._raw_topic(channel)

        def declare(function: Callable[..., Awaitable[None]]) -> Any:
            name = options.get("name") or function.__name__
            if topic in self._agent_topics:
                raise EngineRefusal(
                    f"a second agent on {topic} (the first is {self._agent_topics[topic]})",
                    "one agent a topic",
                )
            self._agent_topics[topic] = name
            return super(EngineApp, self).agent(channel, **options)(function)

        return declare

    def _raw_topic(self, channel: Any) -> str:
        topics = getattr(channel, "topics", None)
        if not topics or len(topics) != 1:
            raise EngineRefusal(
                "an agent on something else than one topic",
                '@app.agent(app.topic("name", value_serializer="raw"))',
            )
        name: str = topics[0]
        typed = getattr(channel, "value_type", None) or getattr(channel, "key_type", None)
        if channel.value_serializer != "raw" or channel.key_serializer not in (None, "raw"):
            raise EngineRefusal(
                f"decoding of {name} by Faust", 'value_serializer="raw", and decode in the agent'
            )
        if typed is not None:
            raise EngineRefusal(f"a model for {name}", "decode in the agent")
        return name

    def Table(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise EngineRefusal("app.Table()", _STATE_IN_REDIS)

    def GlobalTable(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise EngineRefusal("app.GlobalTable()", _STATE_IN_REDIS)

    def SetTable(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise EngineRefusal("app.SetTable()", _STATE_IN_REDIS)

    def SetGlobalTable(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise EngineRefusal("app.SetGlobalTable()", _STATE_IN_REDIS)

    async def start_client(self) -> NoReturn:
        """Refused."""
        raise EngineRefusal("client-only mode", "a confluent_kafka client of one's own")


def engine_app(
    name: str,
    settings: EngineSettings,
    *,
    on_assigned: PartitionsHook | None = None,
    on_revoked: PartitionsHook | None = None,
    end: EndProcess = end_process,
    **options: Any,
) -> EngineApp:
    """A Faust app on the engine.

    `on_assigned` is awaited with the (topic, partition) pairs a worker was just given, before
    any message of theirs is handed out; if it raises it is tried again `heal_attempts_max` times
    and then the process ends. `on_revoked` is told of pairs that are gone, after their last
    commit. `end` ends the process when nothing else helps. `options` are Faust's own settings.

    Raises:
        EngineRefusal: an option turns on what the engine does not offer.
    """
    guarantee = options.get("processing_guarantee")
    if guarantee in ("exactly_once", ProcessingGuarantee.EXACTLY_ONCE):
        raise EngineRefusal(
            'processing_guarantee="exactly_once"', "idempotent effects under at-least-once"
        )
    for option in sorted(_FACTORY_OPTIONS & options.keys()):
        raise EngineRefusal(f"the Faust option {option}", "EngineSettings")
    return EngineApp(
        name, settings, on_assigned=on_assigned, on_revoked=on_revoked, end=end, **options
    )


async def until_assigned(app: EngineApp, timeout_s: float = 30.0) -> frozenset[tuple[str, int]]:
    """Wait until the app owns partitions and they are healed; what it owns.

    Raises:
        TimeoutError: it does not within `timeout_s`.
    """
    async with asyncio.timeout(timeout_s):
        while not app.counters.assigned or app.counters.healing:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return app.counters.assigned
