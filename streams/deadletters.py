"""Dead letters: events that were refused, kept with where they came from and why.

A message of `dead-letters` holds the original key and value, byte for byte. Its headers say:
`reason` (a word of :class:`models.refusals.Reason`), `detail` (one sentence, masked), `topic`,
`partition` and `offset` of the original, and `at`, when it was refused.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self, cast

from confluent_kafka import KafkaError, Message, Producer

from models.moments import rfc_3339
from models.refusals import Reason
from streams.engine import Outgoing, RawMessage
from streams.logs import mask
from streams.reading import SILENCE_MAX_S, read_topic

TOPIC = "dead-letters"

DETAIL_CHARS_MAX = 500
"""Longest `detail`, in characters."""

REPLAYED = "replayed"
"""Header of a replayed message: the dead letter it was."""

_DELIVERY_TIMEOUT_S = 30.0
_Headers = list[tuple[str, bytes | str | None]]
_PLACE = re.compile(r"([A-Za-z0-9._-]+):(\d{1,19}):(\d{1,19})", re.ASCII)


class DeadLettersUnavailable(RuntimeError):
    """The broker cannot be written to; one line."""


class PlaceInvalid(ValueError):
    """A text that is not `topic:partition:offset`."""


def dead_letter(message: RawMessage, reason: Reason, detail: str, now_ms: int) -> Outgoing:
    """The message for `dead-letters` that keeps a refused one. `now_ms` since the epoch."""
    headers: list[tuple[str, bytes | None]] = [
        ("reason", reason.value.encode()),
        ("detail", mask(detail)[:DETAIL_CHARS_MAX].encode()),
        ("topic", message.topic.encode()),
        ("partition", str(message.partition).encode()),
        ("offset", str(message.offset).encode()),
        ("at", rfc_3339(now_ms).encode()),
    ]
    return Outgoing(TOPIC, message.key, message.value, headers)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One message's place in Kafka, written `topic:partition:offset`."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `topic:partition:offset`. Raises PlaceInvalid."""
        found = _PLACE.fullmatch(text)
        if not found:
            raise PlaceInvalid(f"{text[:80]!r} is not topic:partition:offset")
        return cls(found[1], int(found[2]), int(found[3]))

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter as it was read. `key` and `value` are the original bytes."""

    place: Place
    source: Place
    reason: str
    detail: str
    at: str
    key: bytes | None
    value: bytes | None

    def __repr__(self) -> str:
        """Without key and value: they may be personal data."""
        return f"DeadLetter({self.place}, {self.reason}, from {self.source})"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant; what is unset lets everything through.

    A place may be the dead letter's own or that of the message it was. `since` is compared with
    `at`.
    """

    reason: str | None = None
    topic: str | None = None
    since: datetime | None = None
    places: frozenset[Place] = frozenset()

    def takes(self, letter: DeadLetter) -> bool:
        """Whether the letter is meant."""
        if self.places and not {letter.place, letter.source} & self.places:
            return False
        if self.since is not None and _moment(letter.at) < self.since:
            return False
        return (self.reason or letter.reason) == letter.reason and (
            self.topic or letter.source.topic
        ) == letter.source.topic


def _moment(text: str) -> datetime:
    """When a letter says it was refused; the beginning of time where it says nothing."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    # Without an offset it could not be compared with the others.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read(client: Mapping[str, Any], silence_max_s: float = SILENCE_MAX_S) -> Iterator[DeadLetter]:
    """All dead letters there are now, oldest first within a partition, in one pass.

    `client` is librdkafka's configuration for the broker. Raises what
    :func:`streams.reading.read_topic` raises.
    """
    return map(letter_of, read_topic(client, TOPIC, silence_max_s))


def letter_of(message: Message) -> DeadLetter:
    """The dead letter in a message of the topic."""
    headers = {
        name: value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
        for name, value in cast(_Headers, message.headers() or [])
    }
    return DeadLetter(
        place=Place(str(message.topic()), _number(message.partition()), _number(message.offset())),
        source=Place(
            headers.get("topic", "?"),
            _number(headers.get("partition")),
            _number(headers.get("offset")),
        ),
        reason=headers.get("reason", "?"),
        detail=headers.get("detail", ""),
        at=headers.get("at", ""),
        key=message.key(),
        value=message.value(),
    )


def _number(value: int | str | None) -> int:
    try:
        return int(value) if value is not None else -1
    except ValueError:
        return -1


def newest(letters: Iterator[DeadLetter], wanted: Filter, limit: int) -> list[DeadLetter]:
    """The last `limit` of the letters that are meant, by when they were refused."""
    kept: dict[int, deque[DeadLetter]] = {}
    for letter in letters:
        if wanted.takes(letter):
            kept.setdefault(letter.place.partition, deque(maxlen=limit)).append(letter)
    merged = sorted(
        (letter for part in kept.values() for letter in part),
        key=lambda letter: (_moment(letter.at), letter.place),
    )
    return merged[-limit:]


def replay(
    client: Mapping[str, Any],
    letters: Sequence[DeadLetter],
    topics: frozenset[str],
    done: Callable[[DeadLetter], None],
) -> int:
    """Send the original bytes, under the original key, to the original topics; how many went.

    Letters from a topic that is not in `topics` are left out: their source is not known.
    Returns when the broker has acknowledged every one.

    Raises:
        DeadLettersUnavailable: some were not acknowledged; sending them again is harmless, since
            an event counts once.
    """
    producer = Producer(
        {
            **client,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "message.timeout.ms": int(_DELIVERY_TIMEOUT_S * 1000),
            "message.max.bytes": 100_000_000,
            "log_level": 0,
        }
    )
    failures: list[str] = []

    def delivered(letter: DeadLetter) -> Callable[[KafkaError | None, Message], None]:
        def answer(error: KafkaError | None, _: Message) -> None:
            if error is None:
                done(letter)
            else:
                failures.append(error.str())

        return answer

    sent = [letter for letter in letters if letter.source.topic in topics]
    for letter in sent:
        producer.produce(
            letter.source.topic,
            key=letter.key,
            value=letter.value,
            headers=[(REPLAYED, str(letter.place).encode())],
            on_delivery=delivered(letter),
        )
        producer.poll(0)
    unsent = producer.flush(_DELIVERY_TIMEOUT_S + 5)
    if failures or unsent:
        reason = failures[0] if failures else "no answer"
        raise DeadLettersUnavailable(
            f"{len(failures) + unsent} of {len(sent)} were not acknowledged: {reason}"
        )
    return len(sent)
