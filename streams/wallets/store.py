"""The store: the wallets in Redis, one function call a shard. No decision is taken here.

Calls for several shards go out in one round trip. A call that fails because Redis or the network
is gone raises :class:`RedisGone`; whether it was carried out is then unknown, which the fences make
harmless: call again after healing (:mod:`streams.wallets.wallets`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import BlockingConnectionPool, Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from models.shards import SHARDS
from streams.engine import Outgoing
from streams.wallets.library import library

Operation = dict[str, Any]
"""One operation for the ``book`` function; what each takes stands in its Lua file."""

CALL_TIMEOUT_S = 10.0
"""How long one round trip to Redis may take."""

WRITERS = 4
"""Connections for booking. All are opened before the first call: see ``connects``."""

LEFTOVERS_MAX = 1_000
"""Outbox entries that are read in one call."""


class RedisGone(Exception):
    """Redis did not answer, or refuses writes: an outage, to be retried in place with a bound."""


class Rewound(Exception):
    """A shard is behind what this process has seen: acknowledged writes were lost."""


class ShardMismatch(Exception):
    """Redis was filled by an installation with another number of shards."""


class OutboxEntry(NamedTuple):
    """What one journal entry wants published; the first message is the entry itself."""

    seq: int
    messages: list[Outgoing]


class Booked(NamedTuple):
    """What ``book`` did to one shard."""

    seq: int
    outcomes: list[str]
    outbox: list[OutboxEntry]


@dataclass(slots=True)
class Look:
    """What ``look`` read of one shard: stored profiles, feature states and waiting earnings."""

    profiles: dict[str, bytes]
    states: dict[str, str]
    waiting: dict[str, list[bytes]]


class Due(NamedTuple):
    """A timer that is due, and the payout or profile it is about, as stored."""

    timer: str
    due_ms: int
    stored: bytes | None


class ShardStanding(NamedTuple):
    """What a shard has to do by now, and the age of its outbox."""

    seq: int
    timers: list[Due]
    outbox_length: int
    outbox_first: int | None
    """The seq of the oldest entry that may not be published."""
    waiting: int
    """Earnings and returns that wait for their seller's profile."""
    parked: int
    """Returns that wait for their sale."""


def meta_key(shard: int) -> str:
    """The key that every function call of a shard names; it carries the shard's hash tag."""
    return f"{{s{shard}}}:m"


def _gone(error: Exception) -> bool:
    if isinstance(error, (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError)):
        return True
    text = str(error)
    return isinstance(error, ResponseError) and text.startswith(
        (
            "OOM",
            "MISCONF",
            "READONLY",
            "LOADING",
            "CLUSTERDOWN",
            "MASTERDOWN",
            "NOREPLICAS",
            "TRYAGAIN",
        )
    )


class Store:
    """Redis, standalone or Cluster, as the functions of :mod:`streams.wallets.library`."""

    def __init__(self, url: str, *, cluster: bool = False, **options: Any) -> None:
        self.connects = 0
        """How often a connection for booking was made: a new one may lead to another Redis."""
        self._cluster = cluster
        common = {
            "socket_timeout": CALL_TIMEOUT_S,
            "socket_connect_timeout": CALL_TIMEOUT_S,
            # A resent call would answer "stale" and hide what the first one put in the outbox.
            "retry": Retry(NoBackoff(), 0),
            **options,
        }
        if cluster:
            writer: Any = RedisCluster.from_url(url, **common)
            reader: Any = writer
            self.connects = 1
        else:
            writer = Redis(
                connection_pool=BlockingConnectionPool.from_url(
                    url, max_connections=WRITERS, redis_connect_func=self._connected, **common
                )
            )
            reader = Redis(connection_pool=ConnectionPool.from_url(url, **common))
        self._writer = writer
        self._reader = reader

    async def _connected(self, connection: Connection) -> None:
        self.connects += 1
        await connection.on_connect()

    async def close(self) -> None:
        """Give the connections back."""
        if self._cluster:
            await self._writer.aclose()
            return
        await self._writer.aclose(close_connection_pool=True)
        await self._reader.aclose(close_connection_pool=True)

    async def load(self) -> None:
        """Load the functions where they are missing, and check the number of shards.

        Raises :class:`ShardMismatch`, :class:`RedisGone`.
        """
        made = library()
        try:
            await asyncio.gather(*(self._writer.ping() for _ in range(WRITERS)))
            await self._writer.function_load(made.source, replace=True)
            key = meta_key(0)
            await self._writer.hsetnx(key, "shards", SHARDS)
            found = int(await self._writer.hget(key, "shards"))
        except (RedisError, OSError) as error:
            raise RedisGone(f"cannot load the functions: {error}") from error
        if found != SHARDS:
            raise ShardMismatch(f"Redis holds {found} shards; this version works with {SHARDS}")

    async def book(
        self, batches: Mapping[int, tuple[Mapping[str, Any], bytes, Sequence[Operation]]]
    ) -> dict[int, Booked]:
        """Apply ``{shard: (context, terms JSON, operations)}``.

        Raises :class:`RedisGone`, :class:`Rewound`.
        """
        commands = [
            ("book", shard, to_json(context), to_json(operations), terms)
            for shard, (context, terms, operations) in batches.items()
        ]
        replies = await self._run(self._writer, commands)
        booked: dict[int, Booked] = {}
        for shard, reply in zip(batches, replies, strict=True):
            seq, outcomes, outbox = reply
            booked[shard] = Booked(
                int(seq), [_word(text) for text in outcomes], [_entry(e) for e in outbox]
            )
        return booked

    async def look(
        self, asks: Mapping[int, tuple[Sequence[str], Sequence[str]]], *, waiting: bool = False
    ) -> dict[int, Look]:
        """Read profiles and feature states: ``{shard: (sellers, entities)}``."""
        commands = []
        for shard, (sellers, entities) in asks.items():
            ask: dict[str, Any] = {"sellers": sellers, "states": entities}
            if waiting:
                ask["waiting"] = True
            commands.append(("look", shard, to_json(ask)))
        replies = await self._run(self._reader, commands, read_only=True)
        looks: dict[int, Look] = {}
        for (shard, (sellers, entities)), reply in zip(asks.items(), replies, strict=True):
            profiles, states, lists = reply
            looks[shard] = Look(
                {s: p for s, p in zip(sellers, profiles, strict=False) if p is not None},
                {
                    e: str(v, "ascii")
                    for e, v in zip(entities, states, strict=False)
                    if v is not None
                },
                {s: items for s, items in zip(sellers, lists, strict=False) if items},
            )
        return looks

    async def observe(self, states: Mapping[int, Mapping[str, str]], ttl_ms: int) -> None:
        """Write the feature states of entities that are no sellers."""
        commands = [
            ("observe", shard, str(ttl_ms), *(part for pair in entities.items() for part in pair))
            for shard, entities in states.items()
        ]
        await self._run(self._reader, commands)

    async def due(
        self, shards: Sequence[int], kinds: Sequence[str], now_ms: int, limit: int
    ) -> dict[int, ShardStanding]:
        """The timers of some kinds that are due in some shards, and how the shards stand."""
        replies = await self._run(
            self._reader,
            [("due", shard, str(now_ms), str(limit), *kinds) for shard in shards],
            read_only=True,
        )
        standings: dict[int, ShardStanding] = {}
        for shard, reply in zip(shards, replies, strict=True):
            seq, flat, length, first, waiting, parked = reply
            timers = [
                Due(str(flat[i], "ascii"), int(float(flat[i + 1])), flat[i + 2])
                for i in range(0, len(flat), 3)
            ]
            first_seq = int(first.split(b"-")[0]) if first else None
            standings[shard] = ShardStanding(
                int(seq), timers, int(length), first_seq, int(waiting), int(parked)
            )
        return standings

    async def apply(
        self, shard: int, entries: Sequence[bytes], *, retention_ms: int, journal: int
    ) -> int:
        """Redo journal entries the shard has not seen; its new seq. Raises ValueError on a gap."""
        command = ("apply", shard, str(retention_ms), str(journal), *entries)
        [reply] = await self._run(self._writer, [command])
        return int(reply[0])

    async def standing(self, shard: int) -> tuple[int, int]:
        """A shard's seq, and the ledger offset from which the journal may hold what it has not."""
        try:
            seq, journal = await self._writer.hmget(meta_key(shard), "seq", "journal")
        except (RedisError, OSError) as error:
            raise RedisGone(str(error)) from error
        return int(seq or 0), int(journal or 0)

    async def payout(self, shard: int, payout_id: str) -> bytes | None:
        """A payout as stored, JSON; None if there is none."""
        try:
            stored: bytes | None = await self._reader.get(f"{{s{shard}}}:y:{payout_id}")
        except (RedisError, OSError) as error:
            raise RedisGone(str(error)) from error
        return stored

    async def leftovers(self, shard: int, first: int = 0) -> list[OutboxEntry]:
        """What the shard's outbox holds from a seq on: published or not, but not yet trimmed."""
        command = ("outbox", shard, str(first), str(LEFTOVERS_MAX))
        [reply] = await self._run(self._writer, [command], read_only=True)
        return [_entry(raw) for raw in reply]

    async def _run(
        self, client: Any, commands: Sequence[tuple[Any, ...]], *, read_only: bool = False
    ) -> list[Any]:
        """Send function calls in one round trip; replies in order."""
        name = library().function
        verb = "FCALL_RO" if read_only else "FCALL"
        calls = [
            (verb, name(function), 1, meta_key(shard), *arguments)
            for function, shard, *arguments in commands
        ]
        try:
            if self._cluster:
                replies = await asyncio.gather(
                    *(_caught(client.execute_command(*call)) for call in calls)
                )
            else:
                replies = await _exchange(client, calls)
        except (TimeoutError, RedisError, OSError) as error:
            raise RedisGone(str(error) or type(error).__name__) from error
        for reply in replies:
            if isinstance(reply, Exception):
                await self._raise(reply)
        return list(replies)

    async def _raise(self, error: Exception) -> None:
        if "REWOUND" in str(error):
            raise Rewound(str(error)) from error
        if "Function not found" in str(error):
            # An emptied Redis has lost the functions as well.
            await self.load()
            raise RedisGone("the functions were missing; loaded again") from error
        if _gone(error):
            raise RedisGone(str(error)) from error
        raise error


async def _caught(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except ResponseError as error:
        return error


async def _exchange(client: Any, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send calls to a single server in one write and read the replies; refusals are returned.

    redis-py's own pipeline takes several times as long, most of it for a timeout a reply.
    """
    pool = client.connection_pool
    connection = await pool.get_connection()
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            await connection.send_packed_command(_packed(calls), check_health=False)
            return [await _caught(connection.read_response(timeout=inf)) for _ in calls]
    except BaseException:
        # Replies that were not read would be taken for those of the next calls.
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


def _packed(calls: Sequence[tuple[Any, ...]]) -> bytes:
    """Calls as Redis reads them off the wire."""
    parts: list[bytes] = []
    for call in calls:
        parts.append(b"*%d\r\n" % len(call))
        for argument in call:
            raw = argument if isinstance(argument, bytes) else str(argument).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


def _word(text: bytes) -> str:
    return _WORDS.get(text) or str(text, "ascii")


_WORDS = {word.encode(): word for word in ("booked", "parked", "repeat", "stale", "retry")}


def _entry(raw: Sequence[Any]) -> OutboxEntry:
    seq, fields = raw
    return OutboxEntry(
        int(seq), [_message(fields[i], fields[i + 1]) for i in range(0, len(fields), 2)]
    )


def _message(field: bytes, value: bytes) -> Outgoing:
    """From the outbox's ``<topic>\\t<key>[\\t<headers>]`` and the message's body."""
    topic, _, key = field.partition(b"\t")
    name = _TOPICS.get(topic) or _TOPICS.setdefault(topic, topic.decode())
    if b"\t" not in key:
        return Outgoing(name, key, value)
    key, _, headers = key.partition(b"\t")
    pairs = from_json(headers).items()
    return Outgoing(name, key, value, [(header, text.encode()) for header, text in pairs])


_TOPICS: dict[bytes, str] = {}

Clock = Callable[[], int]
"""Milliseconds since the epoch."""
