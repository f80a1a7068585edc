"""A broker in memory: topics in partitions, a producer that may die, groups with offsets.

What a producer sent arrives partition by partition, each in order, at its own time: so a command
may be there before its journal entry, and the last request of a dead process may still arrive.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from models.shards import partition_of
from streams.engine import Outgoing, RawMessage
from streams.engine.stream import Headers
from streams.wallets.journal import LEDGER, Journaled, JournalUnreadable, head
from tests.simulation.dice import Dice

PARTITIONS = 2
"""Partitions of every topic."""

Place = tuple[str, int]
"""A topic and a partition of it."""


class Record(NamedTuple):
    """A message in a partition; ``timestamp_ms`` since the epoch."""

    key: bytes | None
    value: bytes | None
    headers: Headers | None
    timestamp_ms: int


class Log:
    """Every topic, and how far each group has got."""

    def __init__(self, clock: Callable[[], int], note: Callable[[str], None] | None) -> None:
        self.partitions: dict[Place, list[Record]] = defaultdict(list)
        self.committed: dict[Place, int] = defaultdict(int)
        self.stalled_until: dict[Place, float] = {}
        """Until when a partition takes nothing: its leader is being elected."""
        self.heard: Callable[[Place], None] = lambda place: None
        self._clock = clock
        self._note = note

    def append(self, place: Place, messages: Sequence[Outgoing]) -> int:
        """Add messages to a partition; the offset of the last."""
        records = self.partitions[place]
        now_ms = self._clock()
        if self._note:
            self._note(f"log {place[0]}:{place[1]}:{len(records)} +{len(messages)}")
        for message in messages:
            records.append(Record(message.key, message.value, message.headers, now_ms))
        self.heard(place)
        return len(records) - 1

    def read(self, place: Place, offset: int, most: int) -> list[RawMessage]:
        """Messages from an offset on."""
        records = self.partitions[place]
        return [
            RawMessage(*place, at, records[at].key, records[at].value, records[at].timestamp_ms,
                       records[at].headers)
            for at in range(offset, min(len(records), offset + most))
        ]  # fmt: skip

    def digest(self) -> str:
        """A digest of all that was ever published, in its order within each partition."""
        whole = sha256()
        for place in sorted(self.partitions):
            for record in self.partitions[place]:
                whole.update(repr((place, *record)).encode())
        return whole.hexdigest()

    def topic(self, topic: str) -> Iterator[RawMessage]:
        """Every message of a topic, by partition."""
        for partition in range(PARTITIONS):
            place = (topic, partition)
            yield from self.read(place, 0, len(self.partitions[place]))


def place_of(message: Outgoing) -> Place:
    """Where Java's default partitioner puts a message."""
    key = (message.key or b"").decode()
    return message.topic, partition_of(key, PARTITIONS)


class SimulatedJournal:
    """The ``ledger`` topic as :class:`streams.wallets.journal.Journal` reads it."""

    topic = LEDGER

    def __init__(self, log: Log) -> None:
        self._log = log

    def partitions(self) -> int:
        """How many partitions the ledger has."""
        return PARTITIONS

    def read(self, partition: int, offset: int = 0, *, until: int = -1) -> Iterator[Journaled]:
        """Every entry from an offset to the end, which is looked for when it is reached."""
        records = self._log.partitions[LEDGER, partition]
        while offset < len(records):
            value = records[offset].value or b""
            yield Journaled(offset, *head(value), value)
            offset += 1
        if offset <= until:
            raise JournalUnreadable(f"offset {until} is not there")


class _Delivery:
    """A send that is under way: done when its last message has been acknowledged."""

    def __init__(self, count: int, done: asyncio.Future[Mapping[Place, int]]) -> None:
        self.left = count
        self.done = done
        self.offsets: dict[Place, int] = {}

    def acknowledged(self, place: Place, offset: int) -> None:
        """One message is there."""
        if place[0] == LEDGER:
            self.offsets[place] = offset
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(self.offsets)


class SimulatedProducer:
    """The producer of one process: in order within a partition, one request at a time."""

    def __init__(self, log: Log, dice: Dice, loop: asyncio.AbstractEventLoop) -> None:
        self._log = log
        self._dice = dice
        self._loop = loop
        self._waiting: dict[Place, deque[tuple[Outgoing, _Delivery]]] = defaultdict(deque)
        self._sending: dict[Place, asyncio.TimerHandle] = {}
        self._dead = False

    @property
    def idle(self) -> bool:
        """Whether everything that was sent is acknowledged."""
        return not self._sending

    async def send(self, messages: Sequence[Outgoing]) -> Mapping[Place, int]:
        """Publish, and return when the broker has all: the ledger's last offsets by partition."""
        if not messages:
            return {}
        delivery = _Delivery(len(messages), self._loop.create_future())
        for message in messages:
            place = place_of(message)
            self._waiting[place].append((message, delivery))
            if place not in self._sending:
                self._request(place)
        return await delivery.done

    def die(self) -> None:
        """The process is gone. A request on its way may be lost, or arrive as late as it likes."""
        self._dead = True
        for place, timer in list(self._sending.items()):
            timer.cancel()
            if self._dice.chance(0.5) and self._waiting[place]:
                delay_s = self._dice.choice((0.001, 0.1, 1.0, 8.0)) * self._dice.random()
                self._loop.call_later(delay_s, self._arrive, place)

    def _request(self, place: Place) -> None:
        self._sending[place] = self._loop.call_later(self._dice.pause_s(), self._arrive, place)

    def _arrive(self, place: Place) -> None:
        wait_s = self._log.stalled_until.get(place, 0.0) - self._loop.time()
        if wait_s > 0:
            self._sending[place] = self._loop.call_later(
                wait_s + self._dice.pause_s(), self._arrive, place
            )
            return
        waiting = self._waiting[place]
        count = len(waiting) if self._dice.chance(0.7) else self._dice.randint(1, len(waiting))
        batch = [waiting.popleft() for _ in range(count)]
        last = self._log.append(place, [message for message, _ in batch])
        if not self._dead:
            self._sending[place] = self._loop.call_later(
                self._dice.pause_s(), self._acknowledge, place, batch, last
            )

    def _acknowledge(
        self, place: Place, batch: Sequence[tuple[Outgoing, _Delivery]], last: int
    ) -> None:
        for at, (_, delivery) in enumerate(batch, last - len(batch) + 1):
            delivery.acknowledged(place, at)
        if self._waiting[place]:
            self._request(place)
        else:
            del self._sending[place]
