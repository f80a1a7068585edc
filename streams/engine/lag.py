"""How far behind each partition is, in messages and in time. Pure: times are given.

Kafka knows how many messages are left, not how old they are. The timestamp of a message that has
been fetched says so; of one that has not, at least since when it was seen to be there.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Behind(NamedTuple):
    """How far behind a partition is."""

    messages: int
    seconds: float
    """The age of the oldest message not yet finished; 0 if there is none."""
    uncommitted_s: float
    """For how long something has been finished without any of it being committed."""


class PartitionLag:
    """One partition's, for one assignment of it."""

    __slots__ = ("_behind_since_s", "_committed", "_fetched", "_uncommitted_since_s")

    def __init__(self) -> None:
        #: (first offset, its timestamp in ms) of each run of messages that was fetched.
        self._fetched: deque[tuple[int, int]] = deque()
        self._behind_since_s: float | None = None
        self._committed: int | None = None
        self._uncommitted_since_s: float | None = None

    def fetched(self, first_offset: int, timestamp_ms: int) -> None:
        """Messages were handed over, of which this is the first."""
        self._fetched.append((first_offset, timestamp_ms))

    def measure(
        self, done: int, end: int, committed: int | None, *, finished: int | None, now_s: float
    ) -> Behind:
        """How far behind it is.

        ``done``: the offset of the first message not finished; ``end``: of the next to come;
        ``finished``: as ``done``, but None before anything was finished here; ``now_s``: since the
        epoch.
        """
        while len(self._fetched) > 1 and self._fetched[1][0] <= done:
            self._fetched.popleft()
        messages = max(0, end - done)
        return Behind(
            messages,
            self._age_s(now_s) if messages else self._level(),
            self._waited_s(finished, committed, now_s),
        )

    def _level(self) -> float:
        self._fetched.clear()
        self._behind_since_s = None
        return 0.0

    def _age_s(self, now_s: float) -> float:
        """The first run that is not finished may begin before what is not finished of it: then
        this says up to a run's span too much."""
        if self._behind_since_s is None:
            self._behind_since_s = now_s
        since_s = self._behind_since_s
        if self._fetched and self._fetched[0][1] > 0:
            since_s = self._fetched[0][1] / 1000
        return max(0.0, now_s - since_s)

    def _waited_s(self, finished: int | None, committed: int | None, now_s: float) -> float:
        if finished is None or finished == committed:
            self._uncommitted_since_s = None
            return 0.0
        if self._uncommitted_since_s is None or committed != self._committed:
            self._uncommitted_since_s, self._committed = now_s, committed
        return max(0.0, now_s - self._uncommitted_since_s)
