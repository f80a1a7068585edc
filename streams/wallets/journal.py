"""The journal: reading the ``ledger`` topic, the truth that Redis is a projection of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from models.ledger import MARKER
from models.shards import key_of_shard
from streams.engine import Outgoing

LEDGER = "ledger"

READ_MAX = 1_000
"""Messages taken from the consumer at a time."""

SILENCE_MAX_S = 30.0
"""How long a read waits for the broker before it gives up."""

_HEAD = re.compile(
    rb'^\{"v":1,"shard":(\d{1,3}),"seq":(\d{1,16}),(?:"more":(\d{1,4}),)?"epoch":(\d{1,16}),'
)


_REINVESTED = b'"lots":[["reinvested.'
"""Where an entry says so: of its lots the first, in front of its postings."""
_LOTS_WITHIN = 640
"""Longer than what may stand in front of it, in bytes."""
_FIGURES = re.compile(rb'[A-Z]{3}","([A-Z]{3})","reinvested","left",(\d{1,16})\]')


class Head(NamedTuple):
    """What a journal entry begins with, as in :class:`models.ledger.Entry`."""

    shard: int
    seq: int
    epoch: int
    more: int


class Journaled(NamedTuple):
    """One ledger message: where it is, what it begins with, and its bytes."""

    offset: int
    shard: int
    seq: int
    epoch: int
    more: int
    value: bytes


class JournalUnreadable(Exception):
    """The ledger topic cannot be read, or holds something that is no journal entry."""


class BehindTheEnd(JournalUnreadable):
    """What is to be read from does not exist yet."""


def head(value: bytes) -> Head:
    """What a journal entry begins with, without decoding the rest of it."""
    found = _HEAD.match(value)
    if found is None:
        raise JournalUnreadable("a ledger message does not start like a journal entry")
    shard, seq, more, epoch = found.groups(b"0")
    return Head(int(shard), int(seq), int(epoch), int(more))


def reinvested(messages: Iterable[Outgoing]) -> Counter[tuple[str, str]]:
    """What entries among messages reinvested: by currency and the word ``reinvested``, in minor
    units."""
    amounts: Counter[tuple[str, str]] = Counter()
    for message in messages:
        value = message.value or b""
        at = value.find(_REINVESTED, 0, _LOTS_WITHIN) if message.topic == LEDGER else -1
        if at >= 0 and (found := _FIGURES.match(value, at + len(_REINVESTED))):
            amounts[found[1].decode(), "reinvested"] += int(found[2])
    return amounts


_SETTLED = re.compile(rb'"([A-Z]{3})","spent","(recovered|forgiven)",(\d+)\]')


def settled(messages: Iterable[Outgoing]) -> Counter[tuple[str, str]]:
    """Spent credit of undone grants in entries among messages, by (currency, outcome), in minor
    units."""
    amounts: Counter[tuple[str, str]] = Counter()
    for message in messages:
        value = message.value or b""
        if message.topic == LEDGER and b'"spent","' in value:
            for currency, outcome, minor in _SETTLED.findall(value):
                amounts[currency.decode(), outcome.decode()] += int(minor)
    return amounts


def marker(shard: int, epoch: int, nonce: str, now_ms: int) -> Outgoing:
    """The entry that ends a shard's epoch and opens the next (:mod:`models.timeline`)."""
    value = (
        f'{{"v":1,"shard":{shard},"seq":0,"epoch":{epoch},"kind":"{MARKER}","id":"{nonce}",'
        f'"seller":"","at":{now_ms},"postings":[],"writes":[]}}'
    )
    return Outgoing(LEDGER, key_of_shard(shard).encode(), value.encode())


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

    def read_all(self, partition: int, offset: int = 0) -> Generator[Journaled]:
        """Every entry from an offset to what the broker says now is the end.

        Raises :class:`BehindTheEnd` for an offset that the partition has not reached.
        """
        end = self._end(partition)
        if offset > end:
            raise BehindTheEnd(f"{self.topic}[{partition}] ends at {end}, before {offset}")
        yield from self.read(partition, offset, until=end - 1)

    def _end(self, partition: int) -> int:
        consumer = Consumer(self._config)
        try:
            place = TopicPartition(self.topic, partition)
            found = consumer.get_watermark_offsets(place, timeout=SILENCE_MAX_S)
        except KafkaException as error:
            raise JournalUnreadable(error.args[0].str()) from error
        finally:
            consumer.close()
        if found is None:
            raise JournalUnreadable(f"{self.topic}[{partition}]: the broker is silent")
        return int(found[1])

    def read(self, partition: int, offset: int = 0, *, until: int = -1) -> Generator[Journaled]:
        """Every entry from an offset to what is the end when it is reached.

        ``until``: an offset that is there; a broker may report the end before it.
        """
        last = offset - 1
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
                        last = message.offset() or 0
                        yield Journaled(last, *head(value), value)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        if last >= until:
                            return
                    elif error.fatal():
                        raise JournalUnreadable(error.str())
        except KafkaException as error:
            raise JournalUnreadable(error.args[0].str()) from error
        finally:
            consumer.close()
