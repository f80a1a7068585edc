"""Between our words and PayPal's: pure functions and tables. ``mapping.md`` explains each field.

Every table has an explicit row for words it does not know. No function raises on anything a
server may answer; what cannot be read is UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.money import exponent
from models.payouts import FailureCategory, PayoutState
from rails.rail import NOTE_CHARS_MAX, Instruction, Outcome, failed, payout_of, unknown

Json = object
"""What ``json.loads`` gives; narrowed where it is read."""

DECIMALS: Mapping[str, int] = MappingProxyType({"HUF": 0, "JPY": 0, "TWD": 0})
"""Decimal places PayPal takes where they differ from, or matter as much as, ISO 4217's."""

_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,30}")
_BATCH_PATH = re.compile(r"/v1/payments/payouts/([A-Za-z0-9_-]{1,30})(?:\?.*)?$")
_AMOUNT = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?")
_EMAIL = re.compile(
    r"[^@\s\"<>,;\x00-\x1f\x7f]{1,64}@[^@\s\"<>,;.\x00-\x1f\x7f-][^@\s\"<>,;\x00-\x1f\x7f]*"
)
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_ACCOUNT = re.compile(r"(?=[A-Z0-9]*[A-Z])[A-Z0-9]{13}")
_CODE = re.compile(r"[^a-z0-9]+")
_ATTEMPT_ID = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,62}")
_WORD = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_ -]{1,48}")

R, M, P, T = (
    FailureCategory.RETRYABLE,
    FailureCategory.METHOD,
    FailureCategory.RECIPIENT,
    FailureCategory.TREASURY,
)

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

REFUSED_HERE: Mapping[str, FailureCategory] = MappingProxyType(
    {
        "destination_invalid": M,
        "currency_not_carried": P,
        "amount_below_minimum": P,
        "amount_above_maximum": P,
        "amount_not_representable": P,
    }
)
REFUSED_HERE_OTHERWISE = FailureCategory.RECIPIENT

NOT_SENT: Mapping[str, FailureCategory] = MappingProxyType({"token_refused": T})
NOT_SENT_OTHERWISE = FailureCategory.RETRYABLE
"""A request that never left, by the reason's code: credentials are ours, the rest is the net's."""

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


class DestinationInvalid(ValueError):
    """The destination has none of the forms PayPal pays to. Holds nothing of it."""


class AmountInvalid(ValueError):
    """The amount is not positive or cannot be written with the decimals PayPal takes."""


def decimals(currency: str) -> int:
    """Decimal places PayPal takes. Raises KeyError for an unknown currency."""
    return DECIMALS[currency] if currency in DECIMALS else exponent(currency)


def amount_text(amount_minor: int, currency: str) -> str:
    """Minor units as PayPal's decimal string: ``1050 EUR`` is ``10.50``, ``100000 HUF`` ``1000``.

    Nothing is rounded: raises AmountInvalid for what has no exact text.
    """
    places = decimals(currency)
    whole_minor, rest = divmod(amount_minor, 10 ** (exponent(currency) - places))
    if amount_minor <= 0 or rest:
        raise AmountInvalid(f"{amount_minor} minor units of {currency} have no {places}-place text")
    digits = str(whole_minor).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def amount_minor(text: object, currency: str) -> int | None:
    """PayPal's decimal string as minor units, exactly; None if it is not one."""
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    try:
        places = exponent(currency)
    except KeyError:
        return None
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > places:
        return None
    return int(match[1] + fraction.ljust(places, "0"))


def recipient_type(destination: str) -> str:
    """Which of PayPal's recipient types a destination is. Raises DestinationInvalid."""
    if destination.isascii() and len(destination) <= 127:
        if _EMAIL.fullmatch(destination):
            return "EMAIL"
        if _PHONE.fullmatch(destination):
            return "PHONE"
        if _ACCOUNT.fullmatch(destination):
            return "PAYPAL_ID"
    raise DestinationInvalid("neither an e-mail address, an E.164 number nor a PayPal account id")


def destination_refusal(destination: str) -> str | None:
    """Why PayPal cannot pay to a destination, as a machine code; None if it can."""
    try:
        recipient_type(destination)
    except DestinationInvalid:
        return "destination_invalid"
    return None


def request_body(instruction: Instruction, email_subject: str) -> dict[str, object]:
    """The batch of one item. Raises DestinationInvalid, AmountInvalid, KeyError (currency).

    Deterministic, so that a guarded repeat sends the very same bytes.
    """
    item: dict[str, object] = {
        "recipient_type": recipient_type(instruction.destination),
        "receiver": instruction.destination,
        "amount": {
            "currency": instruction.currency,
            "value": amount_text(instruction.amount_minor, instruction.currency),
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
        reference = _reference(_at(body, "batch_header", "payout_batch_id"))
        if reference is None:
            return unknown("answer_without_reference")
        return Outcome(PayoutState.ACCEPTED, reference, None, "submitted")
    name = _text(_at(body, "name")) or _text(_at(body, "error"))
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
    for detail in _items(_at(body, "details")):
        for link in (*_items(_at(detail, "link")), *_items(_at(detail, "links"))):
            href = _at(link, "href")
            match = _BATCH_PATH.search(href) if isinstance(href, str) else None
            if match:
                return Outcome(PayoutState.ACCEPTED, match[1], None, "adopted")
    return unknown("duplicate_without_reference")


def _validated(category: FailureCategory, body: Json) -> FailureCategory:
    """A validation error is the destination's fault only if PayPal names the receiver."""
    if category is not FailureCategory.METHOD:
        return category
    fields = [_text(_at(detail, "field")) for detail in _items(_at(body, "details"))]
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
        reason = "reference_not_found" if status == 404 else f"http_{status}"
        return BatchRead(unknown(reason, reference))
    header = _at(body, "batch_header")
    batch_id = _at(header, "sender_batch_header", "sender_batch_id")
    if batch_id != instruction.attempt_id:
        return BatchRead(unknown("reference_mismatch", reference))
    items = _items(_at(body, "items"))
    if len(items) > 1:
        return BatchRead(unknown("reference_mismatch", reference))
    if items and _text(_at(items[0], "transaction_status")):
        return BatchRead(item_read(instruction, reference, items[0]), _item_id(items[0]))
    word = _text(_at(header, "batch_status"))
    state = BATCH_STATES.get(word, BATCH_STATE_OTHERWISE)
    return BatchRead(
        _outcome(state, f"batch_{code(word)}", reference, items[0] if items else None),
        _item_id(items[0]) if items else None,
    )


def item_read(instruction: Instruction, reference: str, item: Json) -> Outcome:
    """What an item's status means; UNKNOWN when the item is not the payout we asked about."""
    if not _is_ours(instruction, item):
        return unknown("reference_mismatch", reference)
    word = _text(_at(item, "transaction_status"))
    state = ITEM_STATES.get(word, ITEM_STATE_OTHERWISE)
    return _outcome(state, code(word), reference, item)


def cancelled(instruction: Instruction, reference: str, status: int, body: Json) -> Outcome | None:
    """What an answer to "cancel item" means; None if PayPal refused and the item must be read.

    PayPal's word for a cancelled item is RETURNED.
    """
    if status != 200 or not _is_ours(instruction, body):
        return None
    if _text(_at(body, "transaction_status")) not in {"RETURNED", "CANCELED"}:
        return None
    return Outcome(PayoutState.CANCELLED, reference, None, "cancelled")


def webhook_report(event: Json) -> dict[str, object] | None:
    """A verified webhook event as the fields of ``payout.reported``; None if it is about none.

    Raises ValueError for an event about a payout without its own id or time.
    """
    kind = _text(_at(event, "event_type"))
    state = WEBHOOK_STATES.get(kind, WEBHOOK_STATE_OTHERWISE)
    if state is None:
        return None
    resource = _at(event, "resource")
    attempt_id = _at(resource, "payout_item", "sender_item_id")
    if not isinstance(attempt_id, str) or not _ATTEMPT_ID.fullmatch(attempt_id):
        # Another system's payout on the same account: every item of ours has its id.
        return None
    event_id, occurred_at = _at(event, "id"), _at(event, "create_time")
    if not isinstance(event_id, str) or not re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", event_id):
        raise ValueError("no event id")
    if not isinstance(occurred_at, str) or len(occurred_at) > 40:
        raise ValueError("no create_time")
    reference = _reference(_at(resource, "payout_batch_id"))
    outcome = _outcome(state, code(kind.rpartition(".")[2]), reference, resource)
    report: dict[str, object] = {
        "id": event_id,
        "type": "payout.reported",
        "version": 1,
        "occurred_at": occurred_at,
        "payout_id": payout_of(attempt_id),
        "rail": "paypal",
        "state": outcome.state.value,
        "reason": outcome.reason,
    }
    if reference is not None:
        report["provider_ref"] = reference
    if outcome.category is not None:
        report["category"] = outcome.category.value
    return report


def code(word: str) -> str:
    """A provider's word as a machine code in lower case. What is no word stays out: it might be
    an address or a sentence."""
    return _CODE.sub("_", word.lower()).strip("_") if _WORD.fullmatch(word) else "unreadable"


def _outcome(state: PayoutState, reason: str, reference: str | None, item: Json) -> Outcome:
    """An outcome; a failure takes its category and reason from the item's error."""
    if state is not PayoutState.FAILED:
        return Outcome(state, reference, None, reason)
    name = _text(_at(item, "errors", "name"))
    if not name:
        return failed(ITEM_FAILURE_OTHERWISE, reason, reference)
    return failed(ITEM_FAILURES.get(name, ITEM_FAILURE_OTHERWISE), code(name), reference)


def _is_ours(instruction: Instruction, item: Json) -> bool:
    """Whether an item is this payout: same id where PayPal shows it, same currency and amount."""
    sent = _at(item, "payout_item")
    currency = _at(sent, "amount", "currency")
    if currency != instruction.currency:
        return False
    if amount_minor(_at(sent, "amount", "value"), instruction.currency) != instruction.amount_minor:
        return False
    return _at(sent, "sender_item_id") == instruction.attempt_id


def _item_id(item: Json) -> str | None:
    return _reference(_at(item, "payout_item_id"))


def _reference(value: object) -> str | None:
    return value if isinstance(value, str) and _REFERENCE.fullmatch(value) else None


def _at(value: Json, *path: str) -> Json:
    """The value at a path of keys; None where it does not exist or is not an object."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _text(value: Json) -> str:
    """A word of PayPal's vocabulary, in its own spelling: upper case, no blanks around."""
    return value.strip().upper() if isinstance(value, str) else ""


def _items(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
