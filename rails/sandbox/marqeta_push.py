"""A stateful Marqeta that pushes to cards: disbursements, each under the token its caller chose.

The token guards nothing: each disbursement is executed, so who repeats one pays twice. It is found
by its token. It shares no code with the connector, so that one cannot hide the other's error.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import ClassVar

from aiohttp import web

from rails.sandbox.books import Entry, moment
from rails.sandbox.marqeta import ROOT, CoreSandbox, cents_of, with_amount
from rails.sandbox.provider import (
    CLIENT_ID,
    SECRET,
    Asked,
    Given,
    Refused,
    Submission,
    json_answer,
    json_object,
    require_login,
)

DISBURSE = ROOT + "/pushtocards/disburse"
CENTS = range(1, 5_000_001)
"""Amounts that the document allows."""

STATUSES: Mapping[str, str] = MappingProxyType(
    {
        "PENDING": "pending",
        "ONHOLD": "pending",
        "SUCCESS": "success",
        "FAILED": "declined",
        "BLOCKED": "declined",
        "RETURNED": "reversed",
        "REFUNDED": "reversed",
        "REVERSED": "reversed",
    }
)
"""Marqeta's word for each of the sandbox's own."""

STATUS_OTHERWISE = "escheated"

INACTIVE = "closed"
"""The behaviour of a card that cannot be pushed to, which is told at once."""


class MarqetaPushSandbox(CoreSandbox):
    """Marqeta's side of a push."""

    rail = "marqeta_push"

    foreign: ClassVar[frozenset[str]] = CoreSandbox.foreign | {INACTIVE}

    @staticmethod
    def rail_fields(url: str) -> dict[str, object]:
        """Marqeta under its root, with the sandbox's tokens."""
        return {
            "base_url": url + ROOT,
            "plain_http_allowed": True,
            "application_token": CLIENT_ID,
            "access_token": SECRET,
        }

    def routes(self) -> list[web.RouteDef]:
        """The paths of the API."""
        return [
            web.post(DISBURSE, self.create),
            web.get(DISBURSE + "/{token}", self.show),
        ]

    def shown(self, entry: Entry) -> str:
        """An entry as a disbursement in JSON."""
        at = moment(entry.created_ms)
        status = entry.status(self.clock.now_ms())
        return with_amount(
            entry,
            {
                "token": entry.attempt_id,
                "status": STATUSES.get(status, STATUS_OTHERWISE),
                "payment_instrument_token": entry.receiver,
                "currency_code": entry.currency,
                "tags": entry.sender_item_id,
                "created_time": at,
                "last_modified_time": at,
            },
        )

    def submission(self, request: web.Request, data: bytes) -> Submission:
        """A request, read. Raises Refused."""
        require_login(request)
        body = json_object(data, parse_float=Decimal)
        token = str(body.get("token") or "")

        def execute(given: Given) -> Entry:
            if given.behaviour.refusal is not None:
                raise Refused(*given.behaviour.refusal)
            asked = _asked(body, token)
            if given.name == INACTIVE:
                raise Refused(422, "INSTRUMENT_INACTIVE")
            if not self.funded:
                raise Refused(422, "INSUFFICIENT_FUNDS")
            return self.book(asked, given, again=self.books.by_attempt(token))

        return Submission(
            token,
            body.get("payment_instrument_token"),
            lambda: bool(_asked(body, token)),
            execute,
            lambda entry: json_answer(201, self.shown(entry)),
        )


def _asked(body: Mapping[str, object], token: str) -> Asked:
    """What a request asks for. Raises Refused."""
    card, tags, memo = (body.get(name) for name in ("payment_instrument_token", "tags", "memo"))
    for value, chars_max in ((token, 36), (card, 36), (tags, 255), (memo, 99)):
        # The document has no empty texts.
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= chars_max):
            raise Refused(400, "VALIDATION_ERROR")
    if card is None or body.get("currency_code") != "USD":
        raise Refused(400, "VALIDATION_ERROR")
    cents = cents_of(body.get("amount"))
    if cents not in CENTS:
        raise Refused(400, "VALIDATION_ERROR")
    return Asked(token, str(tags or ""), str(card), "USD", cents)
