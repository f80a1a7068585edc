"""A stateful Circle Mint: an address book, payouts to it, idempotency keys, messages of SNS.

It shares no code with the connector, so that one cannot hide the other's error.
"""

from __future__ import annotations

import hmac
import re
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from aiohttp import web

from rails.sandbox.befalls import Befalls
from rails.sandbox.behaviours import BEHAVIOURS, DAY_MS, NORMAL, named
from rails.sandbox.books import Books, Entry, SandboxClock, moment
from rails.sandbox.provider import (
    CLIENT_ID,
    SECRET,
    TRIED_MAX,
    Asked,
    Given,
    Provider,
    Refused,
    Settings,
    Submission,
    json_answer,
    json_object,
)
from rails.sandbox.scribes import CircleScribe, Signer

KEY_MS = 2 * DAY_MS
RECIPIENTS_MAX = 100_000
SNS_PATH = "/sns/"
TOPIC_ARN = "arn:aws:sns:us-west-2:000000000000:sandbox_platform-notifications-topic"

ADDRESSES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("ARB", "AVAX", "BASE", "CELO", "ETH", "OP", "POLY", "ZKS"), r"0x[0-9a-fA-F]{40}"
        ),
        "SOL": r"[1-9A-HJ-NP-Za-km-z]{32,44}",
        "XLM": r"G[A-Z2-7]{55}",
    }
)
"""What an address looks like, by chain."""

STATUSES: Mapping[str, str] = MappingProxyType(
    {
        "PENDING": "pending",
        "ONHOLD": "pending",
        "SUCCESS": "complete",
        "FAILED": "failed",
        "BLOCKED": "failed",
        "RETURNED": "failed",
        "REFUNDED": "failed",
        "REVERSED": "failed",
        "CANCELED": "failed",
    }
)
"""Circle's word for each of the sandbox's own; a new word stays as new as it is."""

BACK = frozenset({"RETURNED", "REFUNDED", "REVERSED"})

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "RECEIVER_ACCOUNT_LOCKED": "transaction_denied",
        "RECEIVER_ACCOUNT_INVALID": "transaction_denied",
        "SELF_PAY_NOT_ALLOWED": "transaction_denied",
        "RECEIVING_LIMIT_EXCEEDED": "transaction_denied",
        "REGULATORY_BLOCKED": "transaction_denied",
        "RISK_DECLINE": "transaction_denied",
        "NON_HOLDING_CURRENCY": "insufficient_funds",
        "INTERNAL_ERROR": "transaction_failed",
    }
)
REASON_OTHERWISE = "vendor_inactive"
SCREENED = frozenset({"REGULATORY_BLOCKED", "RISK_DECLINE"})

ERRORS: Mapping[str, tuple[int, int, str]] = MappingProxyType(
    {
        "INSUFFICIENT_FUNDS": (400, 400, "Insufficient funds."),
        "SENDER_RESTRICTED": (403, 3, "Forbidden."),
        "AUTHENTICATION_FAILURE": (401, 401, "Malformed authorization."),
        "VALIDATION_ERROR": (400, 2, "Invalid entity."),
        "RATE_LIMIT_REACHED": (429, 429, "Too many requests."),
        "RESOURCE_NOT_FOUND": (404, 404, "Not found."),
    }
)
"""Status, code and message of each of the sandbox's errors. Any other is Circle's passing trouble,
code -1, or a status of its own."""

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_AMOUNT = re.compile(r"[0-9]{1,12}\.[0-9]{2}")


class Recipient(NamedTuple):
    """An entry of the address book."""

    recipient_id: str
    chain: str
    address: str
    tag: str
    nickname: str
    created_ms: int


class CircleSandbox(Provider):
    """Circle's side. ``recipient_delay_ms``: how long a new recipient is looked at."""

    rail = "circle"

    def __init__(
        self, books: Books, clock: SandboxClock, befalls: Befalls, settings: Settings
    ) -> None:
        """Take books, clock and settings. Raises ValueError for unknown faults."""
        super().__init__(books, clock, befalls, settings)
        self.recipient_delay_ms = 0
        self.subscribed = False
        """Whether a subscription to the notifications has been confirmed."""
        self._recipients: dict[str, Recipient] = {}
        self._refusals: OrderedDict[str, Refused] = OrderedDict()
        """Keys whose first answer was a refusal that is given again."""
        self._signer: Signer | None = None
        self._scribe: CircleScribe | None = None

    @staticmethod
    def rail_fields(url: str) -> dict[str, object]:
        """The built-in credentials, and a sender, so that every travel rule is met."""
        return {
            "base_url": url,
            "plain_http_allowed": True,
            "api_key": SECRET,
            "wallet_id": CLIENT_ID,
            "booked_in": "US",
            "sender_name": "Sandbox Sellers Inc",
            "sender_street": "100 Money Street",
            "sender_city": "Boston",
            "sender_district": "MA",
            "sender_postal_code": "01234",
            "sender_country": "US",
            "topic_arn": TOPIC_ARN,
            "webhook_cert_prefixes": url + SNS_PATH,
        }

    def scribe(self) -> CircleScribe:
        """Signs with a key of its own, whose certificate is served here."""
        self._signer = Signer()
        self._scribe = CircleScribe(TOPIC_ARN, self._signer, self.payout)
        return self._scribe

    def listening(self, url: str) -> None:
        """The address of certificate and confirmations is known."""
        if self._scribe is not None:
            self._scribe.name_host(url + SNS_PATH)

    def confirmation(self, now_ms: int) -> bytes:
        """The first message to a new subscriber. Raises ValueError where webhooks go nowhere."""
        if self._scribe is None:
            raise ValueError("without a webhook address there is no subscription")
        return self._scribe.confirmation(now_ms)

    def routes(self) -> list[web.RouteDef]:
        """The paths of the API."""
        book = "/v1/addressBook/recipients"
        return [
            web.post(book, self.create_recipient),
            web.get(book, self.list_recipients),
            web.get(book + "/{id}", self.show_recipient),
            web.post("/v1/payouts", self.create),
            web.get("/v1/payouts/{id}", self.show),
            web.get(SNS_PATH, self.confirm),
            web.get(SNS_PATH + "{name}", self.certificate),
        ]

    async def certificate(self, request: web.Request) -> web.Response:
        """The certificate that messages are signed with."""
        if self._signer is None or request.match_info["name"] != self._signer.sns_name:
            return web.Response(status=404)
        return web.Response(body=self._signer.pem(), content_type="application/x-pem-file")

    async def confirm(self, request: web.Request) -> web.Response:
        """Confirm the subscription, as SNS does at the address in its first message."""
        asked = (request.query.get("Action"), request.query.get("TopicArn"))
        if asked != ("ConfirmSubscription", TOPIC_ARN) or not request.query.get("Token"):
            return web.Response(status=400)
        self.subscribed = True
        return web.Response(text="<ConfirmSubscriptionResponse/>")

    async def create_recipient(self, request: web.Request) -> web.StreamResponse:
        """Add an address to the book; the entry there is for one that is in it."""
        try:
            self._authorize(request)
            body = json_object(await request.read())
            _key(body)
            entry = self._entered(body)
        except Refused as refused:
            return _error(refused)
        # New ones are looked at first, however short the look is.
        return json_answer(201, {"data": {**self._shown(entry), "status": "pending"}})

    async def list_recipients(self, request: web.Request) -> web.StreamResponse:
        """Entries of a chain and an address."""
        try:
            self._authorize(request)
        except Refused as refused:
            return _error(refused)
        chain, address = request.query.get("chain"), request.query.get("address", "").lower()
        found = [
            self._shown(one)
            for one in self._recipients.values()
            if one.chain == chain and one.address.lower() == address
        ]
        return json_answer(200, {"data": found})

    async def show_recipient(self, request: web.Request) -> web.StreamResponse:
        """Show an entry."""
        try:
            self._authorize(request)
            entry = self._recipients.get(request.match_info["id"])
            if entry is None:
                raise Refused(404, "RESOURCE_NOT_FOUND")
        except Refused as refused:
            return _error(refused)
        return json_answer(200, {"data": self._shown(entry)})

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Create a payout; under a key that was used, give the first answer again."""
        return await self.take(request, lambda data: self._submission(request, data), _error)

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Show a payout."""

        def find() -> Entry | None:
            self._authorize(request)
            return self.books.by_reference(request.match_info["id"])

        return await self.tell(
            request, find, lambda entry: {"data": self.payout(entry, self.clock.now_ms())}, _error
        )

    def payout(self, entry: Entry, now_ms: int, claimed: str | None = None) -> dict[str, object]:
        """An entry as a payout; ``claimed``: with a status other than its own."""
        status = claimed or entry.status(now_ms)
        whole, cents = divmod(entry.amount_minor, 100)
        amount = {"amount": f"{whole}.{cents:02d}", "currency": entry.currency}
        shown: dict[str, object] = {
            "id": entry.reference,
            "sourceWalletId": CLIENT_ID,
            "destination": {"type": "address_book", "id": entry.receiver},
            "amount": amount,
            "toAmount": amount,
            "fees": {"amount": "0.00", "currency": entry.currency},
            "status": STATUSES.get(status, status.lower()),
            "createDate": moment(entry.created_ms),
            "updateDate": moment(now_ms),
        }
        if shown["status"] == "failed":
            error = BEHAVIOURS.get(entry.behaviour, NORMAL).error or ""
            back = status in BACK
            reason = "transaction_returned" if back else REASONS.get(error, REASON_OTHERWISE)
            shown["errorCode"] = reason
            if error in SCREENED and not back:
                shown["riskEvaluation"] = {"decision": "denied", "reason": "3000"}
        return shown

    def reference(self, digest: bytes) -> str:
        """A UUID, as Circle gives it."""
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def _authorize(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {SECRET}".encode()):
            raise Refused(401, "AUTHENTICATION_FAILURE")

    def _entered(self, body: Mapping[str, object]) -> Recipient:
        """The entry of the book that a request asks for. Raises Refused."""
        chain, address, tag = body.get("chain"), body.get("address"), body.get("addressTag") or ""
        nickname = _at(body, "metadata", "nickname") or ""
        pattern = ADDRESSES.get(str(chain))
        if pattern is None:
            raise _invalid("chain")
        if not isinstance(address, str) or not re.fullmatch(pattern, address):
            raise _invalid("address")
        if not isinstance(tag, str) or not isinstance(nickname, str):
            raise _invalid("addressTag")
        recipient_id = self.reference(self.digest(f"recipient {chain} {address.lower()} {tag}"))
        if recipient_id not in self._recipients:
            if len(self._recipients) >= RECIPIENTS_MAX:
                raise Refused(503, "SERVICE_UNAVAILABLE")
            self._recipients[recipient_id] = Recipient(
                recipient_id, str(chain), address, tag, nickname, self.clock.now_ms()
            )
        return self._recipients[recipient_id]

    def _shown(self, entry: Recipient) -> dict[str, object]:
        shown: dict[str, object] = {
            "id": entry.recipient_id,
            "chain": entry.chain,
            # As Circle's own examples show it, whatever capitals came in.
            "address": entry.address.lower() if entry.address[:2] == "0x" else entry.address,
            "metadata": {"nickname": entry.nickname},
            "status": self._standing(entry),
            "createDate": moment(entry.created_ms),
            "updateDate": moment(entry.created_ms),
        }
        if entry.tag:
            shown["addressTag"] = entry.tag
        return shown

    def _standing(self, entry: Recipient) -> str:
        behaviour = named(entry.nickname, None)
        if behaviour is not None and behaviour.batch_denied:
            return "denied"
        seen = self.clock.now_ms() - entry.created_ms >= self.recipient_delay_ms
        return "active" if seen else "pending"

    def _submission(self, request: web.Request, data: bytes) -> Submission:
        """A request, read. Raises Refused."""
        self._authorize(request)
        body = json_object(data)
        key = _key(body)
        recipient = self._recipients.get(str(_at(body, "destination", "id")))
        return Submission(
            key,
            recipient.nickname if recipient else "",
            lambda: bool(self._asked(body, key)),
            lambda given: self._execute(body, key, given),
            lambda entry: json_answer(
                201, {"data": {**self.payout(entry, entry.created_ms), "status": "pending"}}
            ),
        )

    def _execute(self, body: Mapping[str, object], key: str, given: Given) -> Entry:
        """Check, find what the key has made, book. Raises Refused."""
        if given.behaviour.refusal is not None:
            status, name = given.behaviour.refusal
            raise Refused(status, name, [{"error": "invalid_value", "location": "amount.amount"}])
        if key in self._refusals:
            # The first answer again, though there are funds by now.
            raise self._refusals[key]
        asked = self._asked(body, key)
        try:
            return self.book_once(asked, given, KEY_MS, lambda first: first)
        except Refused as refused:
            if refused.name == "INSUFFICIENT_FUNDS" and self.books.by_attempt(key) is None:
                self._refusals[key] = refused
                if len(self._refusals) > TRIED_MAX:
                    self._refusals.popitem(last=False)
            raise

    def _asked(self, body: Mapping[str, object], key: str) -> Asked:
        """What a request asks for. Raises Refused."""
        source = body.get("source")
        if _at(source, "type") != "wallet" or _at(source, "id") != CLIENT_ID:
            raise _invalid("source.id")
        recipient = self._recipients.get(str(_at(body, "destination", "id")))
        if recipient is None or _at(body, "destination", "type") != "address_book":
            raise _invalid("destination.id")
        if self._standing(recipient) != "active":
            raise _invalid("destination.id")
        amount, currency = _at(body, "amount", "amount"), _at(body, "amount", "currency")
        if currency != "USD" or _at(body, "toAmount", "currency") != "USD":
            raise _invalid("amount.currency")
        if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
            raise _invalid("amount.amount")
        minor = int(amount.replace(".", ""))
        if not minor:
            raise _invalid("amount.amount")
        if minor >= 300_000 and not _at(source, "identities"):
            raise _invalid("source.identities")
        return Asked(key, key, recipient.recipient_id, "USD", minor)


def _key(body: Mapping[str, object]) -> str:
    """The idempotency key. Raises Refused unless it is a UUID of version 4."""
    key = body.get("idempotencyKey")
    if not isinstance(key, str) or not _UUID4.fullmatch(key):
        raise _invalid("idempotencyKey")
    return key


def _at(value: object, *path: str) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _invalid(field: str) -> Refused:
    return Refused(400, "VALIDATION_ERROR", [{"error": "invalid_value", "location": field}])


def _error(refused: Refused) -> web.Response:
    trouble = -1 if refused.status >= 500 else refused.status
    status, number, message = ERRORS.get(
        refused.name, (refused.status, trouble, "Something went wrong.")
    )
    body: dict[str, object] = {"code": number, "message": message}
    if refused.details and refused.name == "VALIDATION_ERROR":
        body["errors"] = refused.details
    return json_answer(status, body)
