"""Refusals: every reason for which an event is not taken, as a machine-readable word.

    Refused
    ├── (decoding)  NOT_UTF8, NOT_JSON, TOO_LARGE, MISSING_FIELD, WRONG_TYPE, …
    ├── (requests)  PAYOUT_NOT_POSSIBLE, NOTHING_AVAILABLE, RAILS_CLOSED, …
    └── (booking)   ID_REUSED, SALE_REUSED, RETURN_EXCEEDS_SALE, CURRENCY_MISMATCH, …

NOTICE_UNDELIVERED is no refusal of an event: the company's endpoint did not take a notice of it.
A refused event goes to ``dead-letters`` with its reason, where it came from and its bytes.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why an event was refused. The words are part of the public contract: they never change."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    INVALID_FIELD = "invalid_field"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_CURRENCY = "unknown_currency"
    AMOUNT_NOT_INTEGER = "amount_not_integer"
    AMOUNT_NEGATIVE = "amount_negative"
    AMOUNT_TOO_LARGE = "amount_too_large"
    PERCENT_OUT_OF_RANGE = "percent_out_of_range"
    RATE_NOT_POSITIVE = "rate_not_positive"
    LINES_CONFLICT = "lines_conflict"
    DATE_OUT_OF_RANGE = "date_out_of_range"
    PAST_RETENTION = "past_retention"
    CAUSE_VOID = "cause_void"
    ID_REUSED = "id_reused"
    SALE_REUSED = "sale_reused"
    CURRENCY_MISMATCH = "currency_mismatch"
    SELLER_MISMATCH = "seller_mismatch"
    RETURN_EXCEEDS_SALE = "return_exceeds_sale"
    UNKNOWN_LINE = "unknown_line"
    RETURN_EXCEEDS_LINE = "return_exceeds_line"
    RETURN_WITHOUT_SALE = "return_without_sale"
    LABEL_WITHOUT_SALE = "label_without_sale"
    NOT_INDEPENDENT = "not_independent"
    TOO_MANY_WAITING = "too_many_waiting"
    BALANCE_TOO_LARGE = "balance_too_large"
    WRITE_OFF_EXCEEDS_DEBT = "write_off_exceeds_debt"
    INSUFFICIENT_CREDIT = "insufficient_credit"
    UNKNOWN_PAYOUT = "unknown_payout"
    PAYOUT_NOT_UNKNOWN = "payout_not_unknown"
    PAYOUT_RESOLVED = "payout_resolved"
    AMOUNT_MISMATCH = "amount_mismatch"
    REFERENCE_MISMATCH = "reference_mismatch"
    ENQUIRY_DUE = "enquiry_due"
    ASKED_SINCE = "asked_since"
    UNKNOWN_SELLER = "unknown_seller"
    SELLER_SUSPENDED = "seller_suspended"
    AUTHORISATION_REUSED = "authorisation_reused"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    UNKNOWN_AUTHORISATION = "unknown_authorisation"
    AUTHORISATION_EXPIRED = "authorisation_expired"
    AUTHORISATION_CLOSED = "authorisation_closed"
    CAPTURE_EXCEEDS_AUTHORISATION = "capture_exceeds_authorisation"
    REFUND_EXCEEDS_CAPTURE = "refund_exceeds_capture"
    DISCOUNT_REUSED = "discount_reused"
    RATE_IMPLAUSIBLE = "rate_implausible"
    RATE_UNKNOWN = "rate_unknown"
    RATE_EXPIRED = "rate_expired"
    CONVERSION_TOO_SMALL = "conversion_too_small"
    INSUFFICIENT_AVAILABLE = "insufficient_available"
    QUOTE_REUSED = "quote_reused"
    QUOTE_UNKNOWN = "quote_unknown"
    QUOTE_EXPIRED = "quote_expired"
    QUOTE_USED = "quote_used"
    PAYOUT_NOT_POSSIBLE = "payout_not_possible"
    NOTHING_AVAILABLE = "nothing_available"
    RAILS_CLOSED = "rails_closed"
    DAY_LIMIT = "day_limit"
    AMOUNT_BELOW_MINIMUM = "amount_below_minimum"
    NOTICE_UNDELIVERED = "notice_undelivered"


class Denied(StrEnum):
    """Why the HTTP API does not take a request, beside :class:`Reason`; never for an event."""

    UNAUTHENTICATED = "unauthenticated"
    SCOPE_MISSING = "scope_missing"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MEDIA_TYPE_UNSUPPORTED = "media_type_unsupported"
    BODY_TIMED_OUT = "body_timed_out"
    KEY_MISSING = "key_missing"
    KEY_INVALID = "key_invalid"
    IN_FLIGHT = "in_flight"
    CURSOR_INVALID = "cursor_invalid"
    TOO_LATE_TO_CANCEL = "too_late_to_cancel"
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class Refused(Exception):
    """An event that is not taken: the reason, and one sentence that names the field.

    The sentence never repeats a value: that may be personal data.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
