"""Faust's view of the engine: where its consumer, producer and conductor come from."""

from typing import TYPE_CHECKING, Any, cast

from faust.transport.base import Transport
from faust.transport.conductor import Conductor
from mode import Service
from mode.utils.futures import notify
from yarl import URL

from streams.engine.consumer import EngineConsumer
from streams.engine.producer import EngineProducer

if TYPE_CHECKING:
    from streams.engine.app import EngineApp


class EngineConductor(Conductor):
    """Subscribes once, when all agents have started, and never changes the subscription."""

    @Service.task
    async def _subscriber(self) -> None:
        app = cast("EngineApp", self.app)
        await app.agents.wait_until_agents_started()
        if not self.should_stop:
            topics = await self._update_indices()
            if topics:
                await app.consumer.subscribe(topics)
            notify(self._subscription_done)


class EngineTransport(Transport):
    """The transport of an `EngineApp`; librdkafka does the work."""

    driver_version = "confluent-kafka"

    def __init__(self, app: "EngineApp") -> None:
        super().__init__([URL("kafka://")], app)
        self._engine = app

    def create_consumer(self, callback: Any = None, **kwargs: Any) -> Any:
        """The consumer; `callback` is Faust's per-message one, which is bypassed."""
        app = self._engine
        return EngineConsumer(
            app.engine_settings,
            app.counters,
            on_assigned=app.heal_hook,
            on_revoked=app.release_hook,
            on_rebalance=app.rebalanced,
            fail=app.fail,
            beacon=kwargs.get("beacon"),
        )

    def create_producer(self, **kwargs: Any) -> Any:
        """The producer."""
        app = self._engine
        return EngineProducer(app.engine_settings, app.counters, beacon=kwargs.get("beacon"))

    def create_conductor(self, **kwargs: Any) -> Any:
        """The conductor."""
        return EngineConductor(app=self._engine, **kwargs)
