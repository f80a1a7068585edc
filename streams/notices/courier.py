"""The courier: one POST a notice, signed to the Standard Webhooks specification.

Headers: ``webhook-id`` (the notice's id), ``webhook-timestamp`` (seconds since the epoch, of this
try) and ``webhook-signature`` (``v1,`` and the HMAC-SHA256 of id, timestamp and body, one for each
secret, separated by a blank).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

import aiohttp
from pydantic_core import to_json
from standardwebhooks.webhooks import Webhook

from models.notices import Notice
from streams.notices.endpoint import Endpoint, key_of

ANSWER_BYTES_MAX = 16 * 1024
"""What is read of an answer's body, so that the connection can be used again. It says nothing."""

CONNECT_TIMEOUT_S = 5.0
"""How long a connection may take to come about."""

GONE = 410
"""The status by which an endpoint says that it wants no more."""


class Result(StrEnum):
    """What became of one try."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # an answer that is not 2xx, redirects included
    SILENT = "silent"  # no connection, or no answer in time
    GONE = "gone"  # 410: nothing more is to be sent there


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one try; ``word`` is short and safe to log."""

    result: Result
    word: str
    retry_after_ms: int = 0


class Courier:
    """Carries notices to the endpoint. Opens its session at the first, in that event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._hooks = [Webhook(key_of(secret)) for secret in endpoint.secrets]
        self._session: aiohttp.ClientSession | None = None

    async def carry(self, notice: Notice, now_ms: int) -> Answer:
        """One try; never raises for what the endpoint does. ``now_ms`` since the epoch."""
        body = to_json(notice.event)
        try:
            async with self._open().post(
                self.endpoint.url,
                data=body,
                headers=self.headers(notice.id, body, now_ms),
                allow_redirects=False,
            ) as response:
                answer = _answer(response, now_ms)
                await _drain(response)
                return answer
        except TimeoutError:
            return Answer(Result.SILENT, "timeout")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The error's text may hold the address, and so a token.
            return Answer(Result.SILENT, type(error).__name__)

    def headers(self, id_: str, body: bytes, now_ms: int) -> dict[str, str]:
        """What a try is signed with."""
        at = datetime.fromtimestamp(now_ms // 1000, UTC)
        signatures = [hook.sign(id_, at, body.decode()) for hook in self._hooks]
        return {
            "Content-Type": "application/json",
            "webhook-id": id_,
            "webhook-timestamp": str(now_ms // 1000),
            "webhook-signature": " ".join(signatures),
        }

    async def close(self) -> None:
        """Give the connections back."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self.endpoint.concurrency_max, ttl_dns_cache=60, keepalive_timeout=30
                ),
                timeout=aiohttp.ClientTimeout(
                    total=self.endpoint.timeout_s, sock_connect=CONNECT_TIMEOUT_S
                ),
                headers={"Accept-Encoding": "identity", "User-Agent": "payout-streams"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def _answer(response: aiohttp.ClientResponse, now_ms: int) -> Answer:
    status = response.status
    word = f"http_{status}"
    if 200 <= status < 300:
        return Answer(Result.DELIVERED, word)
    if status == GONE:
        return Answer(Result.GONE, word)
    return Answer(Result.REFUSED, word, retry_after_ms(response.headers.get("Retry-After"), now_ms))


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a short body, so that the connection is kept; drop the connection of a long one."""
    left = ANSWER_BYTES_MAX
    try:
        while left > 0 and (chunk := await response.content.read(left)):
            left -= len(chunk)
    except (aiohttp.ClientError, TimeoutError, OSError):
        # The status has come, and says all.
        left = 0
    if left <= 0:
        response.close()


def retry_after_ms(header: str | None, now_ms: int) -> int:
    """What a Retry-After header asks for, in milliseconds; 0 if it asks for nothing readable."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return int(text[:9]) * 1000
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0
    moment = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0, int(moment.timestamp() * 1000) - now_ms)
