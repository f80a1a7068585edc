"""How the workers of a group share the topics, by the assignment that is the default."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from streams.demo.stack import GivenKafka
from streams.settings import ROLES, load_settings
from streams.topics import create_topics
from streams.worker import ROLE_TOPICS

GROUP = "payouts-sharing"
TOPICS = sorted(topic for role in ROLES for topic in ROLE_TOPICS[role])

Shares = list[dict[str, set[int]]]


@pytest.fixture
def members(kafka: GivenKafka) -> Iterator[list[Consumer]]:
    """Two members, the second of which joins when the first has everything."""
    create_topics(kafka.bootstrap, kafka.partitions)
    config: dict[str, str | int] = {
        "bootstrap.servers": kafka.bootstrap,
        "group.id": GROUP,
        "partition.assignment.strategy": load_settings().assignment_strategy,
        "session.timeout.ms": 3_000,
        "heartbeat.interval.ms": 200,
    }
    made = [Consumer(config) for _ in range(2)]
    for number, member in enumerate(made, 1):
        member.subscribe(TOPICS)
        deadline = time.monotonic() + 30
        while not _settled(made[:number], kafka.partitions):
            assert time.monotonic() < deadline, shares(kafka)
    yield made
    for member in made:
        member.close()


def _settled(members: list[Consumer], partitions: int) -> bool:
    for member in members:
        member.poll(0.1)
    held = [len(member.assignment()) for member in members]
    return all(held) and sum(held) == partitions * len(TOPICS)


def shares(kafka: GivenKafka) -> Shares:
    """The partitions of each topic that each member has."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    group = admin.describe_consumer_groups([GROUP])[GROUP].result(timeout=10)
    found: Shares = []
    for member in group.members:
        mine: dict[str, set[int]] = {}
        for each in member.assignment.topic_partitions:
            mine.setdefault(each.topic, set()).add(each.partition)
        found.append(mine)
    return found


@pytest.mark.usefixtures("members")
def test_a_worker_that_joins_takes_half_of_every_topic_and_a_shard_stays_together(
    kafka: GivenKafka,
) -> None:
    for mine in shares(kafka):
        assert Counter({topic: len(mine.get(topic, ())) for topic in TOPICS}) == Counter(
            dict.fromkeys(TOPICS, kafka.partitions // 2)
        )
        assert len({frozenset(partitions) for partitions in mine.values()}) == 1
