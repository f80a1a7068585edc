"""HTTP to a provider: one session, bounded answers, and for each failure its fate.

The only place of the connectors that knows aiohttp's client. Whoever calls learns an answer, or
whether the request was sent.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import aiohttp

from models.payouts import FailureCategory, PayoutState
from rails.accounts import DestinationInvalid
from rails.amounts import AmountInvalid
from rails.answers import Json, code
from rails.rail import Outcome, failed, not_shown, refused, unknown
from rails.settings import HttpSettings
from rails.watching import watching

ANSWER_BYTES_MAX = 256 * 1024
CONNECT_TIMEOUT_S = 5


class Fate(StrEnum):
    """What became of a request that got no readable answer."""

    NOT_SENT = "not_sent"  # no byte of it can have been acted upon
    SENT = "sent"  # the server answered, but not readably
    UNKNOWN = "unknown"  # the server may or may not have acted on it


# Every exception class of aiohttp's client, and the bases it may surface as. The nearest class
# in an error's MRO decides; a class that is not here or below is UNKNOWN. A test goes through
# aiohttp's classes and fails for one without a row.
FATES: Mapping[type[BaseException], Fate] = {
    # Before the request: name lookup, connection, TLS, proxy, address.
    aiohttp.ClientConnectorError: Fate.NOT_SENT,
    aiohttp.ClientConnectorDNSError: Fate.NOT_SENT,
    aiohttp.ClientConnectorSSLError: Fate.NOT_SENT,
    aiohttp.ClientConnectorCertificateError: Fate.NOT_SENT,
    aiohttp.ClientSSLError: Fate.NOT_SENT,
    aiohttp.ClientProxyConnectionError: Fate.NOT_SENT,
    aiohttp.ClientHttpProxyError: Fate.NOT_SENT,
    aiohttp.client_exceptions.UnixClientConnectorError: Fate.NOT_SENT,
    aiohttp.ServerFingerprintMismatch: Fate.NOT_SENT,
    aiohttp.ConnectionTimeoutError: Fate.NOT_SENT,
    aiohttp.InvalidURL: Fate.NOT_SENT,
    aiohttp.InvalidUrlClientError: Fate.NOT_SENT,
    aiohttp.NonHttpUrlClientError: Fate.NOT_SENT,
    # The server answered something.
    aiohttp.ClientPayloadError: Fate.SENT,
    aiohttp.ClientResponseError: Fate.SENT,
    aiohttp.ContentTypeError: Fate.SENT,
    aiohttp.TooManyRedirects: Fate.SENT,
    aiohttp.RedirectClientError: Fate.SENT,
    aiohttp.InvalidUrlRedirectClientError: Fate.SENT,
    aiohttp.NonHttpUrlRedirectClientError: Fate.SENT,
    aiohttp.WSServerHandshakeError: Fate.SENT,
    # The connection broke or went silent while the request was under way.
    aiohttp.ClientError: Fate.UNKNOWN,
    aiohttp.ClientConnectionError: Fate.UNKNOWN,
    aiohttp.ClientConnectionResetError: Fate.UNKNOWN,
    aiohttp.ClientOSError: Fate.UNKNOWN,
    aiohttp.ServerConnectionError: Fate.UNKNOWN,
    aiohttp.ServerDisconnectedError: Fate.UNKNOWN,
    aiohttp.ServerTimeoutError: Fate.UNKNOWN,
    aiohttp.SocketTimeoutError: Fate.UNKNOWN,
    TimeoutError: Fate.UNKNOWN,
    ssl.SSLError: Fate.UNKNOWN,
    OSError: Fate.UNKNOWN,
}


def fate_of(error: BaseException) -> Fate:
    """Whether the request behind an error was sent."""
    for base in type(error).__mro__:
        if base in FATES:
            return FATES[base]
    return Fate.UNKNOWN


class CallFailed(Exception):
    """A call without a readable answer. ``reason`` is a machine code."""

    def __init__(self, fate: Fate, reason: str) -> None:
        """Keep the fate and a code; the cause may hold an address and is not kept."""
        super().__init__(f"{reason} ({fate})")
        self.fate = fate
        self.reason = reason


_NONE: Mapping[str, FailureCategory] = {}


def call_failed(
    error: CallFailed, *, repeat: bool, categories: Mapping[str, FailureCategory] = _NONE
) -> Outcome:
    """What a submission without an answer means.

    Only a request that provably was not sent is a failure, and only if it was the first: the
    net's trouble, unless ``categories`` has its reason.
    """
    reason = code(error.reason)
    if error.fate is not Fate.NOT_SENT or repeat:
        return unknown(reason)
    return failed(categories.get(reason, FailureCategory.RETRYABLE), reason)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON body, already parsed. ``body`` may hold personal data: never log it."""

    status: int
    body: object


async def submit_by(
    body: Callable[[], Mapping[str, object] | bytes],
    send: Callable[[bytes], Awaitable[Answer]],
    read: Callable[[Answer], Outcome],
    *,
    repeat: bool,
    categories: Mapping[str, FailureCategory] = _NONE,
) -> Outcome:
    """A submission: its body made, sent, and its answer read.

    ``body`` makes an object, or the JSON of one; it may raise DestinationInvalid, AmountInvalid, or
    KeyError for an unknown currency: then nothing is sent. ``repeat`` and ``categories`` are those
    of :func:`call_failed`.
    """
    try:
        made = body()
    except DestinationInvalid as error:
        return refused(str(error), repeat=repeat)
    except (AmountInvalid, KeyError):
        return refused("amount_not_representable", repeat=repeat)
    data = made if isinstance(made, bytes) else json.dumps(made, separators=(",", ":")).encode()
    try:
        answer = await send(data)
    except CallFailed as error:
        return call_failed(error, repeat=repeat, categories=categories)
    return read(answer)


async def show_by(
    answer: Awaitable[Answer], reference: str | None, read: Callable[[Json], Outcome]
) -> Outcome:
    """What the provider shows under its reference; without a 200, UNKNOWN under the same."""
    try:
        shown = await answer
    except CallFailed as error:
        return unknown(code(error.reason), reference)
    return read(shown.body) if shown.status == 200 else not_shown(shown.status, reference)


async def repeat_by(
    lapsed: str | None,
    submit: Callable[[], Awaitable[Outcome]],
    read: Callable[[str], Awaitable[Outcome]],
) -> Outcome:
    """An enquiry without a reference: the submission again, under the provider's guard.

    ``lapsed``: why that guard does not surely hold (:meth:`Capabilities.guard_lapsed`); nothing is
    sent then. Under its guard a provider may give the first answer again, which is old by now: so
    what it names is read anew.
    """
    if lapsed is not None:
        return unknown(lapsed)
    outcome = await submit()
    if outcome.state is PayoutState.ACCEPTED and outcome.provider_ref is not None:
        return await read(outcome.provider_ref)
    return outcome


class HttpClient:
    """One provider's address. Opens its session at the first call, in that event loop.

    ``places``: as many calls may be open at a time; whoever calls takes one.
    """

    def __init__(
        self, settings: HttpSettings, *, spare: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        """Take the settings of one account.

        ``spare``: connections beyond the payouts' own. ``tls``: for a certificate of ours, or an
        authority of our own; where it is None, the system's authorities are trusted.
        """
        self.places = asyncio.Semaphore(settings.concurrency)
        self._settings = settings
        self._spare = spare
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def exchange(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes | None = None
    ) -> Answer:
        """One request and its answer, redirects unfollowed. Raises CallFailed."""
        watch = watching.get()
        if watch is None:
            return await self._exchanged(method, path, headers, data)
        with watch(method, self._settings.root) as seen:
            answer = await self._exchanged(method, path, {**headers, **seen.headers}, data)
            seen.status = answer.status
            return answer

    async def _exchanged(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes | None
    ) -> Answer:
        try:
            async with self._open().request(
                method,
                self._settings.root + path,
                data=data,
                headers=headers,
                allow_redirects=False,
            ) as response:
                return Answer(response.status, await _read(response))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise CallFailed(fate_of(error), type(error).__name__) from None

    async def close(self) -> None:
        """Close the session; later calls fail unsent."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise CallFailed(Fate.NOT_SENT, "closed")
        if self._session is None:
            settings = self._settings
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=settings.concurrency + self._spare,
                    ssl=self._tls if self._tls is not None else True,
                    ttl_dns_cache=60,
                    keepalive_timeout=30,
                ),
                timeout=aiohttp.ClientTimeout(total=settings.timeout_s, connect=CONNECT_TIMEOUT_S),
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def basic_login(user: str, password: str) -> str:
    """The value of ``Authorization`` that proves a user by a password (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def _read(response: aiohttp.ClientResponse) -> object:
    """The body as JSON, None where it is empty or not JSON. Raises CallFailed when too large.

    A status without a readable body is still an answer: the tables decide what it means.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > ANSWER_BYTES_MAX:
            response.close()
            raise CallFailed(Fate.SENT, "answer_too_large")
        chunks.append(chunk)
    try:
        body: object = json.loads(b"".join(chunks), parse_float=str)
    except (ValueError, RecursionError):
        return None
    return body
