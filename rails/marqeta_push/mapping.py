"""Between our words and those of Marqeta's pushes to cards: pure functions and tables.

``mapping.md`` explains each field. Every table has an explicit row for words it does not know. No
function raises on anything a server may answer; what cannot be read is UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from models.payouts import FailureCategory, PayoutState
from rails.accounts import DestinationInvalid, refusal_by
from rails.amounts import amount_text, json_with_amount, minor_of_number
from rails.answers import Json, at, code, word
from rails.categories import M, P, R, T
from rails.instruments import Instrument, read_instrument
from rails.marqeta.mapping import About, memo_of, refusal_read, token_of
from rails.rail import Instruction, Outcome, failed, unknown

STATUSES: Mapping[str, PayoutState] = MappingProxyType(
    {
        "success": PayoutState.SETTLED,
        "pending": PayoutState.ACCEPTED,
        "declined": PayoutState.FAILED,
        "reversed": PayoutState.RETURNED,
    }
)
"""``status`` of a disbursement, whatever its capitals."""

STATUS_OTHERWISE = PayoutState.UNKNOWN
"""The document lists no words. So an "error", too: it does not say that no network has it."""

DECLINE: FailureCategory = P
"""A disbursement says that it was declined, never why: it is shown to a person, and neither loops
nor disables the card."""

SUBMIT_REFUSALS: Mapping[int, FailureCategory] = MappingProxyType(
    {400: P, 401: T, 403: T, 422: M, 429: R}
)
"""Error answers to a submission, by status, that prove that it executed nothing: it is the only one
under its token.

Of 400 and 422 the text may name another category (:data:`ABOUT`). The row for every other status
is none: UNKNOWN. A 409 would say that the token has a disbursement; a 5xx may come after it was
made."""

ABOUT: About = (
    (re.compile(r"velocity|limit", re.IGNORECASE), P),
    (re.compile(r"fund|balance|reserve", re.IGNORECASE), T),
    (re.compile(r"instrument|card", re.IGNORECASE), M),
)
"""What the text of a 400 or a 422 is about, the first that fits. It decides no more than whom to
tell."""


def read_card(destination: str) -> Instrument:
    """An opened destination as a card that Marqeta keeps. Raises DestinationInvalid."""
    instrument = read_instrument(destination)
    if instrument.kind != "marqeta_card":
        raise DestinationInvalid("destination_invalid")
    return instrument


def destination_refusal(destination: str) -> str | None:
    """Why Marqeta cannot push to a destination, as a machine code; None if it can."""
    return refusal_by(read_card, destination)


def request_body(instruction: Instruction, token: str) -> bytes:
    """A disbursement. Raises DestinationInvalid, AmountInvalid, KeyError (currency)."""
    body: dict[str, object] = {
        "token": token,
        "payment_instrument_token": read_card(instruction.destination).token,
        "currency_code": instruction.currency,
        "tags": instruction.attempt_id,
    }
    if memo := memo_of(instruction.note):
        body["memo"] = memo
    amount = amount_text("marqeta_push", instruction.amount_minor, instruction.currency)
    return json_with_amount(body, amount)


def submitted(instruction: Instruction, status: int, body: Json) -> Outcome:
    """What an answer to a submission means; it is never made twice."""
    if status in {200, 201}:
        return disbursement_read(instruction, body)
    return refusal_read(status, body, SUBMIT_REFUSALS, ABOUT)


def disbursement_read(instruction: Instruction, disbursement: Json) -> Outcome:
    """What a disbursement's status means; UNKNOWN when it is not the payout we asked about."""
    if not _is_ours(instruction, disbursement):
        return unknown("reference_mismatch", instruction.provider_ref)
    token = token_of(instruction.attempt_id)
    status = word(at(disbursement, "status"))
    state = STATUSES.get(status.lower(), STATUS_OTHERWISE)
    if state is PayoutState.FAILED:
        return failed(DECLINE, code(status), token)
    return Outcome(state, token, None, code(status))


def _is_ours(instruction: Instruction, disbursement: Json) -> bool:
    """Whether a disbursement is this payout: same token, card, currency and amount."""
    try:
        card = read_card(instruction.destination)
    except DestinationInvalid:
        return False
    shown = minor_of_number(at(disbursement, "amount"), instruction.currency)
    return (
        at(disbursement, "token") == token_of(instruction.attempt_id)
        and at(disbursement, "payment_instrument_token") == card.token
        and at(disbursement, "currency_code") == instruction.currency
        and shown == instruction.amount_minor
    )
