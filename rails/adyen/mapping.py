"""Between our words and Adyen's: pure functions and tables. ``mapping.md`` explains each field.

Every table has an explicit row for words it does not know. No function raises on anything a
server may answer; what cannot be read is UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from models.payouts import FailureCategory, PayoutState
from rails.accounts import Account, read_account, refusal_by
from rails.amounts import AmountInvalid, value_of
from rails.answers import Json, at, code, entries, word
from rails.categories import M, P, R, T
from rails.rail import (
    Instruction,
    Outcome,
    attempt_id_of,
    failed,
    reported,
    unknown,
)

DESCRIPTION_CHARS_MAX = 140

_REFERENCE = re.compile(r"[A-Za-z0-9]{1,32}")
_NOT_DESCRIPTION = re.compile(r"[^A-Za-z0-9 .,:'+/?()-]+")

STATES: Mapping[str, PayoutState] = MappingProxyType(
    {
        "received": PayoutState.ACCEPTED,
        "pending": PayoutState.ACCEPTED,
        "pendingApproval": PayoutState.ACCEPTED,
        "pendingExecution": PayoutState.ACCEPTED,
        "authorised": PayoutState.ACCEPTED,
        "bookingPending": PayoutState.ACCEPTED,
        "bankTransferPending": PayoutState.ACCEPTED,
        "booked": PayoutState.SETTLED,
        "bankTransfer": PayoutState.SETTLED,
        "credited": PayoutState.DELIVERED,
        "refused": PayoutState.FAILED,  # by Adyen
        "rejected": PayoutState.FAILED,
        "error": PayoutState.UNKNOWN,  # of Adyen's own: it proves nothing
        "expired": PayoutState.FAILED,
        "failed": PayoutState.FAILED,  # by the beneficiary's bank; RETURNED once it was booked
        "cancelled": PayoutState.CANCELLED,
        "returned": PayoutState.RETURNED,
        "reversed": PayoutState.RETURNED,
    }
)
STATE_OTHERWISE = PayoutState.UNKNOWN

REASONS: Mapping[str, FailureCategory] = MappingProxyType(
    {
        # The account or the card is wrong or closed: disable the destination.
        "counterpartyAccountBlocked": M,
        "counterpartyAccountClosed": M,
        "counterpartyAccountNotFound": M,
        "counterpartyAddressRequired": M,
        "cardExpired": M,
        "blockCard": M,
        "captureCard": M,
        "invalidAccount": M,
        "invalidToAccount": M,
        "invalidCard": M,
        "invalidExpiryDate": M,
        "lostCard": M,
        "stolenCard": M,
        "noCheckingAccount": M,
        "noSavingsAccount": M,
        "restrictedCard": M,
        "transferInstrumentDoesNotExist": M,
        "routeNotFound": M,
        "unableToRouteTransaction": M,
        # The recipient may not be paid this way: tell the company.
        "amountLimitExceeded": P,
        "declined": P,
        "declinedByTransactionRule": P,
        "declinedNonGeneric": P,
        "doNotHonor": P,
        "fraud": P,
        "issuerSuspectedFraud": P,
        "refusedByCounterpartyBank": P,
        "refusedByCustomer": P,
        "transactionNotPermitted": P,
        "duplicateTransmissionDetected": P,
        # Our account or our funds: pause the rail, alert.
        "accountHierarchyNotActive": T,
        "balanceAccountTemporarilyBlockedByTransactionRule": T,
        "invalidFromAccount": T,
        "notEnoughBalance": T,
        "approvalExpired": T,
        "scaAuthenticationRequired": T,
        "scaFailed": T,
        # The trouble of Adyen or of a bank on the way.
        "counterpartyBankTimedOut": R,
        "counterpartyBankUnavailable": R,
        "internalTimeout": R,
        "notSubmitted": R,
        "error": R,
        "unknown": R,
    }
)
REASON_OTHERWISE = FailureCategory.RECIPIENT
"""A refusal nobody knows is shown to a person; it neither loops nor stops the rail."""

SUBMIT_REFUSALS: Mapping[int, FailureCategory] = MappingProxyType({401: T, 403: T, 429: R})
"""Error answers to a submission, by status, that prove that this very request executed nothing.

422 is one as well, by what it says (:func:`_unprocessable`). The row for every other status is
none: UNKNOWN. A 5xx may come after the transfer was created."""

FUNDS = re.compile(r"balance|funds", re.IGNORECASE)


def destination_refusal(destination: str) -> str | None:
    """Why Adyen cannot pay to a destination, as a machine code; None if it can."""
    return refusal_by(read_account, destination)


def request_body(instruction: Instruction, balance_account: str) -> dict[str, object]:
    """A transfer. Raises DestinationInvalid, AmountInvalid, KeyError (currency).

    Deterministic, so that a guarded repeat sends the very same bytes.
    """
    account = read_account(instruction.destination)
    body: dict[str, object] = {
        "amount": {
            "currency": instruction.currency,
            "value": value_of("adyen", instruction.amount_minor, instruction.currency),
        },
        "balanceAccountId": balance_account,
        "category": "card" if account.kind == "card" else "bank",
        "counterparty": _counterparty(account),
        "reference": instruction.attempt_id,
        "referenceForBeneficiary": instruction.attempt_id,
    }
    if account.kind != "card":
        # The best the route has; Adyen falls back to the next by itself.
        body["priorities"] = ["instant", "fast", "regular"]
    note = " ".join(_NOT_DESCRIPTION.sub(" ", instruction.note).split())[:DESCRIPTION_CHARS_MAX]
    if note:
        body["description"] = note
    return body


def _counterparty(account: Account) -> dict[str, object]:
    fields = account.fields
    if account.kind == "card":
        month, year = fields["expires"].split("/")
        first, _, last = account.holder.rpartition(" ")
        return {
            "card": {
                "cardHolder": {
                    "type": "individual",
                    "firstName": first or last,
                    "lastName": last,
                },
                "cardIdentification": {
                    "number": fields["number"],
                    "expiryMonth": month,
                    "expiryYear": year,
                },
            }
        }
    return {
        "bankAccount": {
            "accountHolder": {"fullName": account.holder},
            "accountIdentification": _identification(account),
        }
    }


def _identification(account: Account) -> dict[str, str]:
    fields = account.fields
    if account.kind == "iban":
        return {"type": "iban", "iban": fields["iban"]}
    if account.kind == "us":
        return {
            "type": "usLocal",
            "routingNumber": fields["routing"],
            "accountNumber": fields["account"],
        }
    if account.kind == "uk":
        return {
            "type": "ukLocal",
            "sortCode": fields["sort_code"],
            "accountNumber": fields["account"],
        }
    return {
        "type": "caLocal",
        "institutionNumber": fields["institution"],
        "transitNumber": fields["transit"],
        "accountNumber": fields["account"],
    }


def submitted(instruction: Instruction, status: int, body: Json, *, repeat: bool) -> Outcome:
    """What an answer to a submission means.

    ``repeat``: the request was sent before under the same key and its fate is not known. Under
    the key Adyen answers what it answered then, so a refusal then speaks of the first request
    only if it hangs on the request alone.
    """
    if status in {200, 202}:
        if not _is_ours(instruction, body):
            return unknown("reference_mismatch")
        return transfer_read(instruction, body)
    name = code(word(at(body, "errorCode")) or f"http_{status}")
    if status == 422:
        return _unprocessable(body, name, repeat=repeat)
    category = SUBMIT_REFUSALS.get(status)
    if category is None:
        return unknown(name)
    return unknown(f"repeat_{name}") if repeat else failed(category, name)


def _unprocessable(body: Json, name: str, *, repeat: bool) -> Outcome:
    """A 422: fields that can never be right, our funds, or a key that is being worked on."""
    fields = [word(at(one, "name")) for one in entries(at(body, "invalidFields"))]
    if fields:
        about_receiver = any(name.startswith("counterparty") for name in fields)
        return failed(M if about_receiver else P, name)
    if FUNDS.search(word(at(body, "title")) + word(at(body, "detail"))):
        return unknown(f"repeat_{name}") if repeat else failed(T, name)
    return unknown(name)


def transfer_read(instruction: Instruction, transfer: Json) -> Outcome:
    """What a transfer's status means; UNKNOWN when it is not the payout we asked about."""
    reference = _reference(at(transfer, "id"))
    if reference is None:
        return unknown("answer_without_reference", instruction.provider_ref)
    if not _is_ours(instruction, transfer):
        return unknown("reference_mismatch", instruction.provider_ref)
    return _outcome(transfer, reference)


def found(instruction: Instruction, status: int, body: Json) -> Outcome | None:
    """The payout in an answer to "find transfers"; None if Adyen knows of none.

    That it knows of none does not prove that none is on its way.
    """
    if status != 200:
        return unknown(f"http_{status}")
    ours = [one for one in entries(at(body, "data")) if _is_ours(instruction, one)]
    if len(ours) > 1:
        return unknown("reference_ambiguous")
    return transfer_read(instruction, ours[0]) if ours else None


def webhook_report(event: Json) -> dict[str, object] | None:
    """A verified webhook event as the fields of ``payout.reported``; None if it is about none.

    Raises ValueError for an event about a payout without its own id or time.
    """
    if word(at(event, "type")) not in {
        "balancePlatform.transfer.created",
        "balancePlatform.transfer.updated",
    }:
        return None
    data = at(event, "data")
    if at(data, "direction") == "incoming":
        return None
    attempt_id, reference = attempt_id_of(at(data, "reference")), _reference(at(data, "id"))
    if attempt_id is None:
        # Another system's transfer from the same account: every one of ours has its id.
        return None
    number = at(data, "sequenceNumber")
    if reference is None or type(number) is not int or not 0 < number < 10**6:
        raise ValueError("no transfer id or sequence number")
    outcome = _outcome(data, reference)
    # Adyen numbers what it says of a transfer: under one number it never says two things.
    report = reported(
        f"{reference}-{number}",
        at(event, "timestamp") or at(data, "updatedAt"),
        attempt_id,
        "adyen",
        outcome,
    )
    return None if outcome.state is PayoutState.UNKNOWN else report


def _outcome(transfer: Json, reference: str) -> Outcome:
    status, reason = word(at(transfer, "status")), word(at(transfer, "reason"))
    state = STATES.get(status, STATE_OTHERWISE)
    told = code(status)
    if state is PayoutState.FAILED and _was_booked(transfer):
        # It had left, so the money comes back rather than never having gone.
        return Outcome(PayoutState.RETURNED, reference, None, code(reason or status))
    if state is PayoutState.FAILED:
        return failed(REASONS.get(reason, REASON_OTHERWISE), code(reason or status), reference)
    if state is PayoutState.SETTLED and _credited(transfer):
        return Outcome(PayoutState.DELIVERED, reference, None, "credited")
    return Outcome(state, reference, None, told)


def _was_booked(transfer: Json) -> bool:
    return any(word(at(one, "status")) == "booked" for one in entries(at(transfer, "events")))


def _credited(transfer: Json) -> bool:
    """Whether the beneficiary's bank has confirmed the credit."""
    tracking = at(transfer, "tracking")
    return at(tracking, "type") == "confirmation" and at(tracking, "status") == "credited"


def _is_ours(instruction: Instruction, transfer: Json) -> bool:
    """Whether a transfer is this payout: same reference, currency and amount."""
    try:
        value = value_of("adyen", instruction.amount_minor, instruction.currency)
    except (AmountInvalid, KeyError):
        return False
    amount = at(transfer, "amount")
    return (
        at(transfer, "reference") == instruction.attempt_id
        and at(amount, "currency") == instruction.currency
        and at(amount, "value") == value
    )


def _reference(value: object) -> str | None:
    return value if isinstance(value, str) and _REFERENCE.fullmatch(value) else None
