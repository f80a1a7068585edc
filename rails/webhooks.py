"""Where providers report: verify, publish, answer at once. Nothing of a refused call is echoed."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from aiohttp import web

log = logging.getLogger(__name__)

TOPIC = "rail.updates"
BODY_BYTES_MAX = 256 * 1024
SEEN_MAX = 20_000
"""Transmissions remembered, to stop replays inside the time tolerance. Effects are idempotent
anyway: this saves work, correctness does not rest on it."""


class WebhookRefused(Exception):
    """A call that is not proven to come from the provider, or is unreadable.

    ``reason`` is a machine code. ``retry`` asks the provider to come again (our own trouble).
    """

    def __init__(self, reason: str, *, retry: bool = False) -> None:
        """Keep a code and whether another try makes sense."""
        super().__init__(reason)
        self.reason = reason
        self.retry = retry


class WebhookVerifier(Protocol):
    """Proves a call and reads it."""

    async def verify(self, headers: Mapping[str, str], body: bytes) -> WebhookCall:
        """The proven call. Raises WebhookRefused."""
        ...


class WebhookCall:
    """A proven call: the provider's id of the transmission and what it reports."""

    __slots__ = ("reports", "transmission_id")

    def __init__(self, transmission_id: str, reports: list[dict[str, object]]) -> None:
        """Take the id and reports: ``payout.reported`` events without their seller."""
        self.transmission_id = transmission_id
        self.reports = reports


class Publish(Protocol):
    """Puts a message on a topic; returns when the broker has it, raises when not."""

    async def __call__(self, *, topic: str, key: bytes, value: bytes) -> None:
        """Publish one message."""
        ...


SellerOf = Callable[[str], Awaitable[str | None]]
"""The seller of a payout id, None if there is no such payout. May raise: the provider retries."""

Count = Callable[[str, str], None]
"""Told the rail and the result of every call, for a metric."""


class WebhookReceiver:
    """The handler behind ``POST /webhooks/{rail}``.

    Answers: 200 published or nothing to do; 400, 401, 413 refused; 404 no such rail; 503 try again.
    """

    def __init__(
        self,
        verifiers: Mapping[str, WebhookVerifier],
        publish: Publish,
        seller_of: SellerOf,
        count: Count,
    ) -> None:
        """Take verifiers by rail name."""
        self._verifiers = verifiers
        self._publish = publish
        self._seller_of = seller_of
        self._count = count
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def handle(self, request: web.Request) -> web.Response:
        """One call."""
        rail = request.match_info["rail"]
        verifier = self._verifiers.get(rail)
        if verifier is None:
            return web.Response(status=404)
        try:
            body = await request.read()
            call = await verifier.verify(request.headers, body)
        except web.HTTPRequestEntityTooLarge:
            return self._answer(rail, "too_large", 413)
        except WebhookRefused as refused:
            status = 503 if refused.retry else 400 if refused.reason == "unreadable" else 401
            return self._answer(rail, refused.reason, status)
        key = (rail, call.transmission_id)
        if key in self._seen:
            return self._answer(rail, "repeated", 200)
        try:
            published = [await self._forward(rail, report) for report in call.reports]
        except Exception as error:  # noqa: BLE001 - whatever broke on our side, the provider retries
            log.warning("webhook of %s not published: %s", rail, type(error).__name__)
            return self._answer(rail, "not_published", 503)
        # Remembered only now: a transmission that could not be published must be able to return.
        self._seen[key] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        result = "ignored" if not published else "published" if all(published) else "no_payout"
        return self._answer(rail, result, 200)

    async def _forward(self, rail: str, report: dict[str, object]) -> bool:
        seller_id = await self._seller_of(str(report["payout_id"]))
        if seller_id is None:
            # Not ours: another system on the same provider account. A retry would not help.
            return False
        event = {**report, "rail": rail, "seller_id": seller_id}
        value = json.dumps(event, separators=(",", ":")).encode()
        await self._publish(topic=TOPIC, key=seller_id.encode(), value=value)
        return True

    def _answer(self, rail: str, result: str, status: int) -> web.Response:
        self._count(rail, result)
        if status >= 400:
            log.warning("webhook of %s refused: %s", rail, result)
        return web.Response(status=status)


def _uncounted(_rail: str, _result: str) -> None:
    """No metric."""


def webhook_app(
    verifiers: Mapping[str, WebhookVerifier],
    publish: Publish,
    seller_of: SellerOf,
    *,
    count: Count = _uncounted,
) -> web.Application:
    """The receiver as an aiohttp application: ``POST /webhooks/{rail}`` and ``GET /healthz``."""
    receiver = WebhookReceiver(verifiers, publish, seller_of, count)
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_post("/webhooks/{rail}", receiver.handle)
    app.router.add_get("/healthz", _healthy)
    return app


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok")
