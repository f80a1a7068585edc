"""Inboxes: how messages become batches, and what is refused of a stream."""

import asyncio

import pytest

from streams.engine import EngineRefusal, EngineSettings, RawMessage, engine_app
from streams.engine.counters import EngineCounters
from streams.engine.offsets import PartitionOffsets
from streams.engine.stream import BatchStream, Inbox


def messages(partition: int, first: int, count: int) -> list[RawMessage]:
    return [
        RawMessage("sales", partition, first + step, b"key", b"value", 0) for step in range(count)
    ]


def filled(*runs: tuple[PartitionOffsets, int, int]) -> Inbox:
    inbox = Inbox("sales", EngineCounters())
    for partition, first, count in runs:
        inbox.handed += count
        inbox.put(partition, messages(partition.partition, first, count))
    return inbox


async def test_a_batch_joins_runs_and_splits_the_one_that_does_not_fit() -> None:
    zero, one = PartitionOffsets("sales", 0), PartitionOffsets("sales", 1)
    inbox = filled((zero, 0, 3), (one, 10, 4))
    first = await inbox.take(5)
    second = await inbox.take(5)
    assert first is not None
    assert second is not None
    assert [(m.partition, m.offset) for m in first] == [(0, 0), (0, 1), (0, 2), (1, 10), (1, 11)]
    assert [(m.partition, m.offset) for m in second] == [(1, 12), (1, 13)]
    second.ack()
    assert one.to_commit() is None
    first.ack()
    assert (zero.to_commit(), one.to_commit()) == (3, 14)
    assert inbox.depth == 0


async def test_a_taker_waits_for_messages_and_for_the_end() -> None:
    partition = PartitionOffsets("sales", 0)
    inbox = filled()
    taker = asyncio.create_task(inbox.take(10))
    await asyncio.sleep(0.01)
    assert not taker.done()
    inbox.handed += 1
    inbox.put(partition, messages(0, 0, 1))
    batch = await taker
    assert batch is not None
    assert len(batch) == 1
    taker = asyncio.create_task(inbox.take(10))
    await asyncio.sleep(0)
    inbox.close()
    assert await taker is None


async def test_what_waits_of_a_released_partition_is_dropped_and_the_rest_stays() -> None:
    zero, one = PartitionOffsets("sales", 0), PartitionOffsets("sales", 1)
    inbox = filled((zero, 0, 3), (one, 0, 2), (zero, 3, 3))
    inbox.discard({zero})
    assert inbox.depth == 2
    batch = await inbox.take(10)
    assert batch is not None
    assert batch.partitions == {("sales", 1)}


async def test_a_message_that_arrives_after_the_release_is_dropped() -> None:
    zero = PartitionOffsets("sales", 0)
    zero.close()
    inbox = filled((zero, 0, 3))
    assert inbox.depth == 0
    inbox.close()
    assert await inbox.take(10) is None


async def test_an_agent_with_a_backlog_lets_the_loop_go_on() -> None:
    inbox = filled((PartitionOffsets("sales", 0), 0, 100))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(50):
        await inbox.take(2)
    task.cancel()
    assert turns >= 49


@pytest.mark.parametrize("name", BatchStream._refused)
async def test_what_would_lose_or_reorder_messages_is_refused(name: str) -> None:
    app = engine_app("test", EngineSettings(brokers="127.0.0.1:1", group_id="group"))
    stream = app.topic("sales", value_serializer="raw").stream()
    with pytest.raises(EngineRefusal, match=r"stream\.batches"):
        getattr(stream, name)
