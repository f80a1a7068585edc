"""A stateful PayPal Payouts v1: tokens, batches of one item, the duplicate rule, cancellation.

It shares no code with the connector, so that one cannot hide the other's error.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Mapping

from aiohttp import web

from models.money import exponent
from rails.sandbox.befalls import Befalls
from rails.sandbox.behaviours import BEHAVIOURS, CANCELLED, DAY_MS, NORMAL, NOTE_TRIGGERS
from rails.sandbox.books import Books, Entry, SandboxClock, moment
from rails.sandbox.hooks import Scribe
from rails.sandbox.provider import (
    CLIENT_ID,
    SECRET,
    Asked,
    Given,
    Provider,
    Refused,
    Settings,
    Submission,
    json_answer,
    json_object,
)
from rails.sandbox.scribes import PayPalScribe, Signer

CERT_PATH = "/v1/notifications/certs/"
WEBHOOK_ID = "WH-SANDBOX"
GUARD_MS = 30 * DAY_MS
TOKENS_MAX = 1_000
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
_WITH_ERROR = frozenset({"FAILED", "BLOCKED", "UNCLAIMED"})
_VALUE = re.compile(r"(0|[1-9][0-9]{0,11})(?:\.([0-9]{2}))?")
_SPEC_ONE_LINE = re.compile(r".*")


def _invalid(field: str, issue: str) -> Refused:
    return Refused(400, "VALIDATION_ERROR", [{"field": field, "location": "body", "issue": issue}])


class PayPalSandbox(Provider):
    """PayPal's side."""

    rail = "paypal"
    foreign = frozenset()

    def __init__(
        self, books: Books, clock: SandboxClock, befalls: Befalls, settings: Settings
    ) -> None:
        """Take books, clock and settings. Raises ValueError for unknown faults."""
        super().__init__(books, clock, befalls, settings)
        self.counts["token"] = 0
        self._login = b"Basic " + base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode())
        self._signer: Signer | None = None
        self._scribe: PayPalScribe | None = None
        self._tokens: OrderedDict[str, float] = OrderedDict()
        self._tokens_given = 0

    @staticmethod
    def rail_fields(url: str) -> dict[str, object]:
        """PayPal at the root, with the sandbox's credentials and certificates."""
        return {
            "base_url": url,
            "plain_http_allowed": True,
            "client_id": CLIENT_ID,
            "client_secret": SECRET,
            "webhook_id": WEBHOOK_ID,
            "webhook_cert_prefixes": url + CERT_PATH,
        }

    def scribe(self) -> Scribe:
        """Signs with a key of its own, whose certificate is served here."""
        self._signer = Signer()
        self._scribe = PayPalScribe(WEBHOOK_ID, self._signer, self.resource)
        return self._scribe

    def listening(self, url: str) -> None:
        """The certificate's address is known."""
        if self._scribe is not None:
            self._scribe.name_certificate(url + CERT_PATH)

    def routes(self) -> list[web.RouteDef]:
        """The paths of the API."""
        return [
            web.post("/v1/oauth2/token", self.token),
            web.post("/v1/payments/payouts", self.create),
            web.get("/v1/payments/payouts/{id}", self.show_batch),
            web.get("/v1/payments/payouts-item/{id}", self.show_item),
            web.post("/v1/payments/payouts-item/{id}/cancel", self.cancel),
            web.get(CERT_PATH + "{name}", self.certificate),
        ]

    def revoke_tokens(self) -> None:
        """Make every token given out invalid."""
        self._tokens.clear()

    async def certificate(self, request: web.Request) -> web.Response:
        """The certificate that webhooks are signed with."""
        if self._signer is None or request.match_info["name"] != self._signer.cert_name:
            return web.Response(status=404)
        return web.Response(body=self._signer.pem(), content_type="application/x-pem-file")

    async def token(self, request: web.Request) -> web.Response:
        """OAuth2 client credentials."""
        self.counts["token"] += 1
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, self._login):
            return json_answer(
                401, {"error": "invalid_client", "error_description": "Client failed"}
            )
        if (await request.post()).get("grant_type") != "client_credentials":
            return json_answer(400, {"error": "unsupported_grant_type"})
        self._tokens_given += 1
        token = f"A21AA{self.digest(f'token {self._tokens_given}').hex()}"
        self._tokens[token] = time.monotonic() + self.settings.token_life_s
        if len(self._tokens) > TOKENS_MAX:
            self._tokens.popitem(last=False)
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self.settings.token_life_s,
        }
        return json_answer(200, {"scope": "payouts", **answer})

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Create a batch of one item."""
        return await self.take(request, lambda data: self._submission(request, data), _error)

    async def show_batch(self, request: web.Request) -> web.StreamResponse:
        """Show a batch with its item."""

        def find() -> Entry:
            self._authorize(request)
            return self._entry(request.match_info["id"])

        return await self.tell(request, find, self._batch, _error)

    def _batch(self, entry: Entry) -> dict[str, object]:
        now_ms = self.clock.now_ms()
        header = {
            "payout_batch_id": entry.reference,
            "batch_status": self._batch_status(entry, now_ms),
            "time_created": moment(entry.created_ms),
            "sender_batch_header": {"sender_batch_id": entry.attempt_id},
            "funding_source": "BALANCE",
            "amount": _amount(entry),
        }
        return {
            "total_items": 1,
            "total_pages": 1,
            "batch_header": header,
            "items": [self.item(entry, now_ms)],
        }

    async def show_item(self, request: web.Request) -> web.StreamResponse:
        """Show an item."""

        def find() -> Entry:
            self._authorize(request)
            return self._entry_of_item(request.match_info["id"])

        return await self.tell(
            request, find, lambda entry: self.resource(entry, self.clock.now_ms()), _error
        )

    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel an unclaimed item."""
        self.counts["cancel"] += 1
        try:
            self._authorize(request)
            entry = self._entry_of_item(request.match_info["id"])
            now_ms = self.clock.now_ms()
            status = entry.status(now_ms)
            if entry.ended:
                raise Refused(400, "ITEM_ALREADY_CANCELLED")
            if status != "UNCLAIMED":
                raise Refused(400, "ITEM_INCORRECT_STATUS")
        except Refused as refused:
            return _error(refused)
        entry.end(now_ms, CANCELLED)
        if self.hooks is not None:
            self.hooks.tell(entry)
        return json_answer(200, self.resource(entry, now_ms))

    def item(self, entry: Entry, now_ms: int, claimed: str | None = None) -> dict[str, object]:
        """An entry as an item of a batch; ``claimed``: with a status other than its own."""
        status = claimed or entry.status(now_ms)
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
            "time_processed": moment(entry.due_ms(entry.step(now_ms))),
        }
        behaviour = BEHAVIOURS.get(entry.behaviour, NORMAL)
        if behaviour.error is not None and status in _WITH_ERROR:
            shown["errors"] = _error_body(behaviour.error, None)
        return shown

    def resource(self, entry: Entry, now_ms: int, claimed: str | None = None) -> dict[str, object]:
        """An entry as an item of its own, as webhooks carry it too, be it with a lie."""
        return {**self.item(entry, now_ms, claimed), "sender_batch_id": entry.attempt_id}

    def _authorize(self, request: web.Request) -> None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or self._tokens.get(token, 0) <= time.monotonic():
            raise Refused(401, "AUTHENTICATION_FAILURE")

    def _submission(self, request: web.Request, data: bytes) -> Submission:
        """A request, read. Raises Refused."""
        self._authorize(request)
        header, item = _parts(json_object(data))
        attempt_id = _line(header, "sender_batch_id", 256)
        return Submission(
            attempt_id,
            item.get("receiver"),
            lambda: _trigger(item) is None and bool(_checked(item)),
            lambda given: self._execute(request, attempt_id, item, given),
            lambda entry: _created(request, entry, header),
            lambda entry: self._duplicate(request, entry),
        )

    def _execute(
        self,
        request: web.Request,
        attempt_id: str,
        item: dict[str, object],
        given: Given,
    ) -> Entry:
        """Check, refuse a duplicate, book. Raises Refused."""
        refusal = _trigger(item) or given.behaviour.refusal
        if refusal is not None:
            details = [{"field": "items[0]", "location": "body", "issue": "scripted"}]
            raise Refused(*refusal, details if refusal[0] == 400 else None)  # type: ignore[arg-type]
        receiver, currency, amount_minor, item_id = _checked(item)

        def repeated(first: Entry) -> Entry:
            raise self._duplicate(request, first)

        asked = Asked(attempt_id, item_id, receiver, currency, amount_minor)
        return self.book_once(asked, given, GUARD_MS, repeated)

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

    def _batch_status(self, entry: Entry, now_ms: int) -> str:
        if entry.status(now_ms) == "PENDING":
            return "PENDING"
        return "DENIED" if BEHAVIOURS.get(entry.behaviour, NORMAL).batch_denied else "SUCCESS"

    def _entry(self, reference: str) -> Entry:
        entry = self.books.by_reference(reference)
        if entry is None:
            raise Refused(404, "RESOURCE_NOT_FOUND")
        return entry

    def _entry_of_item(self, item_id: str) -> Entry:
        return self._entry(item_id.removeprefix("I"))


def _created(
    request: web.Request, entry: Entry, header: Mapping[str, object]
) -> web.StreamResponse:
    """The answer to a batch that is new."""
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
    return json_answer(201, {"batch_header": shown, "links": links})


def _trigger(item: dict[str, object]) -> tuple[int, str] | None:
    return NOTE_TRIGGERS.get(str(item.get("note", "")).strip())


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
    return json_answer(refused.status, _error_body(refused.name, refused.details))
