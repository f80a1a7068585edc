"""What a rail is: the words between the host, who owns a payout, and a connector to a provider.

Rails act and report. The host owns the state machine, retries, failover and timers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from models.payouts import FailureCategory, PayoutState

NOTE_CHARS_MAX = 500
"""Longest note to the recipient, in characters. The tightest provider sets the limit."""

CLOCKS_APART_MS_MAX = 300_000
"""A first submission further in the future than this means a clock that cannot be trusted."""

OCCURRED_AT_CHARS_MAX = 40

_ATTEMPT_ID = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,62}")
_EMPTY: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Instruction:
    """One payout as a rail sees it.

    ``destination`` is opened and secret: it is in no repr, log or outcome. ``attempt`` counts
    submissions under one payout id, from 0; the host raises it only after the attempt before is
    proven dead. ``first_submitted_ms`` is when this attempt was first handed to the rail.
    """

    payout_id: str
    amount_minor: int
    currency: str
    destination: str = field(repr=False)
    seller_ref: str
    note: str = field(default="", repr=False)
    provider_ref: str | None = None
    first_submitted_ms: int | None = None
    attempt: int = 0

    @property
    def attempt_id(self) -> str:
        """The id under which the provider sees this attempt; the guard against a second one."""
        return attempt_id_for(self.payout_id, self.attempt)


def attempt_id_for(payout_id: str, attempt: int) -> str:
    """The id under which a provider sees an attempt, counted from 0."""
    return payout_id if attempt == 0 else f"{payout_id}.{attempt}"


def payout_of(attempt_id: str) -> str:
    """The payout an attempt id belongs to."""
    return attempt_id.partition(".")[0]


def attempt_of(attempt_id: str) -> int:
    """Which submission of its payout an attempt id names, from 0."""
    number = attempt_id.partition(".")[2]
    return int(number) if number.isdigit() and len(number) < 4 else 0


def attempt_id_of(value: object) -> str | None:
    """What a provider shows where an attempt's id was sent; None of what is none of ours."""
    return value if isinstance(value, str) and _ATTEMPT_ID.fullmatch(value) else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rail learned about a payout.

    ``category`` is there exactly when ``state`` is FAILED. ``reason`` is a machine code without
    personal data. ``provider_ref`` is the provider's id of the payout, as soon as it is known.
    """

    state: PayoutState
    provider_ref: str | None = None
    category: FailureCategory | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a failure without a category, or the other way round."""
        if (self.state is PayoutState.FAILED) != (self.category is not None):
            raise ValueError(f"{self.state} with category {self.category}")


def unknown(reason: str, provider_ref: str | None = None) -> Outcome:
    """Silence or an unclear answer: the money may have moved, only an enquiry can tell."""
    return Outcome(PayoutState.UNKNOWN, provider_ref, None, reason)


def not_shown(status: int, reference: str | None) -> Outcome:
    """An enquiry that got an error: nothing is learned, not even from "no such reference"."""
    return unknown("reference_not_found" if status == 404 else f"http_{status}", reference)


def failed(category: FailureCategory, reason: str, provider_ref: str | None = None) -> Outcome:
    """Proven not executed."""
    return Outcome(PayoutState.FAILED, provider_ref, category, reason)


def reported(
    event_id: str, occurred_at: object, attempt_id: str | None, rail: str, outcome: Outcome
) -> dict[str, object]:
    """The fields of ``payout.reported``, without its seller. Raises ValueError without a time.

    Without an attempt's id, where the provider shows nothing of ours, it is named by its reference.
    """
    if not isinstance(occurred_at, str) or len(occurred_at) > OCCURRED_AT_CHARS_MAX:
        raise ValueError("no time of the event")
    report: dict[str, object] = {
        "id": event_id,
        "type": "payout.reported",
        "version": 1,
        "occurred_at": occurred_at,
        "rail": rail,
        "state": outcome.state.value,
        "reason": outcome.reason,
    }
    if attempt_id is not None:
        report["payout_id"] = payout_of(attempt_id)
        report["attempt"] = attempt_of(attempt_id)
    if outcome.provider_ref is not None:
        report["provider_ref"] = outcome.provider_ref
    if outcome.category is not None:
        report["category"] = outcome.category.value
    return report


def wall_clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


NOT_CARRIED = frozenset(
    {
        "currency_not_carried",
        "country_not_carried",
        "amount_below_minimum",
        "amount_above_maximum",
        "amount_not_representable",
    }
)
"""Why a rail cannot carry a payout whatever its destination: :meth:`Capabilities.refusal`."""


def refused(reason: str, *, repeat: bool) -> Outcome:
    """Refused on our side, before any request: for the destination, or because it is not carried.

    A repeat may have left before, under rules that were changed since.
    """
    if repeat:
        return unknown(f"repeat_{reason}")
    not_carried = reason in NOT_CARRIED
    return failed(FailureCategory.RECIPIENT if not_carried else FailureCategory.METHOD, reason)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a rail can carry. Amounts are in minor units per currency; a missing one is unbounded.

    ``amount_minor_step``: amounts must be a multiple of it, where a provider takes fewer decimals
    than ISO 4217 gives the currency. ``countries``: None means every country not excluded.
    ``guard_days``: how long the provider refuses a second execution under the same id; 0 if never.
    ``enquires_by_ref_only``: without the provider's reference an enquiry is a guarded repeat.
    ``reports_by_ref_only``: webhooks name a payout by the provider's reference alone.
    """

    kind: str
    currencies: frozenset[str]
    destinations: frozenset[str]
    countries: frozenset[str] | None = None
    countries_excluded: frozenset[str] = frozenset()
    amount_minor_min: Mapping[str, int] = field(default_factory=lambda: _EMPTY)
    amount_minor_max: Mapping[str, int] = field(default_factory=lambda: _EMPTY)
    amount_minor_step: Mapping[str, int] = field(default_factory=lambda: _EMPTY)
    settle_seconds_typical: int = 60
    can_cancel: bool = False
    can_report_by_webhook: bool = False
    enquires_by_ref_only: bool = False
    reports_by_ref_only: bool = False
    guard_days: int = 0
    requests_per_minute_max: int | None = None

    def guard_lapsed(self, first_submitted_ms: int | None, now_ms: int) -> str | None:
        """Why a repeat would not surely be stopped by the provider, as a machine code; None if it
        would. A day less than the provider promises: two clocks, two meanings of "submitted"."""
        if first_submitted_ms is None:
            return "no_submission_time"
        age_ms = now_ms - first_submitted_ms
        if not -CLOCKS_APART_MS_MAX <= age_ms < (self.guard_days - 1) * 86_400_000:
            return "guard_window_passed"
        return None

    def refusal(self, currency: str, amount_minor: int, country: str | None = None) -> str | None:
        """Why this rail cannot carry the payout, as a machine code; None if it can."""
        if currency not in self.currencies:
            return "currency_not_carried"
        if country is not None and (
            country in self.countries_excluded
            or (self.countries is not None and country not in self.countries)
        ):
            return "country_not_carried"
        if amount_minor < self.amount_minor_min.get(currency, 1):
            return "amount_below_minimum"
        if amount_minor > self.amount_minor_max.get(currency, amount_minor):
            return "amount_above_maximum"
        if amount_minor % self.amount_minor_step.get(currency, 1):
            return "amount_not_representable"
        return None


@runtime_checkable
class Rail(Protocol):
    """A connector to one provider.

    No method raises for trouble at the provider or on the network: silence is UNKNOWN. Each may
    be cancelled; a cancelled ``submit`` is to be treated as UNKNOWN by the host.
    """

    @property
    def name(self) -> str:
        """The rail's name in settings, metrics and events."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the rail can carry."""
        ...

    async def submit(self, instruction: Instruction) -> Outcome:
        """Hand a payout to the provider, the first time. FAILED only if proven not executed."""
        ...

    async def enquire(self, instruction: Instruction) -> Outcome:
        """Ask what became of a payout; never a second execution. UNKNOWN if it stays unclear.

        Where the provider finds a payout only by its reference and there is none, this repeats
        the submission under the provider's guard; an attempt that never arrived executes then.
        """
        ...

    async def cancel(self, instruction: Instruction) -> Outcome:
        """Stop a payout where the provider can; otherwise report where it stands."""
        ...

    async def close(self) -> None:
        """Close connections. The rail is not used afterwards."""
        ...
