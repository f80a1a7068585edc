"""Between our words and Visa Direct's: pure functions and tables; ``mapping.md`` explains them.

Every table has an explicit row for words it does not know. No function raises on anything a
server may answer; what cannot be read is UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from types import MappingProxyType
from typing import NamedTuple

from iso4217 import Currency

from models.payouts import FailureCategory, PayoutState
from rails.accounts import Account, DestinationInvalid, read_account, refusal_by
from rails.amounts import amount_text, json_with_amount, minor_of_number
from rails.answers import Json, at, code, entries, word
from rails.categories import M, P, R, T
from rails.rail import Instruction, Outcome, failed, unknown
from rails.visa.settings import VisaSettings

APPROVED = "00"
NAME_CHARS_MAX = 30
PENDING_PREFIX = "status:"
"""Before a reference that is a statusIdentifier, not yet a transactionIdentifier."""

CONTRARY = frozenset({"reference_mismatch", "reference_ambiguous", "life_unclear"})
"""Why records leave it open, whatever was said before."""

_TRANSACTION = re.compile(r"[0-9]{1,20}")
_STATUS = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_ACTION = re.compile(r"[0-9A-Z]{2}")
_NOT_NAME = re.compile(r"[^A-Za-z0-9 .,'+-]+")
_LATER = re.compile(r"REVERSAL|CHGBK|ADJUSTMENT|REPRESENTMENT")

DECLINES: Mapping[str, tuple[FailureCategory, str]] = MappingProxyType(
    {
        # The card: disable the destination.
        "04": (M, "pick_up_card"),
        "05": (M, "do_not_honor"),
        "07": (M, "pick_up_card"),
        "14": (M, "invalid_account_number"),
        "15": (M, "no_such_issuer"),
        "39": (M, "no_credit_account"),
        "41": (M, "lost_card"),
        "43": (M, "stolen_card"),
        "46": (M, "closed_account"),
        "52": (M, "no_checking_account"),
        "53": (M, "no_savings_account"),
        "54": (M, "expired_card"),
        "78": (M, "blocked_first_used"),
        "92": (M, "issuer_not_found"),
        # The recipient may not be paid this way: tell the company.
        "12": (P, "invalid_transaction"),
        "13": (P, "invalid_amount"),
        "57": (P, "not_permitted_to_cardholder"),
        "59": (P, "suspected_fraud"),
        "61": (P, "exceeds_amount_limit"),
        "62": (P, "restricted_card"),
        "64": (P, "aml_requirement"),
        "65": (P, "exceeds_count_limit"),
        "93": (P, "violation_of_law"),
        # A credit takes nothing from the card, so what is short, or not set up, is ours.
        "03": (T, "invalid_merchant"),
        "51": (T, "not_sufficient_funds"),
        "58": (T, "not_allowed_at_terminal"),
    }
)
"""Category and reason of a decline, by ``actionCode``."""

DECLINE_OTHERWISE: tuple[FailureCategory, str] | None = None
"""Any other action code is UNKNOWN: the issuer was silent (68, 91), a system failed (06, 96), the
push was taken for another's repeat (94), or nobody knows the code. None proves that the card was
not credited."""

STATUS_CODES: Mapping[str, PayoutState] = MappingProxyType(
    {
        "COMPLETED": PayoutState.SETTLED,  # as far as the action code says so
        "IN_PROGRESS": PayoutState.ACCEPTED,
        "FAILED": PayoutState.FAILED,  # received, and rejected by Visa
    }
)
"""``statusCode`` of a query's record. The row for every other is UNKNOWN."""

SUBMIT_REFUSALS: Mapping[int, FailureCategory] = MappingProxyType({400: P, 401: T, 403: T, 429: R})
"""Error answers to a submission, by status, that prove that it executed nothing.

The row for every other status is none: UNKNOWN."""

QUERY_FIELDS = ",".join(
    (
        "statusCode",
        "actionCode",
        "transactionIdentifier",
        "transactionType",
        "retrievalReferenceNumber",
        "systemsTraceAuditNumber",
        "amountInTransactionCurrency",
        "transactionCurrencyCode",
    )
)


class Trace(NamedTuple):
    """How Visa knows an attempt: both follow from its id."""

    stan: str
    """``systemsTraceAuditNumber``, six digits."""

    rrn: str
    """``retrievalReferenceNumber``, twelve digits in Visa's form: year, day, hour, six more."""


def trace_of(attempt_id: str) -> Trace:
    """The numbers of an attempt. The date in them is drawn as well: it is not that of the push."""
    drawn = int.from_bytes(blake2b(attempt_id.encode(), digest_size=32, person=b"visa").digest())
    drawn, stan = divmod(drawn, 999_999)
    drawn, rest = divmod(drawn, 10**6)
    drawn, hour = divmod(drawn, 24)
    drawn, day = divmod(drawn, 365)
    return Trace(f"{stan + 1:06}", f"{drawn % 10}{day + 1:03}{hour:02}{rest:06}")


def read_card(destination: str) -> Account:
    """An opened destination as a card. Raises DestinationInvalid."""
    account = read_account(destination)
    if account.kind != "card":
        raise DestinationInvalid("destination_invalid")
    return account


def destination_refusal(destination: str) -> str | None:
    """Why Visa cannot pay to a destination, as a machine code; None if it can."""
    return refusal_by(read_card, destination)


def request_body(instruction: Instruction, settings: VisaSettings, now_ms: int) -> bytes:
    """A push. Raises DestinationInvalid, AmountInvalid, KeyError (currency)."""
    card = read_card(instruction.destination)
    month, year = card.fields["expires"].split("/")
    trace = trace_of(instruction.attempt_id)
    name = " ".join(_NOT_NAME.sub(" ", card.holder).split())[:NAME_CHARS_MAX].strip()
    body: dict[str, object] = {
        "systemsTraceAuditNumber": trace.stan,
        "retrievalReferenceNumber": trace.rrn,
        "localTransactionDateTime": _moment(now_ms),
        "acquiringBin": settings.acquiring_bin,
        "acquirerCountryCode": settings.acquirer_country,
        "businessApplicationId": settings.business_application,
        "merchantCategoryCode": settings.merchant_category,
        "sourceOfFundsCode": "05",
        "transactionCurrencyCode": instruction.currency,
        "recipientPrimaryAccountNumber": card.fields["number"],
        "recipientCardExpiryDate": f"{year}-{month}",
        "cardAcceptor": _acceptor(settings),
        "senderReference": trace.rrn,
        **_sender(settings),
    }
    if name:
        body["recipientName"] = name
    amount = amount_text("visa", instruction.amount_minor, instruction.currency)
    return json_with_amount(body, amount)


def _acceptor(settings: VisaSettings) -> dict[str, object]:
    address = {
        "country": settings.company_country,
        "state": settings.company_state,
        "zipCode": settings.company_zip,
    }
    return {
        "name": settings.company_name,
        "idCode": settings.acceptor_id,
        "terminalId": settings.terminal_id,
        "address": {name: value for name, value in address.items() if value},
    }


def _sender(settings: VisaSettings) -> dict[str, str]:
    sender = {
        "senderName": settings.company_name,
        "senderAddress": settings.company_address,
        "senderCity": settings.company_city,
        "senderStateCode": settings.company_state,
        "senderCountryCode": settings.company_country,
    }
    return {name: value for name, value in sender.items() if value}


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def submitted(status: int, body: Json) -> Outcome:
    """What an answer to a submission means; it is never made twice."""
    if status in {200, 202}:
        return push_read(status, body, None)
    name = code(word(at(body, "responseStatus", "code")) or word(at(body, "errorMessage")))
    reason = f"http_{status}" if name == "unreadable" else f"error_{name}"
    category = SUBMIT_REFUSALS.get(status)
    return unknown(reason) if category is None else failed(category, reason)


def push_read(status: int, body: Json, reference: str | None) -> Outcome:
    """What Visa says of a push, at once or under its statusIdentifier.

    A decline is a 200 too; 202 says that the push goes on.
    """
    if status == 202:
        given = at(body, "statusIdentifier")
        if isinstance(given, str) and _STATUS.fullmatch(given):
            return Outcome(PayoutState.ACCEPTED, PENDING_PREFIX + given, None, "in_progress")
        if reference is not None:
            return Outcome(PayoutState.ACCEPTED, reference, None, "in_progress")
        return unknown("answer_without_reference")
    known = _transaction(at(body, "transactionIdentifier")) or reference
    return _acted(word(at(body, "actionCode")), known, rejected=False)


def query_of(attempt_id: str, settings: VisaSettings, reference: str | None) -> dict[str, str]:
    """What to ask of the transaction query: by Visa's number, else by ours."""
    trace = trace_of(attempt_id)
    by = {"transactionIdentifier": reference} if reference else {}
    if not reference:
        by = {"stan": trace.stan, "rrn": trace.rrn}
    return {"acquiringBIN": settings.acquiring_bin, **by, "fields": QUERY_FIELDS}


def query_read(instruction: Instruction, body: Json) -> Outcome | None:
    """What the life of a push says; None if Visa knows of none, which does not prove that."""
    records = entries(body) if isinstance(body, list) else [body]
    records = [one for one in records if at(one, "statusCode") is not None]
    if not records:
        return None
    if not all(_is_ours(instruction, one) for one in records):
        return unknown("reference_mismatch", instruction.provider_ref)
    first = [one for one in records if not _LATER.search(_type(one))]
    later = [one for one in records if _LATER.search(_type(one))]
    if len(first) != 1:
        return unknown("reference_ambiguous", instruction.provider_ref)
    outcome = _recorded(first[0])
    if not later:
        return outcome
    came_back = all(
        _type(one) == "CRED REVERSAL" and _recorded(one).state is PayoutState.SETTLED
        for one in later
    )
    if came_back and outcome.state is PayoutState.SETTLED:
        return Outcome(PayoutState.RETURNED, outcome.provider_ref, None, "reversed")
    return unknown("life_unclear", outcome.provider_ref)


def is_final(told: Outcome) -> bool:
    """Whether Visa has said all that it will under a statusIdentifier, clear or not."""
    if told.state is PayoutState.UNKNOWN:
        return (told.reason or "").startswith("action_")
    return told.state is not PayoutState.ACCEPTED


def agreed(told: Outcome, recorded: Outcome | None) -> Outcome:
    """What is so, if Visa has said one thing under the statusIdentifier, and one in its records.

    ``recorded`` None: it has no record. A record may be behind, or not to be had; one that
    contradicts leaves it open.
    """
    if recorded is None:
        return told
    if told.state is PayoutState.UNKNOWN or recorded.reason in CONTRARY:
        return recorded
    if recorded.state in {told.state, PayoutState.ACCEPTED, PayoutState.UNKNOWN}:
        return told
    if (told.state, recorded.state) == (PayoutState.SETTLED, PayoutState.RETURNED):
        return recorded
    return unknown("answers_contradict", recorded.provider_ref)


def transaction_of(reference: str | None) -> str | None:
    """The transactionIdentifier that a reference is; None of a statusIdentifier."""
    return reference if reference and _TRANSACTION.fullmatch(reference) else None


def status_of(reference: str | None) -> str | None:
    """The statusIdentifier that a reference is; None of a transactionIdentifier."""
    if reference is None or not reference.startswith(PENDING_PREFIX):
        return None
    given = reference.removeprefix(PENDING_PREFIX)
    return given if _STATUS.fullmatch(given) else None


def _recorded(record: Json) -> Outcome:
    reference = _transaction(at(record, "transactionIdentifier"))
    state = STATUS_CODES.get(word(at(record, "statusCode")))
    if state is None:
        return unknown(code(word(at(record, "statusCode"))), reference)
    if state is PayoutState.ACCEPTED:
        return Outcome(state, reference, None, "in_progress")
    action = word(at(record, "actionCode"))
    return _acted(action, reference, rejected=state is PayoutState.FAILED)


def _acted(action: str, reference: str | None, *, rejected: bool) -> Outcome:
    """What an action code says; ``rejected``: Visa says that it has rejected the push itself."""
    if action == APPROVED:
        if rejected or reference is None:
            why = "answers_contradict" if rejected else "answer_without_reference"
            return unknown(why, reference)
        return Outcome(PayoutState.SETTLED, reference, None, "approved")
    if action in DECLINES:
        category, reason = DECLINES[action]
        return failed(category, reason, reference)
    reason = f"action_{action.lower()}" if _ACTION.fullmatch(action) else "action_unreadable"
    # A rejection proves it without a code that anybody knows: the trouble is Visa's.
    return failed(R, reason, reference) if rejected else unknown(reason, reference)


def _type(record: Json) -> str:
    return word(at(record, "transactionType")).upper()


def _transaction(value: Json) -> str | None:
    text = str(value) if type(value) is int else value
    return text if isinstance(text, str) and _TRANSACTION.fullmatch(text) else None


def _is_ours(instruction: Instruction, record: Json) -> bool:
    """Whether a record is of this payout: our numbers, and the amount where it is shown."""
    trace = trace_of(instruction.attempt_id)
    stan, rrn = at(record, "systemsTraceAuditNumber"), at(record, "retrievalReferenceNumber")
    if (str(stan).rjust(6, "0"), str(rrn).rjust(12, "0")) != trace:
        return False
    amount = at(record, "amountInTransactionCurrency")
    if amount is not None:
        value = minor_of_number(amount, instruction.currency)
        if value != instruction.amount_minor:
            return False
    currency = at(record, "transactionCurrencyCode")
    return currency is None or str(currency) in _codes(instruction.currency)


def _codes(currency: str) -> tuple[str, str]:
    """A currency's code in letters and in digits."""
    try:
        return currency, f"{Currency(currency).number:03}"
    except ValueError:
        return currency, currency
