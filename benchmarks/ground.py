"""The ground a job runs on: a broker and Valkey of its own, with profiles booked."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.request import urlopen

from confluent_kafka import Producer

from models.events import body_hash, decode
from models.shards import SHARDS, partition_of, shard_of
from rails.destination import Seal
from rails.inspection import Inspector
from rails.registry import refusals
from streams.demo.apache import ApacheKafka, jars_directory
from streams.demo.embedded import EmbeddedBroker, EmbeddedRedis
from streams.demo.messages import Message
from streams.demo.process import ChildProcess, free_port
from streams.settings import Settings, load_settings
from streams.topics import PARTITIONS_EMBEDDED, create_topics
from streams.wallets.healing import Healer
from streams.wallets.journal import Journal
from streams.wallets.rebuild import Sender
from streams.wallets.server import RedisServer
from streams.wallets.store import Operation, Store
from streams.wallets.terms import Terms
from streams.worker import ASK_AFTER_MS, company_rules, now_ms

SESSION_TIMEOUT_MS = 6_000

Kafka = Literal["embedded", "apache"]


class Ground:
    """Broker, Valkey and topics, started by ``with``; every job gets fresh ones, built alike."""

    def __init__(
        self, seal_keys: str, *, fetch_wait_ms: int = 10, kafka: Kafka = "embedded"
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="payouts-bench-"))
        self.broker = (
            ApacheKafka(jars_directory())
            if kafka == "apache"
            else EmbeddedBroker(directory=self.directory / "broker")
        )
        self.redis = EmbeddedRedis(directory=self.directory / "redis")
        self.metrics_port = free_port()
        self._seal_keys = seal_keys
        self._fetch_wait_ms = fetch_wait_ms
        self._children: list[ChildProcess] = []
        self.settings: Settings

    def __enter__(self) -> Self:
        """Start broker and Valkey and create the topics."""
        try:
            self.broker.start()
            self.redis.start()
            create_topics(self.broker.bootstrap, PARTITIONS_EMBEDDED)
            self.settings = load_settings(**self._overrides())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop everything, the job first."""
        self._stop()

    def _stop(self) -> None:
        for child in self._children:
            child.stop()
        self.redis.stop()
        self.broker.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, command: Sequence[str], **changes: object) -> ChildProcess:
        """Start a job's process, with its settings in the environment, some of them changed."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("PAYOUTS_")}
        settings = {**self._overrides(), **changes}
        ours = {f"PAYOUTS_{name.upper()}": str(value) for name, value in settings.items()}
        child = ChildProcess(
            command,
            self.directory / "job.log",
            Path(__file__).parents[1],
            environment={**own, **ours, "OMP_NUM_THREADS": "1"},
        )
        self._children.append(child)
        return child

    def _overrides(self) -> dict[str, object]:
        return {
            "kafka_brokers": self.broker.bootstrap,
            "redis_url": self.redis.url,
            "partitions": PARTITIONS_EMBEDDED,
            "session_timeout_ms": SESSION_TIMEOUT_MS,
            "assignment_strategy": "range",
            "fetch_wait_ms": self._fetch_wait_ms,
            "roles": "book",
            "seal_keys": self._seal_keys,
            "account_key": "accounts of benchmarks",
            "metrics_port": self.metrics_port,
            # Nobody is there: the job ends with the command.
            "paypal_base_url": "http://127.0.0.1:9",
            "paypal_plain_http_allowed": True,
            "paypal_client_id": "bench",
            "paypal_client_secret": "bench",
            "paypal_webhook_id": "bench",
        }

    def ready(self) -> bool:
        """Whether the product's worker says that it is."""
        try:
            with urlopen(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=1):
                return True
        except OSError:
            return False

    def book_profiles(self, profiles: Sequence[Message]) -> None:
        """Book profiles before the job begins, and journal them."""
        asyncio.run(self._book_profiles(profiles))

    async def _book_profiles(self, profiles: Sequence[Message]) -> None:
        settings = self.settings
        rules = company_rules(settings)
        inspector = Inspector(
            seal_of(self._seal_keys), refusals(settings.rails()), account_key=settings.accounts_by
        )
        terms = Terms(
            settings.event_retention_ms, settings.waiting_ms, ASK_AFTER_MS, rules.context()
        )
        by_shard: dict[int, list[Operation]] = defaultdict(list)
        for offset, message in enumerate(profiles):
            event = decode(
                "sellers",
                message.value,
                now_ms=now_ms(),
                retention_ms=settings.event_retention_ms,
            )
            operation = rules.profile(event, inspector.methods(event), None, ())
            operation["hash"] = body_hash(message.value)
            operation["topic"] = "sellers"
            operation["partition"] = partition_of(event.seller_id, settings.partitions)
            operation["offset"] = offset
            by_shard[shard_of(event.seller_id)].append(operation)
        store = Store(RedisServer(settings.redis_url))
        send = Sender(settings.kafka_client()).send
        healer = Healer(
            store,
            Journal(settings.kafka_client()),
            send,
            partitions=settings.partitions,
            clock=now_ms,
            retention_ms=settings.event_retention_ms,
        )
        await store.load()
        healed = await healer.heal(dict.fromkeys(range(SHARDS), (0, 0)))
        booked = await store.book(
            {
                shard: (
                    {"now": now_ms(), "known": 0, "epoch": healed.standings[shard].epoch},
                    terms.json(),
                    operations,
                )
                for shard, operations in by_shard.items()
            }
        )
        if sum(len(reply.outbox) for reply in booked.values()) != len(profiles):
            raise RuntimeError("not every profile was booked")
        await healer.republish(booked)
        await store.close()

    def publish(
        self,
        sales: Sequence[Message],
        *,
        linger_ms: int = 2,
        on_each: Callable[[int], None] | None = None,
    ) -> dict[int, int]:
        """Publish sales as :func:`publish` does."""
        brokers = self.settings.kafka_brokers
        return publish(brokers, sales, linger_ms=linger_ms, on_each=on_each)


def publish(
    brokers: str,
    sales: Sequence[Message],
    *,
    linger_ms: int = 2,
    on_each: Callable[[int], None] | None = None,
) -> dict[int, int]:
    """Publish sales as fast as they are taken; the end offset of each partition.

    ``on_each`` is called with each one's number before it is sent, and may wait.
    """
    producer = Producer({"bootstrap.servers": brokers, **_PRODUCER, "linger.ms": linger_ms})
    ends: dict[int, int] = {}

    def delivered(error: object, message: Any) -> None:
        if error is None:
            ends[message.partition()] = message.offset() + 1

    for number, message in enumerate(sales):
        if on_each is not None:
            on_each(number)
        producer.produce(message.topic, message.value, message.key, on_delivery=delivered)
        producer.poll(0)
        if number == 0:
            # Else the connection's first second would be sent at once.
            producer.flush(30.0)
    if producer.flush(30.0):
        raise RuntimeError("the broker did not take every sale")
    return ends


def new_seal_keys() -> str:
    """Keys to seal destinations with, for one run of the benchmarks."""
    return "bench:" + b64encode(os.urandom(32)).decode()


def seal_of(keys: str) -> Seal:
    """The seal of these keys."""
    return Seal.parse(keys)


_PRODUCER = {
    "partitioner": "murmur2_random",
    "enable.idempotence": True,
    "linger.ms": 2,
    "queue.buffering.max.messages": 1_000_000,
    "log_level": 0,
}

if SHARDS % PARTITIONS_EMBEDDED:
    raise RuntimeError("a shard must lie in one partition")
