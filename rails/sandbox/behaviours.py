"""What the sandbox does with a payout: by the receiver's local part, a header, or by chance.

``closed+anna@example.com`` behaves as ``closed``. Chance is decided by the seed and the attempt's
id, so that a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from rails.sandbox.books import Entry, Plan
from rails.sandbox.notices import (
    CANCELLATION,
    CLAIMED_BACKWARDS,
    CONTRADICTED,
    CONTRADICTED_EARLY,
    FORGED,
    FORGED_PAID,
    LATE,
    LOST,
    MANY_TIMES,
    RETURNED_BACKWARDS,
    TWICE,
    Script,
    told,
)

DAY_MS = 86_400_000
UNCLAIMED_MS = 30 * DAY_MS
ENQUIRIES_FAILING_MAX = 2


class Manner(StrEnum):
    """How a submission is answered. ``..._once``: only the first time, later ones go well."""

    OK = "ok"
    SLOW = "slow"  # executes, answers late
    HANG_AFTER = "hang_after"  # executes, never answers
    HANG_BEFORE_ONCE = "hang_before_once"  # does not execute, never answers
    RESET_AFTER = "reset_after"  # executes, drops the connection
    RESET_BEFORE_ONCE = "reset_before_once"
    ERROR_AFTER = "error_after"  # executes, answers 500
    DUPLICATE_AFTER = "duplicate_after"  # executes, answers that it was there before
    ERROR_BEFORE_ONCE = "error_before_once"
    BUSY_ONCE = "busy_once"  # 503 without executing
    GARBAGE_AFTER = "garbage_after"  # executes, answers what is not JSON
    HUGE_AFTER = "huge_after"  # executes, answers far too much


class Enquiry(StrEnum):
    """How the first ``ENQUIRIES_FAILING_MAX`` enquiries about a payout are answered."""

    OK = "ok"
    ERROR = "error"  # 500
    SILENT = "silent"  # never


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The plan of a payout's life, the reason of its failure, and how calls about it go.

    ``refusal``: an error answer (status, name) to the submission, which then does not execute.
    ``error``: why, wherever a status is shown that wants a reason. ``notices``: webhooks that do
    not simply follow the plan. Whatever is said, the plan is what happens to the money.
    """

    plan: Plan
    error: str | None = None
    batch_denied: bool = False
    manner: Manner = Manner.OK
    refusal: tuple[int, str] | None = None
    notices: Script | None = None
    enquiry: Enquiry = Enquiry.OK

    @property
    def executes(self) -> bool:
        """Whether a submission executes, at the latest when it is repeated."""
        return self.refusal is None

    @property
    def shows_later(self) -> bool:
        """Whether it is met only in webhooks or enquiries, once the submission was answered."""
        return self.notices is not None or self.enquiry is not Enquiry.OK


def _then(*statuses: str) -> Plan:
    """PENDING, then each status one delay after the one before."""
    return ((0, 0, "PENDING"), *((1000 * n, 0, word) for n, word in enumerate(statuses, 1)))


SETTLES = _then("SUCCESS")
UNCLAIMED = (*_then("UNCLAIMED"), (1000, UNCLAIMED_MS, "RETURNED"))
CANCELLED: Plan = ((0, 0, "RETURNED"),)


def _fails(error: str, *, batch_denied: bool = False) -> Behaviour:
    return Behaviour(_then("FAILED"), error=error, batch_denied=batch_denied)


def _answers(manner: Manner) -> Behaviour:
    return Behaviour(SETTLES, manner=manner)


def _refused(status: int, name: str) -> Behaviour:
    return Behaviour(SETTLES, refusal=(status, name))


def _says(notices: Script, plan: Plan = SETTLES, *, error: str | None = None) -> Behaviour:
    return Behaviour(plan, error=error, notices=notices)


NORMAL = Behaviour(SETTLES)

BEHAVIOURS: Mapping[str, Behaviour] = MappingProxyType(
    {
        "unclaimed": Behaviour(UNCLAIMED, error="RECEIVER_UNREGISTERED"),
        "claimed": Behaviour(_then("UNCLAIMED", "SUCCESS")),
        "returned": Behaviour(_then("SUCCESS", "RETURNED")),
        "refunded": Behaviour(_then("SUCCESS", "REFUNDED")),
        "reversed": Behaviour(_then("SUCCESS", "REVERSED")),
        "onhold": Behaviour(_then("ONHOLD", "SUCCESS")),
        "blocked": Behaviour(_then("BLOCKED"), error="REGULATORY_BLOCKED"),
        "pending": Behaviour(((0, 0, "PENDING"),)),
        "novelty": Behaviour(_then("QUARANTINED")),  # a status word nobody has heard of
        "closed": _fails("RECEIVER_ACCOUNT_LOCKED"),
        "denied": _fails("RECEIVER_ACCOUNT_INVALID", batch_denied=True),
        "self": _fails("SELF_PAY_NOT_ALLOWED"),
        "limit": _fails("RECEIVING_LIMIT_EXCEEDED"),
        "risk": _fails("RISK_DECLINE"),
        "currency": _fails("NON_HOLDING_CURRENCY"),
        "trouble": _fails("INTERNAL_ERROR"),
        "mystery": _fails("SOMETHING_NEW"),
        "slow": _answers(Manner.SLOW),
        "timeout-after": _answers(Manner.HANG_AFTER),
        "timeout-before": _answers(Manner.HANG_BEFORE_ONCE),
        "reset-after": _answers(Manner.RESET_AFTER),
        "reset-before": _answers(Manner.RESET_BEFORE_ONCE),
        "error500": _answers(Manner.ERROR_BEFORE_ONCE),
        "error500-after": _answers(Manner.ERROR_AFTER),
        "error503": _answers(Manner.BUSY_ONCE),
        "limited": _refused(429, "RATE_LIMIT_REACHED"),
        "garbage": _answers(Manner.GARBAGE_AFTER),
        "huge": _answers(Manner.HUGE_AFTER),
        "nofunds": _refused(422, "INSUFFICIENT_FUNDS"),
        "restricted": _refused(403, "SENDER_RESTRICTED"),
        "invalid": _refused(400, "VALIDATION_ERROR"),
        "newerror": _refused(418, "SOMETHING_NEW"),
        # Executed, and answered as if it were a duplicate of itself.
        "duplicate": _answers(Manner.DUPLICATE_AFTER),
        "enquiry-500": Behaviour(SETTLES, enquiry=Enquiry.ERROR),
        "enquiry-slow": Behaviour(SETTLES, enquiry=Enquiry.SILENT),
        "webhook-lost": _says(LOST),
        "webhook-twice": _says(TWICE),
        "webhook-burst": _says(MANY_TIMES),
        "webhook-late": _says(LATE),
        # Claimed after a while; first SUCCESS is told, then, stale, UNCLAIMED.
        "webhook-reordered": _says(CLAIMED_BACKWARDS, _then("UNCLAIMED", "SUCCESS")),
        # Paid, then back; first RETURNED is told, then, stale, SUCCESS.
        "webhook-reordered-return": _says(RETURNED_BACKWARDS, _then("SUCCESS", "RETURNED")),
        # Paid for good; signed all the same: FAILED before that, RETURNED and CANCELED after.
        "webhook-contradictory": _says(CONTRADICTED, error="RISK_DECLINE"),
        # Signed, it says FAILED of what is still pending, and is paid then.
        "webhook-contradictory-early": _says(CONTRADICTED_EARLY, error="RISK_DECLINE"),
        # Paid; somebody without the key says FAILED, then RETURNED, and the truth is never told.
        "webhook-forged": _says(FORGED, error="RISK_DECLINE"),
        # Fails; somebody without the key has said SUCCESS before the truth comes.
        "webhook-forged-paid": _says(FORGED_PAID, _then("FAILED"), error="RISK_DECLINE"),
    }
)

# Triggers of PayPal's own sandbox, in the item's note.
NOTE_TRIGGERS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "ERRPYO001": (403, "SENDER_RESTRICTED"),
        "ERRPYO002": (403, "SENDER_EMAIL_UNCONFIRMED"),
        "ERRPYO003": (403, "AUTHORIZATION_ERROR"),
        "ERRPYO005": (422, "INSUFFICIENT_FUNDS"),
        "ERRPYO006": (500, "INTERNAL_ERROR"),
        "ERRPYO010": (400, "VALIDATION_ERROR"),
    }
)


def script(entry: Entry) -> Script:
    """The webhooks of a payout, as its life stands now."""
    if entry.ended:
        return CANCELLATION
    notices = BEHAVIOURS.get(entry.behaviour, NORMAL).notices
    return told(entry.plan) if notices is None else notices


def named(receiver: str, header: str | None) -> Behaviour | None:
    """The behaviour asked for by header or by the receiver's local part."""
    if header is not None:
        return BEHAVIOURS.get(header)
    prefix, plus, _ = receiver.partition("+")
    return BEHAVIOURS.get(prefix) if plus else None


class Chances:
    """Behaviours that befall payouts whose receiver asks for none, in basis points each."""

    def __init__(self, fault_bp: Mapping[str, int]) -> None:
        """Raises ValueError for an unknown behaviour or more than 10,000 in all."""
        strange = sorted(set(fault_bp) - set(BEHAVIOURS))
        if strange:
            raise ValueError(f"unknown behaviours: {', '.join(strange)}")
        if min(fault_bp.values(), default=0) < 0 or sum(fault_bp.values()) > 10_000:
            raise ValueError("faults are basis points, 10,000 in all")
        self._steps: list[tuple[int, str]] = []
        total = 0
        for name, share_bp in fault_bp.items():
            total += share_bp
            self._steps.append((total, name))

    def draw(self, number: int) -> str:
        """The behaviour for a random number; empty for the normal one."""
        at = number % 10_000
        return next((name for limit, name in self._steps if at < limit), "")
