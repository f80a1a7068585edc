"""What of numbered entries counts: those of a shard's latest epoch, each once, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, Protocol, TypeVar

EARLY_MAX = 10_000
"""Entries of a shard that may wait for one that is missing in front of them: more than can be on
their way at once, so that a ledger that was cut is not taken for one that is late."""


class Numbered(Protocol):
    """What has a shard's number in its place: a journal entry, whole or just its head."""

    @property
    def seq(self) -> int:
        """Its number in the shard; 0 of a marker."""
        ...

    @property
    def epoch(self) -> int:
        """The epoch it was booked in; of a marker the epoch that it ends."""
        ...

    @property
    def more(self) -> int:
        """How many entries behind it are of the same event."""
        ...


E = TypeVar("E", bound=Numbered)


@dataclass(slots=True)
class Timeline(Generic[E]):
    """Which entries of one shard count, and in what order: the ledger topic's own truth.

    As in PostgreSQL, a new history begins where a failover ends the one before. A shard is booked
    to in epochs. A marker in the topic ends the epoch that it names and opens the next, whose
    number is the offset behind the marker; a marker that names another epoch than the present one
    came too late and opens nothing. An entry counts if it comes in the epoch it was booked in, with
    the rest of its event's, and every number before its own counts. Others are void: booked on a
    Redis that was replaced or lost them, and their events are taken again. Several workers publish,
    so entries may come twice and out of order within an epoch.
    """

    epoch: int = 0
    seq: int = 0
    """The last number that counts."""
    early: dict[int, tuple[int, E]] = field(default_factory=dict)
    """What came before its turn or the rest of its event's, by number, with its offset."""

    def take(self, entry: E, offset: int) -> Iterator[E]:
        """Take what the topic has at an offset; what counts from now on, in order.

        Raises ValueError if the topic lacks an entry in front of too many others.
        """
        if entry.seq == 0:
            if entry.epoch == self.epoch:
                self.epoch = offset + 1
                self.early.clear()
            return
        if entry.epoch != self.epoch:
            return
        if entry.seq <= self.seq:
            return
        self.early.setdefault(entry.seq, (offset, entry))
        while (found := self.early.get(self.seq + 1)) is not None:
            last = self.seq + 1 + found[1].more
            if any(seq not in self.early for seq in range(self.seq + 2, last + 1)):
                break
            while self.seq < last:
                self.seq += 1
                yield self.early.pop(self.seq)[1]
        if len(self.early) > EARLY_MAX:
            raise ValueError(f"entry {self.missing()} is not in the journal, later ones are")

    def missing(self) -> int | None:
        """The first number that is not there, if others wait for it."""
        if not self.early:
            return None
        return next(seq for seq in count(self.seq + 1) if seq not in self.early)
