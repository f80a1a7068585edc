"""A stateful Adyen Transfers v4: transfers, the idempotency key, finding them by reference.

It shares no code with the connector, so that one cannot hide the other's error.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from aiohttp import web

from rails.sandbox.behaviours import BEHAVIOURS, DAY_MS, NORMAL
from rails.sandbox.books import Entry, moment
from rails.sandbox.hooks import Scribe
from rails.sandbox.provider import (
    CLIENT_ID,
    SECRET,
    Asked,
    Given,
    Provider,
    Refused,
    Submission,
    json_answer,
    json_object,
)
from rails.sandbox.scribes import AdyenScribe

ROOT = "/btl/v4"
WEBHOOK_KEY = "5a" * 32
KEY_MS = 7 * DAY_MS
KEY_CHARS_MAX = 64
CURRENCIES = frozenset(
    ["AUD", "CAD", "CHF", "CZK", "DKK", "EUR", "GBP", "HUF", "NOK", "PLN", "SEK", "USD"]
)
"""All of two decimals, at Adyen and in ISO 4217."""

STATUSES: Mapping[str, str] = MappingProxyType(
    {
        "PENDING": "authorised",
        "SUCCESS": "booked",
        "FAILED": "failed",
        "BLOCKED": "refused",
        "ONHOLD": "pending",
        "RETURNED": "returned",
        "REFUNDED": "returned",
        "REVERSED": "returned",
        "CANCELED": "cancelled",
    }
)
"""Adyen's word for each of the sandbox's own."""

STATUS_OTHERWISE = "undefined"

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "RECEIVER_ACCOUNT_LOCKED": "counterpartyAccountBlocked",
        "RECEIVER_ACCOUNT_INVALID": "counterpartyAccountNotFound",
        "SELF_PAY_NOT_ALLOWED": "counterpartyAccountClosed",
        "RECEIVING_LIMIT_EXCEEDED": "amountLimitExceeded",
        "REGULATORY_BLOCKED": "declinedByTransactionRule",
        "RISK_DECLINE": "refusedByCounterpartyBank",
        "NON_HOLDING_CURRENCY": "notEnoughBalance",
        "INTERNAL_ERROR": "counterpartyBankUnavailable",
    }
)
REASON_OTHERWISE = "notSupported"

ERRORS: Mapping[str, tuple[int, str, str]] = MappingProxyType(
    {
        "INSUFFICIENT_FUNDS": (422, "30_112", "Not enough balance"),
        "SENDER_RESTRICTED": (403, "00_403", "Forbidden"),
        "AUTHENTICATION_FAILURE": (401, "00_401", "Unauthorized"),
        "VALIDATION_ERROR": (422, "30_081", "Invalid transfer"),
        "RATE_LIMIT_REACHED": (429, "00_429", "Too many requests"),
        "RESOURCE_NOT_FOUND": (404, "00_404", "Not found"),
    }
)
"""Status, error code and title of each of the sandbox's errors; any other has its own status."""

_FAILED = frozenset({"FAILED", "BLOCKED"})
_IDENTIFICATIONS: Mapping[str, Mapping[str, str]] = {
    "iban": {"iban": r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}"},
    "usLocal": {"routingNumber": r"[0-9]{9}", "accountNumber": r"[0-9]{2,18}"},
    "ukLocal": {"sortCode": r"[0-9]{6}", "accountNumber": r"[0-9]{8}"},
    "caLocal": {
        "institutionNumber": r"[0-9]{3}",
        "transitNumber": r"[0-9]{5}",
        "accountNumber": r"[0-9]{5,12}",
    },
}


class AdyenSandbox(Provider):
    """Adyen's side."""

    rail = "adyen"

    @staticmethod
    def rail_fields(url: str) -> dict[str, object]:
        """Adyen under its root, with the sandbox's account and keys."""
        return {
            "base_url": url + ROOT,
            "plain_http_allowed": True,
            "balance_account": CLIENT_ID,
            "api_key": SECRET,
            "webhook_key": WEBHOOK_KEY,
        }

    def scribe(self) -> Scribe:
        """Signs with the key of both sides."""
        return AdyenScribe(WEBHOOK_KEY, self.transfer)

    def routes(self) -> list[web.RouteDef]:
        """The paths of the API."""
        return [
            web.post(ROOT + "/transfers", self.create),
            web.get(ROOT + "/transfers", self.find),
            web.get(ROOT + "/transfers/{id}", self.show),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Create a transfer; under a key that was used, show what it made."""
        return await self.take(request, lambda data: self._submission(request, data), _not_created)

    async def find(self, request: web.Request) -> web.StreamResponse:
        """Transfers of the account with a reference, made within a time."""
        self.counts["show"] += 1
        try:
            self._authorize(request)
            query = request.query
            since, until = _ms(query.get("createdSince")), _ms(query.get("createdUntil"))
            if query.get("balanceAccountId") != CLIENT_ID:
                raise _invalid("balanceAccountId")
            entry = self.books.by_attempt(query.get("reference", ""))
            found = [entry] if entry and since <= entry.created_ms <= until else []
            if any(self.silent(one) for one in found):
                return await self.hang(request)
        except Refused as refused:
            return _error(refused)
        now_ms = self.clock.now_ms()
        shown = [self.transfer(one, now_ms) for one in found if one.rail == self.rail]
        return json_answer(200, {"data": shown, "_links": {}})

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Show a transfer."""

        def find() -> Entry | None:
            self._authorize(request)
            return self.books.by_reference(request.match_info["id"])

        return await self.tell(
            request, find, lambda entry: self.transfer(entry, self.clock.now_ms()), _error
        )

    def transfer(self, entry: Entry, now_ms: int, claimed: str | None = None) -> dict[str, object]:
        """An entry as a transfer; ``claimed``: with a status other than its own."""
        status = claimed or entry.status(now_ms)
        shown = {**_received(entry), "status": STATUSES.get(status, STATUS_OTHERWISE)}
        shown["reason"] = "approved"
        if status in _FAILED:
            error = BEHAVIOURS.get(entry.behaviour, NORMAL).error
            shown["reason"] = REASONS.get(error or "", REASON_OTHERWISE)
        return shown

    def _authorize(self, request: web.Request) -> None:
        if not hmac.compare_digest(request.headers.get("X-API-Key", "").encode(), SECRET.encode()):
            raise Refused(401, "AUTHENTICATION_FAILURE")

    def _submission(self, request: web.Request, data: bytes) -> Submission:
        """A request, read. Raises Refused."""
        self._authorize(request)
        body = json_object(data)
        key = request.headers.get("Idempotency-Key", "")
        if len(key) > KEY_CHARS_MAX:
            raise _invalid("Idempotency-Key")
        return Submission(
            key,
            _holder(body),
            lambda: bool(self._asked(body, key)),
            lambda given: self._execute(body, key, given),
            lambda entry: json_answer(202, _received(entry)),
        )

    def _execute(self, body: Mapping[str, object], key: str, given: Given) -> Entry:
        """Check, find what the key has made, book. Raises Refused."""
        if given.behaviour.refusal is not None:
            status, name = given.behaviour.refusal
            raise Refused(
                status, name, [{"name": "amount.value", "message": "scripted", "value": ""}]
            )
        return self.book_once(self._asked(body, key), given, KEY_MS, lambda first: first)

    def _asked(self, body: Mapping[str, object], key: str) -> Asked:
        """What a request asks for. Raises Refused."""
        if body.get("balanceAccountId") != CLIENT_ID:
            raise _invalid("balanceAccountId")
        amount = body.get("amount")
        if not isinstance(amount, dict):
            raise _invalid("amount")
        currency, value = amount.get("currency"), amount.get("value")
        if currency not in CURRENCIES or not isinstance(currency, str):
            raise _invalid("amount.currency")
        if type(value) is not int or not 0 < value < 10**15:
            raise _invalid("amount.value")
        reference = body.get("reference", "")
        if not isinstance(reference, str) or len(reference) > 80:
            raise _invalid("reference")
        _check_counterparty(body)
        return Asked(key, reference, json.dumps(body["counterparty"]), currency, value)


def _check_counterparty(body: Mapping[str, object]) -> None:
    """Raise Refused unless there is a bank account or a card that a transfer could go to."""
    category, counterparty = body.get("category"), body.get("counterparty")
    if not isinstance(counterparty, dict) or not _holder(body):
        raise _invalid("counterparty")
    if category == "card":
        identification = _at(counterparty, "card", "cardIdentification")
        if not isinstance(identification, dict) or not re.fullmatch(
            r"[0-9]{12,19}", str(identification.get("number"))
        ):
            raise _invalid("counterparty.card.cardIdentification.number")
        return
    if category != "bank":
        raise _invalid("category")
    identification = _at(counterparty, "bankAccount", "accountIdentification")
    kind = identification.get("type") if isinstance(identification, dict) else None
    patterns = _IDENTIFICATIONS.get(str(kind))
    if patterns is None or not isinstance(identification, dict):
        raise _invalid("counterparty.bankAccount.accountIdentification.type")
    for name, pattern in patterns.items():
        if not re.fullmatch(pattern, str(identification.get(name))):
            raise _invalid(f"counterparty.bankAccount.accountIdentification.{name}")


def _holder(body: Mapping[str, object]) -> str:
    name = _at(body, "counterparty", "bankAccount", "accountHolder", "fullName")
    if name is None:
        name = _at(body, "counterparty", "card", "cardHolder", "firstName")
    return name if isinstance(name, str) else ""


def _at(value: object, *path: str) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _received(entry: Entry) -> dict[str, object]:
    """A transfer as it is answered when it is new."""
    counterparty = json.loads(entry.receiver)
    return {
        "id": entry.reference,
        "amount": {"currency": entry.currency, "value": entry.amount_minor},
        "balanceAccount": {"id": "sandbox"},
        "category": "card" if "card" in counterparty else "bank",
        "counterparty": counterparty,
        "createdAt": moment(entry.created_ms),
        "direction": "outgoing",
        "reference": entry.sender_item_id,
        "status": "received",
        "reason": "pending",
    }


def _ms(text: str | None) -> int:
    try:
        return int(datetime.fromisoformat(text or "").timestamp() * 1000)
    except ValueError:
        raise _invalid("createdSince") from None


def _invalid(field: str) -> Refused:
    return Refused(422, "VALIDATION_ERROR", [{"name": field, "message": "Not valid", "value": ""}])


def _not_created(refused: Refused) -> web.Response:
    """An error of a creation: to a stranger the document has another form there than elsewhere."""
    if refused.status != 401:
        return _error(refused)
    status, error_code, title = ERRORS[refused.name]
    return json_answer(
        status,
        {"status": status, "errorCode": error_code, "message": title, "errorType": "security"},
    )


def _error(refused: Refused) -> web.Response:
    status, error_code, title = ERRORS.get(
        refused.name, (refused.status, f"29_{refused.status}", refused.name.capitalize())
    )
    body: dict[str, object] = {
        "type": "https://docs.adyen.com/errors/general",
        "title": title,
        "status": status,
        "detail": title,
        "errorCode": error_code,
        "requestId": "SANDBOX",
    }
    if refused.details and refused.name == "VALIDATION_ERROR":
        body["invalidFields"] = refused.details
    return json_answer(status, body)
