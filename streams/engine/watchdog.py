"""Threads that end the process when it would otherwise go on doing nothing.

The poll thread keeps a member's heartbeats going even when its event loop is dead, so the
broker would never give its partitions to another worker.
"""

import logging
import os
import threading
import time
from collections.abc import Callable

from streams.engine.errors import ExitCode

logger = logging.getLogger(__name__)

_INTERVAL_SHARE = 10
_INTERVAL_MAX_S = 1.0

EndProcess = Callable[[int], None]


def end_process(code: int) -> None:
    """End this process now, without cleaning up, after its log is written."""
    logging.shutdown()
    os._exit(code)


class Watchdog(threading.Thread):
    """Ends the process when `stalled_for_s` says that work has waited too long."""

    def __init__(
        self,
        stalled: Callable[[], str | None],
        timeout_s: float,
        end: EndProcess = end_process,
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._stalled = stalled
        self._interval_s = min(_INTERVAL_MAX_S, timeout_s / _INTERVAL_SHARE)
        self._end = end
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(self._interval_s):
            reason = self._stalled()
            if reason is not None:
                logger.critical("ending the process: %s", reason)
                self._end(ExitCode.STALLED)
                return

    def finish(self) -> None:
        """Watch no longer."""
        self._ended.set()


class Deadline:
    """Ends the process at a moment unless it is cancelled before."""

    def __init__(self, after_s: float, code: ExitCode, end: EndProcess = end_process) -> None:
        self._code = code
        self._after_s = after_s
        self._end = end
        self._timer = threading.Timer(after_s, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """The stop was in time."""
        self._timer.cancel()

    def _expire(self) -> None:
        logger.critical("ending the process: the stop took longer than %.1f s", self._after_s)
        self._end(self._code)


class Progress:
    """Decides when waiting work counts as stalled: `timeout_s` after it was last seen to move."""

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._idle_at = clock()

    def stalled_for_s(self, waiting: bool, progress_at: float) -> float | None:
        """Seconds since the last progress if work waits and that is too long, else None."""
        now = self._clock()
        if not waiting:
            self._idle_at = now
            return None
        # Work that arrived after a quiet hour has not waited for that hour.
        since = now - max(progress_at, self._idle_at)
        return since if since > self._timeout_s else None
