"""Problems: why a request is not taken, as RFC 9457 has it.

``type`` is a path of this API, one for each code of :mod:`models.refusals`; there it says the same
in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from models.refusals import Denied, Reason

MEDIA_TYPE = "application/problem+json"
PATH = "/problems/"

S = HTTPStatus

TITLES: Mapping[Denied | Reason, tuple[HTTPStatus, str]] = MappingProxyType({
    Denied.UNAUTHENTICATED: (S.UNAUTHORIZED, "no API key, or one that is not known"),
    Denied.SCOPE_MISSING: (S.FORBIDDEN, "the API key may not do that"),
    Denied.NOT_FOUND: (S.NOT_FOUND, "there is no such thing"),
    Denied.METHOD_NOT_ALLOWED: (S.METHOD_NOT_ALLOWED, "the path does not take that method"),
    Denied.MEDIA_TYPE_UNSUPPORTED: (S.UNSUPPORTED_MEDIA_TYPE, "send application/json"),
    Denied.BODY_TIMED_OUT: (S.REQUEST_TIMEOUT, "the body did not come in time"),
    Denied.KEY_MISSING: (S.BAD_REQUEST, "the header Idempotency-Key is missing"),
    Denied.KEY_INVALID: (S.BAD_REQUEST, "the header Idempotency-Key cannot be used"),
    Denied.IN_FLIGHT: (S.CONFLICT, "a request with this Idempotency-Key is under way"),
    Denied.CURSOR_INVALID: (S.UNPROCESSABLE_ENTITY, "no cursor that a page came with"),
    Denied.TOO_LATE_TO_CANCEL: (S.CONFLICT, "the payout can no longer be stopped"),
    Denied.RATE_LIMITED: (S.TOO_MANY_REQUESTS, "the API key sends more than it may"),
    Denied.BUSY: (S.SERVICE_UNAVAILABLE, "too many requests are under way"),
    Denied.UNAVAILABLE: (S.SERVICE_UNAVAILABLE, "whether it was done is not known: send it again"),
    Denied.INTERNAL: (S.INTERNAL_SERVER_ERROR, "something is broken here: send it again"),
    Reason.NOT_UTF8: (S.BAD_REQUEST, "the body is not UTF-8"),
    Reason.NOT_JSON: (S.BAD_REQUEST, "the body is not one JSON value"),
    Reason.TOO_LARGE: (S.REQUEST_ENTITY_TOO_LARGE, "the body is too large"),
    Reason.EMPTY: (S.BAD_REQUEST, "there is no body"),
    Reason.MISSING_FIELD: (S.UNPROCESSABLE_ENTITY, "a field is missing"),
    Reason.WRONG_TYPE: (S.UNPROCESSABLE_ENTITY, "a field is of another JSON type"),
    Reason.INVALID_FIELD: (S.UNPROCESSABLE_ENTITY, "a field cannot be what it is"),
    Reason.UNKNOWN_CURRENCY: (S.UNPROCESSABLE_ENTITY, "not an ISO 4217 currency"),
    Reason.AMOUNT_NOT_INTEGER: (S.UNPROCESSABLE_ENTITY, "an amount is integer minor units"),
    Reason.AMOUNT_NEGATIVE: (S.UNPROCESSABLE_ENTITY, "an amount is more than zero"),
    Reason.AMOUNT_TOO_LARGE: (S.UNPROCESSABLE_ENTITY, "the amount is too large"),
    Reason.DATE_OUT_OF_RANGE: (S.UNPROCESSABLE_ENTITY, "not an RFC 3339 time with an offset"),
    Reason.ID_REUSED: (S.UNPROCESSABLE_ENTITY, "the Idempotency-Key was of another request"),
    Reason.UNKNOWN_PAYOUT: (S.NOT_FOUND, "there is no such payout"),
    Reason.BALANCE_TOO_LARGE: (S.UNPROCESSABLE_ENTITY, "a balance would be too large"),
    Reason.PERCENT_OUT_OF_RANGE: (S.UNPROCESSABLE_ENTITY, "a percentage is from 0 to 100"),
    Reason.INSUFFICIENT_CREDIT: (S.UNPROCESSABLE_ENTITY, "the seller has less credit"),
    Reason.RATE_UNKNOWN: (S.UNPROCESSABLE_ENTITY, "there is no rate of these currencies"),
    Reason.RATE_EXPIRED: (S.UNPROCESSABLE_ENTITY, "the latest rate is too old"),
    Reason.CONVERSION_TOO_SMALL: (S.UNPROCESSABLE_ENTITY, "it would buy nothing"),
    Reason.INSUFFICIENT_AVAILABLE: (S.UNPROCESSABLE_ENTITY, "less is available"),
    Reason.QUOTE_UNKNOWN: (S.NOT_FOUND, "the seller has no such quote"),
    Reason.QUOTE_EXPIRED: (S.CONFLICT, "the quote's time is over"),
    Reason.QUOTE_USED: (S.CONFLICT, "the quote was used"),
    Reason.UNKNOWN_SELLER: (S.NOT_FOUND, "no profile of the seller has come"),
    Reason.SELLER_SUSPENDED: (S.UNPROCESSABLE_ENTITY, "the seller is suspended"),
    Reason.CURRENCY_MISMATCH: (S.UNPROCESSABLE_ENTITY, "it is in another currency"),
    Reason.AUTHORISATION_REUSED: (S.CONFLICT, "the seller has an authorisation of this id"),
    Reason.INSUFFICIENT_FUNDS: (S.UNPROCESSABLE_ENTITY, "the seller has less to spend"),
    Reason.UNKNOWN_AUTHORISATION: (S.NOT_FOUND, "there is no such authorisation"),
    Reason.AUTHORISATION_EXPIRED: (S.UNPROCESSABLE_ENTITY, "the authorisation's time is over"),
    Reason.AUTHORISATION_CLOSED: (S.UNPROCESSABLE_ENTITY, "nothing of it is left to take"),
    Reason.CAPTURE_EXCEEDS_AUTHORISATION: (S.UNPROCESSABLE_ENTITY, "less is left of it"),
    Reason.REFUND_EXCEEDS_CAPTURE: (S.UNPROCESSABLE_ENTITY, "less was captured of it"),
    Reason.PAYOUT_NOT_POSSIBLE: (S.UNPROCESSABLE_ENTITY, "the seller cannot be paid now"),
    Reason.NOTHING_AVAILABLE: (S.UNPROCESSABLE_ENTITY, "nothing is available"),
    Reason.RAILS_CLOSED: (S.UNPROCESSABLE_ENTITY, "no rail that takes it is open just now"),
    Reason.DAY_LIMIT: (S.UNPROCESSABLE_ENTITY, "the day's limit is reached"),
    Reason.AMOUNT_BELOW_MINIMUM: (S.UNPROCESSABLE_ENTITY, "less is available than the minimum"),
})  # fmt: skip
"""Status and title of each code that the API answers with."""


class ProblemDetails(BaseModel):
    """Why a request was not taken (RFC 9457)."""

    type: str = Field(description="path of this API that is the kind of problem")
    title: str
    status: int = Field(ge=400, le=599)
    code: str = Field(description="the last part of `type`")
    detail: str | None = Field(None, description="one sentence; never repeats what was sent")


class Problem(Exception):
    """A request is not taken. ``retry_s``: when it may be sent again."""

    def __init__(
        self, code: Denied | Reason, detail: str | None = None, *, retry_s: float | None = None
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else str(code))
        self.code = code
        self.detail = detail
        self.retry_s = retry_s

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(TITLES[self.code][0])

    def response(self) -> JSONResponse:
        """The problem, as it is sent."""
        headers = {"Cache-Control": "no-store"}
        if self.retry_s is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_s + 0.5)))
        if self.code is Denied.UNAUTHENTICATED:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(described(self.code, self.detail), self.status, headers, MEDIA_TYPE)


def described(code: Denied | Reason, detail: str | None = None) -> dict[str, Any]:
    """A problem as JSON."""
    status, title = TITLES[code]
    problem: dict[str, Any] = {
        "type": PATH + code, "title": title, "status": int(status), "code": str(code),
    }  # fmt: skip
    if detail is not None:
        problem["detail"] = detail
    return problem
