"""Recovery: served again means one event of every partition, published behind the fault."""

from __future__ import annotations

import time

import pytest

from models.shards import shard_of
from streams.faults.recovery import Recovery, summary

PARTITIONS = 4


def seller(partition: int) -> str:
    """A seller whose shard lies in a partition."""
    names = (f"s{n}" for n in range(1_000))
    return next(name for name in names if shard_of(name) % PARTITIONS == partition)


@pytest.fixture
def recovery() -> Recovery:
    return Recovery(PARTITIONS)


def published(recovery: Recovery, stem: str) -> list[str]:
    """An event to every partition; their ids."""
    ids = [f"{stem}{partition}" for partition in range(PARTITIONS)]
    for partition, event_id in enumerate(ids):
        recovery.published(seller(partition), event_id)
    return ids


def test_it_takes_the_first_event_of_every_partition(recovery: Recovery) -> None:
    published(recovery, "before")
    recovery.struck(1)
    after = published(recovery, "after")
    published(recovery, "later")
    for event_id in after[:-1]:
        recovery.settled(event_id)
    recovery.settled("before3")
    recovery.settled("later3")
    assert recovery.waiting() == [1]
    time.sleep(0.02)
    recovery.settled(after[-1])
    assert recovery.waiting() == []
    assert 0.02 <= recovery.seconds[1] < 5


def test_a_partition_that_got_nothing_yet_is_waited_for(recovery: Recovery) -> None:
    recovery.struck(1)
    recovery.published(seller(0), "a")
    recovery.settled("a")
    assert recovery.waiting() == [1]


def test_each_fault_counts_for_itself(recovery: Recovery) -> None:
    recovery.struck(1)
    first = published(recovery, "a")
    recovery.struck(2)
    for event_id in first:
        recovery.settled(event_id)
    assert (recovery.waiting(), list(recovery.seconds)) == ([2], [1])
    for event_id in published(recovery, "b"):
        recovery.settled(event_id)
    assert sorted(recovery.seconds) == [1, 2]


def test_when_nothing_more_comes_what_came_counts(recovery: Recovery) -> None:
    recovery.struck(1)
    recovery.published(seller(0), "a")
    recovery.struck(2)
    recovery.finish()
    assert recovery.waiting() == [1]
    recovery.settled("a")
    assert list(recovery.seconds) == [1]


def test_the_summary_is_of_times_that_occurred() -> None:
    assert summary([]) == {}
    assert summary([3.0, 1.0, 2.0]) == {"faults": 3, "p50": 2.0, "max": 3.0}
