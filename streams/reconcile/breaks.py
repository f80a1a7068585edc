"""Breaks: where ledger, commands and statement differ, how old that is, and the control total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

DAY_MS = 86_400_000

BUCKETS: tuple[tuple[int, str], ...] = (
    (1, "up to 1 day"),
    (7, "2 to 7 days"),
    (30, "8 to 30 days"),
)
"""Buckets of age: the last day of each, and its name."""

OLDEST = "over 30 days"


class BreakKind(StrEnum):
    """What differs. In the order in which a person should look at them."""

    PAID_TWICE = "paid_twice"  # the statement shows one payout executed more than once
    NOT_IN_LEDGER = "not_in_ledger"  # on the statement, unknown to the ledger
    STATE_DIFFERS = "state_differs"  # the ledger says it did not leave, or did, and it is not so
    AMOUNT_DIFFERS = "amount_differs"  # another amount or currency
    BUNDLE_DIFFERS = "bundle_differs"  # a line that bundles payouts is not their sum
    NOT_ON_STATEMENT = "not_on_statement"  # settled or returned in the ledger, not on the statement
    COMMAND_WITHOUT_ENTRY = "command_without_entry"  # commanded, unknown to the ledger
    NOT_COMMANDED = "not_commanded"  # reserved in the ledger, and no command for it
    CLEARING_DIFFERS = "clearing_differs"  # the totals differ and no other break says why


class Break(NamedTuple):
    """One difference. ``at_ms`` is when the movement it is about happened; ``place`` where it
    stands on the statement, if it does. ``amount_minor`` is signed as on the statement."""

    kind: BreakKind
    at_ms: int
    payout_id: str | None
    place: str | None
    currency: str
    amount_minor: int
    detail: str

    def age_days(self, now_ms: int) -> int:
        """Whole days since then; 0 for what lies ahead of the clock."""
        return max(0, now_ms - self.at_ms) // DAY_MS


def bucket(age_days: int) -> str:
    """The bucket of an age."""
    return next((name for last, name in BUCKETS if age_days <= last), OLDEST)


class Clearing(NamedTuple):
    """The control total of a currency: what left less what came back, in the ledger's clearing
    account of the rail and on the statement, over the movements that both are to show."""

    currency: str
    ledger_minor: int
    statement_minor: int

    @property
    def difference_minor(self) -> int:
        """Ledger less statement."""
        return self.ledger_minor - self.statement_minor


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconciliation found. ``fees_minor`` are the provider's, per currency, as on the
    statement. ``at_the_edge``: payouts that moved so near to an end of the period that the
    neighbouring statement may have them. ``unclaimed``: those that left the account and wait at the
    provider for their recipient, which the ledger still has in flight."""

    breaks: tuple[Break, ...]
    clearing: tuple[Clearing, ...]
    lines: int
    matched: int
    in_flight: int
    at_the_edge: int
    unclaimed: int
    fees_minor: Mapping[str, int] = field(default_factory=dict)

    def aged(self, now_ms: int) -> Counter[tuple[BreakKind, str]]:
        """How many breaks there are of each kind and bucket."""
        return Counter((each.kind, bucket(each.age_days(now_ms))) for each in self.breaks)
