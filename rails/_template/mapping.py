"""Between our words and the provider's: pure functions and tables; ``mapping.md`` explains them.

Every table has an explicit row for words it does not know. No function raises on anything a
server may answer; what cannot be read is UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from models.payouts import FailureCategory, PayoutState
from rails.accounts import DestinationInvalid
from rails.amounts import AmountInvalid
from rails.answers import Json, at, code, word
from rails.categories import M, P, R, T
from rails.rail import (
    Instruction,
    Outcome,
    attempt_id_of,
    failed,
    reported,
    unknown,
)

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,60}")
_REFERENCE = re.compile(r"[A-Za-z0-9]{1,32}")

STATES: Mapping[str, PayoutState] = MappingProxyType(
    {
        "pending": PayoutState.ACCEPTED,
        "paid": PayoutState.SETTLED,
        "failed": PayoutState.FAILED,
        "returned": PayoutState.RETURNED,
    }
)
STATE_OTHERWISE = PayoutState.UNKNOWN

REASONS: Mapping[str, FailureCategory] = MappingProxyType(
    {
        "receiver_account_locked": M,
        "receiver_account_invalid": M,
        "risk_decline": P,
        "non_holding_currency": T,
        "internal_error": R,
    }
)
REASON_OTHERWISE = FailureCategory.RECIPIENT
"""A refusal nobody knows is shown to a person; it neither loops nor stops the rail."""

SUBMIT_REFUSALS: Mapping[tuple[int, str], FailureCategory] = MappingProxyType(
    {
        (400, "validation_error"): P,
        (401, "authentication_failure"): T,
        (403, "sender_restricted"): T,
        (422, "insufficient_funds"): T,
        (429, "rate_limit_reached"): R,
    }
)
"""Error answers to a submission that prove that this very request executed nothing.

The row for every other is none: UNKNOWN. A 5xx may come after the payout was created."""

LASTING = frozenset({(400, "validation_error")})
"""Those that rest on the request alone, so that they speak of an equal one before it as well."""


def destination_refusal(destination: str) -> str | None:
    """Why the provider cannot pay to a destination, as a machine code; None if it can."""
    return None if _EMAIL.fullmatch(destination) else "destination_invalid"


def request_body(instruction: Instruction) -> dict[str, object]:
    """A payout. Raises DestinationInvalid, AmountInvalid.

    Deterministic, so that a guarded repeat sends the very same bytes.
    """
    refusal = destination_refusal(instruction.destination)
    if refusal is not None:
        raise DestinationInvalid(refusal)
    if instruction.amount_minor <= 0:
        raise AmountInvalid("not positive")
    return {
        "reference": instruction.attempt_id,
        "receiver": instruction.destination,
        "currency": instruction.currency,
        "amount_minor": instruction.amount_minor,
    }


def submitted(instruction: Instruction, status: int, body: Json, *, repeat: bool) -> Outcome:
    """What an answer to a submission means.

    ``repeat``: the request was sent before under the same key and its fate is not known; then only
    an answer that speaks of the first request too ends the uncertainty.
    """
    if status == 201:
        return payout_read(instruction, body)
    name = code(word(at(body, "error")) or f"http_{status}")
    category = SUBMIT_REFUSALS.get((status, name))
    if category is None:
        return unknown(name)
    if repeat and (status, name) not in LASTING:
        return unknown(f"repeat_{name}")
    return failed(category, name)


def payout_read(instruction: Instruction, payout: Json) -> Outcome:
    """What a payout's status means; UNKNOWN when it is not the one we asked about."""
    reference = _reference(payout)
    if reference is None:
        return unknown("answer_without_reference", instruction.provider_ref)
    ours = (
        at(payout, "reference") == instruction.attempt_id
        and at(payout, "currency") == instruction.currency
        and at(payout, "amount_minor") == instruction.amount_minor
    )
    if not ours:
        return unknown("reference_mismatch", instruction.provider_ref)
    return _outcome(payout, reference)


def webhook_report(event: Json) -> dict[str, object] | None:
    """A verified event as the fields of ``payout.reported``; None if it is about no payout of ours.

    Raises ValueError for an event without an id or a time.
    """
    payout = at(event, "payout")
    attempt_id, reference = attempt_id_of(at(payout, "reference")), _reference(payout)
    if attempt_id is None or reference is None:
        return None
    event_id = word(at(event, "id"))
    if not _REFERENCE.fullmatch(event_id):
        raise ValueError("no id of the event")
    outcome = _outcome(payout, reference)
    report = reported(event_id, at(event, "created_at"), attempt_id, "template", outcome)
    return None if outcome.state is PayoutState.UNKNOWN else report


def _outcome(payout: Json, reference: str) -> Outcome:
    status = word(at(payout, "status"))
    state = STATES.get(status, STATE_OTHERWISE)
    if state is PayoutState.FAILED:
        reason = word(at(payout, "reason"))
        return failed(REASONS.get(reason, REASON_OTHERWISE), code(reason or status), reference)
    return Outcome(state, reference, None, code(status))


def _reference(payout: Json) -> str | None:
    value = at(payout, "id")
    return value if isinstance(value, str) and _REFERENCE.fullmatch(value) else None
