"""Payouts: one instruction to move money out, its states, and which state may follow which.

Transitions are data. Rails act and report; the host owns the state machine. A report that does
not fit (late, repeated, contradictory) is recorded and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class PayoutState(StrEnum):
    """Where a payout stands."""

    REQUESTED = "requested"  # wanted, nothing reserved yet
    RESERVED = "reserved"  # principal and fee in `in_flight`, command in Kafka
    SUBMITTED = "submitted"  # about to be, or being, handed to the rail
    ACCEPTED = "accepted"  # the rail has it; proves nothing about the money
    SETTLED = "settled"  # the rail says the money left
    DELIVERED = "delivered"  # the rail says the money arrived
    HELD = "held"  # stopped on our side before the rail: fraud, kyc, tax, sanctions, limit, 2fa
    UNKNOWN = "unknown"  # the rail was silent or unclear; only an enquiry, or a person, leaves this
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

RETRIES_FROM = frozenset({S.RESERVED, S.SUBMITTED, S.UNKNOWN, S.ACCEPTED})
"""From where a payout may be RESERVED anew, for its next attempt: once the attempt before is proven
not executed, or was never made. The host alone does that; no report can."""

RESOLVED_AS = frozenset({S.SETTLED, S.RETURNED, S.FAILED})
"""What an UNKNOWN payout may be ended as by a person who asked the provider: it was paid, it was
paid and came back, or it was not paid and never will be."""

TERMINAL = frozenset({S.SETTLED, S.DELIVERED, S.RETURNED, S.CANCELLED, S.FAILED})
"""States in which nothing is owed an answer (SETTLED and DELIVERED may still be returned)."""

REPORTED = frozenset(S) - {S.REQUESTED, S.HELD, S.RESERVED, S.SUBMITTED}
"""States that a rail can say something of; the others are the host's own."""

IN_FLIGHT = frozenset({S.RESERVED, S.SUBMITTED, S.UNKNOWN, S.ACCEPTED, S.UNCLAIMED})
"""States in which the money stands in the seller's `in_flight` account."""

PAID = frozenset({S.SETTLED, S.DELIVERED})
"""States in which the money has left through the rail's clearing account."""

GIVES_BACK = TERMINAL - PAID
"""States in which the money is the seller's again."""

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

AGE_MS_MAX: dict[PayoutState, int] = {
    S.REQUESTED: 300 * _S,
    S.RESERVED: 300 * _S,
    S.SUBMITTED: 600 * _S,
    S.UNKNOWN: 3_600 * _S,
    S.ACCEPTED: 3 * 86_400 * _S,
    S.UNCLAIMED: 31 * 86_400 * _S,
    S.HELD: 7 * 86_400 * _S,
}
"""How old a payout may be while it is in a state; above it, somebody has to look.

Counted since it was reserved, and once it was submitted since then: not since it entered the state,
which each answer of a rail would begin anew.

- REQUESTED, RESERVED: the janitor hands over after a minute what its command did not; five times
  that means that nothing reaches the rail.
- SUBMITTED: a call ends by its time-out, five minutes at most, and then the rail is asked.
- UNKNOWN: the rail was asked three times and does not say; it is asked again after an hour, then
  daily.
- ACCEPTED: a bank transfer takes a day, and a weekend two more.
- UNCLAIMED: PayPal gives back after 30 days what nobody claimed.
- HELD: people decide within a week.
"""

ATTEMPTS_MAX = 8
"""Submissions under one payout id, over all rails."""


class Retry(NamedTuple):
    """What follows a proven failure. Waits in milliseconds, of one attempt after the other, on
    whatever rails.

    ``elsewhere``: another rail or destination is taken at once, where there is one. Otherwise the
    same rail is tried again after each of ``waits_ms`` in turn; then the payout has FAILED, and
    what became available is paid out anew after ``again_ms`` (0: with the next earning).
    """

    elsewhere: bool
    waits_ms: tuple[int, ...] = ()
    again_ms: int = 0
    pause_ms: int = 0
    """How long the rail is not used at all."""


RETRIES: Mapping[FailureCategory, Retry] = MappingProxyType(
    {
        FailureCategory.RETRYABLE: Retry(True, (5 * _S, 60 * _S, 300 * _S), 900 * _S),
        # The destination is disabled; the company is told.
        FailureCategory.METHOD: Retry(True),
        # Whoever may not be paid is not tried to be paid on another way.
        FailureCategory.RECIPIENT: Retry(False),
        FailureCategory.TREASURY: Retry(True, (420 * _S, 1_800 * _S), 3_600 * _S, 300 * _S),
    }
)
"""What to do about a failure, by its category."""

WAIT_JITTER_BP = 2_000
"""By how much of itself a wait is shortened or lengthened, at random, in basis points: those that
failed together do not come again together."""


def enquire_after_ms(state: PayoutState, asked: int) -> int:
    """How long to wait before the next enquiry about a payout in a state that was asked ``asked``
    times; 0 for a state that nothing is asked about.
    """
    waits = ENQUIRE_AFTER_MS.get(state, (0,))
    return waits[min(asked, len(waits) - 1)]


def may_follow(state: PayoutState, after: PayoutState) -> bool:
    """Whether a payout in ``state`` may go to ``after``."""
    return after in TRANSITIONS[state]


def retry_wait_ms(category: FailureCategory, attempt: int, draw: float) -> int | None:
    """How long to wait before the attempt behind ``attempt`` (from 0) on the same rail; None for
    never. ``draw``: a random number from 0 to below 1, for the jitter.
    """
    waits = RETRIES[category].waits_ms
    if attempt >= min(len(waits), ATTEMPTS_MAX - 1):
        return None
    jitter_bp = int((2 * draw - 1) * WAIT_JITTER_BP)
    return waits[attempt] * (10_000 + jitter_bp) // 10_000


if set(TRANSITIONS) != set(PayoutState):
    raise RuntimeError("every payout state needs its row of transitions")
if not TRANSITIONS[S.UNKNOWN] & TERMINAL >= RESOLVED_AS:
    raise RuntimeError("a person ends a payout in a state that may follow UNKNOWN")
if set(AGE_MS_MAX) != set(PayoutState) - TERMINAL:
    raise RuntimeError("every payout state that is not terminal needs its age limit")
if set(RETRIES) != set(FailureCategory):
    raise RuntimeError("every category of failure needs its row of retries")
