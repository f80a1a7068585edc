"""The watch: follows what the pipeline publishes, from outside, as it happens."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from pydantic_core import from_json

from models.ledger import Entry, Fold
from models.payouts import PayoutState
from streams.demo.tally import Tally

FOLLOWED = {"payouts.commands": 5, "ledger": 100, "decisions": 100, "dead-letters": 100}
"""Topics, and how long a fetch of theirs waits, in ms: only commands are timed, and every fetch
costs the embedded broker."""

WAITING_ON_RAIL = frozenset(
    {PayoutState.RESERVED, PayoutState.SUBMITTED, PayoutState.ACCEPTED, PayoutState.UNKNOWN}
)
"""States of a payout that a run waits for. An unclaimed one may stay so for weeks."""


class Watch:
    """Folds the journal and counts the rest, in a thread of its own."""

    def __init__(
        self,
        client: Mapping[str, Any],
        partitions: int,
        *,
        on_settled: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``on_settled`` is told, from the watch's thread, the id of each event that is in the
        journal or refused; the same one may be told again."""
        self._on_settled = on_settled
        self.fold = Fold()
        self.tally = Tally()
        self.dead_letters: dict[tuple[str, str, str], str] = {}
        self.dead_ids: Counter[str] = Counter()
        """How many dead letters there are of an event's id."""
        self.tiers: dict[str, str] = {}
        self.latencies_ms: list[float] = []
        self.intended: dict[str, float] = {}
        """Event id → when it was meant to be sent, in seconds of ``time.time()``."""
        self._commanded: set[str] = set()
        self.first_s = 0.0
        self.last_s = 0.0
        self._consumers = [
            _follower(
                client, partitions, [t for t, ms in FOLLOWED.items() if ms == wait_ms], wait_ms
            )
            for wait_ms in sorted(set(FOLLOWED.values()))
        ]
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._follow, args=(consumer,), name="watch", daemon=True)
            for consumer in self._consumers
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        for thread, consumer in zip(self._threads, self._consumers, strict=True):
            thread.join(timeout=5.0)
            consumer.close()

    def booked(self) -> int:
        """Source events that have had their effect."""
        return len(self.fold.booked)

    def unfinished(self) -> int:
        """Payouts that a rail has yet to answer."""
        with self._lock:
            return sum(state in WAITING_ON_RAIL for state, *_ in self.fold.payouts.values())

    def missing(self, expected: set[str]) -> int:
        """How many of some events have neither had an effect nor been refused."""
        with self._lock:
            return len(expected - self.fold.booked - self.dead_ids.keys())

    def promised(self) -> int:
        """Purchases and quotes that are neither used nor over, and earnings that are pending."""
        with self._lock:
            purchases = sum(one.open > 0 for one in self.fold.purchases.values())
            quotes = self.fold.conversions.quotes.values()
            pending = len(self.fold.releases.lots)
            return purchases + pending + sum(quote.step == "quoted" for quote in quotes)

    def refused(self, expected: set[str]) -> int:
        """Dead letters of some events that should have had an effect, and have had none."""
        with self._lock:
            return sum(
                count
                for dead, count in self.dead_ids.items()
                if dead in expected and dead not in self.fold.booked
            )

    def payouts(self) -> dict[str, int]:
        """Payouts by state."""
        with self._lock:
            return dict(Counter(state for state, *_ in self.fold.payouts.values()))

    def _follow(self, consumer: Consumer) -> None:
        while not self._ended.is_set():
            first = consumer.poll(0.1)
            if first is None:
                continue
            now = time.time()
            messages = (first, *consumer.consume(500, 0))
            with self._lock:
                for message in messages:
                    error = message.error()
                    if error is None:
                        self._take(message, now)
                    elif error.code() != KafkaError._PARTITION_EOF and error.fatal():
                        return

    def _take(self, message: Message, now: float) -> None:
        value = message.value() or b""
        topic = message.topic()
        if topic == "ledger":
            for entry in self.fold.add(Entry.parse(value), message.offset() or 0):
                self.tally.take(entry)
                if entry.source is not None:
                    self._on_settled(entry.id)
            self.last_s = now
            self.first_s = self.first_s or now
        elif topic == "payouts.commands":
            cause = from_json(value).get("cause", "")  # none of who asks for a stop
            intended = self.intended.get(cause)
            if intended is not None and cause not in self._commanded:
                self._commanded.add(cause)
                self.latencies_ms.append((now - intended) * 1000)
        elif topic == "decisions":
            decision = from_json(value)
            self.tiers[decision["event_id"]] = decision["tier"]
        else:
            self._dead(message)

    def _dead(self, message: Message) -> None:
        headers = cast("Sequence[tuple[str, bytes]]", message.headers() or ())
        said = {name: str(value, "utf-8") for name, value in headers}
        place = (said["topic"], said["partition"], said["offset"])
        again = place in self.dead_letters
        self.dead_letters[place] = said["reason"]
        try:
            dead = from_json(message.value() or b"")["id"]
            self.dead_ids[dead] += not again
            self._on_settled(dead)
        except (ValueError, KeyError, TypeError):
            return  # what cannot be read has no id


def _follower(
    client: Mapping[str, Any], partitions: int, topics: Sequence[str], wait_ms: int
) -> Consumer:
    consumer = Consumer(
        {
            **client,
            "group.id": "payouts-watch",  # never joined: partitions are assigned by hand
            "enable.auto.commit": False,
            "fetch.wait.max.ms": wait_ms,
            "log_level": 0,
        }
    )
    consumer.assign(
        [TopicPartition(t, p, OFFSET_BEGINNING) for t in topics for p in range(partitions)]
    )
    return consumer
