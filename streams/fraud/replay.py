"""A labelled history through the features of the stream, event by event.

What a model is trained on and what it is judged by goes through here, and so through the same
:func:`models.features.observe` as a sale in the stream. Labels are released when they would be
known, never before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from models.events import SaleCompleted, SaleReturned
from models.features import Profile, learn, observe


@dataclass(frozen=True, slots=True)
class Labelled:
    """One sale event of a history: the profile known when it came, and its pattern if a fraud."""

    event: SaleCompleted | SaleReturned
    profile: Profile | None
    pattern: str | None


def replayed(
    history: Iterable[Labelled], *, label_delay_ms: int | None = None
) -> Iterator[tuple[Labelled, list[float]]]:
    """Each sale of a history, which is in order of time, with its vector.

    ``label_delay_ms`` after a sale its label is known to the features, of a genuine sale as of a
    fraud. None: labels are never known, as in a stream that is told of none.
    """
    states: dict[str, str | None] = {}
    waiting: deque[tuple[int, SaleCompleted, list[float], bool]] = deque()
    for item in history:
        event = item.event
        at_ms = event.occurred_ms
        if label_delay_ms is not None:
            known_ms = at_ms - label_delay_ms
            while waiting and waiting[0][0] <= known_ms:
                sold_ms, sale, vector, fraud = waiting.popleft()
                states.update(learn(states, sale, vector, fraud=fraud, at_ms=sold_ms))
        row, updates = observe(states, event, item.profile, at_ms=at_ms)
        states.update(updates)
        if row is None or not isinstance(event, SaleCompleted):
            continue
        if label_delay_ms is not None:
            waiting.append((at_ms, event, row, item.pattern is not None))
        yield item, row
