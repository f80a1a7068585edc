"""Payouts: one instruction to move money out, its states, and which state may follow which.

Transitions are data. Rails act and report; the host owns the state machine. A report that does
not fit (late, repeated, contradictory) is recorded and changes nothing.
"""

from __future__ import annotations

from enum import StrEnum


class PayoutState(StrEnum):
    """Where a payout stands."""

    REQUESTED = "requested"  # wanted, nothing reserved yet
    RESERVED = "reserved"  # principal and fee in `in_flight`, command in Kafka
    SUBMITTED = "submitted"  # about to be, or being, handed to the rail
    ACCEPTED = "accepted"  # the rail has it; proves nothing about the money
    SETTLED = "settled"  # the rail says the money left
    DELIVERED = "delivered"  # the rail says the money arrived
    HELD = "held"  # stopped on our side before the rail: fraud, kyc, tax, sanctions, limit, 2fa
    UNKNOWN = "unknown"  # the rail was silent or unclear; only an enquiry leaves this state
    UNCLAIMED = "unclaimed"  # waits for the recipient at the rail
    RETURNED = "returned"  # came back, also after it settled
    CANCELLED = "cancelled"  # stopped before the money left
    FAILED = "failed"  # proven not executed


class FailureCategory(StrEnum):
    """Why a payout failed, in the terms of what to do about it."""

    RETRYABLE = "retryable"  # the rail's trouble: the same payout may be tried again
    METHOD = "method"  # the destination is wrong or closed: disable it
    RECIPIENT = "recipient"  # the recipient may not be paid: tell the company
    TREASURY = "treasury"  # our funds at the rail: pause the rail, alert


S = PayoutState

TRANSITIONS: dict[PayoutState, frozenset[PayoutState]] = {
    S.REQUESTED: frozenset({S.RESERVED, S.HELD, S.CANCELLED}),
    S.HELD: frozenset({S.RESERVED, S.CANCELLED}),
    S.RESERVED: frozenset({S.SUBMITTED, S.CANCELLED}),
    S.SUBMITTED: frozenset(
        {S.ACCEPTED, S.SETTLED, S.DELIVERED, S.UNKNOWN, S.UNCLAIMED, S.FAILED, S.RETURNED}
        | {S.CANCELLED}
    ),
    S.UNKNOWN: frozenset(
        {S.ACCEPTED, S.SETTLED, S.DELIVERED, S.UNCLAIMED, S.FAILED, S.RETURNED, S.CANCELLED}
    ),
    S.ACCEPTED: frozenset({S.SETTLED, S.DELIVERED, S.UNCLAIMED, S.FAILED, S.RETURNED, S.CANCELLED}),
    S.UNCLAIMED: frozenset({S.SETTLED, S.DELIVERED, S.RETURNED, S.CANCELLED, S.FAILED}),
    S.SETTLED: frozenset({S.DELIVERED, S.RETURNED}),
    S.DELIVERED: frozenset({S.RETURNED}),
    S.RETURNED: frozenset(),
    S.CANCELLED: frozenset(),
    S.FAILED: frozenset(),
}
"""What may follow what. A FAILED payout is dead for good: a new try is a new submission."""

TERMINAL = frozenset({S.SETTLED, S.DELIVERED, S.RETURNED, S.CANCELLED, S.FAILED})
"""States in which nothing is owed an answer (SETTLED and DELIVERED may still be returned)."""

IN_FLIGHT = frozenset({S.RESERVED, S.SUBMITTED, S.UNKNOWN, S.ACCEPTED, S.UNCLAIMED})
"""States in which the money stands in the seller's `in_flight` account."""

PAID = frozenset({S.SETTLED, S.DELIVERED})
"""States in which the money has left through the rail's clearing account."""


_S = 1000
ENQUIRE_AFTER_MS: dict[PayoutState, tuple[int, ...]] = {
    S.RESERVED: (60 * _S,),
    S.UNKNOWN: (5 * _S, 30 * _S, 300 * _S, 3_600 * _S, 86_400 * _S),
    S.ACCEPTED: (3 * _S, 15 * _S, 60 * _S, 600 * _S, 3_600 * _S, 86_400 * _S),
    S.UNCLAIMED: (86_400 * _S,),
}
"""When to ask the rail again about a payout, by its state and how often it was asked.

A SUBMITTED one is asked about once its call must have ended: that depends on the rail's time-out.
"""

RETRY_AFTER_MS = 300 * _S
"""When money of a payout that failed for the rail's own trouble is tried again, in a new payout."""


def enquire_after_ms(state: PayoutState, asked: int) -> int:
    """How long to wait before the next enquiry about a payout in a state that was asked ``asked``
    times; 0 for a state that nothing is asked about.
    """
    waits = ENQUIRE_AFTER_MS.get(state, (0,))
    return waits[min(asked, len(waits) - 1)]


def may_follow(state: PayoutState, after: PayoutState) -> bool:
    """Whether a payout in ``state`` may go to ``after``."""
    return after in TRANSITIONS[state]


if set(TRANSITIONS) != set(PayoutState):
    raise RuntimeError("every payout state needs its row of transitions")
