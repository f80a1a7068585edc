"""Where providers report: verify, keep, publish, answer. Nothing of a refused call is echoed."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Protocol

from aiohttp import web

from rails.answers import Json
from rails.rail import attempt_of, payout_of

log = logging.getLogger(__name__)

TOPIC = "rail.updates"
BODY_BYTES_MAX = 256 * 1024
HMAC_KEY_BYTES_MIN = 16
AHEAD_S_MAX = 300
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


def sent_at_s(text: str) -> int:
    """A time that a provider has written, RFC 3339, in seconds since the epoch.

    Raises WebhookRefused for any other text, and for a time without a zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise WebhookRefused("time_unreadable") from None
    # The parser lets any character stand for the T, also one that a signed text cannot hold.
    if moment.tzinfo is None or len(text) > 40 or not text.isascii():
        raise WebhookRefused("time_unreadable")
    return int(moment.timestamp())


def event_of(body: bytes) -> Json:
    """The JSON of a body, numbers with a fraction as text. Raises WebhookRefused for any other."""
    try:
        event: Json = json.loads(body, parse_float=str)
    except (ValueError, RecursionError):
        raise WebhookRefused("unreadable") from None
    return event


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

AttemptOf = Callable[[str, str], Awaitable[str | None]]
"""The attempt's id behind a rail's name and the provider's reference, for a report that has no id
of ours; None if it is not known. May raise: the provider retries."""


Keep = Callable[[str, Mapping[str, str], bytes], Awaitable[None]]
"""Keeps a proven call as it came: its rail, headers and body, which hold personal data. Returns
when it is safe; may raise: the provider retries."""

Count = Callable[[str, str], None]
"""Told the rail and the result of every call, for a metric."""


class HmacVerifier:
    """A WebhookVerifier for HMAC-SHA256 of the body, with a shared key, in base64 in a header.

    So the time of sending is the body's own: that of the report.
    """

    def __init__(
        self,
        key: bytes,
        header: str,
        report: Callable[[Json], dict[str, object] | None],
        *,
        age_s_max: int,
        now_s: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """``report``: an event as the fields of ``payout.reported``, None if it is about no payout;
        may raise ValueError. Raises ValueError for a key that is too short."""
        if len(key) < HMAC_KEY_BYTES_MIN:
            raise ValueError(f"an HMAC key has at least {HMAC_KEY_BYTES_MIN} bytes")
        self._key = key
        self._header = header
        self._report = report
        self._age_s_max = age_s_max
        self._now_s = now_s

    async def verify(self, headers: Mapping[str, str], body: bytes) -> WebhookCall:
        """Prove a call. Raises WebhookRefused."""
        if len(body) > BODY_BYTES_MAX:
            raise WebhookRefused("too_large")
        try:
            given = base64.b64decode(headers.get(self._header, ""), validate=True)
        except (binascii.Error, ValueError):
            raise WebhookRefused("signature_unreadable") from None
        if not hmac.compare_digest(given, hmac.new(self._key, body, hashlib.sha256).digest()):
            raise WebhookRefused("signature_refused")
        try:
            report = self._report(event_of(body))
        except ValueError:
            raise WebhookRefused("unreadable") from None
        if report is None:
            return WebhookCall(hashlib.sha256(body).hexdigest(), [])
        age_s = self._now_s() - sent_at_s(str(report["occurred_at"]))
        if not -AHEAD_S_MAX <= age_s <= self._age_s_max:
            raise WebhookRefused("time_refused")
        return WebhookCall(str(report["id"]), [report])


class Feed(Protocol):
    """Fetches what a provider says that has no way to call: files, or a queue."""

    async def run(self, publish: Publish, seller_of: SellerOf) -> None:
        """Publish what comes, until cancelled."""
        ...


async def forward(
    publish: Publish, seller_of: SellerOf, rail: str, report: Mapping[str, object]
) -> bool:
    """Publish a report; False if its payout is none of ours. Raises whatever either raises."""
    seller_id = await seller_of(str(report["payout_id"]))
    if seller_id is None:
        # Another system on the same provider account. A retry would not help.
        return False
    event = {**report, "rail": rail, "seller_id": seller_id}
    value = json.dumps(event, separators=(",", ":")).encode()
    await publish(topic=TOPIC, key=seller_id.encode(), value=value)
    return True


class WebhookReceiver:
    """The handler behind ``POST /webhooks/{rail}``.

    Answers: 200 published or nothing to do; 400, 401, 413 refused; 404 no such rail; 503 try again.
    """

    def __init__(
        self,
        verifiers: Mapping[str, WebhookVerifier],
        publish: Publish,
        seller_of: SellerOf,
        *,
        attempt_of_reference: AttemptOf,
        keep: Keep,
        count: Count,
    ) -> None:
        """Take verifiers by rail name."""
        self._verifiers = verifiers
        self._publish = publish
        self._seller_of = seller_of
        self._attempt_of = attempt_of_reference
        self._keep = keep
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
            _, published = await asyncio.gather(
                self._keep(rail, request.headers, body), self._forward_all(rail, call.reports)
            )
        except Exception as error:  # noqa: BLE001 - whatever broke on our side, the provider retries
            named = [str(report["payout_id"]) for report in call.reports if "payout_id" in report]
            log.warning(
                "webhook not published: %s",
                type(error).__name__,
                extra={"rail": rail, "payout": " ".join(named) or None},
            )
            return self._answer(rail, "not_published", 503)
        # Remembered only now: a transmission that could not be published must be able to return.
        self._seen[key] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        result = "ignored" if not published else "published" if all(published) else "no_payout"
        return self._answer(rail, result, 200)

    async def warm(self, request: web.Request) -> web.Response:
        """A provider's ``HEAD``, whether anybody is there (Circle's are such)."""
        return web.Response(status=200 if request.match_info["rail"] in self._verifiers else 404)

    async def _forward_all(self, rail: str, reports: list[dict[str, object]]) -> list[bool]:
        return [await self._forward(rail, report) for report in reports]

    async def _forward(self, rail: str, report: dict[str, object]) -> bool:
        told = report
        if "payout_id" not in report:
            attempt_id = await self._attempt_of(rail, str(report["provider_ref"]))
            if attempt_id is None:
                return False
            named = {"payout_id": payout_of(attempt_id), "attempt": attempt_of(attempt_id)}
            told = {**report, **named}
        return await forward(self._publish, self._seller_of, rail, told)

    def _answer(self, rail: str, result: str, status: int) -> web.Response:
        self._count(rail, result)
        if status >= 400:
            log.warning("webhook refused: %s", result, extra={"rail": rail})
        return web.Response(status=status)


def _uncounted(_rail: str, _result: str) -> None:
    """No metric."""


async def _unkept(_rail: str, _headers: Mapping[str, str], _body: bytes) -> None:
    """Nothing is kept."""


async def _unnamed(_rail: str, _reference: str) -> str | None:
    """No provider that names payouts by its own reference alone."""
    return None


def webhook_app(
    verifiers: Mapping[str, WebhookVerifier],
    publish: Publish,
    seller_of: SellerOf,
    *,
    attempt_of_reference: AttemptOf = _unnamed,
    keep: Keep = _unkept,
    count: Count = _uncounted,
) -> web.Application:
    """The receiver as an aiohttp application: ``POST /webhooks/{rail}`` and ``GET /healthz``."""
    receiver = WebhookReceiver(
        verifiers,
        publish,
        seller_of,
        attempt_of_reference=attempt_of_reference,
        keep=keep,
        count=count,
    )
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_post("/webhooks/{rail}", receiver.handle)
    app.router.add_head("/webhooks/{rail}", receiver.warm)
    app.router.add_get("/healthz", _healthy)
    return app


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok")
