"""Watching a rail's HTTP requests, for traces: whoever calls a rail may set who watches.

It is set in the task that calls, so that requests of other payouts have other watchers, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Seen:
    """A request as its watcher sees it. Neither path nor body: both may hold personal data."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """What the watcher adds to the request's headers."""
    status: int | None = None
    """What the provider answered; None until then, and of a request without an answer."""


Watch = Callable[[str, str], AbstractContextManager[Seen]]
"""Told of each request's method and provider's address, for as long as it is under way."""

watching: ContextVar[Watch | None] = ContextVar("watching", default=None)
