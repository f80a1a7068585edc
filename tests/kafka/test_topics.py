"""What `payouts topics create` makes on three brokers."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient, ConfigEntry, ConfigResource, ConfigSource

from streams.demo.stack import GivenKafka
from streams.topics import TOPICS, create_topics


def test_a_topic_of_three_replicas_takes_no_write_that_one_alone_has(cluster: GivenKafka) -> None:
    create_topics(cluster.bootstrap, 2, replication=cluster.replication)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    asked = [ConfigResource(ConfigResource.Type.TOPIC, topic.name) for topic in TOPICS]
    for answer in admin.describe_configs(asked).values():
        told: ConfigEntry = answer.result(timeout=10)["min.insync.replicas"]
        assert told.value == "2"
        # Of the topic itself: a broker's default may be another tomorrow.
        assert ConfigSource(told.source) is ConfigSource.DYNAMIC_TOPIC_CONFIG
