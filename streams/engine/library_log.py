"""librdkafka's own log lines among ours, without its repetitions."""

import logging
import time
from collections.abc import Callable

INTERVAL_S = 10.0
"""How long the same complaint is not heard again."""


class LibraryLog:
    """What a client is given as its logger.

    While a broker is away librdkafka says so twenty times a second, for every client and broker.
    """

    def __init__(
        self, logger: logging.Logger, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._clock_s = clock_s
        self._due_s: dict[tuple[str, str], float] = {}
        self._unheard: dict[tuple[str, str], int] = {}

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Write a line, unless its like was written within the last ten seconds."""
        facility, _, text = (*map(str, arguments), "", "", "")[:3]
        # "[thrd:host:port/broker]: what is wrong": the thread is a broker's, so it tells which.
        kind = (facility, text.partition("]")[0])
        now_s = self._clock_s()
        if now_s < self._due_s.get(kind, now_s):
            self._unheard[kind] = self._unheard.get(kind, 0) + 1
            return
        self._due_s[kind] = now_s + INTERVAL_S
        if unheard := self._unheard.pop(kind, 0):
            self._logger.log(level, f"{message} (and %d like it)", *arguments, unheard)
        else:
            self._logger.log(level, message, *arguments)
