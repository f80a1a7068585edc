"""Consuming in this process, on a real broker: joins, acknowledgements, healing, pressure."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from streams.engine import (
    Batch,
    EngineApp,
    EngineSettings,
    ExitCode,
    Outgoing,
    engine_app,
    running,
    until_assigned,
)
from tests.conftest import Names
from tests.streams.engine.harness import PARTITIONS, committed, fill, make_topic, settings

Pair = tuple[int, int]


def collector(app: EngineApp, topic: str, seen: list[Pair], **options: Any) -> None:
    """An agent that notes what it is given, waits `batch_s`, and acknowledges."""

    @app.agent(app.topic(topic, value_serializer="raw"), name=f"collect-{id(seen)}")
    async def collect(stream: Any) -> None:
        async for batch in stream.batches():
            await asyncio.sleep(options.get("batch_s", 0))
            seen.extend((message.partition, message.offset) for message in batch)
            batch.ack()


async def eventually(condition: Callable[[], object], timeout_s: float = 15.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - other threads change what is asked
            await asyncio.sleep(0.01)


async def test_every_message_is_handed_out_once_in_order_and_committed(
    broker: str, topic: str, group: str
) -> None:
    fill(broker, topic, 1_000)
    seen: list[Pair] = []
    app = engine_app("test", settings(broker, group, batch_messages_max=70))
    collector(app, topic, seen)
    async with running(app):
        await eventually(lambda: len(seen) >= 1_000)
        assert app.counters.messages[topic] == 1_000
        assert app.counters.batches[topic] >= 1_000 // 70
        await eventually(lambda: committed(broker, group, topic) == dict.fromkeys(range(4), 250))
        await eventually(lambda: set(app.counters.lag.values()) == {0})
    for partition in range(PARTITIONS):
        assert [o for p, o in seen if p == partition] == list(range(250))


async def test_a_stop_in_the_middle_of_a_join_leaves_the_group_usable(
    broker: str, topic: str, group: str
) -> None:
    seen: list[Pair] = []
    hasty = engine_app("hasty", settings(broker, group))
    collector(hasty, topic, seen)
    async with running(hasty):
        await asyncio.sleep(0.05)
        assert not hasty.counters.assigned
    fill(broker, topic, 20)
    app = engine_app("test", settings(broker, group))
    collector(app, topic, seen)
    async with running(app):
        await eventually(lambda: len(seen) == 20)


async def test_a_message_carries_everything_the_broker_holds(
    broker: str, topic: str, group: str
) -> None:
    before_ms = int(time.time() * 1000) - 1_000
    batches: list[Batch] = []
    app = engine_app("test", settings(broker, group))

    @app.agent(app.topic(topic, value_serializer="raw"))
    async def keep(stream: Any) -> None:
        async for batch in stream.batches():
            batches.append(batch)
            batch.ack()

    async with running(app):
        await app.producer.send_batch([Outgoing(topic, b"seller", b"\x00\xff", [("trace", b"7")])])
        await eventually(lambda: batches)
    message = batches[0].messages[0]
    assert (message.topic, message.offset) == (topic, 0)
    assert (message.key, message.value) == (b"seller", b"\x00\xff")
    assert list(message.headers or []) == [("trace", b"7")]
    assert before_ms < message.timestamp_ms < before_ms + 60_000
    assert "seller" not in repr(message)


async def test_iterating_message_by_message_acknowledges_after_the_last_of_a_batch(
    broker: str, topic: str, group: str
) -> None:
    fill(broker, topic, 40)
    seen = 0
    app = engine_app("test", settings(broker, group))

    @app.agent(app.topic(topic, value_serializer="raw"))
    async def one_by_one(stream: Any) -> None:
        nonlocal seen
        async for message in stream:
            assert message.value
            seen += 1

    async with running(app):
        await eventually(lambda: app.counters.messages[topic] == 40)
    assert seen == 40


async def test_a_gap_holds_back_the_commit(broker: str, topic: str, group: str) -> None:
    fill(broker, topic, 40)
    held: list[Batch] = []
    app = engine_app("test", settings(broker, group, batch_messages_max=5))

    @app.agent(app.topic(topic, value_serializer="raw"))
    async def hold_the_first(stream: Any) -> None:
        async for batch in stream.batches():
            if held:
                batch.ack()
            else:
                held.append(batch)

    async with running(app):
        await eventually(lambda: app.counters.messages[topic] == 35)
        partition = held[0].messages[0].partition
        await asyncio.sleep(0.5)
        assert partition not in committed(broker, group, topic)
        held[0].ack()
        await eventually(lambda: committed(broker, group, topic).get(partition) == 10)


async def test_a_restart_resumes_exactly_after_the_last_commit(
    broker: str, topic: str, group: str
) -> None:
    fill(broker, topic, 200)
    seen: list[Pair] = []
    for total in (200, 240):
        app = engine_app("test", settings(broker, group))
        collector(app, topic, seen)
        async with running(app):
            await eventually(lambda total=total: len(seen) >= total)
        fill(broker, topic, 40, first=200)
    assert sorted(seen) == [(p, o) for p in range(PARTITIONS) for o in range(60)]


async def test_nothing_of_a_partition_is_handed_out_before_its_heal_hook_returned(
    broker: str, topic: str, group: str
) -> None:
    fill(broker, topic, 100)
    healed = asyncio.Event()
    asked: list[set[tuple[str, int]]] = []

    async def heal(partitions: set[tuple[str, int]]) -> None:
        asked.append(partitions)
        await healed.wait()

    seen: list[Pair] = []
    app = engine_app("test", settings(broker, group), on_assigned=heal)
    collector(app, topic, seen)
    async with running(app):
        await eventually(lambda: asked)
        # Longer than the session timeout: the membership lives on while the hook runs.
        await asyncio.sleep(2.5)
        assert seen == []
        assert app.counters.healing == PARTITIONS
        healed.set()
        await eventually(lambda: len(seen) == 100)
        assert asked == [{(topic, partition) for partition in range(PARTITIONS)}]
        assert app.counters.rebalances == 1


async def test_a_heal_hook_that_recovers_is_retried_and_the_work_goes_on(
    broker: str, topic: str, group: str
) -> None:
    fill(broker, topic, 20)
    attempts = 0

    async def heal(_: set[tuple[str, int]]) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ConnectionError("redis is not there yet")

    seen: list[Pair] = []
    app = engine_app("test", settings(broker, group), on_assigned=heal)
    collector(app, topic, seen)
    async with running(app):
        await eventually(lambda: len(seen) == 20)
    assert (attempts, app.counters.heal_failures, app.counters.heals) == (2, 1, 1)
    assert app.failure is None


async def test_a_heal_hook_that_keeps_raising_ends_the_work(
    broker: str, topic: str, group: str
) -> None:
    fill(broker, topic, 20)
    attempts = 0

    async def heal(_: set[tuple[str, int]]) -> None:
        nonlocal attempts
        attempts += 1
        raise ConnectionError("redis is gone")

    seen: list[Pair] = []
    chosen = settings(broker, group, heal_attempts_max=2)
    app = engine_app("test", chosen, on_assigned=heal, end=lambda _: None)
    collector(app, topic, seen)
    async with running(app):
        await eventually(lambda: app.failure is not None)
        await asyncio.sleep(0.2)
    assert app.failure is not None
    assert app.failure.code == ExitCode.HEAL_FAILED
    assert (attempts, seen) == (2, [])


@pytest.mark.parametrize("assignment", ["range", "cooperative-sticky"])
async def test_a_slow_batch_finishes_and_is_committed_before_its_partition_moves(
    broker: str, topic: str, group: str, assignment: str
) -> None:
    # The first alone is busy for 9 s with it: joining takes the second a while on a slow machine.
    fill(broker, topic, 600)
    chosen = settings(broker, group, assignment=assignment, batch_messages_max=20)
    first_seen: list[Pair] = []
    second_seen: list[Pair] = []
    first = engine_app("first", chosen)
    collector(first, topic, first_seen, batch_s=0.3)
    second = engine_app("second", chosen)
    collector(second, topic, second_seen, batch_s=0.05)
    async with running(first):
        await eventually(lambda: first_seen)
        async with running(second):
            await until_assigned(second)
            await eventually(lambda: len(first_seen) + len(second_seen) >= 600, timeout_s=40)
            assert first.counters.assigned
            assert second.counters.assigned
    assert second_seen
    assert sorted(first_seen + second_seen) == [(p, o) for p in range(4) for o in range(150)]


async def test_a_late_acknowledgement_of_a_released_partition_is_ignored(
    broker: str, topic: str, group: str
) -> None:
    fill(broker, topic, 40)
    chosen = settings(broker, group, drain_timeout_s=0.3, stop_timeout_s=5)
    held: list[Batch] = []
    first = engine_app("first", chosen)

    @first.agent(first.topic(topic, value_serializer="raw"))
    async def hold(stream: Any) -> None:
        async for batch in stream.batches():
            held.append(batch)

    seen: list[Pair] = []
    second = engine_app("second", chosen)
    collector(second, topic, seen)
    async with running(first):
        await eventually(lambda: sum(map(len, held)) == 40)
        async with running(second):
            # The released half comes to the second worker, since nobody acknowledged it.
            await eventually(lambda: len(seen) == 20)
            await eventually(lambda: len(committed(broker, group, topic)) == 2)
            moved = committed(broker, group, topic)
            held_before = list(held)
            for batch in held_before:
                batch.ack()
            assert first.counters.late_acks > 0
            await asyncio.sleep(0.5)
            for partition, offset in moved.items():
                assert committed(broker, group, topic)[partition] == offset


async def test_a_full_topic_is_paused_and_the_other_goes_on(
    broker: str, topic: str, group: str, names: Names
) -> None:
    other = make_topic(broker, names.topic("other"))
    fill(broker, topic, 3_000)
    fill(broker, other, 500)
    blocked = asyncio.Event()
    slow_seen: list[Pair] = []
    quick_seen: list[Pair] = []
    app = engine_app(
        "test", settings(broker, group, inbox_messages_max=300, batch_messages_max=100)
    )

    @app.agent(app.topic(topic, value_serializer="raw"))
    async def slow(stream: Any) -> None:
        async for batch in stream.batches():
            await blocked.wait()
            slow_seen.extend((message.partition, message.offset) for message in batch)
            batch.ack()

    collector(app, other, quick_seen)
    async with running(app):
        await eventually(lambda: len(quick_seen) == 500)
        await eventually(lambda: app.counters.pauses > 0)
        # One fetch may overshoot the bound, no more.
        assert app.counters.inbox[topic] <= 300 + 2_000
        fill(broker, other, 100, first=500)
        await eventually(lambda: len(quick_seen) == 600)
        assert slow_seen == []
        blocked.set()
        await eventually(lambda: len(slow_seen) >= 3_000)
    for partition in range(PARTITIONS):
        assert [o for p, o in slow_seen if p == partition] == list(range(750))


async def test_a_worker_whose_only_topic_is_full_and_stuck_still_gives_partitions_up(
    broker: str, topic: str, group: str
) -> None:
    fill(broker, topic, 6_000)
    chosen = settings(
        broker, group, inbox_messages_max=100, batch_messages_max=50, drain_timeout_s=0.3
    )
    stuck = engine_app("stuck", chosen)

    @stuck.agent(stuck.topic(topic, value_serializer="raw"))
    async def hang(stream: Any) -> None:
        async for _ in stream.batches():
            await asyncio.sleep(3_600)

    seen: list[Pair] = []
    second = engine_app("second", chosen)
    collector(second, topic, seen)
    async with running(stuck):
        await eventually(lambda: stuck.counters.pauses == 1)
        async with running(second):
            await eventually(lambda: len({p for p, _ in seen}) == 2)
            await eventually(lambda: len(seen) == 3_000)
        stuck.consumer.abandon(topic)


async def test_an_agent_that_raises_is_reported_and_never_restarted(
    broker: str, topic: str, group: str
) -> None:
    fill(broker, topic, 20)
    calls = 0
    ended: list[int] = []
    app = engine_app("test", settings(broker, group), end=ended.append)

    @app.agent(app.topic(topic, value_serializer="raw"))
    async def fails(stream: Any) -> None:
        nonlocal calls
        async for _ in stream.batches():
            calls += 1
            raise ValueError("no such seller")

    async with running(app):
        await eventually(lambda: app.failure is not None)
        await asyncio.sleep(0.5)
    assert calls == 1
    assert app.failure is not None
    assert app.failure.code == ExitCode.AGENT_RAISED
    assert committed(broker, group, topic) == {}
    assert ended == []


async def test_a_hopeless_setting_ends_the_work_with_one_clear_reason(
    topic: str, group: str
) -> None:
    app = engine_app("test", EngineSettings(brokers="127.0.0.1:1", group_id=group))
    app.consumer.broken("the broker refuses: not authorized")
    assert app.failure is not None
    assert app.failure.code == ExitCode.CONSUMER_FAILED
    assert app._deadline is not None
    app._deadline.cancel()
