"""The load of a fault run: a company's events, as fast as they are taken and no faster.

Beside the company's own repeats it sends bursts of older events again, and stretches of events in
another order, when it is asked to.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from models.refusals import Reason
from streams.demo.messages import Kind, Message
from streams.demo.publish import Publisher
from streams.faults.recovery import Recovery

RECENT_MAX = 4_000
"""Events from which a burst of repeats is drawn."""

REORDERED_MAX = 1_000
"""Longest stretch that is put into another order, in messages."""

PAUSE_S = 0.01


class Load:
    """Sends profiles, then events, in a thread of its own."""

    def __init__(
        self,
        publisher: Publisher,
        recovery: Recovery,
        *,
        seed: int,
        rate: float,
        backlog_max: int,
    ) -> None:
        """``rate``: events a second at most. ``backlog_max``: events without effect at most."""
        self.publisher = publisher
        self.owed: set[str] = set()
        """Ids of what was sent and has had no effect yet."""
        self.at = 0
        """Events of the company's stream sent so far."""
        self.failure: BaseException | None = None
        self._recovery = recovery
        self._rate = rate
        self._backlog_max = backlog_max
        self._rng = random.Random(f"{seed}:load")
        self._recent: deque[Message] = deque(maxlen=RECENT_MAX)
        self._repeats = 0
        self._reorders = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, first: Iterable[Message], events: Iterable[Message]) -> None:
        """Send ``first`` at once, then ``events``."""
        self._thread = threading.Thread(
            target=self._run, args=(first, events), name="load", daemon=True
        )
        self._thread.start()

    def done(self) -> bool:
        """Whether all was sent. Raises what the sending raised."""
        if self.failure is not None:
            raise self.failure
        return self._thread is not None and not self._thread.is_alive()

    def stop(self) -> None:
        """Send nothing more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=60.0)

    def repeat(self, count: int) -> None:
        """Send ``count`` of the events of before again, next."""
        self._repeats += count

    def reorder(self, count: int) -> None:
        """Send the next ``count`` messages in another order."""
        self._reorders = min(REORDERED_MAX, self._reorders + count)

    def settled(self, event_id: str) -> None:
        """An event has had its effect, or was refused."""
        self.owed.discard(event_id)
        self._recovery.settled(event_id)

    def _run(self, first: Iterable[Message], events: Iterable[Message]) -> None:
        try:
            self.publisher.send(self._noted(first), rate=None)
            self.publisher.send(self._noted(self._disturbed(events)), rate=self._rate)
        except BaseException as error:  # noqa: BLE001 - told to whoever asks whether it is done
            self.failure = error

    def _noted(self, messages: Iterable[Message]) -> Iterator[Message]:
        for message in messages:
            while len(self.owed) > self._backlog_max and not self._ended.is_set():
                time.sleep(PAUSE_S)
            if self._ended.is_set():
                return
            if message.kind in {Kind.EVENT, Kind.PROFILE}:
                # Before it is sent: it might have its effect before this thread goes on.
                self.owed.add(message.id)
            if message.kind is Kind.EVENT and message.topic == "sales":
                self._recovery.published(message.key.decode(), message.id)
            yield message

    def _disturbed(self, events: Iterable[Message]) -> Iterator[Message]:
        stream = iter(events)
        for message in stream:
            stretch = [message]
            if self._reorders:
                count, self._reorders = self._reorders, 0
                stretch += islice(stream, count)
                stretch = reordered(stretch, self._rng)
            for one in stretch:
                if one.kind is not Kind.PROFILE:
                    self.at += 1
                if one.kind is Kind.EVENT:
                    self._recent.append(one)
                yield one
            if self._repeats and self._recent:
                count, self._repeats = self._repeats, 0
                for first in self._rng.choices(self._recent, k=count):
                    yield Message(
                        first.topic,
                        first.key,
                        first.value,
                        first.at_ms,
                        first.label,
                        first.id,
                        Kind.REPEAT,
                    )


def reordered(stretch: list[Message], rng: random.Random) -> list[Message]:
    """A stretch with its events shuffled; profiles, repeats and bad messages keep their places.

    An event whose id is used again for another body keeps its place too: which of the two is the
    repeat is a matter of their order.
    """
    reused = {m.id for m in stretch if m.reason is Reason.ID_REUSED}
    places = [i for i, m in enumerate(stretch) if m.kind is Kind.EVENT and m.id not in reused]
    moved = [stretch[i] for i in places]
    rng.shuffle(moved)
    result = list(stretch)
    for i, message in zip(places, moved, strict=True):
        result[i] = message
    return result
