"""The sandbox's own books: what it executed, by payout. Written by nobody but the sandbox.

``verify`` compares them with the ledger: one execution a payout, and the money that left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

ENTRIES_MAX = 500_000
"""Bound on memory, about 0.5 KiB an entry. A full sandbox answers that it is unavailable: to
forget an entry would be to forget the guard against executing it twice."""

PAID = frozenset({"SUCCESS"})
"""Status words for money that has left and not come back."""

Plan = tuple[tuple[int, int, str], ...]
"""Steps of a payout's life: (thousandths of its delay, milliseconds on top, status word)."""


def moment(at_ms: int) -> str:
    """Milliseconds since the epoch as RFC 3339, to the second."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class BooksFull(Exception):
    """The sandbox holds as many payouts as it may."""


class SandboxClock:
    """Wall clock in milliseconds that tests and operators can set ahead."""

    def __init__(self) -> None:
        """Start at the present."""
        self.ahead_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since the epoch, as far ahead as it was set."""
        return time.time_ns() // 1_000_000 + self.ahead_ms


class Entry:
    """One execution: what was asked, and the plan by which its status changes with time."""

    __slots__ = (
        "amount_minor",
        "attempt_id",
        "befallen",
        "behaviour",
        "created_ms",
        "currency",
        "delay_ms",
        "ended",
        "enquiries_failed",
        "plan",
        "rail",
        "receiver",
        "reference",
        "sender_item_id",
    )

    def __init__(  # noqa: PLR0917 - a row
        self,
        rail: str,
        reference: str,
        attempt_id: str,
        sender_item_id: str,
        currency: str,
        amount_minor: int,
        receiver: str,
        plan: Plan,
        behaviour: str,
        created_ms: int,
        delay_ms: int,
        *,
        befallen: bool = False,
    ) -> None:
        """Take a row. ``delay_ms`` stretches the plan; ``befallen``: the behaviour was ordered for
        whichever payout came next."""
        self.rail = rail
        self.reference = reference
        self.attempt_id = attempt_id
        self.sender_item_id = sender_item_id
        self.currency = currency
        self.amount_minor = amount_minor
        self.receiver = receiver
        self.plan = plan
        self.behaviour = behaviour
        self.created_ms = created_ms
        self.delay_ms = delay_ms
        self.befallen = befallen
        self.enquiries_failed = 0
        self.ended = False

    @property
    def payout_id(self) -> str:
        """The caller's id of the payout: its item's id without the number of the attempt."""
        return self.sender_item_id.partition(".")[0]

    def due_ms(self, step: int) -> int:
        """When a step of the plan comes, in milliseconds since the epoch."""
        thousandths, extra_ms, _ = self.plan[step]
        return self.created_ms + self.delay_ms * thousandths // 1000 + extra_ms

    def step(self, now_ms: int) -> int:
        """The step of the plan the payout is at."""
        at = 0
        while at + 1 < len(self.plan) and self.due_ms(at + 1) <= now_ms:
            at += 1
        return at

    def status(self, now_ms: int) -> str:
        """The provider's word for where the payout stands."""
        return self.plan[self.step(now_ms)][2]

    def end(self, now_ms: int, plan: Plan) -> None:
        """Put another plan in the place of the first, from now on (a cancellation)."""
        self.created_ms = now_ms
        self.plan = plan
        self.ended = True


class Movement(NamedTuple):
    """Money that left through an execution, or came back: which one of its movements it is, and
    its amount in minor units, below zero for money that left."""

    at_ms: int
    entry: Entry
    number: int
    amount_minor: int


class Books:
    """All executions, by the provider's reference and by the caller's attempt id."""

    def __init__(self, *, entries_max: int = ENTRIES_MAX) -> None:
        """Empty books that hold so many payouts."""
        self._entries_max = entries_max
        self._by_reference: dict[str, Entry] = {}
        self._by_attempt: dict[str, Entry] = {}

    def __len__(self) -> int:
        """Executions."""
        return len(self._by_reference)

    def add(self, entry: Entry, *, guarded: bool) -> None:
        """Book an execution; ``guarded`` binds its attempt id. Raises BooksFull."""
        if len(self._by_reference) >= self._entries_max:
            raise BooksFull
        self._by_reference[entry.reference] = entry
        if guarded:
            self._by_attempt[entry.attempt_id] = entry

    def by_reference(self, reference: str) -> Entry | None:
        """The execution with the provider's id."""
        return self._by_reference.get(reference)

    def by_attempt(self, attempt_id: str) -> Entry | None:
        """The execution guarded by the caller's id."""
        return self._by_attempt.get(attempt_id)

    def rows(self, now_ms: int) -> Iterator[dict[str, object]]:
        """One row a payout, oldest first.

        ``rail``, ``reference`` and ``status`` are of the execution that stands paid, else the last.
        ``paid_minor`` is what stands paid now, over all executions; ``paid_times`` how many of
        them ever paid, also if the money came back: more than one is a double payment.

        Entries added while this runs may be missing.
        """
        grouped: dict[str, list[Entry]] = {}
        for entry in list(self._by_reference.values()):
            grouped.setdefault(entry.payout_id, []).append(entry)
        for payout_id, entries in grouped.items():
            paid = [entry for entry in entries if entry.status(now_ms) in PAID]
            last = (paid or entries)[-1]
            yield {
                "payout_id": payout_id,
                "rail": last.rail,
                "executions": len(entries),
                "reference": last.reference,
                "currency": last.currency,
                "amount_minor": last.amount_minor,
                "status": last.status(now_ms),
                "paid_minor": sum(entry.amount_minor for entry in paid),
                "paid_times": sum(self._ever_paid(entry, now_ms) for entry in entries),
            }

    def movements(self, rail: str, now_ms: int) -> Iterator[Movement]:
        """What moved over a rail until now, execution by execution.

        Entries added while this runs may be missing.
        """
        for entry in list(self._by_reference.values()):
            if entry.rail != rail:
                continue
            number, was_paid = 0, False
            for step in range(entry.step(now_ms) + 1):
                is_paid = entry.plan[step][2] in PAID
                if is_paid != was_paid:
                    number, was_paid = number + 1, is_paid
                    minor = -entry.amount_minor if is_paid else entry.amount_minor
                    yield Movement(entry.due_ms(step), entry, number, minor)

    def _ever_paid(self, entry: Entry, now_ms: int) -> bool:
        steps = entry.plan[: entry.step(now_ms) + 1]
        return any(word in PAID for _, _, word in steps)

    def executions(self, payout_id: str) -> int:
        """How often a payout was executed. Walks all entries: for tests and operators."""
        return sum(entry.payout_id == payout_id for entry in self._by_reference.values())
