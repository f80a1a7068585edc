"""Latency of the product, open loop: from a sale's intended send to its command in Kafka."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from pydantic_core import from_json

from benchmarks.ground import Ground, Kafka
from benchmarks.measure import JobFailed, cpu_s, product
from streams.demo.messages import Message

FETCH_WAIT_MS = 10
"""The embedded broker sleeps out the wait of a fetch that finds nothing."""

WARM_UP_S = 4.0
"""How long a worker is under load before its latencies count."""

QUIET_S = 3.0
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from intended send to the payout command read back from Kafka."""

    rate_per_s: float
    commands: int
    p50: float
    p95: float
    p99: float
    p999: float
    max: float
    worker_cpu_percent: float


class _Commands:
    """Reads payout commands as they appear, in a thread of its own."""

    def __init__(self, client: Mapping[str, str], partitions: int) -> None:
        self.seen: list[tuple[float, bytes]] = []
        self._consumer = Consumer(
            {
                **client,
                "group.id": "bench-commands",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "log_level": 0,
            }
        )
        self._consumer.assign(
            [TopicPartition("payouts.commands", p, OFFSET_BEGINNING) for p in range(partitions)]
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, float]:
        """End the thread; when the command of each cause was read first."""
        self._ended.set()
        self._thread.join(timeout=5.0)
        self._consumer.close()
        first: dict[str, float] = {}
        for at, value in self.seen:
            first.setdefault(from_json(value)["cause"], at)
        return first

    def _follow(self) -> None:
        while not self._ended.is_set():
            # One by one: consume() would wait for more to come.
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.seen.append((time.time(), bytes(message.value() or b"")))


def measure_latency(
    profiles: Sequence[Message],
    sales: Sequence[Message],
    seal_keys: str,
    *,
    rate: float,
    kafka: Kafka = "embedded",
) -> Latency:
    """Send sales at a rate a second whatever the worker does, and read their commands."""
    with Ground(seal_keys, fetch_wait_ms=FETCH_WAIT_MS, kafka=kafka) as ground:
        ground.book_profiles(profiles)
        child = ground.start(product().command)
        _await_ready(ground)
        commands = _Commands(ground.settings.kafka_client(), ground.settings.partitions)
        warm = int(WARM_UP_S * rate)
        intended: dict[str, float] = {}
        began: list[tuple[float, float]] = []
        start = time.time()

        def pace(number: int) -> None:
            due = start + number / rate
            while (pause := due - time.time()) > 0:
                time.sleep(pause)
            if number == warm:
                began.append((time.time(), cpu_s(child.pid)))
            if number >= warm:
                intended[sales[number].id] = due

        ground.publish(sales, linger_ms=5, on_each=pace)
        used_s, took_s = cpu_s(child.pid) - began[0][1], time.time() - began[0][0]
        _await_quiet(commands)
        if (code := child.exit_code()) is not None:
            raise JobFailed(f"the worker ended with {code}: {child.log_tail(12)}")
        first = commands.stop()
    waits = sorted((first[id_] - due) * 1000 for id_, due in intended.items() if id_ in first)
    return Latency(
        rate_per_s=rate,
        commands=len(waits),
        p50=_quantile(waits, 0.5),
        p95=_quantile(waits, 0.95),
        p99=_quantile(waits, 0.99),
        p999=_quantile(waits, 0.999),
        max=_quantile(waits, 1.0),
        worker_cpu_percent=round(used_s / took_s * 100, 1),
    )


def _await_ready(ground: Ground) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not ground.ready():
        if time.monotonic() > deadline:
            raise JobFailed("the worker was not ready in time")
        time.sleep(0.05)


def _await_quiet(commands: _Commands) -> None:
    count, since = -1, time.monotonic()
    while time.monotonic() - since < QUIET_S:
        if len(commands.seen) != count:
            count, since = len(commands.seen), time.monotonic()
        time.sleep(0.1)


def _quantile(ordered: Sequence[float], q: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 2)
