"""A stateful PayPal Payouts v1: tokens, batches of one item, the duplicate rule, cancellation.

It shares no code with the connector, so that one cannot hide the other's error.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime

from aiohttp import web

from models.money import exponent
from rails.sandbox.behaviours import (
    BEHAVIOURS,
    CANCELLED,
    DAY_MS,
    NORMAL,
    NOTE_TRIGGERS,
    Behaviour,
    Chances,
    Manner,
    named,
)
from rails.sandbox.books import Books, BooksFull, Entry, SandboxClock
from rails.sandbox.hooks import Hooks

GUARD_MS = 30 * DAY_MS
TOKENS_MAX = 1_000
TRIED_MAX = 100_000
HEADER = "X-Sandbox-Behaviour"
CURRENCIES = frozenset(
    {
        "AUD",
        "BRL",
        "CAD",
        "CHF",
        "CZK",
        "DKK",
        "EUR",
        "GBP",
        "HKD",
        "HUF",
        "ILS",
        "JPY",
        "MXN",
        "MYR",
        "NOK",
        "NZD",
        "PHP",
        "PLN",
        "SEK",
        "SGD",
        "THB",
        "TWD",
        "USD",
    }
)
NO_DECIMALS = frozenset({"HUF", "JPY", "TWD"})
PAID = frozenset({"SUCCESS"})
_ONCE = frozenset(
    {
        Manner.HANG_BEFORE_ONCE,
        Manner.RESET_BEFORE_ONCE,
        Manner.ERROR_BEFORE_ONCE,
        Manner.BUSY_ONCE,
    }
)
_WITH_ERROR = frozenset({"FAILED", "BLOCKED", "UNCLAIMED"})
_VALUE = re.compile(r"(0|[1-9][0-9]{0,11})(?:\.([0-9]{2}))?")
_SPEC_ONE_LINE = re.compile(r".*")


class Refused(Exception):
    """An error answer of PayPal's."""

    def __init__(
        self, status: int, name: str, details: list[dict[str, object]] | None = None
    ) -> None:
        """Take status, name and details."""
        super().__init__(name)
        self.status = status
        self.name = name
        self.details = details


def _invalid(field: str, issue: str) -> Refused:
    return Refused(400, "VALIDATION_ERROR", [{"field": field, "location": "body", "issue": issue}])


class PayPalSandbox:
    """PayPal's side. ``funded`` is whether the sender has money there."""

    def __init__(
        self,
        books: Books,
        clock: SandboxClock,
        *,
        seed: int,
        settle_delay_ms: int,
        slow_ms: int,
        hang_ms: int,
        token_life_s: int,
        client_id: str,
        secret: str,
        fault_bp: Mapping[str, int],
    ) -> None:
        """Take books, clock and settings. Raises ValueError for unknown faults."""
        self._books = books
        self._clock = clock
        self._key = seed.to_bytes(8, "big", signed=True)
        self._settle_delay_ms = settle_delay_ms
        self._slow_ms = slow_ms
        self._hang_ms = hang_ms
        self._token_life_s = token_life_s
        pair = f"{client_id}:{secret}".encode()
        self._login = b"Basic " + base64.b64encode(pair)
        self._chances = Chances(fault_bp)
        self._tokens: OrderedDict[str, float] = OrderedDict()
        self._tried: OrderedDict[str, None] = OrderedDict()
        self._number = 0
        self.hooks: Hooks | None = None
        self.funded = True
        self.counts = {"token": 0, "create": 0, "duplicate": 0, "show": 0, "cancel": 0}

    def routes(self) -> list[web.RouteDef]:
        """The paths of the API."""
        return [
            web.post("/v1/oauth2/token", self.token),
            web.post("/v1/payments/payouts", self.create),
            web.get("/v1/payments/payouts/{id}", self.show_batch),
            web.get("/v1/payments/payouts-item/{id}", self.show_item),
            web.post("/v1/payments/payouts-item/{id}/cancel", self.cancel),
        ]

    def revoke_tokens(self) -> None:
        """Make every token given out invalid."""
        self._tokens.clear()

    async def token(self, request: web.Request) -> web.Response:
        """OAuth2 client credentials."""
        self.counts["token"] += 1
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, self._login):
            return _json(401, {"error": "invalid_client", "error_description": "Client failed"})
        if (await request.post()).get("grant_type") != "client_credentials":
            return _json(400, {"error": "unsupported_grant_type"})
        self._number += 1
        token = f"A21AA{self._digest(f'token {self._number}').hex()}"
        self._tokens[token] = time.monotonic() + self._token_life_s
        if len(self._tokens) > TOKENS_MAX:
            self._tokens.popitem(last=False)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": self._token_life_s}
        return _json(200, {"scope": "payouts", **answer})

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Create a batch of one item."""
        self.counts["create"] += 1
        try:
            self._authorize(request)
            body = _object(await request.read())
            header, item = _parts(body)
            attempt_id = _line(header, "sender_batch_id", 256)
            behaviour, name = self._behaviour(request, item, attempt_id)
            if behaviour.manner in _ONCE and self._first_try(attempt_id):
                return await self._not_executed(request, behaviour.manner)
            entry = self._execute(request, attempt_id, item, behaviour, name)
        except Refused as refused:
            return _error(refused)
        return await self._answer(request, behaviour, entry, header)

    async def show_batch(self, request: web.Request) -> web.Response:
        """Show a batch with its item."""
        self.counts["show"] += 1
        try:
            self._authorize(request)
            entry = self._entry(request.match_info["id"])
        except Refused as refused:
            return _error(refused)
        now_ms = self._clock.now_ms()
        header = {
            "payout_batch_id": entry.reference,
            "batch_status": self._batch_status(entry, now_ms),
            "time_created": _moment(entry.created_ms),
            "sender_batch_header": {"sender_batch_id": entry.attempt_id},
            "funding_source": "BALANCE",
            "amount": _amount(entry),
        }
        return _json(
            200,
            {
                "total_items": 1,
                "total_pages": 1,
                "batch_header": header,
                "items": [self.item(entry, now_ms)],
            },
        )

    async def show_item(self, request: web.Request) -> web.Response:
        """Show an item."""
        self.counts["show"] += 1
        try:
            self._authorize(request)
            entry = self._entry_of_item(request.match_info["id"])
        except Refused as refused:
            return _error(refused)
        return _json(200, self.resource(entry, self._clock.now_ms()))

    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel an unclaimed item."""
        self.counts["cancel"] += 1
        try:
            self._authorize(request)
            entry = self._entry_of_item(request.match_info["id"])
            now_ms = self._clock.now_ms()
            status = entry.status(now_ms)
            if entry.ended:
                raise Refused(400, "ITEM_ALREADY_CANCELLED")
            if status != "UNCLAIMED":
                raise Refused(400, "ITEM_INCORRECT_STATUS")
        except Refused as refused:
            return _error(refused)
        entry.end(now_ms, CANCELLED)
        if self.hooks is not None:
            self.hooks.schedule(entry, 0)
        return _json(200, self.resource(entry, now_ms))

    def item(self, entry: Entry, now_ms: int) -> dict[str, object]:
        """An entry as an item of a batch."""
        status = entry.status(now_ms)
        shown: dict[str, object] = {
            "payout_item_id": _item_id(entry),
            "transaction_id": entry.reference[::-1],
            "transaction_status": status,
            "payout_batch_id": entry.reference,
            "payout_item": {
                "recipient_type": _recipient_type(entry.receiver),
                "amount": _amount(entry),
                "receiver": entry.receiver,
                "sender_item_id": entry.sender_item_id,
            },
            "time_processed": _moment(entry.due_ms(entry.step(now_ms))),
        }
        behaviour = BEHAVIOURS.get(entry.behaviour, NORMAL)
        if behaviour.error is not None and status in _WITH_ERROR:
            shown["errors"] = _error_body(behaviour.error, None)
        return shown

    def resource(self, entry: Entry, now_ms: int) -> dict[str, object]:
        """An entry as an item of its own, as webhooks carry it too."""
        return {**self.item(entry, now_ms), "sender_batch_id": entry.attempt_id}

    def _authorize(self, request: web.Request) -> None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or self._tokens.get(token, 0) <= time.monotonic():
            raise Refused(401, "AUTHENTICATION_FAILURE")

    def _behaviour(
        self, request: web.Request, item: dict[str, object], attempt_id: str
    ) -> tuple[Behaviour, str]:
        """What befalls this payout: asked for by header or receiver, else by chance."""
        receiver = item.get("receiver")
        header = request.headers.get(HEADER)
        asked = named(receiver if isinstance(receiver, str) else "", header)
        if asked is not None:
            return asked, header or str(receiver).partition("+")[0]
        name = self._chances.draw(int.from_bytes(self._digest(attempt_id)[8:12], "big"))
        return (BEHAVIOURS[name], name) if name else (NORMAL, "")

    def _first_try(self, attempt_id: str) -> bool:
        if attempt_id in self._tried:
            return False
        self._tried[attempt_id] = None
        if len(self._tried) > TRIED_MAX:
            self._tried.popitem(last=False)
        return True

    def _execute(
        self,
        request: web.Request,
        attempt_id: str,
        item: dict[str, object],
        behaviour: Behaviour,
        name: str,
    ) -> Entry:
        """Check, refuse a duplicate, book. Raises Refused."""
        trigger = NOTE_TRIGGERS.get(str(item.get("note", "")).strip())
        refusal = trigger or behaviour.refusal
        if behaviour.manner is Manner.LIMITED:
            refusal = (429, "RATE_LIMIT_REACHED")
        if refusal is not None:
            details = [{"field": "items[0]", "location": "body", "issue": "scripted"}]
            raise Refused(*refusal, details if refusal[0] == 400 else None)  # type: ignore[arg-type]
        receiver, currency, amount_minor, item_id = _checked(item)
        # Funds before duplicates: a repeat may be refused though the first was executed.
        if not self.funded:
            raise Refused(422, "INSUFFICIENT_FUNDS")
        now_ms = self._clock.now_ms()
        first = self._books.by_attempt(attempt_id) if attempt_id else None
        if first is not None and now_ms - first.created_ms < GUARD_MS:
            self.counts["duplicate"] += 1
            raise self._duplicate(request, first)
        self._number += 1
        digest = self._digest(f"{attempt_id} {first.reference if first else ''}")
        if not attempt_id:
            digest = self._digest(f"batch {self._number}")
        entry = Entry(
            "paypal",
            base64.b32encode(digest[:10]).decode()[:13],
            attempt_id,
            item_id or attempt_id,
            currency,
            amount_minor,
            receiver,
            behaviour.plan,
            name,
            now_ms,
            # Half to one and a half times the delay.
            self._settle_delay_ms * (500 + digest[12] * 1000 // 255) // 1000,
        )
        try:
            self._books.add(entry, guarded=bool(attempt_id))
        except BooksFull:
            raise Refused(503, "SERVICE_UNAVAILABLE") from None
        if self.hooks is not None:
            self.hooks.schedule(entry, 1)
        return entry

    def _duplicate(self, request: web.Request, first: Entry) -> Refused:
        link = {
            "href": f"{request.url.origin()}/v1/payments/payouts/{first.reference}",
            "rel": "self",
            "method": "GET",
        }
        issue = "Batch with given sender_batch_id already exists"
        detail: dict[str, object] = {
            "field": "SENDER_BATCH_ID",
            "location": "body",
            "issue": issue,
            "link": [link],
        }
        return Refused(400, "USER_BUSINESS_ERROR", [detail])

    async def _answer(
        self,
        request: web.Request,
        behaviour: Behaviour,
        entry: Entry,
        header: dict[str, object],
    ) -> web.StreamResponse:
        """The answer to a batch that was executed, in its behaviour's manner."""
        manner = behaviour.manner
        if manner is Manner.HANG_AFTER:
            return await self._hang(request)
        if manner is Manner.RESET_AFTER:
            return _reset(request)
        if manner is Manner.ERROR_AFTER:
            return _error(Refused(500, "INTERNAL_ERROR"))
        if manner is Manner.GARBAGE_AFTER:
            return web.Response(status=201, body=b"<html>created</html>")
        if manner is Manner.HUGE_AFTER:
            return web.Response(status=201, body=b" " * 2_000_000)
        if manner is Manner.SLOW:
            await asyncio.sleep(self._slow_ms / 1000)
        shown = {
            "payout_batch_id": entry.reference,
            "batch_status": "PENDING",
            "sender_batch_header": {
                key: header[key]
                for key in ("sender_batch_id", "email_subject", "email_message")
                if key in header
            },
        }
        href = f"{request.url.origin()}/v1/payments/payouts/{entry.reference}"
        links = [{"href": href, "rel": "self", "method": "GET"}]
        return _json(201, {"batch_header": shown, "links": links})

    async def _not_executed(self, request: web.Request, manner: Manner) -> web.StreamResponse:
        """The first time of a manner that goes well the second time. Raises Refused."""
        if manner is Manner.ERROR_BEFORE_ONCE:
            raise Refused(500, "INTERNAL_ERROR")
        if manner is Manner.BUSY_ONCE:
            raise Refused(503, "SERVICE_UNAVAILABLE")
        return _reset(request) if manner is Manner.RESET_BEFORE_ONCE else await self._hang(request)

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        """Silence until the caller gives up."""
        until = time.monotonic() + self._hang_ms / 1000
        while time.monotonic() < until:
            if request.transport is None or request.transport.is_closing():
                break
            await asyncio.sleep(0.05)
        return _reset(request)

    def _batch_status(self, entry: Entry, now_ms: int) -> str:
        if entry.status(now_ms) == "PENDING":
            return "PENDING"
        return "DENIED" if BEHAVIOURS.get(entry.behaviour, NORMAL).batch_denied else "SUCCESS"

    def _entry(self, reference: str) -> Entry:
        entry = self._books.by_reference(reference)
        if entry is None:
            raise Refused(404, "RESOURCE_NOT_FOUND")
        return entry

    def _entry_of_item(self, item_id: str) -> Entry:
        return self._entry(item_id.removeprefix("I"))

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode(), digest_size=16, key=self._key).digest()


def _object(data: bytes) -> dict[str, object]:
    try:
        body = json.loads(data)
    except ValueError:
        raise Refused(400, "MALFORMED_REQUEST") from None
    if not isinstance(body, dict):
        raise Refused(400, "MALFORMED_REQUEST")
    return body


def _parts(body: dict[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """The header and the one item of a request."""
    header, items = body.get("sender_batch_header"), body.get("items")
    if not isinstance(header, dict):
        raise _invalid("sender_batch_header", "Required field is missing")
    if not isinstance(items, list) or not items or not isinstance(items[0], dict):
        raise _invalid("items", "Required field is missing")
    if len(items) > 1:
        raise _invalid("items", "This sandbox takes one item a batch")
    return header, items[0]


def _line(holder: dict[str, object], field: str, chars_max: int) -> str:
    value = holder.get(field, "")
    if not isinstance(value, str) or len(value) > chars_max or not _SPEC_ONE_LINE.fullmatch(value):
        raise _invalid(field, f"Not a line of at most {chars_max} characters")
    return value


def _checked(item: dict[str, object]) -> tuple[str, str, int, str]:
    """Receiver, currency, minor units and sender's id of an item. Raises Refused."""
    receiver = _line(item, "receiver", 127)
    kind = item.get("recipient_type", "EMAIL")
    if not receiver or _recipient_type(receiver) != kind:
        raise _invalid("items[0].receiver", "Receiver is invalid or does not match with type")
    amount = item.get("amount")
    if not isinstance(amount, dict):
        raise _invalid("items[0].amount", "Required field is missing")
    currency, value = amount.get("currency"), amount.get("value")
    if currency not in CURRENCIES:
        raise _invalid("items[0].amount.currency", "Currency is not supported")
    match = _VALUE.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match[2] is not None and currency in NO_DECIMALS):
        raise _invalid("items[0].amount.value", "Amount is not valid for the currency")
    minor = int(match[1]) * 10 ** exponent(currency) + int(match[2] or 0)
    if minor <= 0:
        raise _invalid("items[0].amount.value", "Amount must be above zero")
    _line(item, "note", 4000)
    return receiver, currency, minor, _line(item, "sender_item_id", 63)


def _recipient_type(receiver: str) -> str:
    if "@" in receiver:
        return "EMAIL"
    return "PHONE" if receiver.startswith("+") else "PAYPAL_ID"


def _amount(entry: Entry) -> dict[str, str]:
    places = exponent(entry.currency)
    whole, part = divmod(entry.amount_minor, 10**places)
    value = f"{whole}.{part:02d}" if entry.currency not in NO_DECIMALS else str(whole)
    return {"currency": entry.currency, "value": value}


def _item_id(entry: Entry) -> str:
    return f"I{entry.reference}"


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _error_body(name: str, details: list[dict[str, object]] | None) -> dict[str, object]:
    body: dict[str, object] = {
        "name": name,
        "message": name.capitalize().replace("_", " "),
        "debug_id": hashlib.blake2b(name.encode(), digest_size=6).hexdigest(),
        "information_link": f"https://developer.paypal.com/docs/api/payments.payouts-batch#{name}",
    }
    if details:
        body["details"] = details
    return body


def _error(refused: Refused) -> web.Response:
    return _json(refused.status, _error_body(refused.name, refused.details))


def _json(status: int, body: Mapping[str, object]) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(body, separators=(",", ":")).encode(),
        content_type="application/json",
    )


def _reset(request: web.Request) -> web.StreamResponse:
    """Drop the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
