"""Booking: a request's operation, once, together with what others ask for at the same time.

A request has no place in a topic. Its id, which follows from its client, its seller and its
Idempotency-Key, keeps it from having a second effect: Redis keeps the id with a hash of what is
asked for and with the answer, and the journal has all three.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from pydantic_core import from_json

from models.events import body_hash
from models.ids import derived
from models.refusals import Denied, Reason
from streams.api.problems import Problem
from streams.engine.errors import DeliveryFailed, EngineNotRunning
from streams.logs import seller_hash
from streams.together import Together
from streams.wallets.store import Operation, RedisGone
from streams.wallets.wallets import Booking, BookingFailed, EntriesVoid, Wallets

logger = logging.getLogger(__name__)

PUBLISHING_MAX = 2
"""Batches that are published at once; what comes meanwhile is booked together."""

DECISIONS_MAX = 100
"""How often a request is decided again because a profile moved under it."""

RETRY_S = 1.0
"""When a request whose fate is unknown may be sent again."""

Decide = Callable[[], Awaitable[Operation]]
"""Makes the operation of a request; called again when what it was decided upon has moved."""


@dataclass(frozen=True)
class Requested:
    """A request to book: whose it is, the client's key for it, and all that it asks for."""

    client: str
    seller_id: str
    idempotency_key: str
    asked: bytes

    @cached_property
    def id(self) -> str:
        """The id of its operation. A key is good for one seller: ids live in her shard."""
        return derived(f"api/{self.client}/{self.seller_id}/{self.idempotency_key}")


class Answered(NamedTuple):
    """What a booked request is answered with, and whether it had been booked before."""

    id: str
    figures: dict[str, Any]
    repeated: bool


_Fate = tuple[str, asyncio.Future[None]] | Exception
"""What became of an operation, and when that can no longer be lost; or why nobody can say."""


class Bookings:
    """Books the requests of one process."""

    def __init__(self, wallets: Wallets, lost: Callable[[EntriesVoid], None]) -> None:
        """``lost`` is told when this process may book no more."""
        self._wallets = wallets
        self._lost = lost
        self._places = asyncio.Semaphore(PUBLISHING_MAX)
        self._together = Together(self._book)
        self._under_way: set[str] = set()

    async def book(self, requested: Requested, decide: Decide) -> Answered:
        """Book a request, and return when no loss of Redis can undo it.

        Raises :class:`Problem`.
        """
        if requested.id in self._under_way:
            raise Problem(Denied.IN_FLIGHT, retry_s=RETRY_S)
        self._under_way.add(requested.id)
        try:
            outcome = await self._decided(requested, decide)
        except (RedisGone, DeliveryFailed, EngineNotRunning) as error:
            fields = {"event": requested.id, "seller": seller_hash(requested.seller_id)}
            logger.warning("a request may or may not be booked: %s", error, extra=fields)
            raise Problem(Denied.UNAVAILABLE, retry_s=RETRY_S) from error
        except EntriesVoid as error:
            self._lost(error)
            raise Problem(Denied.UNAVAILABLE, retry_s=RETRY_S) from error
        finally:
            self._under_way.discard(requested.id)
        return _answered(requested.id, outcome)

    async def _decided(self, requested: Requested, decide: Decide) -> str:
        for _ in range(DECISIONS_MAX):
            operation = await decide() | {
                "id": requested.id,
                "seller": requested.seller_id,
                "hash": body_hash(requested.asked),
            }
            fate = await self._together(operation)
            if isinstance(fate, Exception):
                raise fate
            outcome, safe = fate
            # Another request waits for the same: that one goes on if this one is given up.
            await asyncio.shield(safe)
            if outcome != "retry":
                return outcome
        raise RuntimeError(f"a request was decided {DECISIONS_MAX} times in vain")

    async def _book(self, operations: Sequence[Operation]) -> Sequence[_Fate]:
        await self._places.acquire()
        try:
            booking = await self._wallets.book(operations)
        except BookingFailed as error:
            self._places.release()
            return await self._one_by_one(operations, error)
        except BaseException:
            self._places.release()
            raise
        return self._fates(booking)

    def _fates(self, booking: Booking) -> Sequence[_Fate]:
        asyncio.gather(*booking.sent).add_done_callback(self._sent)
        # A request waits for its own shard: in front of another there may be what a worker books.
        return list(zip(booking.outcomes, booking.safe, strict=True))

    def _sent(self, done: asyncio.Future[list[None]]) -> None:
        self._places.release()
        if not done.cancelled():
            done.exception()  # each request is told; none may be left to

    async def _one_by_one(
        self, operations: Sequence[Operation], error: BookingFailed
    ) -> Sequence[_Fate]:
        """Operations of which one is broken: the others are not to suffer for it. Those in front
        of it are booked, and known by their ids."""
        if len(operations) == 1:
            one = operations[0]
            fields = {"event": one["id"], "seller": seller_hash(one["seller"])}
            logger.critical("a booking broke an invariant: %s", error, extra=fields)
            return [error]
        return [(await self._book([operation]))[0] for operation in operations]


def _answered(id_: str, outcome: str) -> Answered:
    """Raises Problem for a refusal."""
    repeated = outcome.startswith("repeat:")
    word, _, rest = outcome.removeprefix("repeat:").partition(":")
    if word == "refused":
        raise Problem(Reason(rest))
    if word != "booked":
        raise RuntimeError(f"a request came to {word!r}")
    return Answered(id_, from_json(rest), repeated)
