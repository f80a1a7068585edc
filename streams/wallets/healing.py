"""Healing: a shard is compared with the journal, redone where Redis lacks something, and opened.

A shard is sound as long as it is on the server process that it was opened on. Otherwise Redis may
have lost what it acknowledged (an append-only file without its last second, a replica that was
behind, an emptied server), and other workers may still be publishing what is lost. So one healer

1. suspends the shard: nobody books;
2. publishes what stands in its outbox: what Redis kept counts;
3. puts a marker into the ledger: an entry that comes behind it, of whoever is late, is void;
4. reads the ledger up to the marker and redoes what Redis has not;
5. opens the shard, in the epoch that the marker's offset names.

It may die anywhere: another takes over, and begins anew. A marker without an opening costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from models.causes import CAUSE, Cause
from models.timeline import Timeline
from streams.engine import Outgoing
from streams.wallets.journal import Journal, Journaled, head, marker
from streams.wallets.snapshots import Snapshots
from streams.wallets.store import (
    Clock,
    Confirming,
    OutboxEntry,
    Redo,
    Standing,
    Store,
    Superseded,
)

logger = logging.getLogger(__name__)

Send = Callable[[Sequence[Outgoing]], Awaitable[Mapping[tuple[str, int], int]]]
"""Publish messages and return when the broker has them all: the last offset of each partition."""

APPLY_MAX = 500
"""Journal entries that are redone in one call."""

RESTORE_MAX = 500
"""Keys of a snapshot that are restored in one call."""

READ_MAX = 2_000
"""Journal entries that are read between two looks at what else is to do."""

HEALER_SILENT_S = 5.0
"""How long another healer may do nothing before its work is taken over."""

ROUNDS_MAX = 200
"""Tries to heal shards, each of which found them changed by somebody else or by another loss."""

CAUSED_TOPICS = frozenset({"commissions"})
"""Topics whose messages move money, in whichever shard, and are believed as they stand."""

HEALER_LOOK_S = 0.05
"""Time between two looks at what another healer does."""


class Diverged(Exception):
    """Redis holds entries of a shard that the journal has not: it was another installation's, or a
    server that was replaced and came back. Nothing was changed but that the shard is suspended."""


class HealingFailed(Exception):
    """Shards changed again and again while they were healed."""


class Healed(NamedTuple):
    """What came of healing: how shards stand now, entries redone, and entries published again."""

    standings: Mapping[int, Standing]
    redone: int
    republished: int


class _Rival(NamedTuple):
    """Another healer of a shard, as it was last seen to do something."""

    nonce: str
    progress: tuple[int, int, int]
    seen_s: float


async def publish(send: Send, entries: Sequence[OutboxEntry]) -> Mapping[tuple[str, int], int]:
    """Publish outbox entries: first what follows from them, then the entries themselves.

    An entry in the ledger is proof that all that follows from it is there. The other way round the
    rest would be lost if both the process and Redis died in between. What other shards book of it
    names the entry, which may never come. Returns offsets in the ledger.
    """
    rest = [message for entry in entries for message in _caused(entry)]
    if rest:
        await send(rest)
    return await send([entry.messages[0] for entry in entries]) if entries else {}


def _caused(entry: OutboxEntry) -> Sequence[Outgoing]:
    """What follows from an entry, as it is published."""
    first, *rest = entry.messages
    if all(message.topic not in CAUSED_TOPICS for message in rest):
        return rest
    at = head(first.value or b"")
    # Entries of one event count together or not at all.
    cause = (CAUSE, Cause(at.shard, at.epoch, at.seq + at.more).text())
    return [
        message._replace(headers=[*(message.headers or ()), cause])
        if message.topic in CAUSED_TOPICS
        else message
        for message in rest
    ]


async def require_held(store: Store, shards: Iterable[int], nonce: str) -> None:
    """Raise :class:`Superseded` unless all these shards are suspended for this healer still."""
    standings = await store.stand(dict.fromkeys(shards, (0, 0)))
    if any(at.pending != nonce for at in standings.values()):
        raise Superseded("another healer was faster")


class Healer:
    """Heals shards. Any number may be at work on the same Redis."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        send: Send,
        *,
        partitions: int,
        clock: Clock,
        retention_ms: int,
        snapshots: Snapshots | None = None,
    ) -> None:
        """``retention_ms``: how long ids are kept. ``snapshots``: where an empty shard begins."""
        self._store = store
        self._journal = journal
        self._send = send
        self._partitions = partitions
        self._clock = clock
        self._retention_ms = retention_ms
        self._snapshots = snapshots

    async def heal(self, known: Mapping[int, tuple[int, int]], *, forced: bool = False) -> Healed:
        """Heal shards; return when all are sound. ``{shard: (seq, epoch) the caller has seen}``.

        ``forced``: also those that look sound. Raises RedisGone, :class:`Diverged`,
        :class:`HealingFailed`, what publishing and reading the journal raise.
        """
        own: set[str] = set()
        done: dict[int, Standing] = {}
        rivals: dict[int, _Rival] = {}
        redone = republished = rounds = 0
        loaded = False
        left = dict(known)
        while left:
            standings = await self._store.stand(left)
            sound = {} if forced else {s: at for s, at in standings.items() if at.sound}
            republished += await self.republish(sound)
            done |= sound
            ill = {shard: at for shard, at in standings.items() if shard not in sound}
            # Another name for each suspension. Under one name for all, a marker of an earlier one,
            # lost with Redis meanwhile, would be taken for the present one's: and a rival who had
            # read it could end its epoch behind the opening, unnoticed by whoever books in it.
            nonce = uuid.uuid4().hex
            dead = self._dead(ill, rivals, own)
            own.add(nonce)
            mine: Mapping[int, Standing] = {}
            if ill and not loaded:
                await self._store.load()  # an emptied Redis has lost that as well
                loaded = True
            if ill:
                mine = await self._store.suspend(list(ill), nonce, dead)
            for opened in await self._restore(mine, nonce):
                done |= opened.standings
                redone += opened.redone
                republished += opened.republished
            rounds += bool(mine)  # to wait for another healer is no try
            if rounds > ROUNDS_MAX:
                raise HealingFailed(f"{len(mine)} shards changed under {rounds} tries to heal them")
            left = {shard: seen for shard, seen in left.items() if shard not in done}
            if left:
                await asyncio.sleep(HEALER_LOOK_S)
        return Healed(done, redone, republished)

    async def republish(self, shards: Iterable[int]) -> int:
        """Publish what the outboxes of sound shards hold; how many entries."""
        leftovers = await self._store.leftovers(shards)
        return await self.publish_left(leftovers, self._send) if leftovers else 0

    async def publish_left(self, leftovers: Mapping[int, Sequence[OutboxEntry]], send: Send) -> int:
        """Publish what outboxes hold, by shard, and have it leave them; how many entries."""
        entries = [entry for some in leftovers.values() for entry in some]
        offsets = await publish(send, entries)
        await self._store.confirm(
            {
                shard: Confirming(
                    # The shard may be in another epoch by now, where others have these numbers.
                    head(some[-1].messages[0].value or b"").epoch,
                    some[-1].seq,
                    offsets.get((self._journal.topic, shard % self._partitions), 0),
                    [entry.seq for entry in some],
                )
                for shard, some in leftovers.items()
            }
        )
        return len(entries)

    def _dead(
        self, ill: Mapping[int, Standing], rivals: dict[int, _Rival], own: set[str]
    ) -> dict[int, str]:
        """Healers that have done nothing for too long, by the shard they have suspended.

        This one, under the names it had before (``own``), is no longer at work.
        """
        now_s = asyncio.get_running_loop().time()
        dead: dict[int, str] = {}
        for shard, at in ill.items():
            if not at.pending:
                continue
            if at.pending in own:
                dead[shard] = at.pending
                continue
            rival = rivals.get(shard)
            progress = (at.seq, at.journal, at.beat)
            if rival is None or (rival.nonce, rival.progress) != (at.pending, progress):
                rivals[shard] = _Rival(at.pending, progress, now_s)
            elif now_s - rival.seen_s > HEALER_SILENT_S:
                dead[shard] = at.pending
        return dead

    async def _restore(self, mine: Mapping[int, Standing], nonce: str) -> list[_Opened]:
        """Steps 2 to 5 for shards that are suspended for this healer."""
        by_partition: dict[int, dict[int, Standing]] = defaultdict(dict)
        for shard, at in mine.items():
            by_partition[shard % self._partitions][shard] = at
        results = await asyncio.gather(
            *(self._restore_partition(p, shards, nonce) for p, shards in by_partition.items()),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, Superseded):
                raise result
        return [result for result in results if isinstance(result, _Opened)]

    async def _restore_partition(
        self, partition: int, shards: Mapping[int, Standing], nonce: str
    ) -> _Opened:
        found = await self._store.leftovers(shards)
        leftovers = [entry for some in found.values() for entry in some]
        await publish(self._send, leftovers)
        empty = [shard for shard, at in shards.items() if at.seq == 0 and at.epoch == 0]
        if empty and self._snapshots is not None:
            shards = {**shards, **await self._from_snapshot(partition, empty, nonce)}
        reading = _Reading(self._store, shards, nonce, self._retention_ms)
        first = min(at.journal for at in shards.values())
        while unopened := reading.unopened():
            now_ms = self._clock()
            markers = [marker(s, reading.epoch(s), nonce, now_ms) for s in unopened]
            until = (await self._send(markers))[self._journal.topic, partition]
            if until < first:
                await require_held(self._store, shards, nonce)
                raise Diverged(
                    f"the journal's partition {partition} ends at offset {until}, Redis has seen "
                    f"{first}: the topic is not the one that Redis was filled from"
                )
            await self._read(reading, partition, first, until)
            first = until + 1
            if left := reading.unopened():
                # Somebody else may have opened what the journal shows: only whoever holds the shard
                # now may end that epoch.
                await require_held(self._store, left, nonce)
        openings = await reading.close()
        await self._store.open(openings, reading.ended, nonce)
        standings = {
            shard: Standing(True, seq, epoch, epoch, seq, "")
            for shard, (epoch, seq) in openings.items()
        }
        return _Opened(standings, reading.redone, len(leftovers))

    async def _from_snapshot(
        self, partition: int, shards: Sequence[int], nonce: str
    ) -> dict[int, Standing]:
        """Fill empty shards from the latest snapshot, if there is one; where they stand then."""
        snapshots, loop = self._snapshots, asyncio.get_running_loop()
        if snapshots is None:
            return {}
        found = await loop.run_in_executor(None, snapshots.latest, partition)
        if found is None:
            return {}
        chunks = snapshots.keys(found)
        wanted = set(shards) & found.shards.keys()
        beats = dict.fromkeys(wanted, 0)
        while (chunk := await loop.run_in_executor(None, next, chunks, None)) is not None:
            shard, keys = chunk
            if shard in wanted:
                for first in range(0, len(keys), RESTORE_MAX):
                    portion = keys[first : first + RESTORE_MAX]
                    await self._store.restore(shard, nonce, beats[shard], portion)
                    beats[shard] += 1
        logger.info("%d shards begin at the snapshot %s", len(wanted), found.id)
        return {
            shard: await self._store.resume(shard, nonce, beats[shard], found.shards[shard])
            for shard in wanted
        }

    async def _read(self, reading: _Reading, partition: int, first: int, until: int) -> None:
        entries = self._journal.read(partition, first, until=until)

        def some() -> list[Journaled]:
            return [entry for entry in islice(entries, READ_MAX) if entry.offset <= until]

        loop = asyncio.get_running_loop()
        while found := await loop.run_in_executor(None, some):
            await reading.take(found)
        entries.close()


class _Opened(NamedTuple):
    """Shards that were opened, entries redone, and entries published again."""

    standings: Mapping[int, Standing]
    redone: int
    republished: int


class _Place(NamedTuple):
    """An entry to redo, and how the journal stands behind it: from which offset on there is more,
    and in which epoch."""

    value: bytes
    journal: int
    epoch: int


class _Reading:
    """One partition of the journal on its way into Redis."""

    def __init__(
        self, store: Store, shards: Mapping[int, Standing], nonce: str, retention_ms: int
    ) -> None:
        self._store = store
        self._nonce = nonce
        self._retention_ms = retention_ms
        self._had = {shard: at.seq for shard, at in shards.items()}
        self._unchecked = set(shards)
        self._unopened = set(shards)
        self._timelines: dict[int, Timeline[Journaled]] = {
            shard: Timeline(at.epoch, at.journaled) for shard, at in shards.items()
        }
        self.ended: dict[int, list[tuple[int, int]]] = defaultdict(list)
        """Epochs that ended, with their last seqs, by shard."""
        self._gathered: dict[int, list[_Place]] = defaultdict(list)
        self.redone = 0

    def unopened(self) -> list[int]:
        """Shards whose marker has not been met, or came too late."""
        return sorted(self._unopened)

    def epoch(self, shard: int) -> int:
        """The epoch that the journal is in, as far as it was read."""
        return self._timelines[shard].epoch

    async def take(self, entries: Sequence[Journaled]) -> None:
        """Some entries, as the ledger has them."""
        for entry in entries:
            timeline = self._timelines.get(entry.shard)
            if timeline is None:
                continue
            if entry.seq == 0 and entry.epoch == timeline.epoch:
                await self._turn(entry, timeline)
            for each in timeline.take(entry, entry.offset):
                if each.seq > self._had[entry.shard]:
                    # What came early is not redone by then: whoever goes on must read it again.
                    early = (at for at, _ in timeline.early.values())
                    journal = min(early, default=entry.offset + 1)
                    self._gathered[entry.shard].append(_Place(each.value, journal, timeline.epoch))
        for shard in [s for s, some in self._gathered.items() if len(some) >= APPLY_MAX]:
            await self._apply(shard)

    async def _turn(self, entry: Journaled, timeline: Timeline[Journaled]) -> None:
        """An epoch ends. Of the one that Redis is of, the journal must have all that Redis has."""
        shard = entry.shard
        self.ended[shard].append((timeline.epoch, timeline.seq))
        if shard in self._unchecked and timeline.seq < self._had[shard]:
            await require_held(self._store, [shard], self._nonce)
            raise Diverged(
                f"shard {shard}: Redis goes to entry {self._had[shard]}, the journal to "
                f"{timeline.seq}; stop the workers and run `payouts rebuild --from-empty`"
            )
        self._unchecked.discard(shard)
        if self._nonce.encode() in entry.value:
            self._unopened.discard(shard)
        else:
            self._unopened.add(shard)

    async def _apply(self, shard: int) -> None:
        """Redo what is gathered. Redis may be lost between any two calls, so each says how far the
        journal is redone behind it, and not behind the last one.
        """
        some = self._gathered.pop(shard, [])
        for first in range(0, len(some), APPLY_MAX):
            chunk = some[first : first + APPLY_MAX]
            redo = Redo(self._nonce, self._retention_ms, chunk[-1].journal, chunk[-1].epoch)
            await self._store.apply(shard, [each.value for each in chunk], redo)
        self.redone += len(some)

    async def close(self) -> dict[int, tuple[int, int]]:
        """Redo the rest; each shard's new epoch and last seq."""
        for shard in list(self._gathered):
            await self._apply(shard)
        return {shard: (each.epoch, each.seq) for shard, each in self._timelines.items()}
