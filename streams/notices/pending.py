"""Pending notices: kept in Redis, per shard, until they are delivered.

They lie beside the wallets' keys and not among them: nothing of the money knows them. A Redis that
is emptied loses them; their topics have them still.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pydantic_core import from_json, to_json
from redis.exceptions import ResponseError

from streams.engine import RawMessage
from streams.wallets.server import Server

PENDING_MAX = 2_000
"""Notices that a shard keeps, about a kilobyte each: 128 MB in all shards together."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A notice that is kept: the message it is made of, and how often it was tried in vain."""

    message: RawMessage
    tries: int = 0

    @property
    def id(self) -> str:
        """Its name in the shard; sorted, they are in the order of the topic."""
        return f"{self.message.topic}:{self.message.offset:019d}:{self.message.partition}"

    def text(self) -> bytes:
        """As it is kept."""
        topic, partition, offset, key, value, at_ms = self.message[:6]
        # A key of somebody else's may be no text; any byte is a character of Latin-1.
        name = None if key is None else key.decode("latin-1")
        text = (value or b"").decode()
        return to_json((topic, partition, offset, name, text, at_ms, self.tries))

    @classmethod
    def read(cls, text: bytes) -> Self:
        """As it was kept. Raises ValueError."""
        topic, partition, offset, name, value, at_ms, tries = from_json(text)
        key = None if name is None else name.encode("latin-1")
        return cls(RawMessage(topic, partition, offset, key, value.encode(), at_ms), tries)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A notice that this worker may send until ``lease_ms``, if what is kept can be read."""

    shard: int
    id: str
    lease_ms: int
    pending: Pending | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What some shards keep: how many, and when the oldest came in ms since the epoch, or None."""

    count: int
    oldest_ms: int | None


class PendingNotices:
    """The notices that the shards keep. Every call may raise :class:`RedisGone`."""

    def __init__(self, server: Server, *, pending_max: int = PENDING_MAX) -> None:
        self._server = server
        self._pending_max = pending_max

    async def keep(
        self, notices: Mapping[int, Sequence[Pending]], now_ms: int
    ) -> dict[int, list[bool]]:
        """Keep notices, by shard; of each whether there was room for it."""
        calls = [
            (
                *("enqueue", shard, str(now_ms), str(self._pending_max)),
                *(part for one in some for part in (one.id, one.text())),
            )
            for shard, some in notices.items()
        ]
        replies = await self._server.call(calls)
        return {
            shard: [bool(kept) for kept in _checked(reply)]
            for shard, reply in zip(notices, replies, strict=True)
        }

    async def claim(
        self, shards: Sequence[int], now_ms: int, lease_ms: int, limit: int
    ) -> tuple[list[Claimed], Backlog]:
        """Take what is due, at most ``limit`` of each shard; and what they keep altogether."""
        replies = await self._server.call(
            [("claim", shard, str(now_ms), str(lease_ms), str(limit)) for shard in shards]
        )
        claimed: list[Claimed] = []
        count, since = 0, []
        for shard, reply in zip(shards, replies, strict=True):
            kept, oldest, flat = _checked(reply)
            count += kept
            if int(oldest):
                since.append(int(oldest))
            for i in range(0, len(flat), 2):
                claimed.append(Claimed(shard, str(flat[i], "ascii"), lease_ms, _read(flat[i + 1])))
        return claimed, Backlog(count, min(since, default=None))

    async def done(self, one: Claimed) -> None:
        """It was delivered, or is a dead letter: forget it."""
        await self._conclude(one, 0, b"")

    async def again(self, one: Claimed, at_ms: int) -> None:
        """It failed once more, and is tried again at a time, unless somebody else has it by now."""
        if one.pending is not None:
            tried = Pending(one.pending.message, one.pending.tries + 1)
            await self._conclude(one, at_ms, tried.text())

    async def _conclude(self, one: Claimed, due_ms: int, text: bytes) -> None:
        call = ("conclude", one.shard, one.id, str(one.lease_ms), str(due_ms), text)
        [reply] = await self._server.call([call])
        _checked(reply)


def _read(text: bytes) -> Pending | None:
    try:
        return Pending.read(text)
    except ValueError:
        return None


def _checked(reply: object) -> list:  # type: ignore[type-arg]
    if isinstance(reply, ResponseError):
        raise reply
    return reply  # type: ignore[return-value]
