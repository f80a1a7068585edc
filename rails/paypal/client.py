"""HTTP to PayPal: one session, one token, bounded answers, and for each failure its fate.

The only place that knows aiohttp. Whoever calls learns an answer, or whether the request was sent.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import aiohttp

from rails.settings import RailSettings

ANSWER_BYTES_MAX = 256 * 1024
TOKEN_CHARS_MAX = 8192
TOKEN_EARLY_S = 60
"""A token is renewed this long before it ends, so that it does not end on the way."""
TOKEN_LIFE_S_MAX = 9 * 3600


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


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON body, already parsed. ``body`` may hold personal data: never log it."""

    status: int
    body: object


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    ends_at_s: float


class PayPalClient:
    """The four calls of Payouts v1. Opens its session at the first call, in that event loop."""

    def __init__(self, settings: RailSettings) -> None:
        """Take the settings of one PayPal account."""
        self._settings = settings
        self._places = asyncio.Semaphore(settings.concurrency_max)
        self._session: aiohttp.ClientSession | None = None
        self._token: _Token | None = None
        self._fetching: asyncio.Task[_Token | CallFailed] | None = None
        self._closed = False

    async def create_batch(self, body: Mapping[str, object]) -> Answer:
        """``POST /v1/payments/payouts``. Raises CallFailed."""
        data = json.dumps(body, separators=(",", ":")).encode()
        return await self._call("POST", "/v1/payments/payouts", data)

    async def show_batch(self, batch_id: str) -> Answer:
        """``GET /v1/payments/payouts/{id}``. Raises CallFailed."""
        return await self._call("GET", f"/v1/payments/payouts/{batch_id}")

    async def show_item(self, item_id: str) -> Answer:
        """``GET /v1/payments/payouts-item/{id}``. Raises CallFailed."""
        return await self._call("GET", f"/v1/payments/payouts-item/{item_id}")

    async def cancel_item(self, item_id: str) -> Answer:
        """``POST /v1/payments/payouts-item/{id}/cancel``. Raises CallFailed."""
        return await self._call("POST", f"/v1/payments/payouts-item/{item_id}/cancel", b"{}")

    async def close(self) -> None:
        """Close the session; a token under way is dropped."""
        self._closed = True
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _call(self, method: str, path: str, data: bytes | None = None) -> Answer:
        async with self._places:
            token = await self._access_token()
            answer = await self._exchange(method, path, data, f"Bearer {token.value}")
            if answer.status != 401:
                return answer
            # The token was revoked before its time. A 401 executed nothing: once more is safe.
            if self._token is token:
                self._token = None
            token = await self._access_token()
            return await self._exchange(method, path, data, f"Bearer {token.value}")

    async def _access_token(self) -> _Token:
        """The token, fetched once however many callers wait. Raises CallFailed, never sent."""
        token = self._token
        if token is not None and time.monotonic() < token.ends_at_s:
            return token
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_token())
            self._fetching.add_done_callback(self._fetched)
        # Shielded: the first caller giving up must not take the token from the others.
        found = await asyncio.shield(self._fetching)
        if isinstance(found, CallFailed):
            raise CallFailed(Fate.NOT_SENT, found.reason)
        return found

    def _fetched(self, task: asyncio.Task[_Token | CallFailed]) -> None:
        self._fetching = None
        found = None if task.cancelled() else task.result()
        if isinstance(found, _Token):
            self._token = found

    async def _fetch_token(self) -> _Token | CallFailed:
        secret = self._settings.secret.get_secret_value()
        pair = f"{self._settings.client_id}:{secret}".encode()
        login = "Basic " + base64.b64encode(pair).decode()
        try:
            answer = await self._exchange(
                "POST", "/v1/oauth2/token", b"grant_type=client_credentials", login
            )
        except CallFailed as error:
            return CallFailed(Fate.NOT_SENT, f"token_{error.reason}")
        body = answer.body if isinstance(answer.body, dict) else {}
        value, life_s = body.get("access_token"), body.get("expires_in")
        if answer.status in {400, 401, 403}:
            return CallFailed(Fate.NOT_SENT, "token_refused")
        if answer.status != 200 or not isinstance(value, str) or not value.isascii():
            return CallFailed(Fate.NOT_SENT, f"token_http_{answer.status}")
        if not isinstance(life_s, int) or not 0 < len(value) <= TOKEN_CHARS_MAX:
            return CallFailed(Fate.NOT_SENT, "token_unreadable")
        life_s = max(0, min(life_s, TOKEN_LIFE_S_MAX))
        return _Token(value, time.monotonic() + life_s - min(TOKEN_EARLY_S, life_s // 2))

    async def _exchange(
        self, method: str, path: str, data: bytes | None, authorization: str
    ) -> Answer:
        """One request and its answer. Raises CallFailed."""
        kind = "application/x-www-form-urlencoded" if "oauth2" in path else "application/json"
        headers = {"Authorization": authorization}
        if data is not None:
            headers["Content-Type"] = kind
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

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise CallFailed(Fate.NOT_SENT, "closed")
        if self._session is None:
            settings = self._settings
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=settings.concurrency_max + 1,  # one for the token
                    ttl_dns_cache=60,
                    keepalive_timeout=30,
                ),
                timeout=aiohttp.ClientTimeout(
                    total=settings.timeout_ms / 1000,
                    connect=settings.connect_timeout_ms / 1000,
                ),
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


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
