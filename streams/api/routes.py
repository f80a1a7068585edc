"""Routes: every endpoint there is, and who does what it asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import BaseModel

from streams.api.endpoints import ENDPOINTS, Call, Counter
from streams.api.history import HISTORY, Histories
from streams.api.purchases import PURCHASES, Till

ROUTES = (*ENDPOINTS, *PURCHASES, *HISTORY)
"""Everything that can be asked with a key."""

Handle = Callable[[Call], Awaitable[BaseModel]]


def handles(counter: Counter, till: Till, histories: Histories) -> dict[str, Handle]:
    """Who does what, by the endpoints' names: a method of the same name."""
    return {
        one.name: getattr(doer, one.name)
        for doer, table in ((counter, ENDPOINTS), (till, PURCHASES), (histories, HISTORY))
        for one in table
    }
