"""A stateful Visa Direct: pushes to cards, under a number of the caller's that guards nothing.

Each push is executed, however often it is sent: who repeats one pays twice. It shares no code with
the connector, so that one cannot hide the other's error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from aiohttp import web
from iso4217 import Currency

from models.money import exponent
from rails.sandbox.befalls import Befalls
from rails.sandbox.behaviours import BEHAVIOURS, DAY_MS, NORMAL
from rails.sandbox.books import Books, Entry, SandboxClock, moment
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
    require_login,
)

PUSH = "/visadirect/fundstransfer/v1/pushfundstransactions"
QUERY = "/visadirect/v1/transactionquery"
BIN = "408999"
STATUS_MS = DAY_MS
"""How long a statusIdentifier is kept."""

CURRENCIES = frozenset({"AUD", "BHD", "CAD", "EUR", "GBP", "JPY", "KWD", "USD"})

CODES: Mapping[str, str] = MappingProxyType(
    {
        "INSUFFICIENT_FUNDS": "51",
        "RECEIVER_ACCOUNT_LOCKED": "46",
        "RECEIVER_ACCOUNT_INVALID": "14",
        "SELF_PAY_NOT_ALLOWED": "15",
        "RECEIVING_LIMIT_EXCEEDED": "61",
        "REGULATORY_BLOCKED": "93",
        "RISK_DECLINE": "59",
        "NON_HOLDING_CURRENCY": "51",
        "INTERNAL_ERROR": "96",
    }
)
"""Action code of each of the sandbox's errors."""

CODE_OTHERWISE = "12"

STRANGE = "7Q"
"""An action code that nobody knows."""

PROCESSED: Mapping[str, str] = MappingProxyType(
    {"": "IN_PROGRESS", CODES["INTERNAL_ERROR"]: "FAILED", STRANGE: "QUARANTINED"}
)
"""Status code of a record, by action code; of any other it is completed."""

ERRORS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "SENDER_RESTRICTED": (403, "9203"),
        "AUTHENTICATION_FAILURE": (401, "9125"),
        "VALIDATION_ERROR": (400, "3001"),
        "RATE_LIMIT_REACHED": (429, "9209"),
        "RESOURCE_NOT_FOUND": (404, "9210"),
    }
)
"""Status and code of each of the sandbox's errors; any other has its own status."""

_PENDING = frozenset({"PENDING", "ONHOLD"})
_DECLINED = frozenset({"FAILED", "BLOCKED"})
_PAID = frozenset({"SUCCESS", "RETURNED", "REFUNDED", "REVERSED"})
_BACK = frozenset({"RETURNED", "REFUNDED", "REVERSED"})

_FORMS: Mapping[str, str] = MappingProxyType(
    {
        "systemsTraceAuditNumber": r"(?!0{6})[0-9]{6}",
        "retrievalReferenceNumber": r"[0-9](?:00[1-9]|0[1-9][0-9]|[12][0-9]{2}|3[0-5][0-9]"
        r"|36[0-6])(?:[01][0-9]|2[0-3])[0-9]{6}",
        "localTransactionDateTime": r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-9]{2}(?::[0-9]{2}){2}",
        "acquiringBin": BIN,
        "acquirerCountryCode": r"[0-9]{3}",
        "businessApplicationId": r"[A-Z]{2}",
        "sourceOfFundsCode": r"0[1-6]",
        "merchantCategoryCode": r"[0-9]{4}",
        "recipientPrimaryAccountNumber": r"[0-9]{13,19}",
        "recipientCardExpiryDate": r"20[0-9]{2}-(?:0[1-9]|1[0-2])",
        "recipientName": r".{1,30}",
        "senderReference": r"[A-Za-z0-9]{1,16}",
        "senderName": r".{1,30}",
    }
)


class VisaSandbox(Provider):
    """Visa's side."""

    rail = "visa"

    def __init__(
        self, books: Books, clock: SandboxClock, befalls: Befalls, settings: Settings
    ) -> None:
        """Take books, clock and settings. Raises ValueError for unknown faults."""
        super().__init__(books, clock, befalls, settings)
        self._by_trace: dict[tuple[str, str], list[Entry]] = {}
        self._by_number: dict[str, Entry] = {}
        self._traces: dict[str, tuple[str, str]] = {}

    @staticmethod
    def rail_fields(url: str) -> dict[str, object]:
        """Visa at the root, with the sandbox's user, without a certificate."""
        return {
            "base_url": url,
            "plain_http_allowed": True,
            "user_id": CLIENT_ID,
            "password": SECRET,
            "acquiring_bin": BIN,
            "acceptor_id": "SANDBOX",
            "company_name": "Sandbox Company",
        }

    def routes(self) -> list[web.RouteDef]:
        """The paths of the API."""
        return [
            web.post(PUSH, self.push),
            web.get(PUSH + "/{id}", self.show),
            web.get(QUERY, self.query),
        ]

    async def push(self, request: web.Request) -> web.StreamResponse:
        """Push to a card."""
        return await self.take(request, lambda data: self._submission(request, data), _error)

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Show a push under its statusIdentifier, for a day."""
        self.counts["show"] += 1
        try:
            require_login(request)
            entry = self._by_number.get(request.match_info["id"].partition("_")[0])
            if entry is None or self.clock.now_ms() - entry.created_ms > STATUS_MS:
                raise Refused(404, "RESOURCE_NOT_FOUND")
            if self.silent(entry):
                return await self.hang(request)
        except Refused as refused:
            return _error(refused)
        return self._answer(entry)

    async def query(self, request: web.Request) -> web.StreamResponse:
        """The life of the pushes with a number of Visa's, or with the caller's."""
        self.counts["show"] += 1
        try:
            require_login(request)
            asked = request.query
            if asked.get("acquiringBIN") != BIN:
                raise Refused(400, "VALIDATION_ERROR")
            found = self._by_trace.get((asked.get("stan", ""), asked.get("rrn", "")), [])
            if "transactionIdentifier" in asked:
                entry = self._by_number.get(asked["transactionIdentifier"])
                found = [] if entry is None else [entry]
            if any(map(self.silent, found)):
                return await self.hang(request)
        except Refused as refused:
            return _error(refused)
        if not found:
            message = "No transactions found for the specified input parameters"
            return json_answer(200, {"errorMessage": message})
        records = [record for one in found for record in self._records(one)]
        return web.json_response(records)

    def _submission(self, request: web.Request, data: bytes) -> Submission:
        """A request, read. Raises Refused."""
        require_login(request)
        body = json_object(data, parse_float=Decimal)
        attempt_id = request.headers.get("X-Client-Transaction-ID", "")

        def execute(given: Given) -> Entry:
            if given.behaviour.refusal is not None:
                raise Refused(*given.behaviour.refusal)
            asked = _asked(body, attempt_id)
            if not self.funded:
                raise Refused(422, "INSUFFICIENT_FUNDS")
            entry = self.book(asked, given, again=self.books.by_attempt(attempt_id))
            self._file(entry, body)
            return entry

        return Submission(
            attempt_id,
            body.get("recipientName"),
            lambda: bool(_asked(body, attempt_id)),
            execute,
            self._answer,
        )

    def _file(self, entry: Entry, body: Mapping[str, object]) -> None:
        trace = (str(body["systemsTraceAuditNumber"]), str(body["retrievalReferenceNumber"]))
        self._by_trace.setdefault(trace, []).append(entry)
        self._by_number[_number(self, entry)] = entry
        self._traces[entry.reference] = trace

    def _answer(self, entry: Entry) -> web.Response:
        """A push as it stands: 202 while it goes on, else 200 whatever became of it."""
        status, number = entry.status(self.clock.now_ms()), _number(self, entry)
        if status in _PENDING:
            return json_answer(202, {"statusIdentifier": f"{number}_105_81_l73c003_VDP_ARM"})
        return json_answer(
            200,
            {
                "transactionIdentifier": int(number),
                "actionCode": _action(entry, status),
                "approvalCode": "21324K",
                "responseCode": "5",
                "transmissionDateTime": moment(self.clock.now_ms()),
            },
        )

    def _records(self, entry: Entry) -> list[dict[str, object]]:
        """A push, and what came after it."""
        status = entry.status(self.clock.now_ms())
        stan, rrn = self._traces[entry.reference]
        action = "" if status in _PENDING else _action(entry, status)
        record = {
            "transactionType": "CRED VOUCHER",
            "statusCode": PROCESSED.get(action, "COMPLETED"),
            "actionCode": action,
            "transactionIdentifier": _number(self, entry),
            "systemsTraceAuditNumber": stan,
            "retrievalReferenceNumber": rrn,
            "acquiringBin": int(BIN),
            "amountInTransactionCurrency": _amount(entry),
            "transactionCurrencyCode": f"{Currency(entry.currency).number:03}",
        }
        if status not in _BACK:
            return [record]
        return [record, {**record, "transactionType": "CRED REVERSAL"}]


def _number(sandbox: Provider, entry: Entry) -> str:
    """The transactionIdentifier: fifteen digits."""
    digest = sandbox.digest(f"visa {entry.reference}")
    return str(10**14 + int.from_bytes(digest[:8], "big") % (9 * 10**14))


def _action(entry: Entry, status: str) -> str:
    if status in _PAID:
        return "00"
    if status not in _DECLINED:
        return STRANGE
    error = BEHAVIOURS.get(entry.behaviour, NORMAL).error
    return CODES.get(error or "", CODE_OTHERWISE)


def _amount(entry: Entry) -> str:
    places = exponent(entry.currency)
    return str(Decimal(entry.amount_minor).scaleb(-places))


def _asked(body: Mapping[str, object], attempt_id: str) -> Asked:
    """What a request asks for. Raises Refused."""
    for name, form in _FORMS.items():
        value = body.get(name)
        if not isinstance(value, str) or not re.fullmatch(form, value):
            raise Refused(400, "VALIDATION_ERROR")
    acceptor, currency = body.get("cardAcceptor"), body.get("transactionCurrencyCode")
    if not isinstance(acceptor, dict) or not {"name", "idCode", "terminalId"} <= set(acceptor):
        raise Refused(400, "VALIDATION_ERROR")
    if not isinstance(currency, str) or currency not in CURRENCIES:
        raise Refused(400, "VALIDATION_ERROR")
    number = str(body["recipientPrimaryAccountNumber"])
    return Asked(attempt_id, attempt_id, number, currency, _minor(body.get("amount"), currency))


def _minor(amount: object, currency: str) -> int:
    """An amount in minor units; of three decimals, the last is 0. Raises Refused."""
    if type(amount) not in {int, Decimal}:
        raise Refused(400, "VALIDATION_ERROR")
    places = exponent(currency)
    value = Decimal(str(amount)).scaleb(min(places, 2))
    if value != value.to_integral_value() or not 0 < value < 10**15:
        raise Refused(400, "VALIDATION_ERROR")
    return int(value) * (10 if places == 3 else 1)


def _error(refused: Refused) -> web.Response:
    if refused.name == "INSUFFICIENT_FUNDS":  # a decline is no error
        declined = {"transactionIdentifier": 381228649430015, "actionCode": CODES[refused.name]}
        return json_answer(200, {**declined, "responseCode": "5"})
    status, code = ERRORS.get(refused.name, (refused.status, f"9{refused.status}"))
    said = {"status": status, "code": code, "severity": "ERROR", "message": refused.name}
    return json_answer(status, {"responseStatus": said})
