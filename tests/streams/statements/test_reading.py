"""Which entries a statement reads, at what times, and from where a history goes on."""

from __future__ import annotations

import pytest

from streams.statements.ledger import ShardReading
from streams.wallets.journal import Journaled, JournalUnreadable, head, marker


def entry(seq: int, epoch: int, at_ms: int, more: int = 0, seller: str = "anna") -> bytes:
    rest = f'"more":{more},' if more else ""
    return (
        f'{{"v":1,"shard":3,"seq":{seq},{rest}"epoch":{epoch},"kind":"k","id":"e{seq}",'
        f'"seller":"{seller}","at":{at_ms},"postings":[],"writes":[]}}'
    ).encode()


def told(reading: ShardReading, *values: bytes, first: int = 0) -> list[tuple[int, int, int]]:
    """``(seq, time, where to go on)`` of what counts."""
    found = []
    for offset, value in enumerate(values, first):
        for counted, _, at_ms in reading.take(Journaled(offset, *head(value), value)):
            found.append((counted.seq, at_ms, reading.offset))
    return found


def mark(epoch: int) -> bytes:
    return marker(3, epoch, "n", 0).value or b""


def test_void_entries_are_not_told() -> None:
    values = (mark(0), entry(1, 1, 5), mark(1), entry(2, 1, 6), entry(2, 3, 7))
    assert told(ShardReading(), *values) == [(1, 5, 2), (2, 7, 5)]


def test_times_never_go_back() -> None:
    values = (entry(1, 0, 10), entry(2, 0, 8), entry(3, 0, 11))
    assert [at_ms for _, at_ms, _ in told(ShardReading(), *values)] == [10, 10, 11]


def test_goes_on_where_nothing_is_missed() -> None:
    values = [entry(3, 0, 3), entry(2, 0, 2, more=1), entry(1, 0, 1), entry(4, 0, 4)]
    found = told(ShardReading(), *values)
    assert found == [(1, 1, 0), (2, 2, 0), (3, 3, 3), (4, 4, 4)]
    for number, (seq, at_ms, offset) in enumerate(found):
        again = ShardReading(at_ms=at_ms, offset=offset)
        again.timeline.seq = seq
        rest = told(again, *values[offset:], first=offset)
        assert [each[:2] for each in rest] == [each[:2] for each in found[number + 1 :]]


def test_what_is_no_entry_is_refused() -> None:
    value = entry(1, 0, 1).replace(b'"at":1', b'"at":"1"')
    with pytest.raises(JournalUnreadable, match="ledger offset 0: no seller and time"):
        told(ShardReading(), value)
