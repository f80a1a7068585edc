"""The server: Redis or Valkey, single or Cluster, as the functions of the wallets' library.

Calls for several shards go out in one round trip. A call that fails because Redis or the network is
gone raises :class:`RedisGone`; whether it was carried out is then unknown, which fences and epochs
make harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from math import inf
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import BlockingConnectionPool, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from streams.wallets.library import library

CALL_TIMEOUT_S = 10.0
"""How long one round trip to Redis may take."""

WRITERS = 4
"""Connections for booking."""

Call = tuple[Any, ...]
"""One function call: the function's verb, the shard, and its arguments."""

_OUTAGES = (
    *(RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError),
    *(ClusterDownError, TryAgainError, OSError),
)
"""What redis-py raises for an outage, not for a mistake of the caller."""

_OUTAGE_WORDS = ("OOM", "MISCONF", "READONLY", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS")
"""What a refusal begins with that is one, where redis-py has no class for it or a function passes
it on."""


class RedisGone(Exception):
    """Redis did not answer, or refuses writes: an outage, to be retried in place with a bound."""


class Server(Protocol):
    """Where the shards are."""

    async def call(
        self, calls: Sequence[Call], *, booking: bool = False, read_only: bool = False
    ) -> list[Any]:
        """Function calls in one round trip: each one's reply, or the ResponseError it got.

        ``booking``: over the connections kept for booking. Raises :class:`RedisGone`.
        """
        ...

    async def load(self) -> None:
        """Load the library of this version. Raises :class:`RedisGone`."""
        ...

    async def close(self) -> None:
        """Give the connections back."""
        ...


def meta_key(shard: int) -> str:
    """The key that every function call of a shard names; it carries the shard's hash tag."""
    return f"{{s{shard}}}:m"


class RedisServer:
    """A real one."""

    def __init__(self, url: str, *, cluster: bool = False, **options: Any) -> None:
        self._cluster = cluster
        common = {
            "socket_timeout": CALL_TIMEOUT_S,
            "socket_connect_timeout": CALL_TIMEOUT_S,
            # A resent call would answer "stale" and hide what the first one put in the outbox.
            "retry": Retry(NoBackoff(), 0),
            **options,
        }
        self._writer: Any
        self._reader: Any
        if cluster:
            self._writer = self._reader = RedisCluster.from_url(url, **common)
        else:
            self._writer = Redis(
                connection_pool=BlockingConnectionPool.from_url(
                    url, max_connections=WRITERS, **common
                )
            )
            self._reader = Redis(connection_pool=ConnectionPool.from_url(url, **common))

    async def close(self) -> None:
        """Give the connections back."""
        if self._cluster:
            await self._writer.aclose()
            return
        await self._writer.aclose(close_connection_pool=True)
        await self._reader.aclose(close_connection_pool=True)

    async def load(self) -> None:
        """Load the library of this version. Raises :class:`RedisGone`."""
        try:
            await self._writer.function_load(library().source, replace=True)
        except (RedisError, OSError) as error:
            raise RedisGone(f"cannot load the functions: {error}") from error

    async def call(
        self, calls: Sequence[Call], *, booking: bool = False, read_only: bool = False
    ) -> list[Any]:
        """Function calls in one round trip: each one's reply, or the ResponseError it got.

        Raises :class:`RedisGone`.
        """
        name = library().function
        verb = "FCALL_RO" if read_only else "FCALL"
        commands = [
            (verb, name(function), 1, meta_key(shard), *arguments)
            for function, shard, *arguments in calls
        ]
        client = self._writer if booking else self._reader
        try:
            if self._cluster:
                replies = await asyncio.gather(
                    *(_caught(client.execute_command(*command)) for command in commands)
                )
            else:
                replies = await _exchange(client, commands)
        except (TimeoutError, RedisError, OSError) as error:
            if not self._cluster:
                # What broke one idle connection broke them all, and each would cost a call.
                await client.connection_pool.disconnect(inuse_connections=False)
            raise RedisGone(str(error) or type(error).__name__) from error
        for reply in replies:
            if isinstance(reply, Exception):
                await self._outage(reply)
        return list(replies)

    async def memory(self) -> dict[str, tuple[int, int]]:
        """Bytes used and allowed (0: no bound), by ``host:port``; in a Cluster of each primary.

        Raises :class:`RedisGone`.
        """
        try:
            if self._cluster:
                nodes = self._reader.get_primaries()
                infos = [(n.name, await n.execute_command("INFO", "memory")) for n in nodes]
            else:
                where = self._reader.connection_pool.connection_kwargs
                name = f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
                infos = [(name, await self._reader.info("memory"))]
        except (TimeoutError, RedisError, OSError) as error:
            raise RedisGone(str(error) or type(error).__name__) from error
        return {name: (int(m["used_memory"]), int(m.get("maxmemory", 0))) for name, m in infos}

    async def _outage(self, error: Exception) -> None:
        """Raise :class:`RedisGone` if that is what a refusal means."""
        if "Function not found" in str(error):
            # An emptied Redis has lost the functions as well.
            await self.load()
            raise RedisGone("the functions were missing; loaded again") from error
        if isinstance(error, _OUTAGES) or str(error).startswith(_OUTAGE_WORDS):
            raise RedisGone(str(error)) from error


async def _caught(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except ResponseError as error:
        return error


async def _exchange(client: Any, commands: Sequence[Call]) -> list[Any]:
    """Send commands to a single server in one write and read the replies; refusals are returned.

    redis-py's own pipeline takes several times as long, most of it for a timeout a reply.
    """
    pool = client.connection_pool
    connection = await pool.get_connection()
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            await connection.send_packed_command(_packed(commands), check_health=False)
            return [await _caught(connection.read_response(timeout=inf)) for _ in commands]
    except BaseException:
        # Replies that were not read would be taken for those of the next calls.
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


def _packed(commands: Sequence[Call]) -> bytes:
    """Commands as Redis reads them off the wire."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for argument in command:
            raw = argument if isinstance(argument, bytes) else str(argument).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)
