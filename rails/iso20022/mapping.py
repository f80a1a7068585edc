"""Between our words and the standard's: pure functions and tables. ``mapping.md`` explains each.

Every table has an explicit row for words it does not know. What was said of a payment is folded by
its meaning, not by the order in which it came: files overtake each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType

from models.payouts import PAID, FailureCategory, PayoutState
from rails.accounts import DestinationInvalid, read_account
from rails.answers import code
from rails.categories import M, P, R, T
from rails.iso20022.messages import NAME_CHARS_MAX, writable
from rails.iso20022.reports import DEBITED, RETURNED, Report
from rails.rail import Instruction, Outcome, failed, unknown

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

STATES: Mapping[str, PayoutState] = MappingProxyType(
    {
        "RCVD": PayoutState.ACCEPTED,
        "ACTC": PayoutState.ACCEPTED,
        "ACCP": PayoutState.ACCEPTED,
        "ACWC": PayoutState.ACCEPTED,  # with a change, such as another date
        "PDNG": PayoutState.ACCEPTED,
        "ACSP": PayoutState.ACCEPTED,
        "ACSC": PayoutState.SETTLED,  # on the debtor's side
        "ACWP": PayoutState.SETTLED,  # without a posting to the creditor yet
        "ACCC": PayoutState.DELIVERED,
        "RJCT": PayoutState.FAILED,
        DEBITED: PayoutState.SETTLED,
        RETURNED: PayoutState.RETURNED,
    }
)
STATE_OTHERWISE = PayoutState.UNKNOWN
"""PART without its transactions, a credit that names no reason, a word nobody knows."""

MEANING = (
    PayoutState.RETURNED,
    PayoutState.FAILED,
    PayoutState.DELIVERED,
    PayoutState.SETTLED,
    PayoutState.UNKNOWN,
    PayoutState.ACCEPTED,
)
"""What says more of a payment, first: of all that was said the first of these holds."""

DUPLICATES = frozenset({"AM05", "DU01", "DU02", "DU03", "DU04", "DU05", "DUPL"})
"""Rejections of a message because there was one before: they say nothing of that one."""

NOT_FOUND = frozenset({"NOOR"})
"""That the bank has not received a payment does not prove that it is not on its way."""

REASONS: Mapping[str, FailureCategory] = MappingProxyType(
    {
        # Ours: the account that pays, its bank, its funds, our right to use them.
        "AC02": T,
        "AC05": T,
        "AC10": T,
        "AC13": T,
        "AG07": T,
        "AM04": T,
        "AM21": T,
        "AM23": T,
        "DNOR": T,
        "DS0A": T,
        "DS0B": T,
        "DS0C": T,
        "DS0D": T,
        "DS0E": T,
        "DS0F": T,
        "DS0G": T,
        "DS0H": T,
        "RC03": T,
        # The recipient's account, or a bank that cannot be reached under it.
        "BE01": M,
        "CNOR": M,
        # What we have sent: an amount, a currency, a format; and what rules forbid.
        "AM01": P,
        "AM02": P,
        "AM03": P,
        "AM09": P,
        "AM12": P,
        "FF01": P,
        "MS02": P,
        "MS03": P,
        "RR01": P,
        "RR02": P,
        "RR03": P,
        "RR04": P,
        # A bank or the scheme on the way, for now.
        "AB05": R,
        "AB06": R,
        "AB07": R,
        "AB08": R,
        "AB09": R,
        "AB10": R,
        "ED05": R,
        "TM01": R,
    }
)
FAMILIES: Mapping[str, FailureCategory] = MappingProxyType({"AC": M, "MD": M, "RC": M, "AG": M})
"""Of codes without a row: about accounts, mandates, routes and agents, so about the destination."""

REASON_OTHERWISE = FailureCategory.RECIPIENT
"""A refusal nobody knows is shown to a person; it neither loops nor stops the rail."""


@dataclass(frozen=True, slots=True)
class Payment:
    """What is kept of a payment, to match and to check reports. Nothing of the recipient."""

    id: str
    attempt_id: str
    amount_minor: int
    currency: str


def payment_of(instruction: Instruction) -> Payment:
    """The payment of an instruction."""
    return Payment(
        payment_id(instruction.attempt_id),
        instruction.attempt_id,
        instruction.amount_minor,
        instruction.currency,
    )


def payment_id(attempt_id: str) -> str:
    """The id that the bank sees, at most 35 characters: a UUID's 32 digits and the attempt's
    number; of any other id 32 digits that follow from it."""
    payout_id, dot, number = attempt_id.partition(".")
    if _UUID.fullmatch(payout_id) and len(number) <= 2:
        return payout_id.replace("-", "") + dot + number
    return blake2b(attempt_id.encode(), digest_size=16).hexdigest()


def destination_refusal(destination: str) -> str | None:
    """Why no bank can pay to a destination, as a machine code; None if one can."""
    try:
        account = read_account(destination)
    except DestinationInvalid as error:
        return str(error)
    if account.kind != "iban":
        return "destination_not_iban"
    return None if writable(account.holder, NAME_CHARS_MAX) else "holder_not_writable"


def folded(payment: Payment, reports: Iterable[Report]) -> Outcome | None:
    """What all that was said of a payment comes to; None if nothing was.

    What contradicts itself is UNKNOWN: rejected and settled, or another amount than ours.
    """
    said = {report for report in reports if not _says_nothing(report)}
    if not said:
        return None
    if any(_of_another_amount(payment, report) for report in said):
        return unknown("amount_mismatch", payment.id)
    states = {STATES.get(report.word, STATE_OTHERWISE) for report in said}
    if PayoutState.FAILED in states and states & PAID:
        return unknown("rejected_and_settled", payment.id)
    state = next(state for state in MEANING if state in states)
    if state is PayoutState.FAILED:
        reason = _reason(said, "RJCT")
        return failed(category_of(reason), reason or "no_reason", payment.id)
    if state is PayoutState.UNKNOWN:
        strange = min(report.word for report in said if report.word not in STATES)
        return unknown(f"status_{code(strange)}", payment.id)
    why = _reason(said, RETURNED) if state is PayoutState.RETURNED else ""
    return Outcome(state, payment.id, None, why or None)


def category_of(reason: str) -> FailureCategory:
    """The category of a rejection's code, in either case."""
    name = reason.upper()
    return REASONS.get(name, FAMILIES.get(name[:2], REASON_OTHERWISE))


def _says_nothing(report: Report) -> bool:
    """Whether a rejection is of something else than the payment that was sent first."""
    return report.word == "RJCT" and report.reason in DUPLICATES | NOT_FOUND


def _of_another_amount(payment: Payment, report: Report) -> bool:
    return report.amount_minor is not None and (report.amount_minor, report.currency) != (
        payment.amount_minor,
        payment.currency,
    )


def _reason(said: Iterable[Report], word: str) -> str:
    """The code given with a word, in lower case. Of several the first: a rejection has one."""
    codes = sorted(report.reason for report in said if report.word == word and report.reason)
    return codes[0].lower() if codes else ""
