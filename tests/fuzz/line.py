"""The end of the line: batches through the real desk, agents, rules and Redis, and a judge.

Nothing is imitated but the broker's answers: what would be published is kept and looked at.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any

import redis
from confluent_kafka import Producer
from jsonschema import Draft202012Validator
from pydantic_core import to_json

from models.events import TOPICS, body_hash, decode
from models.ids import shard_of_payout
from models.ledger import SELLER_ACCOUNTS, Entry, Fold
from models.refusals import Reason, Refused
from models.schema import documents
from models.scorer import Scorer
from models.shards import shard_of
from streams.agents.sales import Sales
from streams.deadletters import DETAIL_CHARS_MAX
from streams.deadletters import TOPIC as DEAD_LETTERS
from streams.engine import Batch, Outgoing, RawMessage
from streams.engine.counters import EngineCounters
from streams.engine.stream import Inbox
from streams.settings import DEFAULTS
from streams.wallets.journal import LEDGER, head
from tests.fuzz.mutations import PERSONAL
from tests.streams.wallets.harness import PARTITIONS, Company

Place = tuple[str, int, int]

REFUSAL_CHARS_MAX = 300
"""Longest detail of a refusal, in characters."""

_SCORER: list[Scorer] = []


LOOK_EVERY = 16
"""One of so many published messages is held against its schema, which takes a while."""


class Broken(Exception):
    """A promise that was not kept."""


def scorer() -> Scorer:
    """The product's own model, loaded once."""
    if not _SCORER:
        _SCORER.append(Scorer.load((DEFAULTS / "model.json").read_text(encoding="utf-8")))
    return _SCORER[0]


@cache
def _schema(topic: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(documents()[f"{topic}.json"]))


def _no_number(word: str) -> None:
    raise Broken(f"{word} was published")


class Line(Company):
    """A company whose messages are handed in and whose publications are kept."""

    def __init__(self, brokers: str, redis_url: str, now_ms: int) -> None:
        super().__init__(brokers, redis_url)
        self._sending = asyncio.Lock()
        self._feed = Producer(
            {
                "bootstrap.servers": brokers,
                "partitioner": "murmur2_random",
                "max.in.flight": 1,
                "linger.ms": 0,
                "message.max.bytes": self.settings.message_bytes_max + 65_536,
                "log_level": 0,
            }
        )
        self.journal: list[tuple[bytes, int]] = []
        """Entries with their offsets, since the judge looked last."""
        self.clock.now_ms = now_ms
        sales: Any = self.agents["sales"]
        self.agents["sales"] = Sales(sales._desk, self.rules, scorer())

    async def __aenter__(self) -> Line:
        await super().__aenter__()
        return self

    async def send(self, messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
        """Publish the journal, which may be read again; keep what else would be published."""
        entries = [one.value or b"" for one in messages if one.topic == LEDGER]
        longest = max(map(len, entries), default=0)
        if longest > self.settings.message_bytes_max:
            raise Broken(f"{longest} bytes for {LEDGER}: more than is ever sent")
        # One after the other: their offsets are counted back from the last.
        async with self._sending:
            offsets = await super().send([one for one in messages if one.topic == LEDGER])
        self.sent = [one for one in (*self.sent, *messages) if one.topic != LEDGER]
        by_partition: dict[int, list[bytes]] = defaultdict(list)
        for value in entries:
            by_partition[head(value).shard % PARTITIONS].append(value)
        for partition, values in by_partition.items():
            first = offsets[LEDGER, partition] + 1 - len(values)
            self.journal += [(value, first + i) for i, value in enumerate(values)]
        return offsets

    async def take(self, messages: Sequence[RawMessage]) -> None:
        """Hand a batch of one topic to its agent and see it through."""
        topic = messages[0].topic
        batch = Batch(topic, list(messages), [], Inbox(topic, EngineCounters()))
        agent: Any = self.agents[topic]
        await (await agent.handle(batch))


class Judge:
    """Holds what was published against what was sent in."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.fold = Fold()
        self.counts: Counter[tuple[str, str]] = Counter()
        """By topic and what became of it."""
        self.late: Counter[str] = Counter()
        """What became later of returns that waited for their sale."""
        self.own: dict[str, list[tuple[bytes, bytes]]] = defaultdict(list)
        """What the product published for its own agents: it must be able to read it."""
        self.reserved: list[str] = []
        self._looked = 0
        self._sources: dict[Place, str] = {}
        self._hashes: dict[tuple[int, str], str] = {}
        self._letters: dict[Place, str] = {}
        self._values: dict[Place, bytes | None] = {}
        self._waited: set[Place] = set()
        """Returns that came before their sale: they may be refused when it comes or does not."""

    def batch(self, messages: Sequence[RawMessage]) -> None:
        """After a batch: each message has one effect, or one dead letter, or is a repeat."""
        letters = self._published()
        for message in messages:
            place = (message.topic, message.partition, message.offset)
            mine = letters.pop(place, [])
            again = place in self._values
            word = self._fate(message, place, mine, again=again)
            self._values[place] = message.value
            self.counts[message.topic, "delivered again" if again else word] += 1
        self._left_over(letters)
        self._fold()

    def lapsed(self) -> None:
        """After all timers: what waited for its sale in vain is a dead letter, byte for byte."""
        self._left_over(self._published())
        self._fold()

    def wallets(self, client: redis.Redis) -> None:
        """Every balance in Redis is what the journal adds up to."""
        found: dict[tuple[str, str], int] = {}
        for key in client.scan_iter("{*}:w:*", count=1_000):
            kind, _, seller = key.decode().partition("}:")[2].partition(":")
            if kind != "w":
                continue  # a seller may be called w:x
            stored: dict[bytes, bytes] = client.hgetall(key)  # type: ignore[assignment]
            for name, minor in stored.items():
                currency, _, account = name.decode().partition(":")
                found[f"{seller}/{account}", currency] = int(minor)
        expected = {
            place: minor for place, minor in self.fold.balances.items() if place[0][0] != "/"
        }
        for place in found.keys() | expected.keys():
            if found.get(place, 0) != expected.get(place, 0):
                raise Broken(
                    f"{place}: Redis {found.get(place)}, the journal {expected.get(place)}"
                )
        debts = {place for place in found if place[0].endswith("/debt")}
        if any(minor < 0 for place, minor in found.items() if place not in debts):
            raise Broken("a balance is below zero")
        if {place[0].rpartition("/")[2] for place in found} - set(SELLER_ACCOUNTS):
            raise Broken("an account that does not exist")

    def _published(self) -> dict[Place, list[Outgoing]]:
        """Book what was published since; the dead letters, by the place they name."""
        letters: dict[Place, list[Outgoing]] = defaultdict(list)
        sent, self._line.sent = self._line.sent, []
        journal, self._line.journal = self._line.journal, []
        for value, offset in journal:
            self._fits(Outgoing(LEDGER, None, value))
            self._entry(value, offset)
        for one in sent:
            if one.topic == DEAD_LETTERS:
                headers = {name: (value or b"").decode() for name, value in one.headers or ()}
                place = (headers["topic"], int(headers["partition"]), int(headers["offset"]))
                letters[place].append(one)
            else:
                self._fits(one)
                if one.topic in TOPICS:
                    self._own(one)
        return letters

    def _fits(self, one: Outgoing) -> None:
        """What is published is JSON without NaN, and fits the schema of its topic."""
        self._looked += 1
        if self._looked % LOOK_EVERY:
            return
        body = json.loads(one.value or b"", parse_constant=_no_number)
        for error in _schema(one.topic).iter_errors(body):
            raise Broken(f"{one.topic} does not fit its schema: {error.message[:200]}")

    def _own(self, one: Outgoing) -> None:
        key, value = one.key or b"", one.value or b""
        if self._refusal(RawMessage(one.topic, 0, 0, key, value, 0)):
            raise Broken(f"the product cannot read what it published on {one.topic}: {value!r}")
        self.own[one.topic].append((key, value))

    def _entry(self, value: bytes, offset: int) -> None:
        entry = Entry.parse(value)
        if head(value)[:2] != (entry.shard, entry.seq):
            raise Broken(f"entry {entry.id} has another head")
        self.fold.add(entry, offset)
        if entry.source is not None and entry.refused is None:
            if entry.source in self._sources:
                raise Broken(f"{entry.source} was booked twice")
            self._sources[entry.source] = entry.id
            if (entry.shard, entry.id) in self._hashes:
                raise Broken(f"event {entry.id} was booked twice in shard {entry.shard}")
            self._hashes[entry.shard, entry.id] = entry.hash or ""
            if entry.parked:
                self._waited.add(entry.source)
        if entry.payout and entry.payout[1] == "reserved":
            self.reserved.append(entry.payout[0])

    def _fate(
        self, message: RawMessage, place: Place, letters: list[Outgoing], *, again: bool
    ) -> str:
        refusal = self._refusal(message)
        booked = place in self._sources
        if letters and place in self._waited and place not in self._letters:
            # Its sale came in the same batch, and it does not fit.
            self._values[place] = message.value
            self._left_over({place: letters})
            return "effect"
        if len(letters) > 1 and not again:
            raise Broken(f"{len(letters)} dead letters of {place}")
        reasons = {(dict(letter.headers or ())["reason"] or b"").decode() for letter in letters}
        if again and reasons - {self._letters.get(place)}:
            raise Broken(f"{place} came again and was refused as {reasons}")
        if letters:
            reason = self._letter(message, letters[0], refusal)
            self._letters[place] = reason
            if booked:
                raise Broken(f"{place} was booked and refused ({reason})")
            return f"refused: {reason}"
        if refusal and not again:
            raise Broken(f"{place} is to be refused as {refusal} and was not")
        if booked:
            return "effect"
        event = self._event(message)
        reported = message.topic == "rail.updates"
        key = getattr(event, "entity", event.seller_id)
        shard = shard_of_payout(event.payout_id) if reported else shard_of(key)
        if again or self._hashes.get((shard, event.id)) == body_hash(message.value or b""):
            return "repeat"
        if reported and event.payout_id in self.fold.payouts:
            return "no news"  # the payout is past that state
        raise Broken(f"{place} left no trace")

    def _letter(self, message: RawMessage, letter: Outgoing, refusal: Reason | None) -> str:
        if (letter.key, letter.value) != (message.key, message.value):
            raise Broken(f"the dead letter of {message!r} has other bytes")
        headers = {name: (value or b"").decode() for name, value in letter.headers or ()}
        detail, reason = headers["detail"], headers["reason"]
        if not 0 < len(detail) <= DETAIL_CHARS_MAX or any(word in detail for word in PERSONAL):
            raise Broken(f"the detail of a refusal: {detail!r}")
        if refusal is not None and refusal != Reason(reason):
            raise Broken(f"refused as {reason}, to be refused as {refusal}")
        return reason

    def _refusal(self, message: RawMessage) -> Reason | None:
        """Decode once more, beside the line: what the message itself gives away."""
        try:
            event = self._event(message)
        except Refused as refused:
            detail = refused.detail
            if len(detail) > REFUSAL_CHARS_MAX or any(word in detail for word in PERSONAL):
                raise Broken(f"the detail of a refusal: {detail[:400]!r}") from None
            return refused.reason
        if message.offset % 8 == 0:
            again = event.model_dump_json().encode()
            if event != self._event(message._replace(value=again)):
                raise Broken(f"written and read again it is another event: {again!r}")
        return None

    def _event(self, message: RawMessage) -> Any:
        # Read by the model, not by a JSON parser: of a field that stands twice one of them counts.
        now_ms, retention_ms = self._line.clock(), self._line.settings.event_retention_ms
        return decode(message.topic, message.value, now_ms=now_ms, retention_ms=retention_ms)

    def _left_over(self, letters: Mapping[Place, list[Outgoing]]) -> None:
        """Dead letters of earlier messages: of returns that waited for their sale."""
        for place, ones in letters.items():
            if place not in self._waited or len(ones) > 1 or place in self._letters:
                raise Broken(f"{len(ones)} dead letters of {place}, which was settled")
            if ones[0].value != self._values[place]:
                raise Broken(f"the dead letter of {place} has other bytes")
            reason = (dict(ones[0].headers or ())["reason"] or b"").decode()
            self._letters[place] = reason
            self.late[reason] += 1

    def _fold(self) -> None:
        # Ids are remembered by shard. That one is used for sellers of two shards is the producer's
        # mistake and the fold's to say; within a shard it was looked at entry by entry.
        others = [v for v in self.fold.violations if v.invariant != "every event has one effect"]
        if others:
            raise Broken(str(others[0]))
        if gaps := list(self.fold.gaps()):
            raise Broken(f"missing in the journal: {gaps[:3]}")


async def lapse(line: Line) -> None:
    """Let all waiting end: the clock goes past the bound and the janitor makes its rounds."""
    line.clock.now_ms += line.settings.waiting_ms + int(timedelta(days=1).total_seconds() * 1000)
    while await line.janitor.once():
        pass


def shown(counts: Counter[tuple[str, str]]) -> str:
    """The counts as JSON, by topic."""
    by_topic: dict[str, dict[str, int]] = defaultdict(dict)
    for (topic, word), count in sorted(counts.items()):
        by_topic[topic][word] = count
    return to_json(by_topic, indent=2).decode()
