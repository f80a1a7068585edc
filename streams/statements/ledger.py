"""The entries of the journal that count, in order and with their times, as statements read them.

Redis is not asked: the journal is the truth, and reaches back further than what Redis keeps.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from models.ledger import Entry
from models.shards import partition_of, shard_of
from models.timeline import Timeline
from streams.settings import Settings
from streams.wallets.journal import Journal, Journaled, JournalUnreadable

_STAMP = re.compile(rb'"seller":"([^"]*)","at":(\d{1,16})[,}]')
"""Whose entry it is and when it was made; ids in front of it hold no quotation marks."""

_POSTED = b'"postings":[['


@dataclass(slots=True)
class ShardReading:
    """One shard's entries, read in the topic's order and told in their own.

    An entry's time is when it was booked, but never before the time of an entry in front of it:
    the clocks of two workers may differ by a little, and a period must not begin or end twice.
    """

    timeline: Timeline[Journaled] = field(default_factory=Timeline)
    at_ms: int = 0
    offset: int = 0
    """From where on the topic has every entry that is not told yet."""
    cut: bool = False
    """Whether it was ended in front of the topic's end."""

    def take(self, each: Journaled) -> Iterator[tuple[Journaled, str, int]]:
        """What counts from now on: the entry, its seller and its time."""
        try:
            for counted in self.timeline.take(each, each.offset):
                found = _STAMP.search(counted.value)
                if found is None:
                    raise ValueError("no seller and time")
                self.at_ms = max(self.at_ms, int(found[2]))
                self.pass_by(each.offset)
                yield counted, found[1].decode(), self.at_ms
        except ValueError as error:
            raise JournalUnreadable(f"ledger offset {each.offset}: {error}") from error
        self.pass_by(each.offset)

    def pass_by(self, offset: int) -> None:
        """What the topic has there is seen."""
        early = self.timeline.early.values()
        self.offset = min((at for at, _ in early), default=offset + 1)


class Ledger:
    """Reads what counts. Blocking. Raises JournalUnreadable."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings of the broker."""
        self._journal = Journal(settings.kafka_client())

    @cached_property
    def _partitions(self) -> int:
        return self._journal.partitions()

    def _partition(self, seller_id: str) -> int:
        return partition_of(seller_id, self._partitions)

    def of_seller(
        self,
        seller_id: str,
        reading: ShardReading | None = None,
        *,
        messages_max: int | None = None,
    ) -> Generator[tuple[Entry, int]]:
        """A seller's entries, from the beginning or from where a reading stands.

        ``messages_max``: of all sellers on the partition, after which the reading is cut.
        """
        for value, at_ms in self.raw_of_seller(seller_id, reading, messages_max=messages_max):
            yield _parsed(value), at_ms

    def raw_of_seller(
        self,
        seller_id: str,
        reading: ShardReading | None = None,
        *,
        messages_max: int | None = None,
    ) -> Generator[tuple[bytes, int]]:
        """The same as the topic has them, with what an entry wrote beside its postings."""
        shard, reading = shard_of(seller_id), reading or ShardReading()
        began = reading.offset
        for number, each in enumerate(self._journal.read_all(self._partition(seller_id), began)):
            # Behind an entry that came before its turn a reading stands still: it goes on until
            # that has come, or another would begin there again for ever.
            if messages_max is not None and number >= messages_max and reading.offset > began:
                reading.cut = True
                return
            if each.shard != shard:
                reading.pass_by(each.offset)
                continue
            for counted, seller, at_ms in reading.take(each):
                if seller == seller_id:
                    yield counted.value, at_ms

    def with_postings(self) -> Generator[tuple[Entry, int]]:
        """Every entry that moves anything; those of a shard in their order."""
        for partition in range(self._partitions):
            readings: dict[int, ShardReading] = defaultdict(ShardReading)
            for each in self._journal.read_all(partition):
                for counted, _, at_ms in readings[each.shard].take(each):
                    if _POSTED in counted.value:
                        yield _parsed(counted.value), at_ms


def _parsed(value: bytes) -> Entry:
    try:
        return Entry.parse(value)
    except ValueError as error:
        raise JournalUnreadable(str(error)) from error
