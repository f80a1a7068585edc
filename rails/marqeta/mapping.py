"""Between our words and Marqeta's: pure functions and tables. ``mapping.md`` explains each field.

Every table has an explicit row for words it does not know. No function raises on anything a
server may answer; what cannot be read is UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from models.payouts import FailureCategory, PayoutState
from rails.accounts import DestinationInvalid
from rails.amounts import amount_text, json_with_amount, minor_of_number
from rails.answers import Json, at, code, entries, word
from rails.categories import M, P, R, T
from rails.rail import Instruction, Outcome, attempt_id_of, failed, reported, unknown

TOKEN_CHARS_MAX = 36
MEMO_CHARS_MAX = 99
TOKEN_TOO_LONG = "attempt_id_too_long"  # noqa: S105 - a reason

_USER_TOKEN = re.compile(r"[A-Za-z0-9._~+-]{1,36}")
_UUID_ATTEMPT = re.compile(r"([0-9a-f]{8})-(.{4})-(.{4})-(.{4})-([0-9a-f]{12})(\.[0-9]+)")
_EVENT_TOKEN = re.compile(r"[A-Za-z0-9-]{1,36}")
_RESPONSE_CODE = re.compile(r"[0-9]{4}")
_NOT_MEMO = re.compile(r"[^A-Za-z0-9 .,:'+/?()-]+")

STATES: Mapping[str, PayoutState] = MappingProxyType(
    {
        "PENDING": PayoutState.ACCEPTED,
        "CLEARED": PayoutState.SETTLED,
        "COMPLETION": PayoutState.SETTLED,
        "DECLINED": PayoutState.FAILED,
        "REVERSED": PayoutState.RETURNED,
        "ERROR": PayoutState.UNKNOWN,  # Marqeta's own trouble: it proves nothing
    }
)
STATE_OTHERWISE = PayoutState.UNKNOWN

DECLINES: Mapping[str, tuple[FailureCategory, str]] = MappingProxyType(
    {
        # The card or its holder's account: disable the destination.
        "1001": (M, "card_expired"),
        "1003": (M, "card_suspended"),
        "1004": (M, "card_stolen"),
        "1005": (M, "card_lost"),
        "1011": (M, "card_not_found"),
        "1012": (M, "cardholder_not_found"),
        "1014": (M, "account_not_found"),
        "1806": (M, "card_not_active"),
        "1813": (M, "cardholder_not_active"),
        "1815": (M, "cardholder_expired"),
        # The recipient may not be paid this way: tell the company.
        "1002": (P, "card_suspicious"),
        "1864": (P, "country_not_allowed"),
        # The funding source is ours.
        "1016": (T, "not_sufficient_funds"),
        # The trouble of Marqeta.
        "1811": (R, "system_error"),
        "1812": (R, "system_error"),
    }
)
"""Category and reason of an order that was declined, by ``response.code``."""

DECLINE_OTHERWISE = FailureCategory.RECIPIENT
"""A decline nobody knows is shown to a person; it neither loops nor stops the rail."""

SUBMIT_REFUSALS: Mapping[int, FailureCategory] = MappingProxyType(
    {400: P, 401: T, 403: T, 422: P, 429: R}
)
"""Error answers to a submission, by status, that prove that this very request executed nothing.

Of 400 and 422 the text may name another category (:data:`ABOUT`). The row for every other status
is none: UNKNOWN. A 409 says that the token has an order of other content; a 5xx may come after
the order was made."""

About = tuple[tuple[re.Pattern[str], FailureCategory], ...]

ABOUT: About = (
    (re.compile(r"velocity|limit", re.IGNORECASE), P),
    (re.compile(r"fund|balance", re.IGNORECASE), T),
    (re.compile(r"user|cardholder|account", re.IGNORECASE), M),
)
"""What the text of a 400 or a 422 is about, the first that fits. It decides no more than whom to
tell."""


def destination_refusal(destination: str) -> str | None:
    """Why Marqeta cannot pay to a destination, as a machine code; None if it can."""
    return None if _USER_TOKEN.fullmatch(destination) else "destination_invalid"


def token_of(attempt_id: str) -> str | None:
    """The token of an attempt's order: its id, without the dashes of the payout's UUID where it
    would be longer than 36 characters; None if even that is too long."""
    match = _UUID_ATTEMPT.fullmatch(attempt_id)
    token = "".join(match.groups()) if match else attempt_id
    return token if len(token) <= TOKEN_CHARS_MAX else None


def memo_of(note: str) -> str:
    """A note as Marqeta's memo: what is no plain text becomes blanks; empty if nothing is left."""
    return " ".join(_NOT_MEMO.sub(" ", note).split())[:MEMO_CHARS_MAX].strip()


def request_body(instruction: Instruction, token: str, funding_source: str) -> bytes:
    """An order. Raises DestinationInvalid, AmountInvalid, KeyError (currency).

    Deterministic, so that a guarded repeat sends the very same bytes.
    """
    refusal = destination_refusal(instruction.destination)
    if refusal is not None:
        raise DestinationInvalid(refusal)
    body: dict[str, object] = {
        "token": token,
        "user_token": instruction.destination,
        "currency_code": instruction.currency,
        "funding_source_token": funding_source,
        "tags": instruction.attempt_id,
    }
    if memo := memo_of(instruction.note):
        body["memo"] = memo
    amount = amount_text("marqeta", instruction.amount_minor, instruction.currency)
    return json_with_amount(body, amount)


def submitted(instruction: Instruction, status: int, body: Json, *, repeat: bool) -> Outcome:
    """What an answer to a submission means.

    ``repeat``: the request was sent before under the same token and its fate is not known. A
    refusal then speaks of this request alone.
    """
    if status in {200, 201}:
        return order_read(instruction, body)
    refusal = refusal_read(status, body, SUBMIT_REFUSALS, ABOUT)
    if repeat and refusal.state is PayoutState.FAILED:
        return unknown(f"repeat_{refusal.reason}")
    return refusal


def refusal_read(
    status: int, body: Json, refusals: Mapping[int, FailureCategory], about: About
) -> Outcome:
    """What an error answer means of the very submission it is to, by two tables."""
    error = word(at(body, "error_code"))
    reason = f"error_{code(error)}" if error else f"http_{status}"
    category = refusals.get(status)
    if category is None:
        return unknown(reason)
    if status in {400, 422}:
        text = word(at(body, "error_message"))
        category = next((kind for words, kind in about if words.search(text)), category)
    return failed(category, reason)


def order_read(instruction: Instruction, order: Json) -> Outcome:
    """What an order's state means; UNKNOWN when it is not the payout we asked about."""
    if not _is_ours(instruction, order):
        return unknown("reference_mismatch", instruction.provider_ref)
    return _outcome(order, token_of(instruction.attempt_id))


def webhook_reports(event: Json) -> list[dict[str, object]]:
    """What a proven call says of our payouts, as the fields of ``payout.reported``.

    Raises ValueError for an event about a payout without its own id or time.
    """
    reports = (_report(one) for one in entries(at(event, "transactions")))
    return [report for report in reports if report is not None]


def _report(transaction: Json) -> dict[str, object] | None:
    order = at(transaction, "gpa_order")
    attempt_id = attempt_id_of(at(order, "tags"))
    if attempt_id is None or token_of(attempt_id) != at(order, "token"):
        # Another system's order in the same program: every one of ours has its id.
        return None
    token = at(transaction, "token")
    if not isinstance(token, str) or not _EVENT_TOKEN.fullmatch(token):
        raise ValueError("no token of the transaction")
    outcome = _outcome(order, token_of(attempt_id))
    if word(at(transaction, "type")).endswith(".reversal"):
        # The order within may still be shown as it was.
        outcome = Outcome(PayoutState.RETURNED, outcome.provider_ref, None, "reversed")
    report = reported(
        # One transaction may be told of again as it goes on.
        f"{token}-{outcome.state.value}",
        at(transaction, "created_time") or at(transaction, "user_transaction_time"),
        attempt_id,
        "marqeta",
        outcome,
    )
    return None if outcome.state is PayoutState.UNKNOWN else report


def _outcome(order: Json, token: str | None) -> Outcome:
    state = word(at(order, "state"))
    found = STATES.get(state, STATE_OTHERWISE)
    if found is not PayoutState.FAILED:
        return Outcome(found, token, None, code(state))
    response = word(at(order, "response", "code"))
    if response in DECLINES:
        category, reason = DECLINES[response]
        return failed(category, reason, token)
    known = _RESPONSE_CODE.fullmatch(response)
    return failed(DECLINE_OTHERWISE, f"declined_{response}" if known else "declined", token)


def _is_ours(instruction: Instruction, order: Json) -> bool:
    """Whether an order is this payout: same token, user, currency and amount."""
    return (
        at(order, "token") == token_of(instruction.attempt_id)
        and at(order, "user_token") == instruction.destination
        and at(order, "currency_code") == instruction.currency
        and minor_of_number(at(order, "amount"), instruction.currency) == instruction.amount_minor
    )
