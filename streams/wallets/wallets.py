"""The wallets: operations in, effects out, exactly once.

Order of every change: Redis (wallets, dedupe, outbox, in one call) → ``ledger`` → the other topics
→ the caller acknowledges its source offset. Between any two steps the process may die; what it
leaves in the outbox is published by whoever takes the shard over, and the fences make the rest a
no-op.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

from pydantic_core import to_json

from models.events import CLOCK_AHEAD_MAX
from models.shards import shard_of
from streams.engine import Outgoing
from streams.wallets.journal import Journal
from streams.wallets.store import (
    Booked,
    Clock,
    Look,
    Operation,
    OutboxEntry,
    RedisGone,
    Rewound,
    ShardStanding,
    Store,
)

logger = logging.getLogger(__name__)

Send = Callable[[Sequence[Outgoing]], Awaitable[Mapping[tuple[str, int], int] | None]]
"""Publish messages and return when the broker has them all: the last offset of each partition."""

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 2.0
OUTAGE_MAX_S = 60.0
"""How long a call waits for Redis before the process gives up and is restarted, by default."""

APPLY_MAX = 500
"""Journal entries that are redone in one call."""

REREAD_MAX = 1_000
"""Journal messages behind what a shard is known to hold, that a heal may read again."""

BOOK_MAX = 1_000
"""Operations of one shard that are booked in one call."""


class WalletMetrics(Protocol):
    """What the wallets report; verbs of :mod:`streams.metrics`."""

    def redis_retry(self) -> None:
        """A call to Redis is tried again."""

    def healed(self, seconds: float, entries: int, republished: int) -> None:
        """Shards were compared with the journal and repaired."""


@dataclass(slots=True)
class _Shard:
    """What this process knows of a shard."""

    seq: int = 0
    epoch: int = -1
    published: list[int] = field(default_factory=list)
    journal: int = 0
    cleared: list[str] = field(default_factory=list)


class Booking(NamedTuple):
    """What came of booking: the outcome of each operation, and when all is published."""

    outcomes: list[str]
    published: Awaitable[object]


class _News(NamedTuple):
    """What a call tells a shard."""

    context: dict[str, Any]
    published: list[int]
    cleared: list[str]


def forget_ms(retention_ms: int) -> int:
    """How long ids are kept, in milliseconds: longer than events are taken.

    An event may be dated ahead, so that its repeat is taken for so much longer.
    """
    return retention_ms + CLOCK_AHEAD_MAX // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Terms:
    """What every booking is told: times in milliseconds, and the campaigns."""

    retention_ms: int
    wait_ms: int
    ask_ms: int
    campaigns: Sequence[Mapping[str, Any]]

    def json(self) -> bytes:
        """The part of a call's context that never changes."""
        return to_json(
            {
                "retention_ms": forget_ms(self.retention_ms),
                "wait_ms": self.wait_ms,
                "ask_ms": self.ask_ms,
                "campaigns": self.campaigns,
            }
        )


class Wallets:
    """Books operations and publishes what follows from them."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        send: Send,
        terms: Terms,
        *,
        partitions: int,
        clock: Clock,
        metrics: WalletMetrics,
        outage_s_max: float = OUTAGE_MAX_S,
    ) -> None:
        self.store = store
        self._journal = journal
        self._send = send
        self._terms = terms
        self._static = terms.json()
        self._partitions = partitions
        self._clock = clock
        self._metrics = metrics
        self._outage_s_max = outage_s_max
        self._shards: dict[int, _Shard] = defaultdict(_Shard)
        self._healing = asyncio.Lock()
        self._publishing: set[asyncio.Future[None]] = set()

    async def post(self, operations: Sequence[Operation]) -> list[str]:
        """Book operations and publish their effects; the outcome of each, in order.

        Returns when Redis has them and the broker has acknowledged every message that follows.
        Raises what :meth:`book` raises, and what publishing raises.
        """
        booking = await self.book(operations)
        await booking.published
        return booking.outcomes

    async def book(self, operations: Sequence[Operation]) -> Booking:
        """Book operations; their effects are on their way to the broker when this returns.

        Raises :class:`RedisGone` when Redis stays away for longer than ``outage_s_max``, and
        :class:`BookingFailed` when an operation broke an invariant.
        """
        groups: dict[int, list[int]] = defaultdict(list)
        for i, operation in enumerate(operations):
            groups[shard_for(operation)].append(i)
        outcomes = ["retry"] * len(operations)
        held_up: set[int] = set()
        publishing: list[asyncio.Future[None]] = []
        for round_ in _chunks(groups):
            # Behind an operation that has to be decided again nothing may be booked: a later
            # offset would raise the fence over it.
            chunk = {shard: places for shard, places in round_.items() if shard not in held_up}
            batches = {shard: [operations[i] for i in places] for shard, places in chunk.items()}
            booked, under_way = await self._patiently(batches)
            publishing.append(under_way)
            for shard, places in chunk.items():
                for i, outcome in zip(places, booked[shard].outcomes, strict=True):
                    outcomes[i] = outcome
                if outcomes[places[-1]] == "retry":
                    held_up.add(shard)
        broken = [o for o in outcomes if o.startswith("error:")]
        if broken:
            raise BookingFailed(broken[0])
        return Booking(outcomes, asyncio.gather(*publishing))

    async def look(
        self,
        sellers: Iterable[str],
        entities: Iterable[tuple[str, int]] = (),
        *,
        waiting: bool = False,
    ) -> Look:
        """Read profiles of sellers and feature states of ``(entity, shard)`` in one round trip."""
        asks: dict[int, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for seller in sellers:
            asks[shard_of(seller)][0].append(seller)
        for entity, shard in entities:
            asks[shard][1].append(entity)
        everything = Look({}, {}, {})

        async def read() -> None:
            for look in (await self.store.look(asks, waiting=waiting)).values():
                everything.profiles.update(look.profiles)
                everything.states.update(look.states)
                everything.waiting.update(look.waiting)

        await self._with_patience(read)
        return everything

    async def due(
        self, shards: Sequence[int], kinds: Sequence[str], limit: int
    ) -> dict[int, ShardStanding]:
        """The timers of some kinds that are due, of shards that this worker looks after."""
        standings: dict[int, ShardStanding] = {}

        async def read() -> None:
            standings.update(await self.store.due(shards, kinds, self._clock(), limit))

        await self._with_patience(read)
        return standings

    def clear(self, shard: int, refusal: str) -> None:
        """A refused event's dead letter is published: the shard need not remember it."""
        self._shards[shard].cleared.append(refusal)

    async def flush(self) -> None:
        """Tell idle shards what has been published, so that their outboxes empty."""
        idle = {
            shard: list[Operation]()
            for shard, known in self._shards.items()
            if known.published or known.cleared
        }
        if idle:
            _, published = await self._patiently(idle)
            await published

    async def heal(self, shards: Iterable[int]) -> None:
        """Compare shards with the journal, redo what they lack, publish what was left behind."""
        async with self._healing:
            epoch = self.store.connects
            wanted = [s for s in shards if self._shards[s].epoch != epoch or epoch == 0]
            if not wanted:
                return
            began = time.monotonic()
            if self._publishing:
                # What Redis may have lost and the journal does not have yet would be numbered anew.
                await asyncio.wait(set(self._publishing))
            await self.store.load()
            by_partition: dict[int, list[int]] = defaultdict(list)
            for shard in wanted:
                by_partition[shard % self._partitions].append(shard)
            applied = 0
            for partition, members in by_partition.items():
                applied += await self._redo(partition, members)
            republished = await self._republish(wanted)
            for shard in wanted:
                self._shards[shard].epoch = self.store.connects
            self._metrics.healed(time.monotonic() - began, applied, republished)
            if applied or republished:
                logger.info(
                    "healed %d shards: %d entries redone, %d published again",
                    len(wanted), applied, republished,
                )  # fmt: skip

    async def _patiently(
        self, batches: Mapping[int, list[Operation]]
    ) -> tuple[dict[int, Booked], asyncio.Future[None]]:
        """Book, and start to publish what follows; heal and try again while Redis is away."""
        result: dict[int, Booked] = {}

        async def once() -> None:
            await self._healed(batches)
            told = {shard: self._tell(shard) for shard in batches}
            calls = {s: (told[s].context, self._static, ops) for s, ops in batches.items()}
            try:
                booked = await self.store.book(calls)
            except BaseException:
                for shard, news in told.items():
                    self._shards[shard].published[:0] = news.published
                    self._shards[shard].cleared[:0] = news.cleared
                raise
            for shard, reply in booked.items():
                known = self._shards[shard]
                known.seq = max(known.seq, reply.seq)
            result.update(booked)

        await self._with_patience(once)
        publishing = asyncio.ensure_future(
            self._publish({s: reply.outbox for s, reply in result.items()})
        )
        self._publishing.add(publishing)
        publishing.add_done_callback(self._publishing.discard)
        return result, publishing

    async def _with_patience(self, call: Callable[[], Awaitable[None]]) -> None:
        started = time.monotonic()
        pause = BACKOFF_FIRST_S
        while True:
            try:
                await call()
                return
            except (RedisGone, Rewound) as error:
                away_s = time.monotonic() - started
                if away_s > self._outage_s_max:
                    raise RedisGone(f"Redis was away for {away_s:.0f} s: {error}") from error
                logger.warning("Redis: %s; trying again", error)
                self._metrics.redis_retry()
                for known in self._shards.values():
                    known.epoch = -1
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF_MAX_S)

    async def _healed(self, shards: Iterable[int]) -> None:
        """Heal the shards that were not compared with the journal on this connection."""
        epoch = self.store.connects
        stale = [s for s in shards if self._shards[s].epoch != epoch]
        if stale:
            await self.heal(stale)

    def _tell(self, shard: int) -> _News:
        """What a call tells the shard; it is taken, so that no other call tells it as well."""
        known = self._shards[shard]
        context: dict[str, Any] = {"now": self._clock(), "known": known.seq}
        published, known.published = known.published, []
        cleared, known.cleared = known.cleared, []
        if published:
            context["published"] = published
            context["journal"] = known.journal
        if cleared:
            context["cleared"] = cleared
        return _News(context, published, cleared)

    async def _publish(self, outboxes: Mapping[int, Sequence[OutboxEntry]]) -> None:
        """Publish outbox entries, the journal in front, and return when the broker has all.

        A command may be there a moment before its journal entry. If both Redis and the entry are
        lost in that moment, nobody finds the payout, so it is not sent; the sale's event comes
        again and makes the same one.
        """
        entries = [entry for outbox in outboxes.values() for entry in outbox]
        if not entries:
            return
        messages = [entry.messages[0] for entry in entries]
        messages += [message for entry in entries for message in entry.messages[1:]]
        offsets = await self._send(messages)
        for shard, outbox in outboxes.items():
            if not outbox:
                continue
            known = self._shards[shard]
            known.published.extend(entry.seq for entry in outbox)
            last = (offsets or {}).get((self._journal.topic, shard % self._partitions))
            if last is not None:
                known.journal = last

    async def _redo(self, partition: int, shards: Sequence[int]) -> int:
        """Redo the journal entries that Redis does not have; how many."""
        standings = {shard: await self.store.standing(shard) for shard in shards}
        first = min(journal for _, journal in standings.values())
        missing: dict[int, dict[int, bytes]] = defaultdict(dict)
        last = first

        def read() -> None:
            nonlocal last
            for entry in self._journal.read(partition, first):
                last = entry.offset
                if entry.shard in standings and entry.seq > standings[entry.shard][0]:
                    missing[entry.shard][entry.seq] = entry.value

        await asyncio.get_running_loop().run_in_executor(None, read)
        for shard, entries in missing.items():
            values = [entries[seq] for seq in sorted(entries)]
            for i in range(0, len(values), APPLY_MAX):
                await self.store.apply(
                    shard,
                    values[i : i + APPLY_MAX],
                    retention_ms=forget_ms(self._terms.retention_ms),
                    journal=last,
                )
        for shard, (seq, journal) in standings.items():
            if shard not in missing and last - journal > REREAD_MAX:
                # A shard where little happens would make every heal read from where it stands.
                await self.store.apply(
                    shard, (), retention_ms=forget_ms(self._terms.retention_ms), journal=last
                )
            known = self._shards[shard]
            known.seq = max(seq, *missing[shard]) if missing[shard] else seq
            known.published.clear()
        return sum(map(len, missing.values()))

    async def _republish(self, shards: Sequence[int]) -> int:
        """Publish what outboxes still hold; how many entries."""
        count = 0
        for shard in shards:
            first = 0
            while leftovers := await self.store.leftovers(shard, first):
                await self._publish({shard: leftovers})
                count += len(leftovers)
                first = leftovers[-1].seq + 1
        return count


class BookingFailed(Exception):
    """An operation broke an invariant inside Redis. Nothing of it was written; it is a bug."""


def shard_for(operation: Operation) -> int:
    """The shard an operation belongs to: the one it names, else its seller's."""
    named = operation.get("shard")
    return int(named) if named is not None else shard_of(operation["seller"])


def _chunks(groups: Mapping[int, list[int]]) -> Iterable[dict[int, list[int]]]:
    """Rounds of at most ``BOOK_MAX`` operations a shard, in order."""
    longest = max(map(len, groups.values()), default=0)
    for first in range(0, longest, BOOK_MAX):
        yield {s: p[first : first + BOOK_MAX] for s, p in groups.items() if p[first:]}
