"""The company at the other end of the webhooks: the product's receiver on a port of its own."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import web

from models.events import PayoutReported, decode
from rails.registry import open_verifiers
from rails.sandbox.server import Sandbox
from rails.settings import RailSettings
from rails.webhooks import webhook_app


class Company:
    """The receiver of webhooks, as the product runs it."""

    def __init__(self, provider: str = "paypal") -> None:
        self.provider = provider
        self.reports: list[dict[str, Any]] = []
        self.results: list[str] = []
        self.references: dict[str, str] = {}
        """Payouts by the provider's reference, as far as a rail's answers have told it."""
        self.url = ""
        self.runner: web.AppRunner | None = None
        self.verifiers: dict[str, Any] = {}

    def trust(self, sandbox: Sandbox) -> RailSettings:
        """Take a sandbox's signature for the provider's; the settings of a rail to it."""
        settings = sandbox.rail_settings(self.provider, timeout_s=1.5)
        self.verifiers.update(open_verifiers({self.provider: settings}))
        return settings

    async def __aenter__(self) -> Company:
        app = webhook_app(
            self.verifiers,
            self._publish,
            self._seller_of,
            attempt_of_reference=self._payout_of,
            count=lambda _rail, result: self.results.append(result),
        )
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/webhooks/{self.provider}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self.runner is not None
        await self.runner.cleanup()

    async def _publish(self, *, topic: str, key: bytes, value: bytes) -> None:
        assert (topic, key) == ("rail.updates", b"seller-1")
        now_ms = time.time_ns() // 1_000_000
        event = decode(topic, value, now_ms=now_ms, retention_ms=60_000)
        assert isinstance(event, PayoutReported)
        self.reports.append(json.loads(value))

    async def _seller_of(self, _payout_id: str) -> str | None:
        return "seller-1"

    async def _payout_of(self, rail: str, reference: str) -> str | None:
        assert rail == self.provider
        return self.references.get(reference)

    def states(self, payout_id: str) -> list[str]:
        """What was proven to come from the rail about a payout, in order."""
        return [report["state"] for report in self.reports if report["payout_id"] == payout_id]

    async def until(self, results: int, within_s: int = 5) -> None:
        for _ in range(within_s * 50):
            if len(self.results) >= results:
                break
            await asyncio.sleep(0.02)
