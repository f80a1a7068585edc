"""Webhooks of the sandbox: when a payout's status changes, tell the configured address, signed.

Best effort, like a provider's: a bounded number waits, each is tried a few times, then dropped and
counted. The books are the truth; who missed a webhook asks.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from datetime import UTC, datetime
from itertools import chain
from typing import NamedTuple, Protocol

import aiohttp

from rails.sandbox.befalls import Befalls
from rails.sandbox.behaviours import BEHAVIOURS, NORMAL, script
from rails.sandbox.books import Entry, SandboxClock
from rails.sandbox.notices import Notice, due_ms, step_of

log = logging.getLogger(__name__)

WAITING_MAX = 100_000
SENDING_MAX = 16
TRIES_MAX = 25
TRY_AGAIN_MS = 1_000
SOON_MS = 10_000
"""A webhook due by then, or by as much later as late ones are, counts as waiting."""

POLL_S = 0.05

LATE_MS = 8_000


class Letter(NamedTuple):
    """A notice on its way: the one of this number in the entry's script, from 0.

    ``ended``: of the script for a cancelled payout, which takes the place of the first.
    """

    entry: Entry
    number: int
    tries: int
    ended: bool


class Scribe(Protocol):
    """How a provider writes and signs what it says of a payout."""

    def body(self, entry: Entry, notice: Notice, number: str, at_ms: int) -> bytes:
        """The event, the same bytes each time; ``number`` tells those of one entry apart."""
        ...

    def headers(self, signed: bytes, now: datetime) -> dict[str, str]:
        """The headers of a call, with the signature of what is signed."""
        ...


class Hooks:
    """Sends the webhooks of all entries; one heap entry a payout, whatever its script."""

    def __init__(
        self,
        url: str,
        scribe: Scribe,
        clock: SandboxClock,
        *,
        befalls: Befalls,
        late_ms: int,
    ) -> None:
        """``befalls`` is told of scripts that have been played to their end; ``late_ms`` is how
        late a late webhook is."""
        self._url = url
        self._scribe = scribe
        self._clock = clock
        self._befalls = befalls
        self._late_ms = late_ms
        self._due: list[tuple[int, int, Letter]] = []
        self._number = 0
        self._sending: dict[asyncio.Task[None], Letter] = {}
        self._session: aiohttp.ClientSession | None = None
        self.sent = 0
        self.dropped = 0

    def tell(self, entry: Entry) -> None:
        """Send the webhooks of an entry, each when it is due; what was told before is over."""
        self._post_when_due(Letter(entry, 0, 0, entry.ended))

    def waiting(self) -> int:
        """Webhooks that are being sent, or will be before long, also late and out of order."""
        soon_ms = self._clock.now_ms() + SOON_MS + self._late_ms
        return sum(
            not notice.lost and due_ms(letter.entry, notice, self._late_ms) <= soon_ms
            for letter in chain((letter for _, _, letter in self._due), self._sending.values())
            if letter.ended == letter.entry.ended
            for notice in script(letter.entry)[letter.number :]
        )

    async def run(self) -> None:
        """Send what is due, for ever."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            self._session = session
            while True:
                now_ms = self._clock.now_ms()
                while self._due and self._due[0][0] <= now_ms and len(self._sending) < SENDING_MAX:
                    letter = heapq.heappop(self._due)[-1]
                    task = asyncio.create_task(self._send(letter))
                    self._sending[task] = letter
                    task.add_done_callback(self._sending.pop)
                if len(self._sending) >= SENDING_MAX:
                    await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """Drop what waits and what is being sent."""
        sending = list(self._sending)
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)

    def _post_when_due(self, letter: Letter, at_ms: int | None = None) -> None:
        notices = script(letter.entry)
        if letter.ended != letter.entry.ended or letter.number >= len(notices):
            return  # cancelled on the way, or all is told
        if len(self._due) >= WAITING_MAX:
            self.dropped += 1
            return
        self._number += 1
        if at_ms is None:
            at_ms = due_ms(letter.entry, notices[letter.number], self._late_ms)
        heapq.heappush(self._due, (at_ms, self._number, letter))

    async def _send(self, letter: Letter) -> None:
        entry = letter.entry
        if letter.ended != entry.ended:
            return  # cancelled while it waited
        notices = script(entry)
        notice = notices[letter.number]
        if not await self._delivered(entry, letter.number, notice):
            if letter.tries + 1 < TRIES_MAX:
                at_ms = self._clock.now_ms() + TRY_AGAIN_MS
                self._post_when_due(letter._replace(tries=letter.tries + 1), at_ms)
                return
            self.dropped += 1
        elif letter.number + 1 == len(notices):
            self._played(letter)
        self._post_when_due(letter._replace(number=letter.number + 1, tries=0))

    def _played(self, letter: Letter) -> None:
        """Count a script that was ordered and has been played to its end."""
        entry = letter.entry
        own = BEHAVIOURS.get(entry.behaviour, NORMAL).notices is not None
        if own and entry.befallen and not letter.ended:
            self._befalls.happen(entry.behaviour)

    async def _delivered(self, entry: Entry, index: int, notice: Notice) -> bool:
        """Whether there is nothing left to do for a notice."""
        if notice.lost:
            return True
        body = self._body(entry, index, notice)
        if not notice.forged:
            return await self._post(body, body)
        # Nobody tries a refused forgery again.
        await self._post(body + b" ", body)
        return True

    async def _post(self, signed: bytes, sent: bytes) -> bool:
        if self._session is None:
            return False
        now = datetime.fromtimestamp(self._clock.now_ms() // 1000, UTC)
        headers = self._scribe.headers(signed, now)
        try:
            async with self._session.post(self._url, data=sent, headers=headers) as response:
                self.sent += 1
                return response.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.debug("webhook not delivered: %s", type(error).__name__)
            return False

    def _body(self, entry: Entry, index: int, notice: Notice) -> bytes:
        """The event; the same bytes each time it is sent."""
        step = step_of(entry, notice)
        # A lie has an id of its own: under that of the truth it would be taken for its repeat.
        number = f"X{index}" if step is None else str(step)
        at_ms = due_ms(entry, notice, 0) if step is None else entry.due_ms(step)
        return self._scribe.body(entry, notice, number, at_ms)
