"""Producing whole batches on a real broker."""

import asyncio
import os
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from models.shards import partition_of
from streams.demo.embedded import EmbeddedBroker
from streams.engine import (
    DeliveryFailed,
    EngineNotRunning,
    EngineProducer,
    EngineRefusal,
    Outgoing,
    PayloadTooLarge,
    engine_app,
    running,
)
from streams.engine.counters import EngineCounters
from tests.conftest import Names
from tests.streams.engine.harness import PARTITIONS, make_topic, read, settings

# An idempotent producer needs a second to be known to the broker: one serves all tests here.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def producer(broker: str) -> AsyncIterator[EngineProducer]:
    started = EngineProducer(
        settings(broker, "producer", message_bytes_max=5_000), EngineCounters()
    )
    await started.start()
    yield started
    await started.stop()


async def test_a_batch_is_stored_when_the_call_returns(
    producer: EngineProducer, broker: str, topic: str
) -> None:
    sent = [Outgoing(topic, f"seller-{n}".encode(), b"\x00" * n, [("n", b"1")]) for n in range(300)]
    before = producer.counters.produced
    await producer.send_batch(sent)
    stored = read(broker, topic, 300)
    assert {(m.key(), m.value()) for m in stored} == {(each.key, each.value) for each in sent}
    assert all(m.headers() == [("n", b"1")] for m in stored)
    assert producer.counters.produced - before == 300


async def test_the_first_batch_does_not_wait_for_the_producer_s_id(broker: str, topic: str) -> None:
    took_s = []
    for _ in range(4):
        began_s = time.monotonic()
        late = EngineProducer(settings(broker, "producer"), EngineCounters())
        await late.start()
        await asyncio.sleep(0.05)  # what a process does meanwhile
        await late.send_batch([Outgoing(topic, b"seller", b"")])
        took_s.append(time.monotonic() - began_s)
        await late.stop()
    # A tenth of a second or half of one; a whole one if the connection was not made at the start.
    assert min(took_s) < 0.9


async def test_the_key_decides_the_partition_as_in_java(
    producer: EngineProducer, broker: str, topic: str
) -> None:
    keys = [f"seller-{number}" for number in range(50)]
    await producer.send_batch([Outgoing(topic, key.encode(), b"") for key in keys])
    for message in read(broker, topic, len(keys)):
        key = message.key()
        assert isinstance(key, bytes)
        assert message.partition() == partition_of(key.decode(), PARTITIONS)


async def test_order_is_kept_within_a_key(
    producer: EngineProducer, broker: str, topic: str
) -> None:
    await producer.send_batch([Outgoing(topic, b"seller", str(n).encode()) for n in range(500)])
    assert [m.value() for m in read(broker, topic, 500)] == [str(n).encode() for n in range(500)]


async def test_a_tombstone_and_a_message_without_key_are_sent(
    producer: EngineProducer, broker: str, topic: str
) -> None:
    await producer.send_batch([Outgoing(topic, b"seller", None), Outgoing(topic, None, b"x")])
    assert {(m.key(), m.value()) for m in read(broker, topic, 2)} == {
        (b"seller", None),
        (None, b"x"),
    }


async def test_an_empty_batch_returns_at_once(producer: EngineProducer) -> None:
    await producer.send_batch([])


async def test_the_last_offset_of_each_tracked_partition_is_returned(
    producer: EngineProducer, broker: str, topic: str, names: Names
) -> None:
    other = make_topic(broker, names.topic())
    keys = [f"seller-{number}" for number in range(40)]
    batch = [Outgoing(name, key.encode(), b"") for key in keys for name in (topic, other)]
    assert await producer.send_batch(batch) == {}
    found = await producer.send_batch(batch, tracked=topic)
    last: dict[tuple[str, int], int] = {}
    for message in read(broker, topic, 80):
        last[str(message.topic()), int(message.partition() or 0)] = int(message.offset() or 0)
    assert found == last


@pytest.mark.parametrize(
    "large",
    [
        Outgoing("", b"k", b"v" * 5_000),
        Outgoing("", b"k" * 5_001, None),
        Outgoing("", b"k", b"v" * 4_900, [("header", b"h" * 100)]),
    ],
)
async def test_a_message_above_the_bound_is_refused_and_nothing_of_its_batch_is_sent(
    producer: EngineProducer, broker: str, topic: str, large: Outgoing
) -> None:
    with pytest.raises(PayloadTooLarge, match="above the bound of 5000 bytes") as refusal:
        await producer.send_batch([Outgoing(topic, b"k", b"v"), large._replace(topic=topic)])
    assert refusal.value.topic == topic
    await producer.send_batch([Outgoing(topic, b"k", b"v" * 4_999)])
    assert [len(m.value() or b"") for m in read(broker, topic, 2, timeout_s=0.5)] == [4_999]


async def test_faust_s_own_send_is_delivered_when_both_awaits_returned(
    broker: str, topic: str, group: str
) -> None:
    app = engine_app("test", settings(broker, group))
    async with running(app):
        target = app.topic(topic, value_serializer="raw", key_serializer="raw")
        metadata = await (await target.send(key=b"seller", value=b"v", headers={"a": b"1"}))
        assert metadata.topic == topic
        assert metadata.offset == 0
        with pytest.raises(EngineRefusal, match="partition or timestamp"):
            await target.send(key=b"seller", value=b"v", partition=1)
    (message,) = read(broker, topic, 1)
    assert (message.key(), message.headers()) == (b"seller", [("a", b"1")])


async def test_a_producer_that_is_not_running_says_so(broker: str, group: str) -> None:
    stopped = EngineProducer(settings(broker, group), EngineCounters())
    with pytest.raises(EngineNotRunning):
        await stopped.send_batch([Outgoing("topic", None, b"")])
    await stopped.start()
    await stopped.stop()
    with pytest.raises(EngineNotRunning):
        await stopped.send_batch([Outgoing("topic", None, b"")])


@pytest.mark.skipif(bool(os.environ.get("KAFKA_BOOTSTRAP")), reason="needs a broker to kill")
async def test_what_the_broker_never_acknowledged_is_reported(names: Names, group: str) -> None:
    with EmbeddedBroker() as own:
        topic = make_topic(own.bootstrap, names.topic())
        # Long enough for a first message through a broker that has only just come up.
        chosen = settings(
            own.bootstrap, group, delivery_timeout_ms=8_000, drain_timeout_s=1, stop_timeout_s=5
        )
        producer = EngineProducer(chosen, EngineCounters())
        await producer.start()
        await producer.send_batch([Outgoing(topic, b"k", b"v")])
        own.kill()
        with pytest.raises(DeliveryFailed, match="3 of 3 messages were not acknowledged"):
            await producer.send_batch([Outgoing(topic, b"k", b"v")] * 3)
        await producer.stop()
