"""Measuring a job: CPU of its process and of Valkey, from the first to the last of its sales."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from benchmarks import bare_loop, stock_faust
from benchmarks.ground import Ground, Kafka
from models.ledger import Entry, Fold
from streams.demo.messages import Message
from streams.demo.process import ChildProcess, free_port

TIMEOUT_S = 120.0
POLL_S = 0.02
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Job:
    """One way to do the job: its process, and its consumer group."""

    name: str
    command: tuple[str, ...]
    group: str


JOBS = (
    Job("stock-faust", (sys.executable, "-m", "benchmarks.stock_faust"), stock_faust.GROUP),
    Job("bare-loop", (sys.executable, "-m", "benchmarks.bare_loop"), bare_loop.GROUP),
    Job("product", (sys.executable, "-m", "streams.cli", "worker"), "payouts-book"),
)


def product() -> Job:
    """The product's own."""
    return next(job for job in JOBS if job.name == "product")


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of a job took. CPU in microseconds an event."""

    name: str
    events: int
    events_per_s: float
    worker_cpu_us_per_event: float
    redis_cpu_us_per_event: float
    payout_commands: int
    earned_sha256: str


class JobFailed(RuntimeError):
    """A job ended by itself or did not finish; one line with the end of its log."""


def cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


class Follower:
    """Counts what comes out in the journal, from outside, in a thread of its own."""

    def __init__(self, client: Mapping[str, str], partitions: int) -> None:
        self.last_s = 0.0
        self._values: list[tuple[int, bytes]] = []
        self._consumer = Consumer(
            {**client, "group.id": "bench-follower", "enable.auto.commit": False, "log_level": 0}
        )
        self._admin = AdminClient({**client, "log_level": 0})
        self._next = dict.fromkeys(range(partitions), 0)
        self._consumer.assign(
            [TopicPartition("ledger", p, OFFSET_BEGINNING) for p in range(partitions)]
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def catch_up(self, deadline: float) -> bool:
        """Wait until all that the journal has by now was seen; whether it was in time."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = self._admin.list_offsets({TopicPartition("ledger", p): latest for p in self._next})
        ends = {place.partition: each.result(timeout=10).offset for place, each in asked.items()}
        while any(self._next[partition] < end for partition, end in ends.items()):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def stop(self) -> Fold:
        """End the thread; what follows from the journal it saw."""
        self._ended.set()
        self._thread.join(timeout=5.0)
        self._consumer.close()
        fold = Fold()
        for offset, value in self._values:
            fold.add(Entry.parse(value), offset)
        return fold

    def _follow(self) -> None:
        while not self._ended.is_set():
            for message in self._consumer.consume(1_000, 0.01):
                if message.error() is None:
                    offset = message.offset() or 0
                    self._values.append((offset, bytes(message.value() or b"")))
                    self._next[message.partition() or 0] = offset + 1
                    self.last_s = time.monotonic()


def measure(
    job: Job,
    profiles: Sequence[Message],
    warm_up: Sequence[Message],
    sales: Sequence[Message],
    seal_keys: str,
    *,
    kafka: Kafka = "embedded",
    changes: Mapping[str, object] | None = None,
    workers: int = 1,
) -> Figures:
    """Run a job once on ground of its own, by one worker or several that share its topics; CPU is
    all workers'. ``changes``: of the job's settings."""
    with Ground(seal_keys, kafka=kafka) as ground:
        follower = Follower(ground.settings.kafka_client(), ground.settings.partitions)
        ground.book_profiles(profiles)
        children = [
            ground.start(job.command, **_own(ground, number), **(changes or {}))
            for number in range(workers)
        ]
        child = children[0]
        if workers > 1:
            _await_shared(ground, job, workers)
        ends = ground.publish(warm_up)
        await_done(ground, job, child, follower, ends)
        time.sleep(0.3)
        before, redis_before = _cpu_s(children), _redis_cpu_s(ground)
        started = time.monotonic()
        ends |= ground.publish(sales)
        await_done(ground, job, child, follower, ends)
        worker_s, redis_s = _cpu_s(children) - before, _redis_cpu_s(ground) - redis_before
        fold = follower.stop()
    count = len(sales)
    return Figures(
        job.name,
        count,
        count / (follower.last_s - started),
        worker_s / count * 1e6,
        redis_s / count * 1e6,
        len(fold.payouts),
        fold.earned_sha256(),
    )


def _own(ground: Ground, number: int) -> dict[str, object]:
    """The settings that no two workers may share."""
    return {"metrics_port": ground.metrics_port if number == 0 else free_port()}


def _cpu_s(children: Sequence[ChildProcess]) -> float:
    return sum(cpu_s(child.pid) for child in children)


def _await_shared(ground: Ground, job: Job, workers: int) -> None:
    """Wait until each worker has its share of the sales."""
    admin = AdminClient({"bootstrap.servers": ground.broker.bootstrap, "log_level": 0})
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        group = admin.describe_consumer_groups([job.group])[job.group].result(timeout=10)
        shares = [
            sum(place.topic == "sales" for place in member.assignment.topic_partitions)
            for member in group.members
        ]
        if len(shares) == workers and len(set(shares)) == 1 and shares[0]:
            return
        if time.monotonic() > deadline:
            raise JobFailed(f"{job.name}: partitions are shared as {shares}")
        time.sleep(0.2)


def await_done(
    ground: Ground, job: Job, child: ChildProcess, follower: Follower, ends: Mapping[int, int]
) -> None:
    """Wait until the job has committed every sale and their entries were seen.

    A job commits a sale when the broker has what follows from it, so the journal's end is behind.
    """
    deadline = time.monotonic() + TIMEOUT_S
    admin = AdminClient({"bootstrap.servers": ground.broker.bootstrap, "log_level": 0})
    while not _committed(admin, job.group, ends):
        if (code := child.exit_code()) is not None:
            raise JobFailed(f"{job.name} ended with {code}: {child.log_tail(12)}")
        if time.monotonic() > deadline:
            raise JobFailed(
                f"{job.name}: sales not committed after {TIMEOUT_S:.0f} s: {child.log_tail(12)}"
            )
        time.sleep(POLL_S)
    if not follower.catch_up(deadline):
        raise JobFailed(f"{job.name}: the journal was not read after {TIMEOUT_S:.0f} s")


def _committed(admin: AdminClient, group: str, ends: Mapping[int, int]) -> bool:
    asked = [TopicPartition("sales", partition) for partition in ends]
    found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, asked)])
    offsets = found[group].result(timeout=10).topic_partitions
    return all(each.offset >= ends[each.partition] for each in offsets)


def _redis_cpu_s(ground: Ground) -> float:
    client = redis.Redis.from_url(ground.redis.url)
    try:
        used = client.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])
    finally:
        client.close()
