"""What the engine's tests share: topics with messages, committed offsets, worker processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from streams.engine import EngineSettings
from streams.topics import FOREVER_MS, Topic, create_topics

PARTITIONS = 4
# The embedded broker's joins take half of it: short, so that the tests are.
SESSION_TIMEOUT_MS = 2_000

ROOT = Path(__file__).parents[3]


def settings(brokers: str, group: str, **changes: Any) -> EngineSettings:
    """Engine settings with short times."""
    defaults: dict[str, Any] = {"session_timeout_ms": SESSION_TIMEOUT_MS}
    return EngineSettings.embedded(brokers, group, **{**defaults, **changes})


def make_topic(brokers: str, name: str, partitions: int = PARTITIONS) -> str:
    """Create an empty topic."""
    create_topics(brokers, partitions, topics=[Topic(name, FOREVER_MS)])
    return name


def fill(brokers: str, topic: str, count: int, *, first: int = 0, value: bytes = b"") -> None:
    """Produce `count` messages valued by their number, spread over the partitions in turn."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5})
    for number in range(first, first + count):
        text = str(number).encode()
        producer.produce(topic, value or text, text, number % PARTITIONS)
        producer.poll(0)
    assert producer.flush(30) == 0


def committed(brokers: str, group: str, topic: str, partitions: int = PARTITIONS) -> dict[int, int]:
    """The group's committed offset of each partition that has one."""
    # Not an AdminClient: librdkafka's crashes when the group's coordinator is still loading.
    reader = Consumer({"bootstrap.servers": brokers, "group.id": group})
    asked = [TopicPartition(topic, number) for number in range(partitions)]
    answered = reader.committed(asked, timeout=10)
    reader.close()
    return {each.partition: each.offset for each in answered if each.offset >= 0}


def read(brokers: str, topic: str, count: int, timeout_s: float = 10.0) -> list[Message]:
    """The first `count` messages of a topic, or those that come within `timeout_s`."""
    found: list[Message] = []
    _read(brokers, topic, found.append, lambda: len(found) >= count, timeout_s)
    return found


def read_values(
    brokers: str, topic: str, expected: set[bytes], timeout_s: float = 15.0
) -> set[bytes | None]:
    """The different values of a topic, read until all that are expected came or time is up."""
    values: set[bytes | None] = set()
    _read(
        brokers,
        topic,
        lambda message: values.add(message.value()),
        lambda: values >= expected,
        timeout_s,
    )
    return values


def _read(
    brokers: str,
    topic: str,
    take: Callable[[Message], None],
    enough: Callable[[], bool],
    timeout_s: float,
) -> None:
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": "reader", "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    deadline = time.monotonic() + timeout_s
    while not enough() and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            take(message)
    consumer.close()


class WorkerProcess:
    """A worker in a process of its own, with the journal of what it did."""

    def __init__(self, directory: Path, name: str, **orders: Any) -> None:
        self.journal = directory / f"{name}.journal"
        self.log = directory / f"{name}.log"
        short = {"session_timeout_ms": SESSION_TIMEOUT_MS}
        orders["settings"] = {**short, **orders.get("settings", {})}
        orders["journal"] = str(self.journal)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.streams.engine.worker_process", json.dumps(orders)],
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def notes(self, kind: str) -> list[dict[str, Any]]:
        """What the worker noted of a kind, in order."""
        if not self.journal.exists():
            return []
        lines = self.journal.read_text().splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        return [entry for entry in entries if entry["kind"] == kind]

    def offsets(self, kind: str) -> list[tuple[int, int]]:
        """All (partition, offset) pairs of the batches noted as `begin` or `end`."""
        return [
            (partition, offset)
            for entry in self.notes(kind)
            for partition, offset in entry["offsets"]
        ]

    def until(self, condition: Callable[[], object], timeout_s: float = 20.0) -> None:
        """Wait until something holds; a worker that ended by itself fails the test."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Signal the worker."""
        self._process.send_signal(number)

    def exit_code(self, timeout_s: float) -> int:
        """How the worker ended, waiting at most `timeout_s`."""
        return self._process.wait(timeout=timeout_s)

    def end(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
