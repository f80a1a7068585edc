"""Effects: what follows from what was booked, while it is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class Effects:
    """What follows from operations, on its way to the broker and until it counts for ever."""

    def __init__(self, shards: Iterable[int]) -> None:
        loop = asyncio.get_running_loop()
        self.sent: asyncio.Future[None] = loop.create_future()
        self.safe: dict[int, asyncio.Future[None]] = {s: loop.create_future() for s in shards}

    def fail(self, error: BaseException) -> None:
        """Whoever waits is told; nobody may."""
        for each in (self.sent, *self.safe.values()):
            if each.done():
                continue
            if isinstance(error, asyncio.CancelledError):
                each.cancel()
            else:
                each.set_exception(error)
                each.exception()
