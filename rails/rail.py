"""What a rail is: the words between the host, who owns a payout, and a connector to a provider.

Rails act and report. The host owns the state machine, retries, failover and timers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from models.payouts import FailureCategory, PayoutState

NOTE_CHARS_MAX = 500
"""Longest note to the recipient, in characters. The tightest provider sets the limit."""

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
        return self.payout_id if self.attempt == 0 else f"{self.payout_id}.{self.attempt}"


def payout_of(attempt_id: str) -> str:
    """The payout an attempt id belongs to."""
    return attempt_id.partition(".")[0]


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


def failed(category: FailureCategory, reason: str, provider_ref: str | None = None) -> Outcome:
    """Proven not executed."""
    return Outcome(PayoutState.FAILED, provider_ref, category, reason)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a rail can carry. Amounts are in minor units per currency; a missing one is unbounded.

    ``amount_minor_step``: amounts must be a multiple of it, where a provider takes fewer decimals
    than ISO 4217 gives the currency. ``countries``: None means every country not excluded.
    ``guard_days``: how long the provider refuses a second execution under the same id; 0 if never.
    ``enquires_by_ref_only``: without the provider's reference an enquiry is a guarded repeat.
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
    guard_days: int = 0
    requests_per_minute_max: int | None = None

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
