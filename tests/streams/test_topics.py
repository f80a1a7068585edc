"""The topics are created once, with their retention, and never altered."""

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from models.shards import SHARDS
from streams.topics import (
    FOREVER_MS,
    PARTITIONS_DEFAULT,
    PARTITIONS_EMBEDDED,
    TOPICS,
    Cleanup,
    PartitionMismatch,
    Topic,
    TopicsUnavailable,
    create_topics,
)
from tests.conftest import Names


def test_a_shard_lies_in_one_partition_of_every_topic() -> None:
    assert SHARDS % PARTITIONS_DEFAULT == 0
    assert SHARDS % PARTITIONS_EMBEDDED == 0


def test_the_journal_is_kept_for_ever_and_sellers_are_compacted() -> None:
    by_name = {topic.name: topic for topic in TOPICS}
    assert len(by_name) == len(TOPICS)
    assert by_name["ledger"].retention_ms == FOREVER_MS
    assert by_name["ledger"].cleanup is Cleanup.DELETE
    assert by_name["sellers"].cleanup is Cleanup.COMPACT


def test_missing_topics_are_created_and_existing_ones_left_as_they_are(
    broker: str, names: Names
) -> None:
    first, second = Topic(names.topic(), 3_600_000), Topic(names.topic(), FOREVER_MS)
    assert create_topics(broker, 4, topics=[first]).created == (first.name,)

    report = create_topics(broker, 8, topics=[first, second])

    assert report.created == (second.name,)
    assert report.existing == (first.name,)
    assert report.mismatched == (PartitionMismatch(first.name, wanted=8, found=4),)
    assert str(report.mismatched[0]) == f"{first.name} has 4 partitions, wanted 8"
    admin = AdminClient({"bootstrap.servers": broker})
    resource = ConfigResource(ResourceType.TOPIC, first.name)
    config = admin.describe_configs([resource])[resource].result(timeout=10)
    assert config["retention.ms"].value == "3600000"
    assert len(admin.list_topics(timeout=10).topics[first.name].partitions) == 4


def test_a_broker_that_does_not_answer_is_one_clear_error() -> None:
    with pytest.raises(TopicsUnavailable, match="does not answer"):
        create_topics("127.0.0.1:1", 4, timeout_s=0.5, client_config={"log_level": 0})
