"""The topic of snapshots in memory, and ``payouts snapshot`` as a process beside the workers.

The healing that begins at a snapshot is the product's own. Taking one is told again here, step by
step as :meth:`streams.wallets.snapshots.Snapshots.take` does, because that blocks: between any two
keys the shards are booked to, Redis is lost, healers come and go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from streams.wallets.server import meta_key
from streams.wallets.snapshots import _PASSING, Key, Snapshot, _sound
from tests.simulation.client import HOMES
from tests.simulation.log import PARTITIONS
from tests.simulation.memory import MemoryRedis

if TYPE_CHECKING:
    from tests.simulation.world import World

SETTLED_S_MAX = 60.0
"""How long a snapshot waits for what it may have seen to be in the journal."""

State = Mapping[bytes, bytes]
Chunks = dict[int, list[Key]]


class _Client:
    """The part of a blocking client that is asked whether a shard is sound."""

    def __init__(self, redis: MemoryRedis) -> None:
        self._redis = redis

    def fcall_ro(self, name: str, _keys: int, key: str, *args: bytes) -> Any:
        return self._redis.fcall(name, key, *args, read_only=True)


class SimulatedSnapshots:
    """What :class:`streams.wallets.snapshots.Snapshots` is to a healer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kept: dict[int, list[tuple[Snapshot, Chunks]]] = defaultdict(list)
        self._taken = 0

    def latest(self, partition: int) -> Snapshot | None:
        """The last snapshot that counts; None if there is none."""
        kept = self._kept[partition]
        return kept[-1][0] if kept else None

    def keys(self, snapshot: Snapshot) -> Iterator[tuple[int, list[Key]]]:
        """A snapshot's chunks: shard and keys."""
        for each, chunks in self._kept[snapshot.partition]:
            if each is snapshot:
                yield from chunks.items()

    async def take(self) -> None:
        """Write a snapshot of all shards, unless one of them is or becomes unsound."""
        try:
            states = {shard: self._state(shard) for shard in HOMES}
            if not all(self._sound(shard, state) for shard, state in states.items()):
                self._world.note("no snapshot: a shard is not open")
                return
            chunks = await self._read()
            if await self._settled(states):
                self._write(states, chunks)
        except ResponseError as error:
            self._world.note("no snapshot: %s", error)

    def _state(self, shard: int) -> State:
        flat = self._world.redis.command("HGETALL", meta_key(shard))
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def _sound(self, shard: int, state: State) -> bool:
        return _sound(_Client(self._world.redis), shard, state)

    async def _read(self) -> dict[int, list[Key]]:
        """All keys but the shards' own states and outboxes, one after the other."""
        redis, chunks = self._world.redis, defaultdict[int, list[Key]](list)
        for key in redis.all_keys():
            shard, _, rest = key[2:].partition(b"}:")
            if rest in {b"m", b"o"}:
                continue
            if self._world.dice.chance(0.3):
                await self._world.pause()
            value, expires = redis.command("DUMP", key), redis.command("PEXPIRETIME", key)
            if value is not None:
                chunks[int(shard)].append((rest, max(int(expires), 0), value))
        return chunks

    async def _settled(self, before: Mapping[int, State]) -> bool:
        """Wait until all that was seen is in the journal for good; False if it never will."""
        world, redis = self._world, self._world.redis
        ends = {shard: int(redis.command("HGET", meta_key(shard), "seq") or 0) for shard in before}
        until_s = world.loop.time() + SETTLED_S_MAX
        while ends and world.loop.time() < until_s:
            for shard, end in list(ends.items()):
                outbox = meta_key(shard)[:-1] + "o"
                first = redis.command("XRANGE", outbox, "-", "+", "COUNT", 1)
                if not self._sound(shard, {**before[shard], b"seq": b"%d" % end}):
                    world.note("no snapshot: shard %d was lost or healed meanwhile", shard)
                    return False
                if not first or int(first[0][0].split(b"-")[0]) > end:
                    del ends[shard]
            await world.pause()
        return not ends

    def _write(self, states: Mapping[int, State], chunks: Mapping[int, list[Key]]) -> None:
        self._taken += 1
        self._world.note("snapshot %d is taken", self._taken)
        for partition in range(PARTITIONS):
            mine = [shard for shard in HOMES if shard % PARTITIONS == partition]
            shards = {
                shard: {name: each for name, each in states[shard].items() if name not in _PASSING}
                for shard in mine
            }
            snapshot = Snapshot(f"snapshot-{self._taken}", partition, 0, 0, shards)
            kept = {shard: chunks[shard] for shard in mine if shard in chunks}
            self._kept[partition].append((snapshot, kept))
