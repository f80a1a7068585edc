"""What Apache Kafka refuses a worker, and how that ends it; the embedded broker takes it."""

from __future__ import annotations

from streams.engine import ExitCode, engine_app, running
from tests.streams.engine.harness import settings
from tests.streams.engine.test_consumer import collector, eventually

SESSION_TIMEOUT_MS_MAX = 1_800_000
"""group.max.session.timeout.ms, as Apache Kafka has it by default."""


async def test_a_session_timeout_that_the_broker_does_not_allow_ends_the_worker(
    broker: str, topic: str, group: str
) -> None:
    wrong = settings(
        broker,
        group,
        session_timeout_ms=SESSION_TIMEOUT_MS_MAX + 1,
        poll_interval_max_ms=SESSION_TIMEOUT_MS_MAX + 2,
    )
    app = engine_app("test", wrong)
    collector(app, topic, [])
    async with running(app):
        await eventually(lambda: app.failure is not None)
    assert app.failure is not None
    assert app.failure.code == ExitCode.CONSUMER_FAILED
    assert "nvalid session timeout" in app.failure.reason
