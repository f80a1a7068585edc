"""What of Faust the app refuses, and what it says to use instead."""

from collections.abc import Callable
from typing import Any

import pytest

from streams.engine import EngineApp, EngineRefusal, EngineSettings, engine_app


@pytest.fixture
def app() -> EngineApp:
    return engine_app("test", EngineSettings(brokers="127.0.0.1:1", group_id="group"))


async def idle(stream: Any) -> None:
    async for batch in stream.batches():
        batch.ack()


REFUSED: dict[str, Callable[[EngineApp], object]] = {
    "Redis": lambda app: app.Table("balances"),
    "GlobalTable": lambda app: app.GlobalTable("balances"),
    "SetTable": lambda app: app.SetTable("balances"),
    "SetGlobalTable": lambda app: app.SetGlobalTable("balances"),
    "concurrency": lambda app: app.agent(raw(app), concurrency=2)(idle),
    "isolated_partitions": lambda app: app.agent(raw(app), isolated_partitions=True)(idle),
    "sink": lambda app: app.agent(raw(app), sink=[raw(app, "out")])(idle),
    "one topic": lambda app: app.agent(app.topic("a", "b", value_serializer="raw"))(idle),
    "an agent on something else": lambda app: app.agent()(idle),
    "decode in the agent": lambda app: app.agent(app.topic("sales"))(idle),
    "decoding of sales": lambda app: app.agent(app.topic("sales", value_serializer="json"))(idle),
    "a model for sales": lambda app: app.agent(
        app.topic("sales", value_serializer="raw", value_type=str)
    )(idle),
    "send_batch": lambda app: app.producer.send_soon(None),
}


def raw(app: EngineApp, name: str = "sales") -> Any:
    return app.topic(name, value_serializer="raw")


@pytest.mark.parametrize("message", REFUSED)
def test_a_refusal_names_the_feature_and_what_to_use(app: EngineApp, message: str) -> None:
    with pytest.raises(EngineRefusal, match=message) as refusal:
        REFUSED[message](app)
    assert refusal.value.instead


def test_a_second_agent_on_a_topic_is_refused_and_names_the_first(app: EngineApp) -> None:
    app.agent(raw(app))(idle)
    with pytest.raises(EngineRefusal, match=r"a second agent on sales \(the first is idle\)"):
        app.agent(raw(app), name="another")(idle)


def test_agents_on_different_topics_are_taken(app: EngineApp) -> None:
    app.agent(raw(app, "sales"), name="one")(idle)
    app.agent(raw(app, "returns"), name="two")(idle)
    assert sorted(app.agents) == ["one", "two"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("processing_guarantee", "exactly_once", "idempotent effects"),
        ("broker", "kafka://elsewhere", "EngineSettings"),
        ("web_enabled", True, "EngineSettings"),
    ],
)
def test_an_option_that_undoes_the_engine_is_refused(
    option: str, value: object, message: str
) -> None:
    settings = EngineSettings(brokers="127.0.0.1:1", group_id="group")
    with pytest.raises(EngineRefusal, match=message):
        engine_app("test", settings, **{option: value})


async def test_client_only_mode_is_refused(app: EngineApp) -> None:
    with pytest.raises(EngineRefusal, match="client-only"):
        await app.start_client()
