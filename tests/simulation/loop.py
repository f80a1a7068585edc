"""An event loop whose time is a number: nothing waits, nothing blocks, no thread runs.

When no callback is ready the clock jumps to the next timer. What a program does on it follows from
its own decisions alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from typing import Any

READ_S_MAX = 0.05
"""The longest that work given to an executor takes."""


class NothingHappens(RuntimeError):
    """Every task waits for another: no callback is ready and no timer is set."""


class VirtualLoop(asyncio.BaseEventLoop):
    """asyncio on virtual time, in seconds from 0. ``dice`` decides how long an executor takes."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._now_s = 0.0
        self._dice = dice
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now_s

    # The three that follow stand in the place of asyncio's own, which check and measure more than
    # has to be here, and ask a selector and the clock each time.

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call it when what is ready now was."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it at a time of this loop; of two at the same time first what was asked first."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it after some seconds."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """Run what is ready; if nothing is, let the time pass until the next timer."""
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]
        now_s = self._now_s
        while timers and (not ready or timers[0][0] <= now_s):
            when, _, timer = heappop(timers)
            if not timer._cancelled:
                if when > now_s:
                    self._now_s = now_s = when
                ready.append(timer)
        if not ready:
            raise NothingHappens("no callback is ready and no timer is set")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                # As Handle._run(), without its frame: what a callback raises ends nothing.
                try:  # noqa: SIM105 - a with statement takes longer
                    handle._context.run(handle._callback, *handle._args)
                except Exception:  # noqa: BLE001
                    pass

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run blocking work in one step, a little later."""
        future = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - whoever awaits it is to see it
                future.set_exception(error)

        self.call_later(self._dice.random() * READ_S_MAX, work)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no files."""

    def _write_to_self(self) -> None:
        """No thread has to be woken."""
