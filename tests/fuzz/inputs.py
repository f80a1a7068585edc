"""Inputs: batches of messages as a broker would hand them over, good ones and bad ones."""

from __future__ import annotations

from collections import defaultdict, deque
from datetime import timedelta
from random import Random

from models.events import TOPICS
from streams.deadletters import REPLAYED
from streams.engine import RawMessage
from tests.fuzz.grammar import SELLERS, Grammar, encoded
from tests.fuzz.mutations import garbage, mutate_bytes, mutate_fields, re_encoded, resized

BATCH_MESSAGES_MAX = 400

EARLY_BYTES = (500, 60_000)
"""Sizes of returns that are padded and wait for their sale: all of them stand in one entry."""

_HEADERS: tuple[list[tuple[str, bytes | None]], ...] = (
    [],
    [("", b"")],
    [("reason", None), ("reason", b"\xff"), ("\u0000", b"\x00" * 1_000)],
    [(REPLAYED, b"dead-letters:0:0"), ("topic", b"rates"), ("offset", b"-1")],
)

_WEIGHTS = {
    "sales": 5,
    "commissions": 3,
    "sellers": 2,
    "redemptions": 3,
    "rail.updates": 3,
    "rates": 1,
    "fraud.labels": 2,
}
if set(_WEIGHTS) != set(TOPICS):
    raise RuntimeError("every inbound topic needs a weight")


class Inputs:
    """Batches that follow from a seed and a clock alone, but for the payouts they are told of."""

    def __init__(self, seed: int, now_ms: int, retention: timedelta, partitions: int) -> None:
        self.random = Random(seed)
        self.grammar = Grammar(self.random, now_ms, retention)
        self._now_ms = now_ms
        self._partitions = partitions
        self._offsets: dict[tuple[str, int], int] = defaultdict(int)
        self._recent: deque[bytes] = deque([b"{}"], maxlen=50)
        self._valid: dict[str, deque[tuple[bytes | None, bytes]]] = {
            topic: deque(maxlen=200) for topic in TOPICS
        }
        self._last: dict[str, list[RawMessage]] = {}

    def batch(self, own: dict[str, list[tuple[bytes, bytes]]], room: int) -> list[RawMessage]:
        """Messages of one topic, at most ``room`` and what is delivered again.

        ``own``: by topic, key and value of what the product itself published for its own agents.
        """
        random = self.random
        topic = random.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()))[0]
        again = self._last.get(topic, []) if random.random() < 0.1 else []
        count = min(room, random.choice((1, 20, 100, 250, BATCH_MESSAGES_MAX)))
        fresh = [self._placed(topic, *self._message(topic)) for _ in range(count)]
        fresh += [self._placed(topic, key, value) for key, value in own.pop(topic, ())]
        self._last[topic] = fresh
        return again + fresh

    def _placed(self, topic: str, key: bytes | None, value: bytes | None) -> RawMessage:
        partition = self.random.randrange(self._partitions)
        # Compaction and aborted transactions leave gaps.
        self._offsets[topic, partition] += 1 if self.random.random() < 0.98 else 1_000
        offset = self._offsets[topic, partition]
        at_ms = self._now_ms if self.random.random() < 0.98 else self.random.choice((-1, 0, 2**62))
        headers = self.random.choice(_HEADERS) if self.random.random() < 0.05 else None
        return RawMessage(topic, partition, offset, key, value, at_ms, headers)

    def _message(  # noqa: PLR0911 - a table of ways
        self, topic: str
    ) -> tuple[bytes | None, bytes | None]:
        fields = self.grammar.draw(topic)
        key = self._key(self.grammar.seller)
        way = self.random.random()
        if way < 0.05:
            return key, garbage(self.random)
        if way < 0.055:
            if topic == "sales" and self.random.random() < 0.5:
                early = self.grammar.early_return()
                return self.grammar.seller.encode(), resized(self.random, early, EARLY_BYTES)
            return key, resized(self.random, fields)
        if way < 0.4:
            mutate_fields(self.random, fields)
        value = encoded(fields)
        if 0.4 <= way < 0.43:
            return key, re_encoded(self.random, value)
        raw = value.encode("utf-8", "surrogatepass")
        if 0.43 <= way < 0.6:
            raw = mutate_bytes(self.random, raw, self.random.choice(self._recent))
        if way > 0.9:
            self._recent.append(raw)
            self._valid[topic].append((key, raw))
        # A producer that was not sure sends again; another one sends to the wrong topic.
        if way > 0.97:
            return self.random.choice(self._valid[topic])
        if way > 0.96:
            return key, self.random.choice(self._recent)
        return key, raw

    def _key(self, seller: str) -> bytes | None:
        way = self.random.random()
        if way < 0.8:
            return seller.encode()
        odd = (None, b"", b"\xff\xfe", b"\x00", b"x" * 1_000, self.random.choice(SELLERS).encode())
        return self.random.choice(odd)
