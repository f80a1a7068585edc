"""Tracing: where the way of an event is told, and nothing that costs while it is off.

This module imports no OpenTelemetry. :class:`Untraced` has every hook and does nothing;
:mod:`streams.spans` has the one that records, and is imported only where tracing is on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from streams.settings import Settings, SettingsError, variable

if TYPE_CHECKING:
    from rails.rail import Outcome
    from streams.desk import Settled, Taken
    from streams.engine import Batch, RawMessage
    from streams.wallets.store import Operation, OutboxEntry


class UntracedBatch:
    """A batch of inbound events of which none is traced."""

    def booking(self, pending: Sequence[Taken], operations: Sequence[Operation]) -> None:
        """It is decided what becomes of events; the operations are booked now."""

    def booked(self, outcomes: Sequence[str]) -> None:
        """They are booked, with these outcomes, and being published."""

    def published(self) -> None:
        """All that follows is published, and counts for ever."""

    def done(self, settled: Iterable[Settled]) -> None:
        """The batch is acknowledged."""


NO_BATCH = UntracedBatch()


class Untraced:
    """Tracing that is off."""

    def batch(self, batch: Batch, taken: Sequence[Taken]) -> UntracedBatch:
        """A batch of inbound events is decoded."""
        return NO_BATCH

    def stamped(self, entries: Sequence[OutboxEntry]) -> Sequence[OutboxEntry]:
        """What is to be published, with headers that name the booking it follows from."""
        return entries

    def commands(
        self, taken: Sequence[tuple[RawMessage, Mapping[str, Any]]]
    ) -> AbstractContextManager[None]:
        """Commands for payouts, for as long as they are worked on."""
        return nullcontext()

    def posting(
        self, payouts: Sequence[Mapping[str, Any]], operations: Sequence[Operation]
    ) -> AbstractContextManager[list[str]]:
        """Steps of payouts are booked; whoever does puts the outcomes into the list."""
        return nullcontext([])

    def calling(
        self, payout: Mapping[str, Any], rail: str, call: str
    ) -> AbstractContextManager[list[Outcome]]:
        """A rail is called; whoever does puts its answer into the list."""
        return nullcontext([])

    async def close(self) -> None:
        """Send off what is recorded, within seconds."""


UNTRACED = Untraced()


def open_traces(settings: Settings) -> Untraced:
    """Tracing as it is set. Raises SettingsError where the packages for it are missing."""
    if not settings.traces_ratio:
        return UNTRACED
    try:
        from streams.spans import exporting  # noqa: PLC0415 - an extra, and never imported while off
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{variable('traces_ratio')} needs {error.name}: install payout-streams[traces]"
        ) from None
    return exporting(
        settings.traces_url,
        ratio=settings.traces_ratio,
        to_rails=settings.traces_to_rails,
        group=settings.group,
    )
