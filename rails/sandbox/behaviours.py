"""What the sandbox does with a payout: by the receiver's local part, a header, or by chance.

``closed+anna@example.com`` behaves as ``closed``. Chance is decided by the seed and the attempt's
id, so that a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from rails.sandbox.books import Plan

DAY_MS = 86_400_000
UNCLAIMED_MS = 30 * DAY_MS


class Manner(StrEnum):
    """How a submission is answered. ``..._once``: only the first time, later ones go well."""

    OK = "ok"
    SLOW = "slow"  # executes, answers late
    HANG_AFTER = "hang_after"  # executes, never answers
    HANG_BEFORE_ONCE = "hang_before_once"  # does not execute, never answers
    RESET_AFTER = "reset_after"  # executes, drops the connection
    RESET_BEFORE_ONCE = "reset_before_once"
    ERROR_AFTER = "error_after"  # executes, answers 500
    ERROR_BEFORE_ONCE = "error_before_once"
    BUSY_ONCE = "busy_once"  # 503 without executing
    LIMITED = "limited"  # 429
    GARBAGE_AFTER = "garbage_after"  # executes, answers what is not JSON
    HUGE_AFTER = "huge_after"  # executes, answers far too much


class Hook(StrEnum):
    """What becomes of the webhook."""

    SENT = "sent"
    LOST = "lost"
    TWICE = "twice"
    FORGED = "forged"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The plan of a payout's life, the reason of its failure, and how calls about it go.

    ``refusal``: an error answer (status, name) to the submission, which then does not execute.
    """

    plan: Plan
    error: str | None = None
    batch_denied: bool = False
    manner: Manner = Manner.OK
    hook: Hook = Hook.SENT
    refusal: tuple[int, str] | None = None


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
        "limited": _answers(Manner.LIMITED),
        "garbage": _answers(Manner.GARBAGE_AFTER),
        "huge": _answers(Manner.HUGE_AFTER),
        "nofunds": _refused(422, "INSUFFICIENT_FUNDS"),
        "restricted": _refused(403, "SENDER_RESTRICTED"),
        "invalid": _refused(400, "VALIDATION_ERROR"),
        "newerror": _refused(418, "SOMETHING_NEW"),
        "webhook-lost": Behaviour(SETTLES, hook=Hook.LOST),
        "webhook-twice": Behaviour(SETTLES, hook=Hook.TWICE),
        "webhook-forged": Behaviour(SETTLES, hook=Hook.FORGED),
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
