"""Between our words and Circle's: pure functions and tables. ``mapping.md`` explains each field.

Every table has an explicit row for words it does not know. No function raises on anything a
server may answer; what cannot be read is UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from models.ids import derived
from models.payouts import FailureCategory, PayoutState
from rails.accounts import refusal_by
from rails.addresses import CryptoAddress, read_address
from rails.amounts import amount_text, minor_of_text
from rails.answers import Json, at, code, entries, word
from rails.categories import M, P, R, T
from rails.circle.travel import CONTROL_UNPROVEN, HOSTING_UNKNOWN, IDENTITY_MISSING
from rails.rail import Instruction, Outcome, failed, reported, unknown

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RISK_REASON = re.compile(r"[0-9]{1,6}")

STATES: Mapping[str, PayoutState] = MappingProxyType(
    {
        "pending": PayoutState.ACCEPTED,
        "complete": PayoutState.SETTLED,
        "failed": PayoutState.FAILED,  # RETURNED where `errorCode` says that it came back
    }
)
STATE_OTHERWISE = PayoutState.UNKNOWN

RETURNED = "transaction_returned"
"""The ``errorCode`` of a payout that had left."""

REASONS: Mapping[str, FailureCategory] = MappingProxyType(
    {
        "insufficient_funds": T,
        "transaction_denied": P,  # by Circle's risk service
        "transaction_failed": R,
        # Of payouts to banks; the document lists them for all.
        "bank_transaction_error": R,
        "fiat_account_limit_exceeded": P,
        "invalid_bank_account_number": M,
        "invalid_ach_rtn": M,
        "invalid_wire_rtn": M,
        "vendor_inactive": P,
    }
)
REASON_OTHERWISE = FailureCategory.RECIPIENT
"""A failure nobody knows is shown to a person; it neither loops nor stops the rail."""

SUBMIT_REFUSALS: Mapping[int, FailureCategory] = MappingProxyType({400: P, 401: T, 403: T, 429: R})
"""Error answers to a submission, by status, that prove that this very request executed nothing.

The row for every other status is none: UNKNOWN, and so is ``code`` -1, Circle's word for its own
passing trouble, whatever the status."""

TRANSIENT = -1

FUNDS = re.compile(r"fund|balance", re.IGNORECASE)

REFUSALS: Mapping[str, FailureCategory] = MappingProxyType(
    {IDENTITY_MISSING: T, HOSTING_UNKNOWN: P, CONTROL_UNPROVEN: P}
)
"""What the travel rule refuses before any request. The sender's identity is ours to set; a wallet
that lacks facts is good for smaller amounts, so the destination is not disabled."""

RECIPIENT_STANDINGS: Mapping[str, tuple[FailureCategory, str] | None] = MappingProxyType(
    {
        "active": None,
        "pending": (R, "recipient_pending"),
        "inactive": (R, "recipient_inactive"),
        "denied": (M, "recipient_denied"),
    }
)
"""Why an entry of the address book cannot be paid; None of one that can. While Circle looks at it,
or while new ones wait for 24 hours, another try later is all there is to do."""

RECIPIENT_OTHERWISE = (P, "recipient_status_unknown")

RECIPIENT_REFUSALS: Mapping[int, FailureCategory] = MappingProxyType({400: M, 401: T, 403: T})
"""Error answers to calls about the address book, which move no money; any other is Circle's own
trouble."""


class Recipient(NamedTuple):
    """An entry of the address book."""

    recipient_id: str
    status: str

    @property
    def refusal(self) -> tuple[FailureCategory, str] | None:
        """Why no payout may name it yet, or ever."""
        return RECIPIENT_STANDINGS.get(self.status, RECIPIENT_OTHERWISE)


def idempotency_key(purpose: str, attempt_id: str) -> str:
    """A key that follows from what it is for and the attempt: the same for every repeat.

    By form a UUID of version 4, which Circle asks for. It is not drawn at random: it is the digest
    of a UUID of version 5 under version 4's number, so that a worker that has lost everything still
    repeats under the first one's key.
    """
    text = derived(f"circle/{purpose}/{attempt_id}")
    return f"{text[:14]}4{text[15:]}"


def payout_key(attempt_id: str) -> str:
    """The key of an attempt's payout, which is all that Circle is told of it."""
    return idempotency_key("payout", attempt_id)


def destination_refusal(destination: str) -> str | None:
    """Why Circle cannot pay to a destination, as a machine code; None if it can."""
    return refusal_by(read_address, destination)


def recipient_body(instruction: Instruction, address: CryptoAddress) -> dict[str, object]:
    """An entry for the address book. Deterministic, as its key demands.

    Its key is the attempt's, not the address's: an entry that was refused or deleted since would
    be answered under its old key for ever.
    """
    body: dict[str, object] = {
        "idempotencyKey": idempotency_key("recipient", instruction.attempt_id),
        "chain": address.chain,
        "address": address.address,
        "metadata": {"nickname": address.holder},
    }
    if address.tag:
        body["addressTag"] = address.tag
    return body


def payout_body(
    instruction: Instruction,
    recipient_id: str,
    wallet_id: str,
    identity: Mapping[str, object] | None,
) -> dict[str, object]:
    """A payout; ``identity``: the sender's, where it has to go along.

    Circle writes USDC as ``USD``, with the dollar's two decimals. The token has six on its chain;
    we pay whole cents, so nothing is rounded. Raises AmountInvalid, KeyError (currency).
    """
    source: dict[str, object] = {"type": "wallet", "id": wallet_id}
    if identity is not None:
        source["identities"] = [identity]
    return {
        "idempotencyKey": payout_key(instruction.attempt_id),
        "source": source,
        "destination": {"type": "address_book", "id": recipient_id},
        "amount": {
            "amount": amount_text("circle", instruction.amount_minor, instruction.currency),
            "currency": instruction.currency,
        },
        "toAmount": {"currency": instruction.currency},
    }


def found_recipient(address: CryptoAddress, body: Json) -> Recipient | None:
    """The entry for an address in an answer to "list recipients", one that can be paid first."""
    found = [one for entry in entries(at(body, "data")) if (one := _recipient(address, entry))]
    order = list(RECIPIENT_STANDINGS)
    found.sort(key=lambda one: order.index(one.status) if one.status in order else len(order))
    return found[0] if found else None


def recipient_read(address: CryptoAddress, body: Json) -> Recipient | None:
    """The entry in an answer about one; None unless it is for this address."""
    return _recipient(address, at(body, "data"))


def _recipient(address: CryptoAddress, entry: Json) -> Recipient | None:
    recipient_id = _reference(at(entry, "id"))
    shown = CryptoAddress(
        address.chain, word(at(entry, "address")), "", "", word(at(entry, "addressTag"))
    )
    if recipient_id is None or at(entry, "chain") != address.chain or shown.same != address.same:
        return None
    return Recipient(recipient_id, word(at(entry, "status")))


def recipient_refused(status: int, body: Json) -> tuple[FailureCategory, str]:
    """Why a call about the address book was not answered with an entry."""
    if _error_code(body) == TRANSIENT:
        return R, "recipient_transient"
    return RECIPIENT_REFUSALS.get(status, R), f"recipient_{_error_name(status, body)}"


def submitted(instruction: Instruction, status: int, body: Json, *, repeat: bool) -> Outcome:
    """What an answer to a submission means.

    ``repeat``: the request was sent before under the same key and its fate is not known. A refusal
    then speaks of the first request only if it hangs on the request alone.
    """
    if status in {200, 201}:
        return payout_read(instruction, at(body, "data"))
    if _error_code(body) == TRANSIENT:
        return unknown("transient")
    name = _error_name(status, body)
    category = SUBMIT_REFUSALS.get(status)
    if category is None:
        return unknown(name)
    if status == 400 and FUNDS.search(word(at(body, "message"))):
        category = T
    elif status == 400 and (places := _places(body)):
        # Fields that can never be right.
        return failed(M if any(p.startswith("destination") for p in places) else P, name)
    return unknown(f"repeat_{name}") if repeat else failed(category, name)


def payout_read(instruction: Instruction, payout: Json) -> Outcome:
    """What a payout's status means; UNKNOWN when it is not the one we asked about.

    It carries nothing of ours, so amount and currency are all that can be held against it.
    """
    reference = _reference(at(payout, "id"))
    if reference is None:
        return unknown("answer_without_reference", instruction.provider_ref)
    amount = at(payout, "amount")
    if (
        minor_of_text(at(amount, "amount"), instruction.currency) != instruction.amount_minor
        or at(amount, "currency") != instruction.currency
    ):
        return unknown("reference_mismatch", instruction.provider_ref)
    return _outcome(payout, reference)


def webhook_report(message_id: str, event: Json) -> dict[str, object] | None:
    """A proven notification as the fields of ``payout.reported``; None if it is about none.

    Raises ValueError for one about a payout without its id or time.
    """
    if word(at(event, "notificationType")) not in {"payouts", "payout"}:
        return None
    payout = at(event, "payout")
    reference = _reference(at(payout, "id"))
    if reference is None:
        raise ValueError("no payout id")
    outcome = _outcome(payout, reference)
    told_at = at(payout, "updateDate") or at(payout, "createDate")
    report = reported(message_id, told_at, None, "circle", outcome)
    return None if outcome.state is PayoutState.UNKNOWN else report


def _outcome(payout: Json, reference: str) -> Outcome:
    status, error = word(at(payout, "status")), word(at(payout, "errorCode"))
    state = STATES.get(status, STATE_OTHERWISE)
    if state is not PayoutState.FAILED:
        # `errorCode` counts for failed ones alone; Circle's own examples show it elsewhere.
        return Outcome(state, reference, None, code(status))
    if error == RETURNED:
        return Outcome(PayoutState.RETURNED, reference, None, RETURNED)
    reason = code(error or status)
    risk = at(payout, "riskEvaluation", "reason")
    if error == "transaction_denied" and isinstance(risk, str) and _RISK_REASON.fullmatch(risk):
        reason = f"{reason}_{risk}"
    return failed(REASONS.get(error, REASON_OTHERWISE), reason, reference)


def _error_code(body: Json) -> int | None:
    number = at(body, "code")
    return number if type(number) is int else None


def _error_name(status: int, body: Json) -> str:
    number = _error_code(body)
    return f"http_{status}" if number is None or not 0 < number < 10**9 else f"code_{number}"


def _places(body: Json) -> list[str]:
    return [word(at(one, "location")) for one in entries(at(body, "errors"))]


def _reference(value: Json) -> str | None:
    return value if isinstance(value, str) and _UUID.fullmatch(value) else None
