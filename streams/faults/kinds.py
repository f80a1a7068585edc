"""The kinds of faults, as data: what is done, to what, for how long, and where it can be done.

Faults that touch the same part take turns, all others overlap as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Part(StrEnum):
    """What a fault touches. Faults of one part are never open at the same time."""

    WORKER = "worker"
    """The exception: any number of workers may be struck at once."""

    GROUP = "group"
    REDIS = "redis"
    REDIS_NETWORK = "redis network"
    KAFKA = "kafka"
    KAFKA_NETWORK = "kafka network"
    CLOCK = "clock"
    RAIL = "rail"
    PRODUCER = "producer"


SHARED = frozenset({Part.WORKER, Part.RAIL, Part.PRODUCER})
"""Parts of which several faults may be open at once."""


class Needs(StrEnum):
    """The Kafka that a fault needs."""

    ANY = "any"
    APACHE = "apache"
    """One that finds its messages again after a kill."""

    THREE = "three brokers"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A kind of fault.

    ``lasts_ms``: the shortest and the longest, from the first strike to the last repair; 0 for one
    that is over at once. ``share``: how often it is drawn beside the others.
    """

    name: str
    sentence: str
    part: Part
    lasts_ms: tuple[int, int] = (0, 0)
    share: int = 2
    needs: Needs = Needs.ANY
    befalls: str = ""
    """The sandbox's behaviour, of a fault that the rail does to the next payouts."""


RAIL_FAULTS: tuple[tuple[str, str, str], ...] = (
    ("rail-timeout-after", "timeout-after", "the rail pays and never answers"),
    ("rail-timeout-before", "timeout-before", "the rail never answers and has not paid"),
    ("rail-reset-after", "reset-after", "the rail pays and drops the connection"),
    ("rail-reset-before", "reset-before", "the rail drops the connection and has not paid"),
    ("rail-500-after", "error500-after", "the rail pays and answers 500"),
    ("rail-500-before", "error500", "the rail answers 500 and has not paid"),
    ("rail-busy", "error503", "the rail answers 503 and has not paid"),
    ("rail-slow", "slow", "the rail answers late"),
    ("rail-garbage", "garbage", "the rail pays and answers what is no JSON"),
    ("rail-duplicate", "duplicate", "the rail calls a first submission a duplicate of itself"),
    ("webhook-lost", "webhook-lost", "a webhook never comes"),
    ("webhook-doubled", "webhook-twice", "a webhook comes twice"),
    ("webhook-reordered", "webhook-reordered", "two webhooks come in the wrong order"),
    ("webhook-late", "webhook-late", "a webhook comes long after its time"),
    ("webhook-contradictory", "webhook-contradictory", "a signed webhook says what is not so"),
    ("webhook-forged", "webhook-forged", "a webhook is not signed by the rail"),
)
"""Faults of the rail: name, the sandbox's behaviour, sentence."""

_OTHERS: tuple[FaultKind, ...] = (
    FaultKind("worker-killed", "kill -9 of a worker", Part.WORKER, (200, 1_500), 4),
    FaultKind("workers-killed", "kill -9 of all workers but one", Part.WORKER, (200, 1_500)),
    FaultKind("worker-stopped", "SIGTERM to a worker in mid-batch", Part.WORKER, (200, 1_500), 3),
    FaultKind(
        "worker-frozen",
        "a worker is stopped for longer than its session lasts, and goes on as a zombie",
        Part.WORKER,
        (4_000, 7_000),
    ),
    FaultKind(
        "rebalance-storm",
        "members join the group and leave it again, in quick succession",
        Part.GROUP,
        (1_500, 4_000),
    ),
    FaultKind("clock-jump", "a worker's clock jumps forward or back", Part.CLOCK, (1_000, 4_000)),
    FaultKind("rail-clock-jump", "the rail's clock jumps forward", Part.RAIL),
    FaultKind(
        "redis-killed", "kill -9 of Redis, started again with its AOF", Part.REDIS, (100, 2_000), 3
    ),
    FaultKind("redis-flushed", "FLUSHALL", Part.REDIS),
    FaultKind(
        "redis-emptied",
        "kill -9 of Redis, started again with an empty directory",
        Part.REDIS,
        (100, 2_000),
    ),
    FaultKind(
        "redis-primary-lost",
        "the replica is cut off, the primary is killed, the replica takes its place: what was "
        "written in between is lost",
        Part.REDIS,
        (300, 2_000),
        4,
    ),
    FaultKind("redis-frozen", "Redis stands still and goes on", Part.REDIS, (500, 8_000)),
    FaultKind("redis-full", "Redis refuses writes: out of memory", Part.REDIS, (300, 3_000)),
    FaultKind(
        "redis-demoted",
        "Redis refuses writes: it takes itself for a replica",
        Part.REDIS,
        (300, 3_000),
        1,
    ),
    FaultKind(
        "redis-alone",
        "Redis refuses writes: too few replicas are there",
        Part.REDIS,
        (300, 3_000),
        1,
    ),
    FaultKind(
        "redis-cut", "workers' connections to Redis are reset", Part.REDIS_NETWORK, (0, 3_000)
    ),
    FaultKind(
        "redis-stalled",
        "nothing arrives between workers and Redis, connections stay open",
        Part.REDIS_NETWORK,
        (500, 6_000),
    ),
    FaultKind(
        "redis-delayed",
        "everything between workers and Redis is late",
        Part.REDIS_NETWORK,
        (500, 3_000),
    ),
    FaultKind("kafka-cut", "connections to Kafka are reset", Part.KAFKA_NETWORK, (0, 3_000)),
    FaultKind(
        "kafka-stalled",
        "nothing arrives between workers and Kafka, connections stay open",
        Part.KAFKA_NETWORK,
        (500, 5_000),
    ),
    FaultKind(
        "kafka-delayed",
        "everything between workers and Kafka is late",
        Part.KAFKA_NETWORK,
        (500, 3_000),
    ),
    FaultKind(
        "broker-killed",
        "kill -9 of a broker, started again",
        Part.KAFKA,
        (500, 3_000),
        share=1,
        needs=Needs.APACHE,
    ),
    FaultKind(
        "leader-killed",
        "kill -9 of the broker that leads a partition of the ledger, started again",
        Part.KAFKA,
        (500, 3_000),
        share=1,
        needs=Needs.THREE,
    ),
    FaultKind(
        "broker-frozen",
        "a broker stands still and goes on",
        Part.KAFKA,
        (1_000, 5_000),
        share=1,
        needs=Needs.APACHE,
    ),
    FaultKind(
        "producer-repeats", "a burst of events that were sent before", Part.PRODUCER, share=3
    ),
    FaultKind("producer-reorders", "events come in another order", Part.PRODUCER, share=3),
)

KINDS: Mapping[str, FaultKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            *_OTHERS,
            *(
                FaultKind(name, sentence, Part.RAIL, share=1, befalls=behaviour)
                for name, behaviour, sentence in RAIL_FAULTS
            ),
        )
    }
)
"""All kinds by name."""


class UnknownKind(ValueError):
    """A kind of fault that there is not, or not on this Kafka; the message says which there are."""


def possible(brokers: int) -> list[str]:
    """The kinds that can be done with so many Apache brokers; 0 for the embedded one."""
    able = {Needs.ANY} | ({Needs.APACHE} if brokers else set())
    able |= {Needs.THREE} if brokers >= 3 else set()
    return [kind.name for kind in KINDS.values() if kind.needs in able]


def chosen(names: Iterable[str], brokers: int) -> list[str]:
    """The kinds asked for; all that are possible if none is. Raises :class:`UnknownKind`."""
    able = possible(brokers)
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in KINDS:
            raise UnknownKind(f"no fault is called {name}; there are {', '.join(KINDS)}")
        if name not in able:
            raise UnknownKind(f"{name} needs {KINDS[name].needs.value} of Apache Kafka")
    return wanted or able
