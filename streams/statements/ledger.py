"""The entries of the journal that count, in order and with their times, as statements read them.

Redis is not asked: the journal is the truth, and reaches back further than what Redis keeps.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from models.ledger import Entry, Timeline
from models.shards import partition_of, shard_of
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

    def take(self, each: Journaled) -> Iterator[tuple[Journaled, str, int]]:
        """What counts from now on: the entry, its seller and its time."""
        try:
            for counted in self.timeline.take(each, each.offset):
                found = _STAMP.search(counted.value)
                if found is None:
                    raise ValueError("no seller and time")
                self.at_ms = max(self.at_ms, int(found[2]))
                early = self.timeline.early.values()
                self.offset = min((offset for offset, _ in early), default=each.offset + 1)
                yield counted, found[1].decode(), self.at_ms
        except ValueError as error:
            raise JournalUnreadable(f"ledger offset {each.offset}: {error}") from error


class Ledger:
    """Reads what counts. Blocking. Raises JournalUnreadable."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings of the broker."""
        self._journal = Journal(settings.kafka_client())

    def of_seller(
        self, seller_id: str, reading: ShardReading | None = None
    ) -> Generator[tuple[Entry, int]]:
        """A seller's entries, from the beginning or from where a reading stands."""
        for value, at_ms in self.raw_of_seller(seller_id, reading):
            yield _parsed(value), at_ms

    def raw_of_seller(
        self, seller_id: str, reading: ShardReading | None = None
    ) -> Generator[tuple[bytes, int]]:
        """The same as the topic has them, with what an entry wrote beside its postings."""
        shard, reading = shard_of(seller_id), reading or ShardReading()
        partition = partition_of(seller_id, self._journal.partitions())
        for each in self._journal.read_all(partition, reading.offset):
            if each.shard != shard:
                continue
            for counted, seller, at_ms in reading.take(each):
                if seller == seller_id:
                    yield counted.value, at_ms

    def with_postings(self) -> Generator[tuple[Entry, int]]:
        """Every entry that moves anything; those of a shard in their order."""
        for partition in range(self._journal.partitions()):
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
