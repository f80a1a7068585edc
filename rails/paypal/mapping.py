"""Between our words and PayPal's: pure functions and tables. ``mapping.md`` explains each field.

Every table has an explicit row for words it does not know. No function raises on anything a
server may answer; what cannot be read is UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.payouts import FailureCategory, PayoutState
from rails.accounts import DestinationInvalid, refusal_by
from rails.amounts import amount_text, minor_of_text
from rails.answers import Json, at, code, entries, word
from rails.categories import M, P, R, T
from rails.rail import (
    NOTE_CHARS_MAX,
    Instruction,
    Outcome,
    attempt_id_of,
    failed,
    not_shown,
    reported,
    unknown,
)

_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,30}")
_BATCH_PATH = re.compile(r"/v1/payments/payouts/([A-Za-z0-9_-]{1,30})(?:\?.*)?$")
_EMAIL = re.compile(
    r"[^@\s\"<>,;\x00-\x1f\x7f]{1,64}@[^@\s\"<>,;.\x00-\x1f\x7f-][^@\s\"<>,;\x00-\x1f\x7f]*"
)
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_ACCOUNT = re.compile(r"(?=[A-Z0-9]*[A-Z])[A-Z0-9]{13}")

ITEM_STATES: Mapping[str, PayoutState] = MappingProxyType(
    {
        "SUCCESS": PayoutState.SETTLED,
        "PENDING": PayoutState.ACCEPTED,
        "ONHOLD": PayoutState.ACCEPTED,  # under review at PayPal: may still go either way
        "UNCLAIMED": PayoutState.UNCLAIMED,
        "FAILED": PayoutState.FAILED,
        "BLOCKED": PayoutState.FAILED,
        "DENIED": PayoutState.FAILED,
        "RETURNED": PayoutState.RETURNED,
        "REFUNDED": PayoutState.RETURNED,
        "REVERSED": PayoutState.RETURNED,
        "CANCELED": PayoutState.CANCELLED,
    }
)
ITEM_STATE_OTHERWISE = PayoutState.UNKNOWN

BATCH_STATES: Mapping[str, PayoutState] = MappingProxyType(
    {
        # Only for a batch whose item cannot be seen. SUCCESS of a batch says nothing of its item.
        "PENDING": PayoutState.ACCEPTED,
        "PROCESSING": PayoutState.ACCEPTED,
        "SUCCESS": PayoutState.ACCEPTED,
        "DENIED": PayoutState.FAILED,
        "CANCELED": PayoutState.CANCELLED,
    }
)
BATCH_STATE_OTHERWISE = PayoutState.UNKNOWN

ITEM_FAILURES: Mapping[str, FailureCategory] = MappingProxyType(
    {
        # The destination is wrong or cannot be paid: disable it.
        "RECEIVER_ACCOUNT_INVALID": M,
        "RECEIVER_UNREGISTERED": M,
        "RECEIVER_UNCONFIRMED": M,
        "RECEIVER_ACCOUNT_LOCKED": M,
        "RECEIVER_ACCOUNT_LIMITATION": M,
        "INVALID_EMAIL": M,
        "SELF_PAY_NOT_ALLOWED": M,
        "CURRENCY_NOT_SUPPORTED_FOR_RECEIVER": M,
        "UNVERIFIED_RECIPIENT_NOT_SUPPORTED": M,
        # The recipient may not be paid this way: tell the company.
        "RECEIVER_COUNTRY_NOT_ALLOWED": P,
        "RECEIVER_STATE_RESTRICTED": P,
        "RECEIVER_YOUTH_ACCOUNT": P,
        "RECEIVER_REFUSED": P,
        "RECEIVING_LIMIT_EXCEEDED": P,
        "REGULATORY_BLOCKED": P,
        "RISK_DECLINE": P,
        "CURRENCY_COMPLIANCE": P,
        "CLOSED_MARKET": P,
        "TRANSACTION_LIMIT_EXCEEDED": P,
        "TRANSACTION_DECLINED_BY_TRAVEL_RULE": P,
        "ZERO_AMOUNT": P,
        "DUPLICATE_ITEM": P,
        # Our account or our funds at PayPal: pause the rail, alert.
        "INSUFFICIENT_FUNDS": T,
        "NON_HOLDING_CURRENCY": T,
        "USER_FUNDING_SOURCE_INELIGIBLE": T,
        "USER_COUNTRY_NOT_ALLOWED": T,
        "SENDER_ACCOUNT_LOCKED": T,
        "SENDER_ACCOUNT_UNVERIFIED": T,
        "SENDER_STATE_RESTRICTED": T,
        "SENDER_RESTRICTED": T,
        "SPENDING_LIMIT_EXCEEDED": T,
        "POS_LIMIT_EXCEEDED": T,
        "REFUSED_ACCESS_DENIED": T,
        # PayPal's own trouble.
        "INTERNAL_ERROR": R,
        "UNDEFINED": R,
    }
)
ITEM_FAILURE_OTHERWISE = FailureCategory.RECIPIENT
"""A refusal nobody knows is shown to a person; it neither loops nor stops the rail."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer to a submission that proves that this very request executed nothing.

    ``lasting``: the answer depends on the request alone, so that it also proves that an earlier,
    equal request executed nothing. Without it a refused repeat says nothing about the first try.
    """

    category: FailureCategory
    lasting: bool = False


SUBMIT_REFUSALS: Mapping[tuple[int, str], Refusal] = MappingProxyType(
    {
        (400, "VALIDATION_ERROR"): Refusal(M, lasting=True),
        (400, "INVALID_REQUEST"): Refusal(M, lasting=True),
        (400, "MALFORMED_REQUEST"): Refusal(M, lasting=True),
        (401, "AUTHENTICATION_FAILURE"): Refusal(T),
        (401, "INVALID_TOKEN"): Refusal(T),
        (403, "SENDER_RESTRICTED"): Refusal(T),
        (403, "SENDER_EMAIL_UNCONFIRMED"): Refusal(T),
        (403, "SENDER_ACCOUNT_UNVERIFIED"): Refusal(T),
        (403, "AUTHORIZATION_ERROR"): Refusal(T),
        (403, "NOT_AUTHORIZED"): Refusal(T),
        (403, "REQUIRED_SCOPE_MISSING"): Refusal(T),
        (422, "INSUFFICIENT_FUNDS"): Refusal(T),
        (429, "RATE_LIMIT_REACHED"): Refusal(R),
        (429, "RATE_LIMIT_VALIDATION_FAILURES"): Refusal(R),
    }
)
# The row for every other error answer is None: UNKNOWN. A 5xx may come after the batch was
# created, and an error nobody knows may be a duplicate in other words.
SUBMIT_REFUSAL_OTHERWISE: Refusal | None = None

NOT_SENT: Mapping[str, FailureCategory] = MappingProxyType({"token_refused": T})
"""Requests that never left for want of a token, by reason; others are the net's trouble."""

WEBHOOK_STATES: Mapping[str, PayoutState] = MappingProxyType(
    {
        "PAYMENT.PAYOUTS-ITEM.SUCCEEDED": PayoutState.SETTLED,
        "PAYMENT.PAYOUTS-ITEM.FAILED": PayoutState.FAILED,
        "PAYMENT.PAYOUTS-ITEM.DENIED": PayoutState.FAILED,
        "PAYMENT.PAYOUTS-ITEM.BLOCKED": PayoutState.FAILED,
        "PAYMENT.PAYOUTS-ITEM.UNCLAIMED": PayoutState.UNCLAIMED,
        "PAYMENT.PAYOUTS-ITEM.HELD": PayoutState.ACCEPTED,
        "PAYMENT.PAYOUTS-ITEM.RETURNED": PayoutState.RETURNED,
        "PAYMENT.PAYOUTS-ITEM.REFUNDED": PayoutState.RETURNED,
        "PAYMENT.PAYOUTS-ITEM.CANCELED": PayoutState.CANCELLED,
    }
)
WEBHOOK_STATE_OTHERWISE: PayoutState | None = None
"""Other events (batches, invoices) say nothing of a payout and are acknowledged unread."""


def recipient_type(destination: str) -> str:
    """Which of PayPal's recipient types a destination is. Raises DestinationInvalid."""
    if destination.isascii() and len(destination) <= 127:
        if _EMAIL.fullmatch(destination):
            return "EMAIL"
        if _PHONE.fullmatch(destination):
            return "PHONE"
        if _ACCOUNT.fullmatch(destination):
            return "PAYPAL_ID"
    raise DestinationInvalid("destination_invalid")


def destination_refusal(destination: str) -> str | None:
    """Why PayPal cannot pay to a destination, as a machine code; None if it can."""
    return refusal_by(recipient_type, destination)


def request_body(instruction: Instruction, email_subject: str) -> dict[str, object]:
    """The batch of one item. Raises DestinationInvalid, AmountInvalid, KeyError (currency).

    Deterministic, so that a guarded repeat sends the very same bytes.
    """
    item: dict[str, object] = {
        "recipient_type": recipient_type(instruction.destination),
        "receiver": instruction.destination,
        "amount": {
            "currency": instruction.currency,
            "value": amount_text("paypal", instruction.amount_minor, instruction.currency),
        },
        "sender_item_id": instruction.attempt_id,
    }
    # The specification's pattern is one line.
    note = " ".join(instruction.note.split())[:NOTE_CHARS_MAX]
    if note:
        item["note"] = note
    return {
        "sender_batch_header": {
            "sender_batch_id": instruction.attempt_id,
            "email_subject": email_subject,
        },
        "items": [item],
    }


def submitted(instruction: Instruction, status: int, body: Json, *, repeat: bool) -> Outcome:
    """What an answer to a submission means.

    ``repeat``: the request was sent before under the same id and its fate is not known; then only
    an answer that speaks of the first request too ends the uncertainty.
    """
    if 200 <= status < 300:
        reference = _reference(at(body, "batch_header", "payout_batch_id"))
        if reference is None:
            return unknown("answer_without_reference")
        return Outcome(PayoutState.ACCEPTED, reference, None, "submitted")
    name = _text(at(body, "name")) or _text(at(body, "error"))
    if status == 400 and name == "USER_BUSINESS_ERROR":
        return _business_error(body)
    refusal = SUBMIT_REFUSALS.get((status, name), SUBMIT_REFUSAL_OTHERWISE)
    reason = code(name or f"http_{status}")
    if refusal is None:
        return unknown(reason)
    if repeat and not refusal.lasting:
        return unknown(f"repeat_{reason}")
    return failed(_validated(refusal.category, body), reason)


def _business_error(body: Json) -> Outcome:
    """PayPal has a batch under this id already: adopt it. Its link is the only way to its id."""
    for detail in entries(at(body, "details")):
        for link in (*entries(at(detail, "link")), *entries(at(detail, "links"))):
            href = at(link, "href")
            match = _BATCH_PATH.search(href) if isinstance(href, str) else None
            if match:
                return Outcome(PayoutState.ACCEPTED, match[1], None, "adopted")
    return unknown("duplicate_without_reference")


def _validated(category: FailureCategory, body: Json) -> FailureCategory:
    """A validation error is the destination's fault only if PayPal names the receiver."""
    if category is not FailureCategory.METHOD:
        return category
    fields = [_text(at(detail, "field")) for detail in entries(at(body, "details"))]
    about_receiver = any("RECEIVER" in name or "RECIPIENT" in name for name in fields)
    return FailureCategory.METHOD if about_receiver else FailureCategory.RECIPIENT


@dataclass(frozen=True, slots=True)
class BatchRead:
    """A batch as read: what became of the payout, and its item's id if one is visible."""

    outcome: Outcome
    item_id: str | None = None


def batch_read(instruction: Instruction, reference: str, status: int, body: Json) -> BatchRead:
    """What an answer to "show batch" means for the payout: its item's status, not the batch's."""
    if status != 200:
        return BatchRead(not_shown(status, reference))
    header = at(body, "batch_header")
    batch_id = at(header, "sender_batch_header", "sender_batch_id")
    if batch_id != instruction.attempt_id:
        return BatchRead(unknown("reference_mismatch", reference))
    items = entries(at(body, "items"))
    if len(items) > 1:
        return BatchRead(unknown("reference_mismatch", reference))
    if items and _text(at(items[0], "transaction_status")):
        return BatchRead(item_read(instruction, reference, items[0]), _item_id(items[0]))
    word = _text(at(header, "batch_status"))
    state = BATCH_STATES.get(word, BATCH_STATE_OTHERWISE)
    return BatchRead(
        _outcome(state, f"batch_{code(word)}", reference, items[0] if items else None),
        _item_id(items[0]) if items else None,
    )


def item_read(instruction: Instruction, reference: str, item: Json) -> Outcome:
    """What an item's status means; UNKNOWN when the item is not the payout we asked about."""
    if not _is_ours(instruction, item):
        return unknown("reference_mismatch", reference)
    word = _text(at(item, "transaction_status"))
    state = ITEM_STATES.get(word, ITEM_STATE_OTHERWISE)
    return _outcome(state, code(word), reference, item)


def cancelled(instruction: Instruction, reference: str, status: int, body: Json) -> Outcome | None:
    """What an answer to "cancel item" means; None if PayPal refused and the item must be read.

    PayPal's word for a cancelled item is RETURNED.
    """
    if status != 200 or not _is_ours(instruction, body):
        return None
    if _text(at(body, "transaction_status")) not in {"RETURNED", "CANCELED"}:
        return None
    return Outcome(PayoutState.CANCELLED, reference, None, "cancelled")


def webhook_report(event: Json) -> dict[str, object] | None:
    """A verified webhook event as the fields of ``payout.reported``; None if it is about none.

    Raises ValueError for an event about a payout without its own id or time.
    """
    kind = _text(at(event, "event_type"))
    state = WEBHOOK_STATES.get(kind, WEBHOOK_STATE_OTHERWISE)
    if state is None:
        return None
    resource = at(event, "resource")
    attempt_id = attempt_id_of(at(resource, "payout_item", "sender_item_id"))
    if attempt_id is None:
        # Another system's payout on the same account: every item of ours has its id.
        return None
    event_id = at(event, "id")
    if not isinstance(event_id, str) or not re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", event_id):
        raise ValueError("no event id")
    reference = _reference(at(resource, "payout_batch_id"))
    outcome = _outcome(state, code(kind.rpartition(".")[2]), reference, resource)
    return reported(event_id, at(event, "create_time"), attempt_id, "paypal", outcome)


def _outcome(state: PayoutState, reason: str, reference: str | None, item: Json) -> Outcome:
    """An outcome; a failure takes its category and reason from the item's error."""
    if state is not PayoutState.FAILED:
        return Outcome(state, reference, None, reason)
    name = _text(at(item, "errors", "name"))
    if not name:
        return failed(ITEM_FAILURE_OTHERWISE, reason, reference)
    return failed(ITEM_FAILURES.get(name, ITEM_FAILURE_OTHERWISE), code(name), reference)


def _is_ours(instruction: Instruction, item: Json) -> bool:
    """Whether an item is this payout: same id where PayPal shows it, same currency and amount."""
    sent = at(item, "payout_item")
    currency = at(sent, "amount", "currency")
    if currency != instruction.currency:
        return False
    value = minor_of_text(at(sent, "amount", "value"), instruction.currency)
    if value != instruction.amount_minor:
        return False
    return at(sent, "sender_item_id") == instruction.attempt_id


def _item_id(item: Json) -> str | None:
    return _reference(at(item, "payout_item_id"))


def _reference(value: object) -> str | None:
    return value if isinstance(value, str) and _REFERENCE.fullmatch(value) else None


def _text(value: Json) -> str:
    """A word of PayPal's vocabulary, in its own spelling: upper case, no blanks around."""
    return word(value).upper()
