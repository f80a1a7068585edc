"""A worker's connection to Redis: every call takes time before and after its effect, and may fail.

It fails with its effect done or not done, as a network does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json
from redis.exceptions import OutOfMemoryError, ResponseError

from streams.wallets.library import library
from streams.wallets.server import RedisGone, meta_key

if TYPE_CHECKING:
    from tests.simulation.world import World

Call = tuple[Any, ...]


class SimulatedServer:
    """Redis as one process reaches it (:class:`streams.wallets.server.Server`)."""

    def __init__(
        self, world: World, name: str, launch: Callable[[Callable[[], object]], Callable[[], None]]
    ) -> None:
        """``name``: of the process."""
        self._world = world
        self._name = name
        self._launch = launch
        self.cut_until_s = 0.0
        """Until when the network between the two is cut."""

    async def load(self) -> None:
        """Load the library of this version."""
        await self._reach()
        self._world.redis.load(self._world.source)

    async def close(self) -> None:
        """Nothing to close."""

    async def call(
        self, calls: Sequence[Call], *, booking: bool = False, read_only: bool = False
    ) -> list[Any]:
        """Function calls in one round trip: each one's reply, or the error it was refused with."""
        world = self._world
        replies: list[Any] = []

        def perform() -> None:
            # In an order of their own: the callers' sets have none.
            order = sorted(range(len(calls)), key=lambda i: (calls[i][1], i))
            found = {i: self._answer(calls[i], read_only=read_only) for i in order}
            replies.extend(found[i] for i in range(len(calls)))

        landed = self._launch(perform)
        try:
            await self._reach()
        finally:
            landed()
        if world.dice.chance(world.cut_chance):
            if world.dice.chance(0.5):
                perform()
            world.note("cut %s", calls[0][0])
            raise RedisGone("the connection was cut")
        perform()
        await world.pause()
        for reply in replies:
            if isinstance(reply, Exception):
                await self._outage(reply)
        return replies

    async def _reach(self) -> None:
        world = self._world
        await world.pause()
        if world.loop.time() < max(world.redis_down_until_s, self.cut_until_s):
            await asyncio.sleep(0.2)
            raise RedisGone("nobody answers")

    async def _outage(self, error: Exception) -> None:
        if "Function not found" in str(error):
            await self.load()
            raise RedisGone("the functions were missing; loaded again") from error
        if isinstance(error, OutOfMemoryError):
            raise RedisGone(str(error)) from error

    def _answer(self, call: Call, *, read_only: bool) -> Any:
        verb, shard, *arguments = call
        world = self._world
        try:
            reply = world.redis.fcall(
                library().function(verb), meta_key(shard), *arguments, read_only=read_only
            )
        except ResponseError as error:
            reply = error
        if world.tracing and verb not in _QUIET:
            world.note("%s: redis %s %d -> %s", self._name, verb, shard, _told(call, reply))
        return reply


_QUIET = {"look", "due", "observe"}


def _told(call: Call, reply: Any) -> str:
    if call[0] != "book" or not isinstance(reply, list):
        return str(reply)[:160]
    told = []
    for op, outcome in zip(from_json(call[3]), reply[1], strict=True):
        place = f"@{op['topic']}:{op['partition']}:{op['offset']}" if "topic" in op else ""
        told.append(f"{op['op']} {op.get('payout', op['id'])[:13]}{place}={outcome.decode()}")
    return f"at {int(reply[0])}: " + ", ".join(told)
