"""A stateful Marqeta: orders that load a user's account, each under the token its caller chose.

It shares no code with the connector, so that one cannot hide the other's error.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from aiohttp import web

from rails.sandbox.behaviours import BEHAVIOURS, NORMAL
from rails.sandbox.books import Entry, moment
from rails.sandbox.hooks import Scribe
from rails.sandbox.notices import Notice
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
    require_login,
)

ROOT = "/v3"
GUARD_MS = 10**15
"""A token is taken for good."""

FUNDING_SOURCE = "sandbox-funding"
WEBHOOK_USERNAME = "sandbox-hooks"
WEBHOOK_PASSWORD = "Sandbox-password-1-of-hooks"  # noqa: S105 - guards nothing but the sandbox
WEBHOOK_SECRET = "Sandbox-secret-1-of-all-hooks"  # noqa: S105
CURRENCIES = frozenset({"AUD", "CAD", "EUR", "GBP", "USD"})
"""All of two decimals."""

STATES: Mapping[str, str] = MappingProxyType(
    {
        "PENDING": "PENDING",
        "SUCCESS": "COMPLETION",
        "FAILED": "DECLINED",
        "BLOCKED": "DECLINED",
        "ONHOLD": "PENDING",
        "RETURNED": "REVERSED",
        "REFUNDED": "REVERSED",
        "REVERSED": "REVERSED",
        "CANCELED": "REVERSED",
    }
)
"""Marqeta's word for each of the sandbox's own."""

STATE_OTHERWISE = "ESCHEATED"

CODES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "RECEIVER_ACCOUNT_LOCKED": ("1813", "Cardholder not active"),
        "RECEIVER_ACCOUNT_INVALID": ("1012", "Cardholder not found"),
        "SELF_PAY_NOT_ALLOWED": ("1014", "Account not found"),
        "REGULATORY_BLOCKED": ("1864", "Transactions not allowed from this country"),
        "RISK_DECLINE": ("1002", "Card suspicious"),
        "NON_HOLDING_CURRENCY": ("1016", "Not sufficient funds"),
        "INTERNAL_ERROR": ("1812", "System error"),
    }
)
CODE_OTHERWISE = ("1899", "Declined")

ERRORS: Mapping[str, tuple[int, str, str]] = MappingProxyType(
    {
        "INSUFFICIENT_FUNDS": (422, "422001", "Insufficient funds in the funding source"),
        "SENDER_RESTRICTED": (403, "403001", "Forbidden"),
        "AUTHENTICATION_FAILURE": (401, "401001", "Unauthorized"),
        "VALIDATION_ERROR": (400, "400000", "Input validation failed"),
        "INSTRUMENT_INACTIVE": (422, "422002", "Payment instrument is not active"),
        "TOKEN_TAKEN": (409, "409001", "Request already processed with a different payload"),
        "RATE_LIMIT_REACHED": (429, "429001", "Too many requests"),
        "RESOURCE_NOT_FOUND": (404, "404001", "Token not found"),
    }
)
"""Status, error code and message of each of the sandbox's errors; any other has its own status."""

_DECLINED = frozenset({"FAILED", "BLOCKED"})
_TOKEN = re.compile(r".{1,36}")


class CoreSandbox(Provider):
    """The Core API, for one kind of what is created under a token of the caller's."""

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Create one."""
        return await self.take(request, lambda data: self.submission(request, data), _error)

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Show the last one under a token."""

        def find() -> Entry | None:
            require_login(request)
            return self.books.by_attempt(request.match_info["token"])

        return await self.tell(request, find, self.shown, _error)

    @abstractmethod
    def submission(self, request: web.Request, data: bytes) -> Submission:
        """A request, read. Raises Refused."""

    @abstractmethod
    def shown(self, entry: Entry) -> str:
        """An entry in JSON, as it is now."""


class MarqetaSandbox(CoreSandbox):
    """Marqeta's side of a load."""

    rail = "marqeta"

    @staticmethod
    def rail_fields(url: str) -> dict[str, object]:
        """Marqeta under its root, with the sandbox's tokens and passwords."""
        return {
            "base_url": url + ROOT,
            "plain_http_allowed": True,
            "application_token": CLIENT_ID,
            "access_token": SECRET,
            "funding_source": FUNDING_SOURCE,
            "webhook_username": WEBHOOK_USERNAME,
            "webhook_password": WEBHOOK_PASSWORD,
            "webhook_secret": WEBHOOK_SECRET,
        }

    def scribe(self) -> Scribe:
        """Logs in, and signs with the secret of both sides."""
        return MarqetaScribe(self)

    def routes(self) -> list[web.RouteDef]:
        """The paths of the API."""
        return [
            web.post(ROOT + "/gpaorders", self.create),
            web.get(ROOT + "/gpaorders/{token}", self.show),
        ]

    def shown(self, entry: Entry) -> str:
        """An entry as an order in JSON, as it is now."""
        return self.order(entry, self.clock.now_ms())

    def order(self, entry: Entry, now_ms: int, claimed: str | None = None) -> str:
        """An entry as an order in JSON; ``claimed``: with a status other than its own."""
        status = claimed or entry.status(now_ms)
        error = BEHAVIOURS.get(entry.behaviour, NORMAL).error
        code = ("0000", "Approved or completed successfully")
        if status in _DECLINED:
            code = CODES.get(error or "", CODE_OTHERWISE)
        at = moment(entry.created_ms)
        source = {"type": "program", "token": FUNDING_SOURCE, "active": True}
        times = {"created_time": at, "last_modified_time": at}
        rest = {
            "token": entry.attempt_id,
            "tags": entry.sender_item_id,
            **times,
            "transaction_token": f"{entry.reference}-0",
            "state": STATES.get(status, STATE_OTHERWISE),
            "response": {"code": code[0], "memo": code[1]},
            "funding": {"source": {**source, **times, "is_default_account": False}},
            "funding_source_token": FUNDING_SOURCE,
            "user_token": entry.receiver,
            "currency_code": entry.currency,
        }
        return with_amount(entry, rest)

    def submission(self, request: web.Request, data: bytes) -> Submission:
        """A request, read; under a token that was used, it shows what that made. Raises Refused."""
        require_login(request)
        body = json_object(data, parse_float=Decimal)
        token = str(body.get("token") or "")

        def execute(given: Given) -> Entry:
            if given.behaviour.refusal is not None:
                raise Refused(*given.behaviour.refusal)
            asked = _asked(body, token)
            return self.book_once(asked, given, GUARD_MS, lambda first: _same(asked, first))

        return Submission(
            token,
            body.get("user_token"),
            lambda: bool(_asked(body, token)),
            execute,
            lambda entry: json_answer(201, self.shown(entry)),
        )


class MarqetaScribe:
    """Events of Marqeta's: a login, and a signature with a secret that both sides know."""

    def __init__(self, sandbox: MarqetaSandbox) -> None:
        """Take the sandbox that shows the orders."""
        self._sandbox = sandbox
        login = f"{WEBHOOK_USERNAME}:{WEBHOOK_PASSWORD}".encode()
        self._login = "Basic " + base64.b64encode(login).decode()

    def headers(self, signed: bytes, now: datetime) -> dict[str, str]:
        """The login and the signature; it has no time of its own."""
        digest = hmac.new(WEBHOOK_SECRET.encode(), signed, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/json",
            "Authorization": self._login,
            "X-Marqeta-Signature": digest,
        }

    def body(self, entry: Entry, notice: Notice, number: str, at_ms: int) -> bytes:
        """A transaction about the order; each has a token of its own."""
        order = self._sandbox.order(entry, at_ms, None if entry.ended else notice.word)
        state = STATES.get(notice.word, STATE_OTHERWISE)
        back = state == "REVERSED"
        transaction = with_amount(
            entry,
            {
                "type": "gpa.credit.reversal" if back else "gpa.credit",
                "state": "COMPLETION" if back else state,
                "token": f"{entry.reference}-{number}",
                "user_token": entry.receiver,
                "acting_user_token": entry.receiver,
                "created_time": moment(at_ms),
                "user_transaction_time": moment(at_ms),
                "currency_code": entry.currency,
            },
        )
        return f'{{"transactions":[{transaction[:-1]},"gpa_order":{order}}}]}}'.encode()


def _asked(body: Mapping[str, object], token: str) -> Asked:
    """What a request asks for. Raises Refused."""
    user, currency, tags = body.get("user_token"), body.get("currency_code"), body.get("tags", "")
    for value in (token or "none", user):
        if not isinstance(value, str) or not _TOKEN.fullmatch(value):
            raise Refused(400, "VALIDATION_ERROR")
    if body.get("funding_source_token") != FUNDING_SOURCE or currency not in CURRENCIES:
        raise Refused(400, "VALIDATION_ERROR")
    if not isinstance(tags, str) or len(tags) > 255 or len(str(body.get("memo", ""))) > 99:
        raise Refused(400, "VALIDATION_ERROR")
    return Asked(token, tags, str(user), str(currency), cents_of(body.get("amount")))


def _same(asked: Asked, first: Entry) -> Entry:
    """What a token has made, if it is what is asked for. Raises Refused."""
    made = (first.sender_item_id, first.receiver, first.currency, first.amount_minor)
    if asked[1:] != made:
        raise Refused(409, "TOKEN_TAKEN")
    return first


def cents_of(amount: object) -> int:
    """The amount of a request in cents. Raises Refused."""
    if type(amount) not in {int, Decimal}:
        raise Refused(400, "VALIDATION_ERROR")
    cents = Decimal(str(amount)) * 100
    if cents != cents.to_integral_value() or not 0 < cents < 10**15:
        raise Refused(400, "VALIDATION_ERROR")
    return int(cents)


def with_amount(entry: Entry, rest: Mapping[str, object]) -> str:
    """An object with the entry's amount as a number that nobody rounded."""
    whole, cents = divmod(entry.amount_minor, 100)
    return f'{{"amount":{whole}.{cents:02},' + json.dumps(rest, separators=(",", ":"))[1:]


def _error(refused: Refused) -> web.Response:
    status, code, message = ERRORS.get(
        refused.name, (refused.status, f"{refused.status}000", refused.name.capitalize())
    )
    return json_answer(status, {"error_code": code, "error_message": message})
