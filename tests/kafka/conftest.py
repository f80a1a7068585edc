"""Apache Kafka for the tests here: one broker a session, and three for those that kill some."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.demo.apache import ApacheKafka, ApacheUnavailable, jars_directory
from streams.demo.stack import GivenKafka
from tests.conftest import lent_topics
from tests.streams.engine.conftest import group, topic

__all__ = ["group", "topic"]

PARTITIONS = 8
"""Of every topic: other than the embedded broker's, fewer than a real cluster's."""


@pytest.fixture
def kafka(broker: str) -> Iterator[GivenKafka]:
    """An Apache Kafka of one broker, or the one given, without any topic of the product's."""
    with lent_topics(broker):
        yield GivenKafka(broker, partitions=PARTITIONS)


@pytest.fixture(scope="session")
def jars() -> Path:
    """Apache Kafka's jars, for tests that harm brokers: a given Kafka is never harmed."""
    try:
        return jars_directory()
    except ApacheUnavailable as error:
        if os.environ.get("KAFKA_BOOTSTRAP"):
            pytest.skip(str(error))
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def brokers(jars: Path) -> Iterator[ApacheKafka]:
    """Three brokers of our own."""
    with ApacheKafka(jars, brokers=3, brief=True) as three:
        yield three


@pytest.fixture
def cluster(brokers: ApacheKafka) -> Iterator[GivenKafka]:
    """All three brokers alive, without any topic of the product's."""
    _revive(brokers)
    with lent_topics(brokers.bootstrap):
        yield GivenKafka(brokers.bootstrap, partitions=PARTITIONS, replication=brokers.replication)
        _revive(brokers)


def _revive(brokers: ApacheKafka) -> None:
    for broker in range(brokers.brokers):
        brokers.start_broker(broker)
