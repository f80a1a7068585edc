"""Only what is finished from the front is committed, whatever the order of acknowledgements."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.offsets import PartitionOffsets


def test_nothing_is_committed_before_the_first_acknowledgement() -> None:
    partition = PartitionOffsets("sales", 3)
    partition.hand_out(10, 10)
    assert partition.to_commit() is None
    assert partition.in_hand == 10


def test_one_hole_holds_back_everything_after_it() -> None:
    # Faust's own bookkeeping commits 35 here: the reason for this module.
    partition = PartitionOffsets("sales", 3)
    hole = partition.hand_out(1, 32)
    after = partition.hand_out(3, 35)
    assert partition.ack(after)
    assert partition.to_commit() is None
    assert partition.ack(hole)
    assert partition.to_commit() == 35


def test_offsets_that_the_broker_skips_do_not_count_as_a_hole() -> None:
    partition = PartitionOffsets("sales", 3)
    first = partition.hand_out(2, 7)  # offsets 1 and 6 of a compacted topic
    second = partition.hand_out(1, 101)
    partition.ack(first)
    partition.ack(second)
    assert partition.to_commit() == 101


def test_what_the_broker_has_is_not_committed_again() -> None:
    partition = PartitionOffsets("sales", 3)
    partition.ack(partition.hand_out(5, 5))
    partition.committed = 5
    assert partition.to_commit() is None


def test_a_failed_commit_is_followed_by_the_current_offset_never_the_older() -> None:
    partition = PartitionOffsets("sales", 3)
    partition.ack(partition.hand_out(5, 5))
    assert partition.to_commit() == 5  # sent, and refused
    partition.ack(partition.hand_out(5, 10))
    assert partition.to_commit() == 10


def test_a_second_acknowledgement_changes_nothing() -> None:
    partition = PartitionOffsets("sales", 3)
    span = partition.hand_out(5, 5)
    assert partition.ack(span)
    assert not partition.ack(span)
    assert partition.in_hand == 0


def test_a_late_acknowledgement_of_a_released_partition_is_ignored() -> None:
    partition = PartitionOffsets("sales", 3)
    span = partition.hand_out(5, 5)
    partition.close()
    assert not partition.ack(span)
    assert partition.to_commit() is None


@pytest.mark.parametrize(("count", "next_offset"), [(0, 11), (1, 10), (1, 9)])
def test_a_span_that_is_empty_or_goes_back_is_refused(count: int, next_offset: int) -> None:
    partition = PartitionOffsets("sales", 3)
    partition.hand_out(10, 10)
    with pytest.raises(ValueError, match="span"):
        partition.hand_out(count, next_offset)


@given(
    counts=st.lists(st.integers(min_value=1, max_value=5), min_size=1, max_size=30),
    seed=st.integers(),
    share=st.floats(min_value=0, max_value=1),
)
def test_the_commit_is_always_the_end_of_the_finished_front(
    counts: list[int], seed: int, share: float
) -> None:
    partition = PartitionOffsets("sales", 0)
    ends: list[int] = []
    spans = []
    for count in counts:
        ends.append((ends[-1] if ends else 0) + count)
        spans.append(partition.hand_out(count, ends[-1]))
    order = list(range(len(spans)))
    random.Random(seed).shuffle(order)
    acked: set[int] = set()
    for index in order[: int(len(order) * share)]:
        partition.ack(spans[index])
        acked.add(index)
        front = 0
        while front in acked:
            front += 1
        assert partition.to_commit() == (ends[front - 1] if front else None)
        assert partition.in_hand == sum(counts) - sum(counts[each] for each in acked)
