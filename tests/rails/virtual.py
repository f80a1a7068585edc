"""Time that passes at once: a clock set by hand, and a loop that skips what is waited for."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

ROUND_S = 1e-8
"""What one round of the loop takes. With no time at all a wait of a rounding error never ends."""


class Clock:
    """A clock that stands until it is moved; in whichever unit the test counts."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def move(self, by: int) -> None:
        """Forward, or back."""
        self.now += by


class Deadlock(AssertionError):
    """Everything waits, and nothing will ever happen."""


class _Skipping(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise Deadlock
        self.now_s += timeout + ROUND_S
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now_s


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine comes to. Raises Deadlock. Its loop's time begins at 0."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(coroutine)


def now_s() -> float:
    """The running loop's time, in seconds."""
    return asyncio.get_running_loop().time()


def now_ms() -> int:
    """The running loop's time, in milliseconds."""
    return int(now_s() * 1000)
