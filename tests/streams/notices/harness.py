"""What the tests of notices share: a company that receives them, and the product's half."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import redis
from aiohttp import web
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from models.ids import derived
from models.shards import SHARDS
from streams.agents.notices import Notices
from streams.engine import Batch, Outgoing, RawMessage
from streams.engine.counters import EngineCounters
from streams.engine.stream import Inbox
from streams.metrics import Metrics
from streams.notices.courier import Courier
from streams.notices.endpoint import Endpoint
from streams.notices.pending import PENDING_MAX, PendingNotices
from streams.notices.sender import Sender
from streams.wallets.server import RedisServer

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NEXT_SECRET = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
TOPIC = "payouts.updates"


def update(number: int = 1, seller: str = "anna", state: str = "settled", **fields: Any) -> bytes:
    """A message of `payouts.updates`."""
    body = {
        "v": 1, "type": "payout.updated", "id": derived(f"update-{number}"),
        "payout_id": derived(f"payout-{number}"), "seller_id": seller, "state": state,
        "rail": "paypal", "currency": "EUR", "amount_minor": 3_206, "fee_minor": 42, "attempt": 0,
        "at_ms": 1_795_600_000_123,
    }  # fmt: skip
    return json.dumps({**body, **fields}).encode()


def raw(offset: int, value: bytes, *, seller: str = "anna", topic: str = TOPIC) -> RawMessage:
    """The message as the engine hands it over."""
    return RawMessage(topic, 0, offset, seller.encode(), value, 1_795_600_000_123)


Behave = Callable[[int, web.Request], Any]
"""What the company answers to a try, by its number."""


class Company:
    """A real server that verifies as the specification's own package does."""

    def __init__(self, secret: str = SECRET) -> None:
        self.hook = Webhook(secret)
        self.behave: Behave = lambda number, request: web.Response(status=204)
        self.tries = 0
        self.forged = 0
        self.events: list[dict[str, Any]] = []
        """What it took: verified, and answered with 2xx."""
        self.ids: list[str] = []
        """The webhook-id of every try."""
        self.headers: list[Mapping[str, str]] = []
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it takes notices."""
        return f"http://127.0.0.1:{self.port}/hooks/payouts"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/hooks/payouts", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self.tries += 1
        body = await request.read()
        self.headers.append(dict(request.headers))
        self.ids.append(request.headers["webhook-id"])
        try:
            event = self.hook.verify(body, dict(request.headers))
        except WebhookVerificationError:
            self.forged += 1
            return web.Response(status=401)
        answer = self.behave(self.tries, request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer.status < 300:
            assert event["id"] == request.headers["webhook-id"]
            self.events.append(event)
        assert isinstance(answer, web.StreamResponse)
        return answer


class Clock:
    """The present, and ahead of it as far as a test sets it."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return int(time.time() * 1000) + self.ahead_ms


class Product:
    """Agent, store and sender on a real Redis; what it would publish is in ``sent``."""

    def __init__(self, redis_url: str, url: str, **options: Any) -> None:
        secrets = options.pop("secrets", [SECRET])
        self.clock = options.pop("clock", None) or Clock()
        self.metrics = Metrics()
        self.sent: list[Outgoing] = []
        self.server = RedisServer(redis_url)
        self.pending = PendingNotices(
            self.server, pending_max=options.pop("pending_max", PENDING_MAX)
        )
        endpoint = Endpoint(
            url,
            [SecretStr(secret) for secret in secrets],
            options.pop("timeout_s", 2),
            options.pop("concurrency", 8),
        )
        self.sender = Sender(
            self.pending, Courier(endpoint), self.send, lambda: range(SHARDS),
            clock=self.clock, metrics=self.metrics,
        )  # fmt: skip
        self.agent = Notices(
            self.pending, self.sender, self.send,
            clock=self.clock, metrics=self.metrics, outage_s_max=5,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        await self.server.load()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sender.close()
        await self.server.close()

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Publish."""
        self.sent.extend(messages)

    async def take(self, *messages: RawMessage) -> None:
        """The agent is handed a batch."""
        batch = Batch(messages[0].topic, list(messages), [], Inbox(TOPIC, EngineCounters()))
        await (await self.agent.handle(batch))

    async def deliver(self) -> int:
        """Send everything that is due now; how many tries."""
        tries = 0
        while taken := await self.sender.once():
            tries += taken
            await self.sender.settled()
        return tries

    def count(self, result: str) -> float:
        """How many tries had a result."""
        return (
            self.metrics.registry.get_sample_value("payouts_notices_total", {"result": result}) or 0
        )

    def gauge(self, name: str) -> float | None:
        """A gauge's value."""
        return self.metrics.registry.get_sample_value(f"payouts_{name}")


def kept(client: redis.Redis) -> int:
    """How many notices Redis keeps."""
    return sum(int(client.zcard(key)) for key in client.scan_iter("notices*:due"))  # type: ignore[arg-type]
