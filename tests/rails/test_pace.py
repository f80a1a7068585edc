"""Pace: what a provider takes in a minute is not exceeded, and is used up where it is needed."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rails.pace import BURST_S, Pace

ROUNDING_S = 1e-6


class Watch:
    """A monotonic clock, in seconds, that begins anywhere."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def burst_of(per_minute: int) -> float:
    return max(1.0, per_minute / 60 * BURST_S)


def test_without_a_limit_everything_goes_at_once() -> None:
    pace = Pace(None, Watch())
    assert pace.take(1_000_000) == 1_000_000
    assert pace.wait_s() == 0
    pace.give_back(5)
    assert pace.take(1_000_000) == 1_000_000


def test_after_a_quiet_time_some_seconds_worth_goes_at_once() -> None:
    watch = Watch()
    pace = Pace(400, watch)
    assert pace.take(1_000) == 20
    assert pace.take(1_000) == 0
    watch.now += 3_600
    assert pace.take(1_000) == 20


def test_no_more_is_taken_than_wanted() -> None:
    pace = Pace(400, Watch())
    assert [pace.take(wanted) for wanted in (0, 7, 7, 7)] == [0, 7, 7, 6]


@pytest.mark.parametrize("per_minute", [1, 2, 19])
def test_a_slow_provider_takes_one_at_a_time(per_minute: int) -> None:
    watch = Watch()
    pace = Pace(per_minute, watch)
    assert pace.take(9) == 1
    watch.now += 60 / per_minute - 0.01
    assert pace.take(9) == 0
    watch.now += 0.02
    assert pace.take(9) == 1


def test_the_wait_is_until_the_next_request() -> None:
    watch = Watch()
    pace = Pace(60, watch)
    assert pace.wait_s() == 0
    assert pace.take(3) == 3
    assert pace.wait_s() == pytest.approx(1.0)
    watch.now += 0.75
    assert pace.take(1) == 0
    assert pace.wait_s() == pytest.approx(0.25)


def test_what_is_given_back_may_be_taken_again() -> None:
    pace = Pace(60, Watch())
    assert pace.take(3) == 3
    pace.give_back(2)
    assert pace.wait_s() == 0
    assert pace.take(9) == 2
    assert pace.take(9) == 0


def test_giving_back_makes_no_larger_burst() -> None:
    watch = Watch()
    pace = Pace(60, watch)
    assert pace.take(3) == 3
    watch.now += 60
    pace.give_back(3)
    assert pace.take(9) == 3
    assert pace.take(9) == 0


@pytest.mark.parametrize("per_minute", range(20, 2_001, 20))
def test_a_whole_burst_is_not_rounded_down(per_minute: int) -> None:
    assert Pace(per_minute, Watch()).take(per_minute) == per_minute // 20


def most_within(made: list[tuple[float, int]], window_s: float) -> int:
    return max(
        sum(count for at, count in made if start <= at <= start + window_s) for start, _ in made
    )


Requests = st.lists(
    st.tuples(st.floats(0, 90, allow_subnormal=False), st.integers(0, 200)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 3_000), Requests, st.sampled_from([0.0, 1.0, 10.0, 60.0, 600.0]))
def test_no_window_takes_more_than_its_share_and_one_burst(
    per_minute: int, requests: list[tuple[float, int]], window_s: float
) -> None:
    watch = Watch()
    pace = Pace(per_minute, watch)
    made = []
    for passed_s, wanted in requests:
        watch.now += passed_s
        made.append((watch.now, pace.take(wanted)))
    most = burst_of(per_minute) + per_minute * window_s / 60
    assert most_within(made, window_s) <= most + ROUNDING_S


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 3_000),
    st.lists(
        st.tuples(st.floats(0, 90), st.integers(0, 200), st.integers(0, 200), st.integers(0, 200)),
        min_size=1,
        max_size=40,
    ),
)
def test_what_was_taken_and_not_made_is_all_that_a_minute_may_bring_beyond(
    per_minute: int, steps: list[tuple[float, int, int, int]]
) -> None:
    watch = Watch()
    pace = Pace(per_minute, watch)
    under_way = 0
    made: list[tuple[float, int]] = []
    open_before: list[int] = []
    for passed_s, wanted, unused_max, used_max in steps:
        watch.now += passed_s
        open_before.append(under_way)
        under_way += pace.take(wanted)
        unused = min(unused_max, under_way)
        pace.give_back(unused)
        used = min(used_max, under_way - unused)
        made.append((watch.now, used))
        under_way -= unused + used
    most = burst_of(per_minute) + per_minute
    for (start, _), before in zip(made, open_before, strict=True):
        count = sum(count for at, count in made if start <= at <= start + 60)
        assert count <= most + before + ROUNDING_S


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 1_000), st.integers(1, 50))
def test_whoever_waits_as_told_gets_the_whole_limit(per_minute: int, wanted: int) -> None:
    watch = Watch()
    pace = Pace(per_minute, watch)
    end, count, empty = watch.now + 120, 0, 0
    while watch.now < end:
        granted = pace.take(wanted)
        count += granted
        # Rounding may let the clock stop a hair before the request, but only a hair.
        empty = 0 if granted else empty + 1
        assert empty <= 2
        watch.now += max(pace.wait_s(), 1e-9)
    assert count >= per_minute * 2 - 1


@given(st.lists(st.floats(0, 2), min_size=1, max_size=50))
def test_asking_often_loses_nothing(pauses_s: list[float]) -> None:
    watch = Watch()
    pace = Pace(60, watch)
    assert pace.take(3) == 3
    granted = 0
    for pause_s in pauses_s:
        watch.now += pause_s
        granted += pace.take(99)
    *_, passed_s = accumulate(pauses_s)
    assert passed_s - 1 - ROUNDING_S <= granted <= passed_s + ROUNDING_S


def test_a_share_of_the_work_is_a_share_of_the_pace() -> None:
    watch = Watch()
    pace = Pace(400, watch)
    pace.share(4, 16)
    assert pace.take(1_000) == 5
    assert pace.wait_s() == pytest.approx(0.6)
    watch.now += 60
    assert pace.take(1_000) == 5
    pace.share(16, 16)
    assert pace.take(1_000) == 0
    watch.now += 60
    assert pace.take(1_000) == 20


def test_time_before_the_share_changed_counts_at_the_old_one() -> None:
    watch = Watch()
    pace = Pace(60, watch)
    assert pace.take(3) == 3
    watch.now += 2
    pace.share(1, 2)
    assert pace.take(9) == 1
    watch.now += 2
    assert pace.take(9) == 1


def test_without_a_limit_there_is_nothing_to_share() -> None:
    pace = Pace(None, Watch())
    pace.share(1, 16)
    assert pace.take(1_000_000) == 1_000_000


@pytest.mark.parametrize(("part", "whole"), [(0, 16), (-1, 16), (17, 16), (0, 0)])
def test_what_is_no_share_is_refused(part: int, whole: int) -> None:
    with pytest.raises(ValueError, match="is no share"):
        Pace(400, Watch()).share(part, whole)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 3_000),
    st.lists(
        st.tuples(st.floats(0, 30), st.sampled_from([(16,), (8, 8), (5, 5, 6), (1, 15), (4,) * 4])),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from([1.0, 60.0, 600.0]),
)
def test_workers_that_come_and_go_take_no_more_together_than_one(
    per_minute: int, steps: list[tuple[float, tuple[int, ...]]], window_s: float
) -> None:
    watch = Watch()
    paces: list[Pace] = []
    made, joined = [], 0
    for passed_s, shares in steps:
        watch.now += passed_s
        joined += max(0, len(shares) - len(paces))
        paces = paces[: len(shares)] + [
            Pace(per_minute, watch) for _ in range(len(shares) - len(paces))
        ]
        for pace, share in zip(paces, shares, strict=True):
            pace.share(share, 16)
        made.append((watch.now, sum(pace.take(10_000) for pace in paces)))
    # Each that joins brings a burst, of which at least one request is whole.
    bursts = (1 + joined) * burst_of(per_minute)
    assert most_within(made, window_s) <= bursts + per_minute * window_s / 60 + ROUNDING_S
