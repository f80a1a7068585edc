"""The wallets: operations in, effects out, exactly once.

Order of every change: Redis (wallets, dedupe, outbox, in one call) → what follows from it, to its
topics → ``ledger`` → Redis says that all of it counts for ever → the caller acknowledges its source
offset, or calls a rail. Between any two steps the process may die; what it leaves in the outbox is
published by whoever takes the shard over, and fences and epochs make the rest a no-op.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from pydantic_core import from_json

from models.causes import Cause
from models.fx import Rate, pair
from models.ids import shard_of_payout
from models.shards import shard_of
from models.till import Authorised
from streams.tracing import UNTRACED, Untraced
from streams.wallets.effects import Effects
from streams.wallets.healing import Healer, Send, publish
from streams.wallets.journal import Journal
from streams.wallets.snapshots import Snapshots
from streams.wallets.store import (
    NOTHING,
    Booked,
    Clock,
    Confirming,
    Holdings,
    Look,
    Operation,
    Page,
    RedisGone,
    ShardStanding,
    Standing,
    Store,
    Timers,
    Unhealed,
    Worth,
)
from streams.wallets.terms import Terms, forget_ms

logger = logging.getLogger(__name__)

T = TypeVar("T")

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 2.0
OUTAGE_MAX_S = 60.0
"""How long a call waits for Redis before the process gives up and is restarted, by default."""

BOOK_MAX = 1_000
"""Operations of one shard that are booked in one call."""

CONFIRM_LOOK_S = 0.002
"""Time between two looks whether entries in front have come into the ledger, at first."""

CONFIRM_LOOK_GROWTH = 1.25
"""By which factor the next look is later: a wait is a quarter longer than it must be, at most."""

CONFIRM_PATIENCE_S = 1.0
"""How long another worker may take to publish what it booked before this one publishes it too."""

FRONT_MAX = 8
"""Entries in front of a booking that are published with it; behind more of them it waits, and while
others are published like that."""


class WalletMetrics(Protocol):
    """What the wallets report; verbs of :mod:`streams.metrics`."""

    def redis_retry(self) -> None:
        """A call to Redis is tried again."""

    def healed(self, seconds: float, entries: int, republished: int) -> None:
        """Shards were compared with the journal and repaired."""


@dataclass(slots=True)
class _Shard:
    """What this process knows of a shard: the highest seq it has seen, and in which epoch."""

    seq: int = 0
    epoch: int = 0
    healed: bool = False
    """Whether it may be booked to without another look at how it stands."""


class Booking(NamedTuple):
    """What came of booking."""

    outcomes: list[str]
    """Of each operation."""
    published: Awaitable[object]
    """Done when all of it counts for ever."""
    sent: list[asyncio.Future[None]]
    """Done, all of them, when the broker has every message that follows from it."""
    safe: list[asyncio.Future[None]]
    """Done when an operation counts for ever, whatever the other shards wait for."""


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
        snapshots: Snapshots | None = None,
        traces: Untraced = UNTRACED,
        ahead: Send | None = None,
    ) -> None:
        """``ahead`` publishes at once what others have booked in front, and are about to publish:
        for a process whose callers wait. Without it that is waited for."""
        self.store = store
        self._ahead = ahead
        self._traces = traces
        self.healer = Healer(
            store,
            journal,
            send,
            partitions=partitions,
            clock=clock,
            retention_ms=forget_ms(terms.retention_ms),
            snapshots=snapshots,
        )
        self._ledger = journal.topic
        self._send = send
        self._static = terms.json()
        self._partitions = partitions
        self._clock = clock
        self._metrics = metrics
        self._outage_s_max = outage_s_max
        self._shards: dict[int, _Shard] = defaultdict(_Shard)
        self._healing = asyncio.Lock()
        self._loaded = False
        self._sending: set[asyncio.Future[Any]] = set()
        """What the broker has not acknowledged yet."""
        self._publishing: dict[asyncio.Future[None], frozenset[int]] = {}
        """What is on its way to the broker, and the shards it is of."""
        self._helped: set[int] = set()
        """Shards of which this process publishes what another has left."""
        self._helping: asyncio.Future[int] | None = None
        """What is published ahead of bookings, if anything is."""
        self._lost: EntriesVoid | None = None

    async def post(self, operations: Sequence[Operation]) -> list[str]:
        """Book operations and publish their effects; the outcome of each, in order.

        Returns when Redis has them, the broker has acknowledged every message that follows, and no
        loss of Redis can undo them. Raises what :meth:`book` raises, what publishing raises, and
        :class:`EntriesVoid`.
        """
        booking = await self.book(operations)
        await booking.published
        return booking.outcomes

    async def book(self, operations: Sequence[Operation]) -> Booking:
        """Book operations; their effects are on their way to the broker when this returns.

        Raises :class:`RedisGone` when Redis stays away for longer than ``outage_s_max``,
        :class:`BookingFailed` when an operation broke an invariant, and :class:`EntriesVoid`.
        """
        groups: dict[int, list[int]] = defaultdict(list)
        shards = [shard_for(operation) for operation in operations]
        for i, shard in enumerate(shards):
            groups[shard].append(i)
        outcomes = ["retry"] * len(operations)
        held_up: set[int] = set()
        publishing: list[asyncio.Future[None]] = []
        sent: list[asyncio.Future[None]] = []
        safe: dict[int, asyncio.Future[None]] = {}
        for round_ in _chunks(groups):
            # Behind an operation that has to be decided again nothing may be booked: a later
            # offset would raise the fence over it.
            chunk = {shard: places for shard, places in round_.items() if shard not in held_up}
            batches = {shard: [operations[i] for i in places] for shard, places in chunk.items()}
            booked, effects, under_way = await self._patiently(batches)
            publishing.append(under_way)
            sent.append(effects.sent)
            safe |= effects.safe
            for shard, places in chunk.items():
                for i, outcome in zip(places, booked[shard].outcomes, strict=True):
                    outcomes[i] = outcome
                if outcomes[places[-1]] == "retry":
                    held_up.add(shard)
        broken = [o for o in outcomes if o.startswith("error:")]
        if broken:
            raise BookingFailed(broken[0])
        return Booking(
            outcomes,
            asyncio.gather(*publishing),
            sent,
            [safe[shard] for shard in shards],
        )

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

    async def payouts(self, payout_ids: Iterable[str]) -> dict[str, dict[str, Any] | None]:
        """Payouts as they stand, by id; None for one that there is not."""
        found: dict[str, dict[str, Any] | None] = {}

        async def read() -> None:
            for payout_id in payout_ids:
                stored = await self.store.payout(shard_of_payout(payout_id), payout_id)
                found[payout_id] = None if stored is None else from_json(stored)

        await self._with_patience(read)
        return found

    async def authorised(self, seller_id: str, authorisation_id: str) -> Authorised | None:
        """An authorisation as it stands; None if there is none."""
        shard = shard_of(seller_id)
        stored = await self._with_patience(
            lambda: self.store.authorised(shard, seller_id, authorisation_id)
        )
        return None if stored is None else Authorised.parse(stored)

    async def records(self, wanted: Iterable[tuple[str, str]]) -> list[bytes | None]:
        """What sales and commissions earned, as stored, by seller and name of the record."""
        places = [(shard_of(seller), name) for seller, name in wanted]
        return await self._with_patience(lambda: self.store.records(places))

    async def rate(self, source: str, target: str) -> Rate | None:
        """The latest rate of a pair, told either way round; None if there is none."""
        return (await self.rates([(source, target)]))[source, target]

    async def rates(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Rate | None]:
        """The same of many pairs, source and target, in one round trip; none for no pair."""
        wanted = list(pairs)
        if not wanted:
            return {}
        names = [pair(*each) for one in wanted for each in (one, one[::-1])]
        places = [(shard_of(name), name) for name in names]
        stored = await self._with_patience(lambda: self.store.rates(places))
        told = [None if each is None else Rate.parse(each) for each in stored]
        found: dict[tuple[str, str], Rate | None] = {}
        for one, there, back in zip(wanted, told[::2], told[1::2], strict=True):
            rates = [rate for rate in (there, back and back.inverse()) if rate is not None]
            found[one] = max(rates, key=lambda rate: rate.observed_ms, default=None)
        return found

    async def holdings(self, seller_id: str) -> Holdings:
        """What one seller has now."""
        shard = shard_of(seller_id)
        return await self._with_patience(lambda: self.store.holdings(shard, seller_id))

    async def due(
        self,
        shards: Sequence[int],
        which: Timers,
        limit: int,
        passed_over: Mapping[int, int] = NOTHING,
    ) -> dict[int, ShardStanding]:
        """The first timers that are due, of shards that this worker looks after.

        ``passed_over``: how many of the first of a shard are left out.
        """
        return await self._with_patience(
            lambda: self.store.due(shards, which, self._clock(), limit, passed_over)
        )

    async def ages(self, cursors: Mapping[int, int], limit: int) -> dict[int, Page]:
        """A page of the payouts under way in each shard, from where its walk is."""
        return await self._with_patience(lambda: self.store.ages(cursors, limit))

    async def house(self, shards: Sequence[int]) -> dict[int, dict[str, int]]:
        """What the house's accounts are at in each shard, as :meth:`Store.house` has it."""
        return await self._with_patience(lambda: self.store.house(shards))

    async def debts(
        self, cursors: Mapping[int, int], limit: int
    ) -> dict[int, tuple[int, dict[str, str]]]:
        """A page of the debts in each shard, as :meth:`Store.debts` has it."""
        return await self._with_patience(lambda: self.store.debts(cursors, limit))

    async def republish(self, shards: Iterable[int]) -> None:
        """Publish what outboxes of shards still hold: whoever booked it may be dead."""
        wanted = list(shards)
        await self._with_patience(lambda: self.healer.republish(wanted))

    async def heal(self, shards: Iterable[int]) -> None:
        """Make sure that shards are sound, and publish what others left in their outboxes.

        Raises what :meth:`streams.wallets.healing.Healer.heal` raises, and :class:`EntriesVoid`.
        """
        wanted = list(shards)
        if wanted:
            await self._with_patience(lambda: self._heal(wanted))

    async def heal_behind(self, causes: Iterable[Cause]) -> None:
        """Heal shards of which somebody has seen these entries. Raises what :meth:`heal` raises."""
        for shard, epoch, seq in sorted(causes):
            known = self._shards[shard]
            known.epoch, known.seq = max((known.epoch, known.seq), (epoch, seq))
        await self.heal({cause.shard for cause in causes})

    async def worths(self, causes: Sequence[Cause]) -> dict[Cause, Worth]:
        """What entries are worth from which something follows."""
        found = await self._with_patience(lambda: self.store.worths(causes))
        return dict(zip(causes, found, strict=True))

    async def _heal(self, shards: Sequence[int]) -> None:
        standings = await self._restore(shards)
        # A batch that is on its way may turn out to be void. Nothing may be booked in front of that
        # verdict: it would raise the fence over the events that have to come again.
        while under_way := [f for f, of in self._publishing.items() if not of.isdisjoint(shards)]:
            await asyncio.wait(under_way)
        self._refuse_if_void()
        for shard, at in standings.items():
            self._shards[shard] = _Shard(at.seq, at.epoch, healed=True)

    async def _restore(self, shards: Sequence[int]) -> Mapping[int, Standing]:
        """The part of healing that concerns Redis and the journal, not what is on its way here."""
        loop = asyncio.get_running_loop()
        async with self._healing:
            began = loop.time()
            if self._sending:
                # What of this process's comes behind the end of its epoch would be void.
                await asyncio.wait(set(self._sending))
            if not self._loaded:
                await self.store.load()
                self._loaded = True
            known = {s: (self._shards[s].seq, self._shards[s].epoch) for s in shards}
            healed = await self.healer.heal(known)
            self._metrics.healed(loop.time() - began, healed.redone, healed.republished)
            if healed.redone or healed.republished:
                logger.info(
                    "healed %d shards: %d entries redone, %d published again",
                    len(shards), healed.redone, healed.republished,
                )  # fmt: skip
            return healed.standings

    async def _patiently(
        self, batches: Mapping[int, list[Operation]]
    ) -> tuple[dict[int, Booked], Effects, asyncio.Future[None]]:
        """Book, and start to publish what follows; heal and try again while Redis is away."""
        result: dict[int, Booked] = {}
        epochs: dict[int, int] = {}

        async def once() -> None:
            self._refuse_if_void()
            left = {shard: ops for shard, ops in batches.items() if shard not in result}
            stale = [shard for shard in left if not self._shards[shard].healed]
            if stale:
                await self._heal(stale)
            calls = {s: (self._context(s), self._static, ops) for s, ops in left.items()}
            epochs.update((shard, self._shards[shard].epoch) for shard in left)
            booked = await self.store.book(calls)
            for shard, reply in booked.items():
                known = self._shards[shard]
                if known.epoch == epochs[shard]:
                    known.seq = max(known.seq, reply.seq)
            result.update(booked)
            if len(booked) < len(left):
                raise Unhealed([shard for shard in left if shard not in booked])

        try:
            await self._with_patience(once)
        finally:
            # Somebody here healed a shard while this was booked to it, or its reply was on its
            # way: what was booked may be void. The next booking heals again, and so waits for the
            # verdict.
            self._forget([s for s in result if self._shards[s].epoch != epochs[s]])
            # Also what was booked before the rest could not be.
            effects = Effects(result)
            self._publish_ahead(result)
            publishing = asyncio.ensure_future(self._publish(result, epochs, effects))
            self._publishing[publishing] = frozenset(result)
            publishing.add_done_callback(self._published)
        return result, effects, publishing

    def _published(self, done: asyncio.Future[None]) -> None:
        del self._publishing[done]
        if not done.cancelled():
            done.exception()  # whoever awaits the booking is told; nobody may be left to

    def _context(self, shard: int) -> dict[str, Any]:
        known = self._shards[shard]
        context = {"now": self._clock(), "known": known.seq, "epoch": known.epoch}
        return context if self._ahead is None else context | {"front": FRONT_MAX}

    async def _with_patience(self, call: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        started = loop.time()
        pause = BACKOFF_FIRST_S
        ill: Sequence[int] = ()
        while True:
            try:
                if ill:
                    await self._heal(ill)
                    ill = ()
                return await call()
            except Unhealed as error:
                # At once: nothing was wrong with the connection.
                self._forget(error.shards)
                ill = error.shards
                trouble: Exception = error
            except RedisGone as error:
                # Whether it was booked is unknown: then it stands in the outbox.
                self._forget(list(self._shards))
                trouble = error
                logger.warning("Redis: %s; trying again", error)
            self._metrics.redis_retry()
            away_s = loop.time() - started
            if away_s > self._outage_s_max:
                raise RedisGone(f"Redis was away for {away_s:.0f} s: {trouble}") from trouble
            if not isinstance(trouble, Unhealed):
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF_MAX_S)

    def _forget(self, shards: Iterable[int]) -> None:
        """Compare these shards with the journal before the next booking; what was seen is kept."""
        for shard in shards:
            self._shards[shard].healed = False

    def _refuse_if_void(self) -> None:
        if self._lost is not None:
            raise self._lost

    async def _publish(
        self, booked: Mapping[int, Booked], epochs: Mapping[int, int], effects: Effects
    ) -> None:
        """Publish what was booked, and return when no loss of Redis can undo it."""
        try:
            offsets = await self._sent(booked)
            effects.sent.set_result(None)
            asked = {
                shard: Confirming(
                    epochs[shard],
                    reply.seq,
                    offsets.get((self._ledger, shard % self._partitions), 0),
                    [entry.seq for entry in reply.outbox],
                )
                for shard, reply in booked.items()
            }
            await self._confirm(asked, effects)
        except BaseException as error:
            effects.fail(error)
            raise

    def _publish_ahead(self, booked: Mapping[int, Booked]) -> None:
        """Begin to publish what others have in front of this, if nothing of it is of this process.

        They publish it too, so nobody has to know whether this failed: it is waited for then. So
        few at a time, or processes that are busy would publish each other's all day.
        """
        if self._ahead is None or self._helped:
            return
        here = frozenset[int]().union(*self._publishing.values())
        front = {shard: of.front for shard, of in booked.items() if of.front and shard not in here}
        if not 0 < sum(map(len, front.values())) <= FRONT_MAX:
            return
        self._helped |= front.keys()
        helping = asyncio.ensure_future(self.healer.publish_left(front, self._ahead))
        self._sending.add(helping)
        self._helping = helping

        def done(_: asyncio.Future[int]) -> None:
            self._helping = None
            self._helped -= front.keys()
            self._sending.discard(helping)
            if not helping.cancelled():
                helping.exception()

        helping.add_done_callback(done)

    async def _sent(self, booked: Mapping[int, Booked]) -> Mapping[tuple[str, int], int]:
        """Publish what was booked; the ledger's offsets."""
        outbox = [entry for reply in booked.values() for entry in reply.outbox]
        entries = self._traces.stamped(outbox)
        sending = asyncio.ensure_future(publish(self._send, entries))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        return await sending

    async def _confirm(self, asked: dict[int, Confirming], effects: Effects) -> None:
        """Wait until entries count for ever. Raises :class:`EntriesVoid` if they never will."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        pause = CONFIRM_LOOK_S
        await self._until_helped(asked, pause)
        while asked:
            worths = await self._worths(asked)
            void = [shard for shard, worth in worths.items() if worth is Worth.VOID]
            if void:
                self._lost = EntriesVoid(void)
                raise self._lost
            for shard in [s for s, worth in worths.items() if worth is Worth.SAFE]:
                del asked[shard]
                effects.safe[shard].set_result(None)
            unhealed = [shard for shard in asked if worths[shard] is Worth.UNHEALED]
            if unhealed:
                await self._mend(unhealed)
            elif asked:
                if not await self._until_helped(asked, pause):
                    await asyncio.sleep(pause)
                pause = min(pause * CONFIRM_LOOK_GROWTH, CONFIRM_PATIENCE_S)
                if loop.time() - began > CONFIRM_PATIENCE_S:
                    await self._help(asked)

    async def _until_helped(self, shards: Mapping[int, object], patience_s: float) -> bool:
        """Wait for what is published ahead of these shards, if anything is: whether it was."""
        helping = self._helping
        if helping is None or self._helped.isdisjoint(shards):
            return False
        await asyncio.wait([helping], timeout=patience_s)
        return True

    async def _help(self, shards: Iterable[int]) -> None:
        """Publish what others leave in front of what is booked here; several may wait for it."""
        late = set(shards) - self._helped
        if not late:
            return
        self._helped |= late
        try:
            await self.republish(late)
        finally:
            self._helped -= late

    async def _mend(self, shards: Sequence[int]) -> None:
        await self._with_patience(lambda: self._restore(shards))

    async def _worths(self, asked: Mapping[int, Confirming]) -> dict[int, Worth]:
        return await self._with_patience(lambda: self.store.confirm(asked))


class EntriesVoid(Exception):
    """Redis lost what this process had booked, and was healed without it.

    The events are taken again by whoever starts next; this process must book nothing more, or the
    fence would rise above them.
    """

    def __init__(self, shards: Sequence[int]) -> None:
        super().__init__(
            f"Redis lost what was booked to {len(shards)} shards; the events are taken again "
            "after a restart"
        )


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
