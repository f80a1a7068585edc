"""Together: what is asked for while something is under way is then carried out in one go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Together(Generic[T, R]):
    """Gathers single items to batches: the busier it is, the larger they are, and none waits."""

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        """``work`` takes items, in order, and gives a result for each; one call at a time."""
        self._work = work
        self._arrived: list[tuple[T, asyncio.Future[R]]] = []
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """The item's result. Raises what the work on its batch raised."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._arrived.append((item, result))
        if self._working is None:
            self._working = asyncio.create_task(self._go_on())
        return await result

    async def _go_on(self) -> None:
        try:
            while self._arrived:
                arrived = [one for one in self._arrived if not one[1].done()]
                self._arrived = []
                await self._one(arrived)
        finally:
            self._working = None
            arrived, self._arrived = self._arrived, []
            for _, result in arrived:
                result.cancel()

    async def _one(self, arrived: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._work([item for item, _ in arrived])
            if len(results) != len(arrived):
                raise ValueError(f"{len(results)} results for {len(arrived)} items")
        except Exception as error:  # noqa: BLE001 - whoever asked is told, each of them
            for _, result in arrived:
                if not result.done():
                    result.set_exception(error)
            return
        except asyncio.CancelledError:
            for _, result in arrived:
                result.cancel()
            raise
        for (_, result), value in zip(arrived, results, strict=True):
            if not result.done():
                result.set_result(value)
