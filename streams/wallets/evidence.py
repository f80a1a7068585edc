"""Evidence: what Redis, the topics and the rails' books say, gathered for the rules of verify.

Read in an order that lets a running system be judged. First what must have a cause in what is
read after it: how far the workers have got, the commands, the rails' books. Then Redis, the journal
up to there, and what follows from it. What came later is left out.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import combinations
from typing import Any, NamedTuple, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from pydantic_core import from_json
from redis.exceptions import RedisError

from models.events import body_hash
from models.ledger import Entry, Fold
from models.payouts import PayoutState
from models.shards import SHARDS
from models.timeline import Timeline
from streams import deadletters
from streams.connections import redis_client
from streams.settings import ROLES, Settings
from streams.wallets.railbooks import Books, Execution, Told, read_books
from streams.wallets.shardstate import ShardState, read_seqs, read_shards

CHECKED_TOPICS = ("sales", "commissions", "sellers", "redemptions", "rates", "fraud.labels")
"""Inbound topics of which every message has an effect or a dead letter."""

READ_MAX = 1_000
"""Messages taken from a consumer at a time."""

SILENCE_MAX_S = 30.0
"""How long a read waits for the broker's first word on a partition."""

QUIET_S = 0.3
"""A broker may report a partition's end a few messages early; so long a read goes on behind it."""

LATE_MAX_S = 10.0
"""How long a read goes on behind the end while something that must be there is not."""

READERS_MAX = 6
"""Topics that are read at the same time."""

Place = tuple[str, int, int]
"""Topic, partition and offset of a message."""


class EvidenceMissing(Exception):
    """Something that has to be read cannot be; one line."""


class Reservation(NamedTuple):
    """A payout's reservation in the journal."""

    seller: str
    rail: str
    currency: str
    amount_minor: int
    fee_minor: int
    at_ms: int


@dataclass(slots=True)
class Journaled:
    """What the journal says, beside what the fold keeps."""

    fold: Fold = field(default_factory=Fold)
    last: dict[int, int] = field(default_factory=dict)
    """The highest seq of each shard in the topic, also behind what Redis had when it was read."""
    sources: dict[Place, str] = field(default_factory=dict)
    """Which event each message held, by the message's place."""
    hashes: dict[str, str] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    """Messages that two entries claim, and entries published in two versions."""
    tiers: dict[str, tuple[str, Place, int]] = field(default_factory=dict)
    """Per sale's event: its tier, where it came from, and when it was booked."""
    parked: set[Place] = field(default_factory=set)
    emitted: dict[str, int] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    told: Told = field(default_factory=Told)
    changed: dict[str, int] = field(default_factory=dict)
    """When each payout last went to another state."""
    times: dict[tuple[int, int], int] = field(default_factory=dict)
    """When the entries were made that outboxes still held."""
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """Shard and number of entries that are missing in front of ones that are there."""


class Letter(NamedTuple):
    """What is kept of a dead letter: its reason, and the event's id if it shows one."""

    reason: str
    id: str | None


class Commanded(NamedTuple):
    """What is kept of a payout command."""

    seller: str
    rail: str
    currency: str
    amount_minor: int
    fee_minor: int


@dataclass(slots=True)
class Evidence:
    """All that the rules look at."""

    whole: bool
    now_ms: int
    committed: dict[tuple[str, int], int]
    shards: dict[int, ShardState]
    journal: Journaled
    seqs_after: dict[int, int]
    """Redis's seqs after the journal was read."""
    letters: dict[Place, list[Letter]]
    decisions: dict[str, set[str]]
    """Per event the different decisions published, as ``<tier> <digest>``."""
    commands: dict[str, set[Commanded]]
    inbound: int
    """Messages checked for an effect."""
    behind: int
    """Messages there that the workers have not acknowledged yet."""
    unaccounted: list[str]
    doubled: list[str]
    commissions: set[str]
    """Ids in the topic ``commissions``, if any commission is awaited."""
    books: Mapping[str, Execution]
    """The rails' own books, by payout."""
    compared: Books
    """Which rails' books these are, and why there are none of others."""

    def steady(self) -> Iterator[tuple[int, ShardState]]:
        """The shards that did not change while they were read."""
        return ((shard, state) for shard, state in self.shards.items() if state.steady)

    def violations(self, *invariants: str) -> Iterator[str]:
        """What of the journal broke these invariants of the fold."""
        for violation in self.journal.fold.violations:
            if violation.invariant in invariants:
                yield violation.detail


def gather(settings: Settings, *, whole: bool) -> Evidence:
    """Read everything. Raises :class:`EvidenceMissing`."""
    reader = Topics(settings.kafka_client())
    try:
        committed = reader.committed(_booking_groups(settings), CHECKED_TOPICS)
        with ThreadPoolExecutor(READERS_MAX) as pool:
            reading_books = pool.submit(read_books, settings.rails())
            commands = read_commands(reader)
            books = reading_books.result()
            client = redis_client(settings)
            try:
                shards = read_shards(client)
                journal = read_journal(reader, shards)
                seqs_after = read_seqs(client, range(SHARDS))
            finally:
                client.close()
            decisions = pool.submit(read_decisions, reader)
            letters = read_letters(reader)
            inbound = _Inbound(journal, letters, committed, whole)
            parts = list(pool.map(lambda topic: inbound.read(reader, topic), CHECKED_TOPICS))
            return Evidence(
                whole=whole,
                now_ms=time.time_ns() // 1_000_000,
                committed=committed,
                shards=shards,
                journal=journal,
                seqs_after=seqs_after,
                letters=letters,
                decisions=decisions.result(),
                commands=commands,
                inbound=sum(part.checked for part in parts),
                behind=sum(part.behind for part in parts),
                unaccounted=[text for part in parts for text in part.unaccounted],
                doubled=[text for part in parts for text in part.doubled],
                commissions=set().union(*(part.ids for part in parts)),
                books=books.by_payout(journal.told.payouts),
                compared=books,
            )
    except KafkaException as error:
        raise EvidenceMissing(f"cannot read from the broker: {error.args[0].str()}") from error
    except (RedisError, OSError) as error:
        raise EvidenceMissing(f"cannot read from Redis: {error}") from error


class Topics:
    """Reads whole topics. Blocking, and safe to share between threads."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._client = {**client, "log_level": 0}

    def read(
        self,
        topic: str,
        *,
        ends: Mapping[int, int] | None = None,
        enough: Callable[[], bool] = lambda: True,
    ) -> Iterator[Message]:
        """Every message of a topic, oldest first within a partition.

        Goes on behind the reported end until ``ends`` (offsets by partition) are reached and
        ``enough()`` holds, but not for longer than ``LATE_MAX_S`` without a message.
        """
        consumer = Consumer(
            {
                **self._client,
                "group.id": "payouts-verify",  # required, never joined: assigned by hand
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
            }
        )
        try:
            found = consumer.list_topics(topic, timeout=SILENCE_MAX_S).topics[topic]
            if found.error is not None:
                raise EvidenceMissing(f"no topic {topic}; run `payouts topics create`")
            partitions = list(found.partitions)
            consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
            yield from self._until(consumer, set(partitions), ends or {}, enough)
        finally:
            consumer.close()

    def _until(
        self,
        consumer: Consumer,
        open_: set[int],
        ends: Mapping[int, int],
        enough: Callable[[], bool],
    ) -> Iterator[Message]:
        short = {partition for partition in open_ if ends.get(partition, 0) > 0}
        heard = time.monotonic()
        while True:
            for message in consumer.consume(READ_MAX, 0.05):
                error = message.error()
                partition = cast(int, message.partition())
                if error is None:
                    heard = time.monotonic()
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    if partition in open_:
                        open_.discard(partition)
                        heard = time.monotonic()
                elif not error.retriable():
                    raise KafkaException(error)
                if cast(int, message.offset()) + (error is None) >= ends.get(partition, 0):
                    short.discard(partition)
            silent = time.monotonic() - heard
            if open_:
                if silent > SILENCE_MAX_S:
                    raise EvidenceMissing(f"the broker was silent for {SILENCE_MAX_S:.0f} s")
            elif silent > LATE_MAX_S or (silent > QUIET_S and not short and enough()):
                return

    def committed(self, groups: Sequence[str], topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """The offsets up to which one of the workers' groups has acknowledged."""
        admin = AdminClient(self._client)
        found = admin.list_topics(timeout=SILENCE_MAX_S).topics
        missing = [topic for topic in topics if topic not in found]
        if missing:
            raise EvidenceMissing(f"no topic {missing[0]}; run `payouts topics create`")
        asked = [
            TopicPartition(topic, partition)
            for topic in topics
            for partition in found[topic].partitions
        ]
        reached = {(each.topic, each.partition): 0 for each in asked}
        for group in groups:
            # As a consumer that never joins: while a coordinator loads, an AdminClient that asks it
            # makes librdkafka 2.x end the process with a segmentation fault.
            consumer = Consumer({**self._client, "group.id": group, "log_level": 0})
            try:
                answers = consumer.committed(asked, timeout=SILENCE_MAX_S)
            finally:
                consumer.close()
            for each in answers:
                place = (each.topic, each.partition)
                reached[place] = max(reached[place], each.offset)
        return reached


def _booking_groups(settings: Settings) -> list[str]:
    """The groups of workers that book events, by the roles that they may have beside it."""
    others = [role for role in ROLES if role != "book"]
    sets = [(("book", *some)) for n in range(len(others) + 1) for some in combinations(others, n)]
    return sorted({settings.model_copy(update={"roles": roles}).group for roles in sets})


def read_journal(topics: Topics, shards: Mapping[int, ShardState]) -> Journaled:
    """The journal up to the seqs that Redis had."""
    journal = Journaled()
    timelines: dict[int, Timeline[Entry]] = defaultdict(Timeline)
    digests: dict[tuple[int, int, int], bytes] = {}
    short = {shard for shard, state in shards.items() if state.seq > 0}

    def enough() -> bool:
        short.difference_update([s for s in short if journal.last.get(s, 0) >= shards[s].seq])
        return not short

    for message in topics.read("ledger", enough=enough):
        value = message.value() or b""
        try:
            entry = Entry.parse(value)
        except ValueError as error:
            where = f"{message.partition()}:{message.offset()}"
            raise EvidenceMissing(f"ledger:{where} is no journal entry: {error}") from error
        timeline = timelines[entry.shard]
        if entry.seq and entry.epoch == timeline.epoch:
            digest = blake2b(value, digest_size=8).digest()
            if digests.setdefault((entry.shard, entry.epoch, entry.seq), digest) != digest:
                journal.twice.append(f"shard {entry.shard} seq {entry.seq} has two versions")
        try:
            counted = list(timeline.take(entry, cast(int, message.offset())))
            for each in counted:
                journal.last[each.shard] = each.seq
                if each.seq <= shards[each.shard].seq:
                    journal.fold.apply(each)
                    _note(journal, each, shards[each.shard])
        except (TypeError, ValueError, KeyError) as error:
            where = f"{message.partition()}:{message.offset()}"
            raise EvidenceMissing(f"ledger:{where} cannot be followed: {error}") from error
    missing = ((shard, timeline.missing()) for shard, timeline in timelines.items())
    journal.gaps = [(shard, seq) for shard, seq in missing if seq is not None]
    return journal


def _note(journal: Journaled, entry: Entry, shard: ShardState) -> None:
    if entry.seq == shard.outbox_first:
        journal.times[entry.shard, entry.seq] = entry.at_ms
    if entry.source is not None and entry.refused is None:
        other = journal.sources.setdefault(entry.source, entry.id)
        if other != entry.id:
            journal.twice.append(f"{_text(entry.source)} was booked as {other} and {entry.id}")
        if entry.parked:
            journal.parked.add(entry.source)
        if entry.kind == "sale.completed" and entry.tier:
            journal.tiers[entry.id] = (entry.tier, entry.source, entry.at_ms)
    if entry.hash is not None:
        journal.hashes[entry.id] = entry.hash
    for emitted in entry.emits:
        journal.emitted.setdefault(emitted, entry.at_ms)
    if entry.payout:
        payout_id, state, rail, amount, fee = entry.payout
        if state == PayoutState.RESERVED:
            known = journal.reservations.get(payout_id)
            # The next attempt of a payout moves no money.
            kept = known.currency if known else "?"
            currency = next((p.currency for p in entry.postings), kept)
            journal.reservations[payout_id] = Reservation(
                entry.seller, rail, currency, amount, fee, entry.at_ms
            )
            journal.told.note(payout_id, rail, again=entry.kind == "payout.rerouted")
        journal.changed[payout_id] = entry.at_ms


def read_letters(topics: Topics) -> dict[Place, list[Letter]]:
    """Dead letters by the place of the message that was refused."""
    letters: dict[Place, list[Letter]] = defaultdict(list)
    for message in topics.read(deadletters.TOPIC):
        letter = deadletters.letter_of(message)
        source = (letter.source.topic, letter.source.partition, letter.source.offset)
        letters[source].append(Letter(letter.reason, _id(letter.value)))
    return dict(letters)


def read_decisions(topics: Topics) -> dict[str, set[str]]:
    """The different decisions of each event."""
    decisions: dict[str, set[str]] = defaultdict(set)
    for message in topics.read("decisions"):
        value = message.value() or b""
        body = from_json(value)
        digest = blake2b(value, digest_size=8).hexdigest()
        decisions[body["event_id"]].add(f"{body['tier']} {digest}")
    return dict(decisions)


def commands_in(topics: Topics) -> Iterator[dict[str, Any]]:
    """Every command to pay. The topic carries orders to stop a payout as well."""
    for message in topics.read("payouts.commands"):
        body = from_json(message.value() or b"")
        if body["type"] == "payout.command":
            yield body


def read_commands(topics: Topics) -> dict[str, set[Commanded]]:
    """The different commands of each payout."""
    commands: dict[str, set[Commanded]] = defaultdict(set)
    for body in commands_in(topics):
        commands[body["payout_id"]].add(
            Commanded(
                body["seller_id"],
                body["rail"],
                body["currency"],
                body["amount_minor"],
                body["fee_minor"],
            )
        )
    return dict(commands)


def _id(value: bytes | None) -> str | None:
    try:
        body = from_json(value or b"")
    except ValueError:
        return None
    found = body.get("id") if isinstance(body, dict) else None
    return found if isinstance(found, str) else None


def _text(place: Place) -> str:
    return ":".join(map(str, place))


@dataclass(slots=True)
class _Part:
    """What was found in one inbound topic."""

    checked: int = 0
    behind: int = 0
    unaccounted: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)


class _Inbound:
    """Goes through the inbound topics and looks for what became of each message."""

    def __init__(
        self,
        journal: Journaled,
        letters: Mapping[Place, Sequence[Letter]],
        committed: Mapping[tuple[str, int], int],
        whole: bool,
    ) -> None:
        self._journal = journal
        self._letters = letters
        self._committed = committed
        self._whole = whole

    def read(self, topics: Topics, topic: str) -> _Part:
        """One topic."""
        part = _Part()
        # Ids are looked for only if commissions are on their way up the tree.
        awaited = topic == "commissions" and bool(self._journal.fold.pending)
        ends = {p: offset for (name, p), offset in self._committed.items() if name == topic}
        for message in topics.read(topic, ends=ends):
            partition, offset = cast(int, message.partition()), cast(int, message.offset())
            value = message.value()
            if awaited:
                part.ids.add(_id(value) or "")
            below = offset < ends.get(partition, 0)
            part.behind += not below
            if below or self._whole:
                part.checked += 1
                self._check(part, (topic, partition, offset), value)
        return part

    def _check(self, part: _Part, place: Place, value: bytes | None) -> None:
        booked = place in self._journal.sources
        reasons = {letter.reason for letter in self._letters.get(place, ())}
        if len(reasons) > 1:
            part.doubled.append(f"{_text(place)} was refused as {' and '.join(sorted(reasons))}")
        elif booked and reasons:
            # A return that waited for its sale was journalled when it came, and may be refused
            # when the sale comes or does not.
            if place not in self._journal.parked:
                part.doubled.append(f"{_text(place)} was booked and refused ({min(reasons)})")
        elif not booked and not reasons and not self._repeats(value):
            part.unaccounted.append(f"{_text(place)} ({_id(value) or 'no id'})")

    def _repeats(self, value: bytes | None) -> bool:
        found = _id(value)
        return found is not None and self._journal.hashes.get(found) == body_hash(value or b"")
