"""The journal: reading the ``ledger`` topic, the truth that Redis is a projection of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

LEDGER = "ledger"

READ_MAX = 1_000
"""Messages taken from the consumer at a time."""

SILENCE_MAX_S = 30.0
"""How long a read waits for the broker before it gives up."""

_HEAD = re.compile(rb'^\{"v":1,"shard":(\d+),"seq":(\d+),')


class Journaled(NamedTuple):
    """One ledger message: where it is, which shard and seq it holds, and its bytes."""

    offset: int
    shard: int
    seq: int
    value: bytes


class JournalUnreadable(Exception):
    """The ledger topic cannot be read, or holds something that is no journal entry."""


def head(value: bytes) -> tuple[int, int]:
    """Shard and seq of a journal entry, without decoding the rest of it."""
    found = _HEAD.match(value)
    if found is None:
        raise JournalUnreadable("a ledger message does not start like a journal entry")
    return int(found[1]), int(found[2])


class Journal:
    """Reads partitions of the ledger topic, from an offset to the end.

    Blocking: call it in a thread.
    """

    def __init__(self, config: Mapping[str, Any], topic: str = LEDGER) -> None:
        self._config = {
            **config,
            "group.id": "payouts-journal-reader",  # never joined: partitions are assigned by hand
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "log_level": 0,  # what goes wrong is raised
        }
        self.topic = topic

    def partitions(self) -> int:
        """How many partitions the ledger has."""
        consumer = Consumer(self._config)
        try:
            metadata = consumer.list_topics(self.topic, timeout=SILENCE_MAX_S)
            found = len(metadata.topics[self.topic].partitions)
        except KafkaException as error:
            raise JournalUnreadable(error.args[0].str()) from error
        finally:
            consumer.close()
        if not found:
            raise JournalUnreadable(f"topic {self.topic} does not exist")
        return found

    def read(self, partition: int, offset: int = 0) -> Iterator[Journaled]:
        """Every entry from an offset to what is the end when it is reached."""
        consumer = Consumer(self._config)
        try:
            consumer.assign([TopicPartition(self.topic, partition, offset)])
            while True:
                # consume() waits until it has all it was asked for; poll() for the first only.
                first = consumer.poll(SILENCE_MAX_S)
                if first is None:
                    raise JournalUnreadable(f"{self.topic}[{partition}]: the broker is silent")
                for message in (first, *consumer.consume(READ_MAX, 0)):
                    error = message.error()
                    if error is None:
                        value = message.value() or b""
                        yield Journaled(message.offset() or 0, *head(value), value)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
                    elif error.fatal():
                        raise JournalUnreadable(error.str())
        except KafkaException as error:
            raise JournalUnreadable(error.args[0].str()) from error
        finally:
            consumer.close()
