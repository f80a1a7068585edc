"""Reading a topic once, from its beginning to its present end, as commands do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from models.shards import partition_of

SILENCE_MAX_S = 15.0
"""How long the broker may say nothing."""


class TopicUnreadable(RuntimeError):
    """A topic cannot be read; one line."""


def read_topic(
    client: Mapping[str, Any],
    topic: str,
    silence_max_s: float = SILENCE_MAX_S,
    *,
    key: str | None = None,
) -> Iterator[Message]:
    """All messages there are now, oldest first within a partition, in one pass.

    `client` is librdkafka's configuration for the broker. With a `key` only the partition is read
    that its messages are in.

    Raises:
        TopicUnreadable: no topic, no broker, or no answer for `silence_max_s`.
    """
    consumer = Consumer(
        {
            **client,
            "group.id": "payouts-reading",  # required, never joined: assigned by hand
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "log_level": 0,
        }
    )
    try:
        yield from _read_to_end(consumer, topic, silence_max_s, key)
    except KafkaException as error:
        raise TopicUnreadable(f"cannot read {topic}: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _read_to_end(
    consumer: Consumer, topic: str, silence_max_s: float, key: str | None
) -> Iterator[Message]:
    metadata = consumer.list_topics(topic, timeout=silence_max_s).topics[topic]
    if metadata.error is not None:
        raise TopicUnreadable(
            f"no topic {topic}: {metadata.error.str()}; run `payouts topics create`"
        )
    left = set(metadata.partitions)
    if key is not None:
        left = {partition_of(key, len(left))}
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in left])
    while left:
        message = consumer.poll(silence_max_s)
        if message is None:
            raise TopicUnreadable(f"the broker was silent for {silence_max_s:.0f} s")
        error = message.error()
        if error is None:
            yield message
        elif error.code() == KafkaError._PARTITION_EOF:
            left.discard(message.partition())
        elif not error.retriable():
            raise KafkaException(error)
