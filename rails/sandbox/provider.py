"""What is the same at every provider of the sandbox: what befalls a payout, books, silence."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

from aiohttp import web

from rails.sandbox.befalls import Befalls
from rails.sandbox.behaviours import (
    BEHAVIOURS,
    ENQUIRIES_FAILING_MAX,
    NORMAL,
    Behaviour,
    Chances,
    Enquiry,
    Manner,
    named,
)
from rails.sandbox.books import Books, BooksFull, Entry, SandboxClock
from rails.sandbox.hooks import Hooks, Scribe

CLIENT_ID = "sandbox-client"
SECRET = "sandbox-secret"  # noqa: S105 - guards nothing but the sandbox
TRIED_MAX = 100_000
HEADER = "X-Sandbox-Behaviour"
ONCE = frozenset(
    {
        Manner.HANG_BEFORE_ONCE,
        Manner.RESET_BEFORE_ONCE,
        Manner.ERROR_BEFORE_ONCE,
        Manner.BUSY_ONCE,
    }
)
UNREADABLE = {Manner.GARBAGE_AFTER: b"<html>created</html>", Manner.HUGE_AFTER: b" " * 2_000_000}


class Refused(Exception):
    """An error answer of a provider's."""

    def __init__(
        self, status: int, name: str, details: list[dict[str, object]] | None = None
    ) -> None:
        """Take status, name and details."""
        super().__init__(name)
        self.status = status
        self.name = name
        self.details = details


class Given(NamedTuple):
    """The behaviour of one submission: its name, whether it was ordered for the next payouts that
    come, and whether this attempt was never seen before."""

    behaviour: Behaviour
    name: str
    befallen: bool
    first: bool


class Asked(NamedTuple):
    """What a submission asks for, checked. ``item_id``: the caller's own id of the payout."""

    attempt_id: str
    item_id: str
    receiver: str
    currency: str
    amount_minor: int


class Submission(NamedTuple):
    """A submission, read: the attempt's id, and where a behaviour may be asked for.

    ``check`` and ``execute`` may raise Refused; ``fine`` is the answer to what was executed,
    ``duplicate`` what it is refused with when it is called one of itself.
    """

    attempt_id: str
    receiver: object
    check: Callable[[], bool]
    execute: Callable[[Given], Entry]
    fine: Callable[[Entry], web.StreamResponse]
    duplicate: Callable[[Entry], Refused] | None = None


class Settings(NamedTuple):
    """What all providers of a sandbox share. Times in milliseconds."""

    seed: int = 0
    settle_delay_ms: int = 200
    slow_ms: int = 300
    hang_ms: int = 120_000
    fault_bp: Mapping[str, int] = {}
    token_life_s: int = 32_400


class Provider(ABC):
    """One provider's side. ``funded`` is whether the sender has money there."""

    rail: ClassVar[str]
    """The provider's name, as in the registry of rails."""

    foreign: ClassVar[frozenset[str]] = frozenset(
        {"unclaimed", "claimed", "duplicate", "webhook-reordered"}
    )
    """Behaviours that there are elsewhere only: nobody has to claim what a bank or a card gets, and
    a repeat gets the first one's answer."""

    def __init__(
        self, books: Books, clock: SandboxClock, befalls: Befalls, settings: Settings
    ) -> None:
        """Take what the providers share. Raises ValueError for unknown faults."""
        self.books = books
        self.clock = clock
        self.befalls = befalls
        self.hooks: Hooks | None = None
        self.funded = True
        self.counts = {"create": 0, "duplicate": 0, "show": 0, "cancel": 0}
        self.settings = settings
        self._key = settings.seed.to_bytes(8, "big", signed=True)
        self._chances = Chances(settings.fault_bp)
        self._tried: OrderedDict[str, str] = OrderedDict()
        """Attempts that did not execute at first → the behaviour that befell them, or none."""
        self._number = 0

    @staticmethod
    @abstractmethod
    def rail_fields(url: str) -> dict[str, object]:
        """The settings of a rail that talks to a sandbox at an address, by their fields."""

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """The paths of the API."""

    def scribe(self) -> Scribe | None:
        """Who writes the webhooks; None where the provider sends none. May take a second."""
        return None

    def listening(self, url: str) -> None:  # noqa: B027 - most need not know
        """Learn the address that others reach the sandbox by."""

    def revoke_tokens(self) -> None:  # noqa: B027 - most have none
        """Make every token given out invalid, where there are any."""

    async def take(
        self,
        request: web.Request,
        read: Callable[[bytes], Submission],
        error: Callable[[Refused], web.StreamResponse],
    ) -> web.StreamResponse:
        """Take a submission: what befalls it, the books, the answer in its manner.

        ``read`` proves who calls and reads the body; it may raise Refused.
        """
        self.counts["create"] += 1
        try:
            one = read(await request.read())
            given = self.given(request.headers.get(HEADER), one.receiver, one.attempt_id, one.check)
            manner = given.behaviour.manner
            if manner in ONCE and given.first:
                self.remember(one.attempt_id, given)
                return await self.not_executed(request, manner)
            if given.behaviour.refusal and given.befallen:
                self.remember(one.attempt_id, given)
            before = self.books.by_attempt(one.attempt_id)
            entry = one.execute(given)
        except Refused as refused:
            return error(refused)
        if entry is before:
            return one.fine(entry)  # only the first answer is lost
        if manner is Manner.DUPLICATE_AFTER and one.duplicate is not None:
            return error(one.duplicate(entry))
        return await self.answer(request, manner, fine=lambda: one.fine(entry), error=error)

    def book_once(
        self, asked: Asked, given: Given, guard_ms: int, repeated: Callable[[Entry], Entry]
    ) -> Entry:
        """Execute, once within the guard. ``repeated`` is asked about what was booked before.

        Raises Refused: without funds, what ``repeated`` raises, and when the books are full.
        """
        # Funds before the guard: a repeat may be refused though the first was executed.
        if not self.funded:
            raise Refused(422, "INSUFFICIENT_FUNDS")
        first = self.books.by_attempt(asked.attempt_id) if asked.attempt_id else None
        if first is not None and self.clock.now_ms() - first.created_ms < guard_ms:
            self.counts["duplicate"] += 1
            return repeated(first)
        return self.book(asked, given, again=first)

    async def tell(
        self,
        request: web.Request,
        find: Callable[[], Entry | None],
        shown: Callable[[Entry], Mapping[str, object] | str],
        error: Callable[[Refused], web.StreamResponse],
    ) -> web.StreamResponse:
        """Show an entry of this provider's, an object or its JSON; ``find`` may raise Refused."""
        self.counts["show"] += 1
        try:
            entry = find()
            if entry is None or entry.rail != self.rail:
                raise Refused(404, "RESOURCE_NOT_FOUND")
            if self.silent(entry):
                return await self.hang(request)
        except Refused as refused:
            return error(refused)
        return json_answer(200, shown(entry))

    def given(
        self,
        header: str | None,
        receiver: object,
        attempt_id: str,
        executable: Callable[[], bool],
    ) -> Given:
        """What befalls a payout: asked for by header or receiver, else ordered, else by chance.

        ``executable``: whether anything could befall it; may raise Refused. So does this, where an
        order waits.
        """
        first = attempt_id not in self._tried
        asked = named(receiver if isinstance(receiver, str) else "", header)
        if asked is not None:
            return Given(asked, header or str(receiver).partition("+")[0], False, first)
        name = self._befalling(attempt_id, executable)
        if name:
            return Given(BEHAVIOURS[name], name, True, first)
        name = self._chances.draw(int.from_bytes(self.digest(attempt_id)[8:12], "big"))
        return Given(BEHAVIOURS.get(name, NORMAL), name, False, first)

    def _befalling(self, attempt_id: str, executable: Callable[[], bool]) -> str:
        """The behaviour that was ordered for this attempt; empty for none. Raises Refused."""
        executed = self.books.by_attempt(attempt_id)
        if executed is not None:
            # A repeat stays what the first was: chance must not refuse what has executed.
            return executed.behaviour if executed.befallen else ""
        if attempt_id in self._tried:
            name = self._tried[attempt_id]
            # A refusal befalls one submission: a repeat goes well, so that a run comes to rest.
            return name if name and BEHAVIOURS[name].executes else ""
        # Without an id nobody could tell a new one from a repeat.
        if not attempt_id or not self.funded or not self.befalls.waiting() or not executable():
            return ""
        return self.befalls.draw(self.able)

    def able(self, name: str) -> bool:
        """Whether a behaviour that is ordered for whichever payout comes next can befall one here.

        What is said by webhook cannot, where none are sent.
        """
        told = BEHAVIOURS[name].notices is not None
        return name not in self.foreign and not (told and self.hooks is None)

    def remember(self, attempt_id: str, given: Given) -> None:
        """Know again an attempt that does not execute the first time, and count what befell it."""
        self._tried[attempt_id] = given.name if given.befallen else ""
        if len(self._tried) > TRIED_MAX:
            self._tried.popitem(last=False)
        if given.befallen:
            self.befalls.happen(given.name)

    def book(self, asked: Asked, given: Given, again: Entry | None = None) -> Entry:
        """Execute: book it and tell of it. ``again``: one under the same id, past its guard.

        Raises Refused when the books are full.
        """
        self._number += 1
        attempt_id = asked.attempt_id
        digest = self.digest(f"{attempt_id} {again.reference if again else ''}")
        if not attempt_id:
            digest = self.digest(f"batch {self._number}")
        entry = Entry(
            self.rail,
            self.reference(digest),
            attempt_id,
            asked.item_id or attempt_id,
            asked.currency,
            asked.amount_minor,
            asked.receiver,
            given.behaviour.plan,
            given.name,
            self.clock.now_ms(),
            # Half to one and a half times the delay.
            self.settings.settle_delay_ms * (500 + digest[12] * 1000 // 255) // 1000,
            befallen=given.befallen,
        )
        try:
            self.books.add(entry, guarded=bool(attempt_id))
        except BooksFull:
            raise Refused(503, "SERVICE_UNAVAILABLE") from None
        behaviour = given.behaviour
        if given.befallen and behaviour.manner not in ONCE and not behaviour.shows_later:
            self.befalls.happen(given.name)
        if self.hooks is not None:
            self.hooks.tell(entry)
        return entry

    def reference(self, digest: bytes) -> str:
        """The provider's id that follows from sixteen bytes."""
        return base64.b32encode(digest[:10]).decode()[:13]

    async def answer(
        self,
        request: web.Request,
        manner: Manner,
        *,
        fine: Callable[[], web.StreamResponse],
        error: Callable[[Refused], web.StreamResponse],
    ) -> web.StreamResponse:
        """The answer to what was executed, in a behaviour's manner."""
        if manner is Manner.HANG_AFTER:
            return await self.hang(request)
        if manner is Manner.RESET_AFTER:
            return reset(request)
        if manner is Manner.ERROR_AFTER:
            return error(Refused(500, "INTERNAL_ERROR"))
        if manner in UNREADABLE:
            return web.Response(status=201, body=UNREADABLE[manner])
        if manner is Manner.SLOW:
            await asyncio.sleep(self.settings.slow_ms / 1000)
        return fine()

    async def not_executed(self, request: web.Request, manner: Manner) -> web.StreamResponse:
        """The first time of a manner that goes well the second time. Raises Refused."""
        if manner is Manner.ERROR_BEFORE_ONCE:
            raise Refused(500, "INTERNAL_ERROR")
        if manner is Manner.BUSY_ONCE:
            raise Refused(503, "SERVICE_UNAVAILABLE")
        return reset(request) if manner is Manner.RESET_BEFORE_ONCE else await self.hang(request)

    async def hang(self, request: web.Request) -> web.StreamResponse:
        """Silence until the caller gives up."""
        until = time.monotonic() + self.settings.hang_ms / 1000
        while time.monotonic() < until:
            if request.transport is None or request.transport.is_closing():
                break
            await asyncio.sleep(0.05)
        return reset(request)

    def silent(self, entry: Entry) -> bool:
        """Whether this enquiry gets no answer. Raises Refused if it gets an error."""
        enquiry = BEHAVIOURS.get(entry.behaviour, NORMAL).enquiry
        if enquiry is Enquiry.OK or entry.enquiries_failed >= ENQUIRIES_FAILING_MAX:
            return False
        if entry.befallen and entry.enquiries_failed == 0:
            self.befalls.happen(entry.behaviour)
        entry.enquiries_failed += 1
        if enquiry is Enquiry.ERROR:
            raise Refused(500, "INTERNAL_ERROR")
        return True

    def digest(self, text: str) -> bytes:
        """Sixteen bytes that follow from the seed and a text."""
        return hashlib.blake2b(text.encode(), digest_size=16, key=self._key).digest()


def json_answer(status: int, body: Mapping[str, object] | str) -> web.Response:
    """An answer of JSON without blanks, as providers send it; a text is JSON already."""
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    return web.Response(status=status, body=text.encode(), content_type="application/json")


def json_object(data: bytes, *, parse_float: Callable[[str], object] = float) -> dict[str, object]:
    """The body of a request. Raises Refused unless it is a JSON object."""
    try:
        body = json.loads(data, parse_float=parse_float)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Refused(400, "MALFORMED_REQUEST")
    return body


def require_login(request: web.Request) -> None:
    """Basic authentication by the sandbox's credentials. Raises Refused."""
    login = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode())
    given = request.headers.get("Authorization", "").encode()
    if not hmac.compare_digest(given, b"Basic " + login):
        raise Refused(401, "AUTHENTICATION_FAILURE")


def reset(request: web.Request) -> web.StreamResponse:
    """Drop the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
