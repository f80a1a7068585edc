"""How far behind a partition is, in messages and in time."""

from __future__ import annotations

from streams.engine.lag import Behind, PartitionLag


def measured(
    lag: PartitionLag, done: int, end: int, now_s: float, *, committed: int | None = None
) -> Behind:
    """With nothing finished but what is committed."""
    return lag.measure(done, end, committed, finished=committed, now_s=now_s)


def test_of_nothing_left_there_is_no_lag() -> None:
    lag = PartitionLag()
    lag.fetched(0, 1_000)
    assert measured(lag, 5, 5, 100.0) == (0, 0.0, 0.0)


def test_the_age_is_that_of_the_first_run_not_finished() -> None:
    lag = PartitionLag()
    lag.fetched(0, 10_000)
    lag.fetched(5, 12_000)
    lag.fetched(9, 15_000)
    assert measured(lag, 0, 20, 20.0) == (20, 10.0, 0.0)
    # The second run has begun: what is not finished of it is no older than its first message.
    assert measured(lag, 6, 20, 20.0) == (14, 8.0, 0.0)
    assert measured(lag, 9, 20, 20.0) == (11, 5.0, 0.0)


def test_a_message_that_is_stuck_grows_older() -> None:
    lag = PartitionLag()
    lag.fetched(3, 10_000)
    assert [measured(lag, 3, 4, s).seconds for s in (10.0, 11.0, 70.0)] == [0.0, 1.0, 60.0]


def test_what_is_not_fetched_counts_from_when_it_was_seen() -> None:
    lag = PartitionLag()
    assert [measured(lag, 3, 4, s).seconds for s in (10.0, 11.0)] == [0.0, 1.0]
    assert measured(lag, 4, 4, 12.0).seconds == 0
    assert measured(lag, 4, 9, 20.0).seconds == 0
    # Of brokers that give no timestamps there is none; nor may a clock that is ahead count.
    lag.fetched(4, -1)
    assert measured(lag, 4, 9, 25.0).seconds == 5
    late = PartitionLag()
    late.fetched(0, 30_000)
    assert measured(late, 0, 1, 25.0).seconds == 0


def test_commits_that_are_stuck_are_told() -> None:
    lag = PartitionLag()

    def waited(finished: int, committed: int | None, now_s: float) -> float:
        return lag.measure(
            finished, finished, committed, finished=finished, now_s=now_s
        ).uncommitted_s

    assert waited(5, None, 10.0) == 0
    assert waited(9, None, 13.0) == 3
    # A commit went through; what was finished since waits from here on.
    assert waited(9, 5, 14.0) == 0
    assert waited(12, 5, 16.0) == 2
    assert waited(12, 12, 17.0) == 0
    assert waited(13, 12, 50.0) == 0


def test_a_run_is_forgotten_once_it_is_behind() -> None:
    lag = PartitionLag()
    for offset in range(1_000):
        lag.fetched(offset, 1_000 + offset)
        measured(lag, offset, offset + 2, 5.0)
    assert len(lag._fetched) <= 2
