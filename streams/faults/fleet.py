"""The workers of a fault run and their supervisor, which starts again whatever ends."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from streams.demo.clock import ClockFile
from streams.demo.process import ChildProcess, free_port
from streams.faults.proxy import Proxy

BACK_AFTER_S = 0.5
"""How long the supervisor leaves a worker down that ended by itself."""

STOP_MAX_S = 60.0
"""How long a worker may take to end in order; longer is a hang, and it is killed."""

LOG_LINES = 8
"""Last lines of a log that are told of a worker that ended."""

LOG_SEARCHED = 400
"""Last lines among which the reason for its end is looked for."""


@dataclass(slots=True)
class Post:
    """A worker's place: what stays the same when the process is another."""

    number: int
    redis: Proxy
    clock: ClockFile
    log: Path
    metrics_port: int = field(default_factory=free_port)
    webhook_port: int = field(default_factory=free_port)
    child: ChildProcess | None = None
    since_s: float = 0.0
    back_at_s: float = 0.0
    stopped_at_s: float | None = None
    """When it was asked to end, and has not yet."""
    frozen: bool = False

    @property
    def running(self) -> bool:
        """Whether its process runs and nothing ails it."""
        return self.child is not None and self.stopped_at_s is None and not self.frozen


class Ended(NamedTuple):
    """A worker that ended otherwise than it was made to."""

    post: int
    code: int
    asked: bool
    """Whether it had been asked to end (SIGTERM)."""
    lived_s: float
    log: str
    """Why, as its log says, and the last lines, on one line."""


class Fleet:
    """Workers by number. ``environment`` makes the variables of a worker's settings."""

    def __init__(
        self,
        posts: Sequence[Post],
        directory: Path,
        environment: Callable[[Post], Mapping[str, str]],
    ) -> None:
        self.posts = list(posts)
        self.restarts = 0
        self._directory = directory
        self._environment = environment

    def start(self, post: Post) -> None:
        """Start a worker's process."""
        module = "streams.demo.clock"
        command = [sys.executable, "-m", module, str(post.clock.path), "worker"]
        post.child = ChildProcess(
            command, post.log, self._directory, environment=self._environment(post)
        )
        post.since_s = time.monotonic()
        post.stopped_at_s = None
        post.frozen = False

    def running(self) -> list[Post]:
        """The workers that nothing ails."""
        return [post for post in self.posts if post.running]

    def ready(self) -> bool:
        """Whether every worker says that it is ready."""
        return all(post.running and _answers(post) for post in self.posts)

    def ungrouped(self) -> bool:
        """Whether every worker runs and says that the group has given it nothing."""
        return all(post.running and _unassigned(post) for post in self.posts)

    def kill(self, post: Post, down_s: float) -> None:
        """kill -9; it is started again after ``down_s``."""
        if post.child is not None:
            post.child.kill()
            post.child = None
        post.frozen = False
        post.stopped_at_s = None
        post.back_at_s = time.monotonic() + down_s

    def stop(self, post: Post, down_s: float) -> None:
        """SIGTERM; when it has ended it is started again after ``down_s``."""
        if post.child is not None:
            post.child.signal(signal.SIGTERM)
        post.stopped_at_s = time.monotonic()
        post.back_at_s = post.stopped_at_s + down_s

    def freeze(self, post: Post) -> None:
        """SIGSTOP."""
        if post.child is not None:
            post.child.signal(signal.SIGSTOP)
            post.frozen = True

    def thaw(self, post: Post) -> None:
        """SIGCONT."""
        if post.child is not None and post.frozen:
            post.child.signal(signal.SIGCONT)
        post.frozen = False

    def look(self) -> list[Ended]:
        """Start again what is down and due, and say what ended otherwise than it was made to."""
        now = time.monotonic()
        ended = []
        for post in self.posts:
            if post.child is None:
                if now >= post.back_at_s:
                    self.start(post)
                    self.restarts += 1
                continue
            code = post.child.exit_code()
            asked_s = post.stopped_at_s
            if code is None:
                if asked_s is None or now - asked_s < STOP_MAX_S:
                    continue
                post.child.kill()
                code = -signal.SIGKILL
            if asked_s is None or code != 0:
                ended.append(
                    Ended(
                        post.number,
                        code,
                        asked_s is not None,
                        now - post.since_s,
                        _reason(post.child.log_tail(LOG_SEARCHED)),
                    )
                )
            post.child = None
            post.stopped_at_s = None
            post.frozen = False
            post.back_at_s = max(post.back_at_s, now + BACK_AFTER_S)
        return ended

    def close(self) -> None:
        """End all workers."""
        for post in self.posts:
            self.thaw(post)
            if post.child is not None:
                post.child.signal(signal.SIGTERM)
        for post in self.posts:
            if post.child is not None:
                post.child.stop()
                post.child = None


def _reason(tail: str) -> str:
    """From the end of a log: what was critical to the last process, and the last lines."""
    lines = tail.split(" | ")
    starts = [i for i, line in enumerate(lines) if "metrics at http" in line]
    lines = lines[starts[-1] :] if starts else lines
    critical = [line for line in lines[:-LOG_LINES] if _CRITICAL.search(line)]
    return " | ".join((*critical[-LOG_LINES:], *lines[-LOG_LINES:]))


_CRITICAL = re.compile(r" CRITICAL |Crashed reason=|stopping: |^\w+(?:\.\w+)*(?:Error|Exception)\b")


def _answers(post: Post) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{post.metrics_port}/readyz", timeout=1):
            return True
    except (URLError, OSError):
        return False


def _unassigned(post: Post) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{post.metrics_port}/readyz", timeout=1):
            return False
    except HTTPError as error:
        with error:
            return b'"assigned": false' in error.read()
    except (URLError, OSError):
        return False
