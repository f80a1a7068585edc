"""The template's provider in the sandbox: payouts under an idempotency key.

It shares no code with the connector, so that one cannot hide the other's error.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from aiohttp import web

from rails.sandbox.behaviours import BEHAVIOURS, DAY_MS, NORMAL
from rails.sandbox.books import Entry, moment
from rails.sandbox.hooks import Scribe
from rails.sandbox.notices import Notice
from rails.sandbox.provider import (
    SECRET,
    Asked,
    Given,
    Provider,
    Refused,
    Submission,
    json_answer,
    json_object,
)
from rails.sandbox.scribes import hmac_headers

ROOT = "/template/v1"
WEBHOOK_KEY = "sandbox-template-key"
GUARD_MS = 30 * DAY_MS

STATUSES: Mapping[str, str] = MappingProxyType(
    {
        "PENDING": "pending",
        "ONHOLD": "pending",
        "SUCCESS": "paid",
        "FAILED": "failed",
        "BLOCKED": "failed",
        "RETURNED": "returned",
        "REFUNDED": "returned",
        "REVERSED": "returned",
    }
)
"""The provider's word for each of the sandbox's own."""

STATUS_OTHERWISE = "odd"


class TemplateSandbox(Provider):
    """The provider's side."""

    rail = "template"

    @staticmethod
    def rail_fields(url: str) -> dict[str, object]:
        """The API under its root, with the sandbox's keys."""
        return {
            "base_url": url + ROOT,
            "plain_http_allowed": True,
            "api_key": SECRET,
            "webhook_key": WEBHOOK_KEY,
        }

    def scribe(self) -> Scribe:
        """Signs with the key of both sides."""
        return TemplateScribe()

    def routes(self) -> list[web.RouteDef]:
        """The paths of the API."""
        return [
            web.post(ROOT + "/payouts", self.create),
            web.get(ROOT + "/payouts/{id}", self.show),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Create a payout; under a key that was used, show what it made."""
        return await self.take(request, lambda data: self._submission(request, data), _error)

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Show a payout."""

        def find() -> Entry | None:
            _authorize(request)
            return self.books.by_reference(request.match_info["id"])

        return await self.tell(
            request, find, lambda entry: payout(entry, self.clock.now_ms()), _error
        )

    def _submission(self, request: web.Request, data: bytes) -> Submission:
        """A request, read. Raises Refused."""
        _authorize(request)
        body = json_object(data)
        key = request.headers.get("Idempotency-Key", "")

        def execute(given: Given) -> Entry:
            if given.behaviour.refusal is not None:
                raise Refused(*given.behaviour.refusal)
            return self.book_once(_asked(body, key), given, GUARD_MS, lambda first: first)

        return Submission(
            key,
            body.get("receiver"),
            lambda: bool(_asked(body, key)),
            execute,
            lambda entry: json_answer(201, payout(entry, entry.created_ms)),
        )


class TemplateScribe:
    """Events of the provider's."""

    def headers(self, signed: bytes, now: datetime) -> dict[str, str]:
        """The signature; it has no time of its own."""
        return hmac_headers(WEBHOOK_KEY.encode(), "Template-Signature", signed)

    def body(self, entry: Entry, notice: Notice, number: str, at_ms: int) -> bytes:
        """An event about the payout."""
        event = {
            "id": f"{entry.reference}{number}",
            "created_at": moment(at_ms),
            "payout": payout(entry, at_ms, None if entry.ended else notice.word),
        }
        return json.dumps(event, separators=(",", ":")).encode()


def payout(entry: Entry, now_ms: int, claimed: str | None = None) -> dict[str, object]:
    """An entry as a payout; ``claimed``: with a status other than its own."""
    return {
        "id": entry.reference,
        "reference": entry.sender_item_id,
        "currency": entry.currency,
        "amount_minor": entry.amount_minor,
        "status": STATUSES.get(claimed or entry.status(now_ms), STATUS_OTHERWISE),
        "reason": (BEHAVIOURS.get(entry.behaviour, NORMAL).error or "").lower(),
    }


def _authorize(request: web.Request) -> None:
    given = request.headers.get("Authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {SECRET}".encode()):
        raise Refused(401, "AUTHENTICATION_FAILURE")


def _asked(body: Mapping[str, object], key: str) -> Asked:
    """What a request asks for. Raises Refused."""
    reference, receiver = body.get("reference"), body.get("receiver")
    currency, amount_minor = body.get("currency"), body.get("amount_minor")
    if not isinstance(reference, str) or not isinstance(receiver, str) or "@" not in receiver:
        raise Refused(400, "VALIDATION_ERROR")
    if not isinstance(currency, str) or type(amount_minor) is not int or amount_minor <= 0:
        raise Refused(400, "VALIDATION_ERROR")
    return Asked(key, reference, receiver, currency, amount_minor)


def _error(refused: Refused) -> web.Response:
    return json_answer(refused.status, {"error": refused.name.lower()})
