"""The topics of the product: names, how long they keep what, and how to create them.

Every topic is keyed by seller id and has the same number of partitions, a divisor of the shard
count, so that a shard lies in one partition of each.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

PARTITIONS_EMBEDDED = 4
"""Few: the embedded broker pays for every partition that is fetched."""

PARTITIONS_DEFAULT = 16
"""On a real cluster; bounds how many workers can share a topic."""

_DAY_MS = 24 * 60 * 60 * 1000
FOREVER_MS = -1
_POLL_INTERVAL_S = 0.05

# What is far too large for an event must still arrive, to be refused where its sender can see it;
# and what was refused must fit into the dead letters together with the reason.
_EVENT_BYTES_MAX = 4 * 1024 * 1024


class Cleanup(StrEnum):
    """What the broker does with old messages."""

    DELETE = "delete"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic; `retention_ms` is how long a message is kept, -1 for ever."""

    name: str
    retention_ms: int
    cleanup: Cleanup = Cleanup.DELETE
    message_bytes_max: int = _EVENT_BYTES_MAX

    def config(self) -> dict[str, str]:
        """The broker's settings for the topic."""
        return {
            "cleanup.policy": self.cleanup.value,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.message_bytes_max),
        }


TOPICS: tuple[Topic, ...] = (
    Topic("sales", 90 * _DAY_MS),
    Topic("commissions", 90 * _DAY_MS),
    Topic("sellers", FOREVER_MS, Cleanup.COMPACT),
    Topic("redemptions", 90 * _DAY_MS),
    Topic("rates", 90 * _DAY_MS),
    # A model is trained on decisions and what became known of them: both are kept as long.
    Topic("fraud.labels", 400 * _DAY_MS),
    Topic("rail.updates", 90 * _DAY_MS),
    # The journal is the truth that wallets are rebuilt from: nothing of it may expire.
    Topic("ledger", FOREVER_MS),
    Topic("payouts.commands", 90 * _DAY_MS),
    Topic("payouts.updates", 90 * _DAY_MS),
    Topic("spendback.credits", 90 * _DAY_MS),
    Topic("decisions", 400 * _DAY_MS),
    Topic("dead-letters", 90 * _DAY_MS, message_bytes_max=_EVENT_BYTES_MAX + 64 * 1024),
)


SNAPSHOTS = Topic("snapshots", 30 * _DAY_MS)
"""The product's own. Only the latest snapshot is read; a month leaves time to take one again."""

WEBHOOKS = Topic("webhooks", 90 * _DAY_MS)
"""The product's own: providers' calls as they came, sealed."""

ALL_TOPICS = (*TOPICS, SNAPSHOTS, WEBHOOKS)
"""What `create_topics` makes."""


@dataclass(frozen=True, slots=True)
class PartitionMismatch:
    """A topic that exists with another number of partitions than asked for."""

    topic: str
    wanted: int
    found: int

    def __str__(self) -> str:
        return f"{self.topic} has {self.found} partitions, wanted {self.wanted}"


@dataclass(frozen=True, slots=True)
class TopicsReport:
    """What `create_topics` found and did."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    mismatched: tuple[PartitionMismatch, ...]


class TopicsUnavailable(RuntimeError):
    """The broker could not be asked for its topics, or refused to create one."""


def create_topics(
    brokers: str,
    partitions: int,
    *,
    replication: int = 1,
    topics: Sequence[Topic] = ALL_TOPICS,
    client_config: Mapping[str, Any] | None = None,
    timeout_s: float = 30.0,
) -> TopicsReport:
    """Create the topics that are missing; an existing one is never altered, only reported.

    `client_config` adds librdkafka settings (TLS, SASL) to `brokers`.

    Returns when the broker serves them all: Apache Kafka acknowledges a topic a moment before its
    brokers know of it.

    Raises:
        TopicsUnavailable: the broker does not answer within `timeout_s` or refuses.
    """
    admin = AdminClient({**(client_config or {}), "bootstrap.servers": brokers})
    found = _partition_counts(admin, timeout_s)
    missing = [topic for topic in topics if topic.name not in found]
    created = _create(admin, missing, partitions, replication, timeout_s)
    existing = [topic.name for topic in topics if topic.name not in created]
    if missing:
        found = _await_served(admin, topics, timeout_s)
    mismatched = [
        PartitionMismatch(name, partitions, found[name])
        for name in existing
        if name in found and found[name] != partitions
    ]
    return TopicsReport(tuple(created), tuple(existing), tuple(mismatched))


def _partition_counts(admin: AdminClient, timeout_s: float) -> dict[str, int]:
    try:
        metadata = admin.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise TopicsUnavailable(f"the broker does not answer: {error.args[0].str()}") from error
    return {
        name: len(topic.partitions)
        for name, topic in metadata.topics.items()
        if topic.error is None
        # Without a leader it is there, but not yet of use.
        and all(partition.leader >= 0 for partition in topic.partitions.values())
    }


def _await_served(admin: AdminClient, topics: Sequence[Topic], timeout_s: float) -> dict[str, int]:
    deadline = time.monotonic() + timeout_s
    while True:
        found = _partition_counts(admin, timeout_s)
        absent = [topic.name for topic in topics if topic.name not in found]
        if not absent:
            return found
        if time.monotonic() > deadline:
            raise TopicsUnavailable(f"no broker serves {', '.join(absent)}")
        time.sleep(_POLL_INTERVAL_S)


def _create(
    admin: AdminClient,
    missing: Sequence[Topic],
    partitions: int,
    replication: int,
    timeout_s: float,
) -> list[str]:
    if not missing:
        return []
    # A broker's own default would take a write that one replica alone has, and lose it with that.
    in_sync = {"min.insync.replicas": str(replication - 1)} if replication > 2 else {}
    requests = [
        NewTopic(topic.name, partitions, replication, config={**topic.config(), **in_sync})
        for topic in missing
    ]
    futures: dict[str, Future[None]] = admin.create_topics(
        requests, operation_timeout=timeout_s, request_timeout=timeout_s
    )
    created: list[str] = []
    for name, future in futures.items():
        try:
            future.result(timeout=timeout_s)
        except KafkaException as error:
            # Two workers may start at once: the one that comes second finds the topic made.
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue
            raise TopicsUnavailable(f"cannot create {name}: {error.args[0].str()}") from error
        created.append(name)
    return created
