"""How long a killed worker's partitions go unserved: measured, from kill -9 to the next effect."""

from __future__ import annotations

import itertools
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from confluent_kafka import OFFSET_END, Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from pydantic_core import to_json

from models.ledger import Entry
from models.shards import partition_of
from streams.demo.process import free_port
from streams.demo.stack import GivenKafka, Stack

RATE_PER_S = 100
MARGIN_S = 3.0
"""Beside the session: a rebalance (the survivor hears of it with its next heartbeat, within half a
second, and joins again), healing the shards, and one batch; on a machine that is busy."""


def sales(partitions: int) -> Iterator[tuple[bytes, bytes]]:
    """Sales without end, round after round one to each partition: key and value."""
    sellers = {partition_of(name, partitions): name for name in map(str, range(1_000, 2_000))}
    assert len(sellers) == partitions
    for number in itertools.count():
        seller = sellers[number % partitions]
        body = {
            "id": f"recovery-{number}",
            "type": "sale.completed",
            "version": 1,
            "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seller_id": seller,
            "sale_id": f"sale-{number}",
            "currency": "EUR",
            "amount_minor": 1_000,
        }
        yield seller.encode(), to_json(body)


@dataclass
class Feed:
    """Sends sales at a steady rate and sees when each partition's have their effect."""

    kafka: GivenKafka
    since_s: float = float("inf")
    """Sales handed over from then on are looked for."""
    first: dict[int, int] = field(default_factory=dict)
    """Partition → offset of the first of those."""
    served_s: dict[int, float] = field(default_factory=dict)
    """Partition → when the first effect of one of those was read."""

    def __post_init__(self) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": self.kafka.bootstrap,
                "partitioner": "murmur2_random",
                "linger.ms": 0,
            }
        )
        self._ledger = Consumer(
            {
                "bootstrap.servers": self.kafka.bootstrap,
                "group.id": "recovery",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
            }
        )
        self._ledger.assign(
            [TopicPartition("ledger", p, OFFSET_END) for p in range(self.kafka.partitions)]
        )
        self._sales = sales(self.kafka.partitions)
        self._due = time.monotonic()
        self._sent = 0
        self.effects = 0

    def go_on(self, seconds: float, *, until_served: bool = False) -> None:
        """Send and read for a while; with ``until_served``, only until all partitions are."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if time.monotonic() >= self._due:
                self._send()
            self._read(max(0.0, self._due - time.monotonic()))
            if until_served and len(self.served_s) == self.kafka.partitions:
                return

    def close(self) -> None:
        """Leave nothing open."""
        self._producer.flush(10)
        self._ledger.close()

    def _send(self) -> None:
        key, value = next(self._sales)
        handed_s = time.monotonic()

        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None
            if handed_s >= self.since_s:
                self.first.setdefault(int(message.partition() or 0), int(message.offset() or 0))

        self._producer.produce("sales", value, key, on_delivery=delivered)
        self._producer.poll(0)
        self._due += 1 / RATE_PER_S

    def _read(self, timeout_s: float) -> None:
        message = self._ledger.poll(timeout_s)
        self._producer.poll(0)
        if message is None or message.error() is not None:
            return
        source = Entry.parse(message.value() or b"").source
        if source is None or source[0] != "sales":
            return
        self.effects += 1
        _, partition, offset = source
        if partition in self.first and offset >= self.first[partition]:
            self.served_s.setdefault(partition, time.monotonic())


def owners(admin: AdminClient) -> list[int]:
    """How many partitions of the sales each member of the workers' group has."""
    group = admin.describe_consumer_groups(["payouts"])["payouts"].result(timeout=10)
    return [
        sum(each.topic == "sales" for each in member.assignment.topic_partitions)
        for member in group.members
    ]


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False


def wait_for_two(kafka: GivenKafka, port: int) -> None:
    """Wait until two workers have half of the sales each."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        if ready(port) and owners(admin) == [kafka.partitions // 2] * 2:
            return
        time.sleep(0.1)
    raise AssertionError(f"two workers do not share the sales: {owners(admin)}")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("session_timeout_s", [3, 10])
def test_partitions_of_a_killed_worker_are_served_within_two_sessions(
    kafka: GivenKafka, session_timeout_s: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with Stack(kafka=kafka, session_timeout_ms=session_timeout_s * 1000) as stack:
        port = free_port()
        stack.start_worker(metrics_port=port, webhook_port=free_port())
        wait_for_two(kafka, port)
        feed = Feed(kafka)
        feed.go_on(3.0)
        assert feed.effects > RATE_PER_S

        killed_s = feed.since_s = time.monotonic()
        stack.kill_worker()
        feed.go_on(session_timeout_s * 2 + 20.0, until_served=True)
        feed.close()

    assert len(feed.served_s) == kafka.partitions, feed.served_s
    waits_s = sorted(at - killed_s for at in feed.served_s.values())
    with capsys.disabled():
        print(  # noqa: T201 - the figure in docs/reliability.md
            f"\nsession {session_timeout_s} s: served again {waits_s[-1]:.2f} s after kill -9"
        )
    assert waits_s[-1] <= 2 * session_timeout_s + MARGIN_S
