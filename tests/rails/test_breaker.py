"""Breakers: when a rail is used, when it rests, and how it is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.payouts import RETRIES, FailureCategory, PayoutState
from rails.breaker import (
    CALLS_JUDGED,
    CALLS_MIN,
    OPEN_MS_MAX,
    OPEN_MS_MIN,
    PROBES_MAX,
    SUCCESS_BP_UNKNOWN,
    Breaker,
)
from rails.rail import Outcome, failed, unknown
from tests.rails.virtual import Clock

NOW_MS = 1_790_000_000_000
MANY = 10_000
PAUSE_MS = RETRIES[FailureCategory.TREASURY].pause_ms

GOOD = Outcome(PayoutState.ACCEPTED)
SILENT = unknown("no_answer")
BUSY = failed(FailureCategory.RETRYABLE, "busy")
CLOSED_ACCOUNT = failed(FailureCategory.METHOD, "account_closed")
BLOCKED = failed(FailureCategory.RECIPIENT, "blocked")
NO_FUNDS = failed(FailureCategory.TREASURY, "no_funds")


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW_MS)


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def record(breaker: Breaker, *outcomes: Outcome) -> None:
    for outcome in outcomes:
        assert breaker.places(1) == 1, "a call that was not let through has no outcome"
        breaker.record(outcome)


def trip(breaker: Breaker) -> None:
    record(breaker, *[SILENT] * CALLS_MIN)
    assert breaker.why_not() == "breaker_open"


class TestClosed:
    def test_a_rail_that_nothing_is_known_of_takes_all(self, breaker: Breaker) -> None:
        assert breaker.why_not() is None
        assert breaker.places(MANY) == MANY
        assert breaker.success_bp() == SUCCESS_BP_UNKNOWN

    @pytest.mark.parametrize("trouble", [SILENT, BUSY])
    def test_nine_calls_in_trouble_say_nothing_and_the_tenth_opens_it(
        self, breaker: Breaker, trouble: Outcome
    ) -> None:
        record(breaker, *[trouble] * (CALLS_MIN - 1))
        assert breaker.why_not() is None
        assert breaker.success_bp() == SUCCESS_BP_UNKNOWN
        record(breaker, trouble)
        assert breaker.why_not() == "breaker_open"
        assert breaker.places(MANY) == 0

    def test_half_of_ten_calls_in_trouble_open_it(self, breaker: Breaker) -> None:
        record(breaker, *[GOOD, SILENT] * 4, GOOD)
        assert breaker.why_not() is None
        record(breaker, BUSY)
        assert breaker.why_not() == "breaker_open"

    def test_less_than_half_of_the_calls_in_trouble_leave_it_closed(self, breaker: Breaker) -> None:
        record(breaker, *[GOOD] * 6, *[SILENT] * 4)
        record(breaker, *[GOOD, GOOD, SILENT] * 40)
        assert breaker.why_not() is None
        assert breaker.places(MANY) == MANY

    def test_old_calls_are_forgotten(self, breaker: Breaker) -> None:
        record(breaker, *[GOOD] * 1_000)
        record(breaker, *[SILENT] * (CALLS_JUDGED // 2 - 1))
        assert breaker.why_not() is None
        record(breaker, SILENT)
        assert breaker.why_not() == "breaker_open"

    @pytest.mark.parametrize("refusal", [CLOSED_ACCOUNT, BLOCKED])
    def test_what_speaks_against_one_payout_never_opens_it(
        self, breaker: Breaker, refusal: Outcome
    ) -> None:
        record(breaker, *[refusal] * 500)
        assert breaker.why_not() is None
        assert breaker.success_bp() == 10_000

    @pytest.mark.parametrize("state", sorted(set(PayoutState) - {"unknown", "failed"}))
    def test_any_clear_answer_is_a_good_one(self, breaker: Breaker, state: PayoutState) -> None:
        record(breaker, *[Outcome(state)] * 100)
        assert breaker.success_bp() == 10_000

    def test_success_is_the_share_of_the_last_calls(self, breaker: Breaker) -> None:
        record(breaker, *[GOOD] * 7, *[SILENT] * 3)
        assert breaker.success_bp() == 7_000
        record(breaker, *[GOOD] * 5)
        assert breaker.success_bp() == 8_000

    def test_places_given_back_change_nothing_while_it_is_closed(self, breaker: Breaker) -> None:
        breaker.places(5)
        breaker.give_back(5)
        trip(breaker)
        assert breaker.places(MANY) == 0


class TestOpen:
    def test_it_opens_for_half_a_minute_to_the_millisecond(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        trip(breaker)
        clock.move(OPEN_MS_MIN - 1)
        assert breaker.why_not() == "breaker_open"
        assert breaker.places(1) == 0
        clock.move(1)
        assert breaker.why_not() is None
        assert breaker.places(1) == 1

    def test_each_failed_probe_doubles_the_time_up_to_sixteen_times(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        trip(breaker)
        waits = []
        for _ in range(8):
            waits.append(breaker.open_until_ms - clock.now)
            clock.move(waits[-1] - 1)
            assert breaker.places(1) == 0
            clock.move(1)
            record(breaker, SILENT)
            assert breaker.why_not() == "breaker_open"
        assert waits == [30_000, 60_000, 120_000, 240_000, 480_000, 480_000, 480_000, 480_000]

    def test_calls_that_were_under_way_and_fail_as_well_do_not_prolong_it(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        assert breaker.places(40) == 40
        for _ in range(CALLS_MIN):
            breaker.record(SILENT)
        clock.move(OPEN_MS_MIN // 2)
        for _ in range(40 - CALLS_MIN):
            breaker.record(SILENT)
        clock.move(OPEN_MS_MIN // 2)
        assert breaker.why_not() is None

    def test_a_good_answer_to_a_call_from_before_does_not_spare_it_the_probes(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        assert breaker.places(CALLS_MIN + 1) == CALLS_MIN + 1
        for _ in range(CALLS_MIN):
            breaker.record(SILENT)
        clock.move(10)
        breaker.record(GOOD)
        assert breaker.why_not() == "breaker_open"
        clock.move(OPEN_MS_MIN)
        assert breaker.places(MANY) == PROBES_MAX

    def test_it_rests_ever_longer_though_every_second_call_still_goes_well(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        assert breaker.places(12) == 12
        for outcome in [GOOD, SILENT] * 6:
            breaker.record(outcome)
        clock.move(OPEN_MS_MIN)
        assert breaker.places(1) == 1
        breaker.record(SILENT)
        assert breaker.open_until_ms - clock.now == 2 * OPEN_MS_MIN


class TestHalfOpen:
    @pytest.fixture(autouse=True)
    def rested(self, breaker: Breaker, clock: Clock) -> None:
        trip(breaker)
        clock.move(OPEN_MS_MIN)

    def test_three_probes_are_let_through_at_a_time(self, breaker: Breaker) -> None:
        assert breaker.places(2) == 2
        assert breaker.places(MANY) == PROBES_MAX - 2
        assert breaker.places(1) == 0
        # It is still to be asked about: its probes are out, it is not open.
        assert breaker.why_not() is None

    def test_a_probe_that_was_not_used_is_another_payouts(self, breaker: Breaker) -> None:
        assert breaker.places(MANY) == PROBES_MAX
        breaker.give_back(2)
        assert breaker.places(MANY) == 2
        assert breaker.places(MANY) == 0

    def test_more_given_back_than_taken_makes_no_more_probes(self, breaker: Breaker) -> None:
        breaker.places(1)
        breaker.give_back(9)
        assert breaker.places(MANY) == PROBES_MAX

    @pytest.mark.parametrize("answer", [GOOD, CLOSED_ACCOUNT, BLOCKED])
    def test_the_first_good_answer_closes_it(self, breaker: Breaker, answer: Outcome) -> None:
        breaker.places(PROBES_MAX)
        breaker.record(answer)
        assert breaker.why_not() is None
        assert breaker.places(MANY) == MANY

    def test_once_closed_it_is_judged_anew(self, breaker: Breaker) -> None:
        record(breaker, GOOD)
        assert breaker.success_bp() == SUCCESS_BP_UNKNOWN
        record(breaker, *[SILENT] * (CALLS_MIN - 1))
        assert breaker.why_not() is None
        record(breaker, SILENT)
        assert breaker.why_not() == "breaker_open"

    def test_once_closed_it_opens_for_the_shortest_time_again(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        record(breaker, SILENT)
        clock.move(2 * OPEN_MS_MIN)
        record(breaker, GOOD)
        trip(breaker)
        assert breaker.open_until_ms == clock.now + OPEN_MS_MIN

    def test_three_probes_that_fail_together_double_the_time_once(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        assert breaker.places(MANY) == PROBES_MAX
        for _ in range(PROBES_MAX):
            breaker.record(BUSY)
        assert breaker.open_until_ms == clock.now + 2 * OPEN_MS_MIN
        clock.move(2 * OPEN_MS_MIN)
        assert breaker.places(MANY) == PROBES_MAX

    def test_probes_that_are_never_answered_do_not_keep_it_shut(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        assert breaker.places(MANY) == PROBES_MAX
        breaker.record(SILENT)
        clock.move(2 * OPEN_MS_MIN)
        assert breaker.places(MANY) == PROBES_MAX


class TestPaused:
    def test_a_rail_without_our_funds_is_paused_for_exactly_the_pause(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        record(breaker, NO_FUNDS)
        assert breaker.why_not() == "rail_paused"
        clock.move(PAUSE_MS - 1)
        assert breaker.why_not() == "rail_paused"
        assert breaker.places(MANY) == 0
        clock.move(1)
        assert breaker.why_not() is None
        assert breaker.places(MANY) == MANY

    def test_the_pause_counts_from_the_last_such_answer(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        assert breaker.places(2) == 2
        breaker.record(NO_FUNDS)
        clock.move(1_000)
        breaker.record(NO_FUNDS)
        clock.move(PAUSE_MS - 1)
        assert breaker.why_not() == "rail_paused"
        clock.move(1)
        assert breaker.why_not() is None

    def test_a_good_answer_does_not_end_it(self, breaker: Breaker) -> None:
        assert breaker.places(2) == 2
        breaker.record(NO_FUNDS)
        breaker.record(GOOD)
        assert breaker.why_not() == "rail_paused"

    def test_it_speaks_against_our_funds_and_not_against_the_rail(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        for _ in range(CALLS_MIN * 2):
            record(breaker, NO_FUNDS)
            clock.move(PAUSE_MS)
        assert breaker.why_not() is None
        assert breaker.success_bp() == 10_000

    def test_a_probe_that_lacks_funds_pauses_the_rail_and_proves_it_well(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        trip(breaker)
        clock.move(OPEN_MS_MIN)
        record(breaker, NO_FUNDS)
        assert breaker.why_not() == "rail_paused"
        clock.move(PAUSE_MS)
        assert breaker.places(MANY) == MANY


OUTCOMES = st.sampled_from([GOOD, SILENT, BUSY, CLOSED_ACCOUNT, BLOCKED, NO_FUNDS])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 40_000), st.integers(0, 8), st.lists(OUTCOMES, max_size=8)),
        max_size=60,
    )
)
def test_whatever_happens_it_rests_for_a_bounded_time_and_is_tried_again(
    steps: list[tuple[int, int, list[Outcome]]],
) -> None:
    clock = Clock(NOW_MS)
    breaker = Breaker(clock)
    for passed_ms, wanted, outcomes in steps:
        clock.move(passed_ms)
        shut, half_open = breaker.why_not() is not None, breaker.half_open
        granted = breaker.places(wanted)
        assert 0 <= granted <= wanted
        assert not (shut and granted)
        if half_open:
            assert granted <= PROBES_MAX
        answered = outcomes[:granted]
        for outcome in answered:
            breaker.record(outcome)
        breaker.give_back(granted - len(answered))
        assert breaker.open_until_ms <= clock.now + OPEN_MS_MAX
        assert breaker.paused_until_ms <= clock.now + PAUSE_MS
    clock.move(OPEN_MS_MAX)
    assert breaker.why_not() is None
    assert breaker.places(1) == 1
