"""Retries: what follows a proven failure, how long is waited, and that it comes to an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.payouts import (
    ATTEMPTS_MAX,
    IN_FLIGHT,
    RETRIES,
    RETRIES_FROM,
    TERMINAL,
    TRANSITIONS,
    WAIT_JITTER_BP,
    FailureCategory,
    PayoutState,
    may_follow,
    retry_wait_ms,
)

F = FailureCategory
S = PayoutState
DRAWS = st.floats(0, 1, exclude_max=True)
WAITING = [
    (category, attempt) for category in F for attempt in range(len(RETRIES[category].waits_ms))
]


@pytest.mark.parametrize(("category", "attempt"), WAITING)
def test_a_draw_in_the_middle_waits_as_the_table_says(category: F, attempt: int) -> None:
    assert retry_wait_ms(category, attempt, 0.5) == RETRIES[category].waits_ms[attempt]


@given(st.sampled_from(WAITING), DRAWS)
def test_jitter_stays_within_a_fifth_of_the_wait(waiting: tuple[F, int], draw: float) -> None:
    category, attempt = waiting
    wait_ms = RETRIES[category].waits_ms[attempt]
    found = retry_wait_ms(category, attempt, draw)
    assert isinstance(found, int)
    assert wait_ms * (10_000 - WAIT_JITTER_BP) <= found * 10_000
    assert found * 10_000 < wait_ms * (10_000 + WAIT_JITTER_BP)


@given(st.sampled_from(WAITING), DRAWS, DRAWS)
def test_a_higher_draw_waits_no_less(waiting: tuple[F, int], one: float, other: float) -> None:
    low, high = (retry_wait_ms(*waiting, draw) for draw in sorted((one, other)))
    assert low is not None
    assert high is not None
    assert low <= high


def test_draws_spread_those_that_failed_together() -> None:
    waits = {retry_wait_ms(F.RETRYABLE, 0, draw / 100) for draw in range(100)}
    assert len(waits) > 50
    assert min(w for w in waits if w is not None) == 4_000


@pytest.mark.parametrize("category", list(F))
def test_behind_the_last_wait_there_is_none(category: F) -> None:
    waits = RETRIES[category].waits_ms
    for attempt in range(len(waits), ATTEMPTS_MAX + 3):
        assert retry_wait_ms(category, attempt, 0.5) is None


@pytest.mark.parametrize("category", [F.METHOD, F.RECIPIENT])
def test_what_the_rail_refused_for_good_is_not_tried_there_again(category: F) -> None:
    assert RETRIES[category].waits_ms == ()
    assert retry_wait_ms(category, 0, 0.5) is None
    # Nor paid out anew by itself: that would be refused again.
    assert RETRIES[category].again_ms == 0


def test_whoever_may_not_be_paid_is_the_only_one_not_tried_elsewhere() -> None:
    assert {category for category in F if not RETRIES[category].elsewhere} == {F.RECIPIENT}


def test_only_our_own_funds_pause_a_rail() -> None:
    assert {category for category in F if RETRIES[category].pause_ms} == {F.TREASURY}


def test_waits_grow_and_the_payout_that_follows_waits_longer_still() -> None:
    for category in F:
        waits = RETRIES[category].waits_ms
        assert list(waits) == sorted(set(waits))
        assert all(wait_ms > 0 for wait_ms in waits)
        if waits:
            assert RETRIES[category].again_ms > waits[-1]
        assert len(waits) < ATTEMPTS_MAX


def test_the_table_of_retries_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        RETRIES[F.METHOD] = RETRIES[F.RETRYABLE]  # type: ignore[index]


class TestFrom:
    def test_a_payout_that_has_ended_is_never_tried_again(self) -> None:
        assert not RETRIES_FROM & TERMINAL
        assert RETRIES_FROM <= IN_FLIGHT

    def test_what_waits_for_the_recipient_is_not_tried_again(self) -> None:
        # The provider has the money: it comes back as a return, and is paid out anew.
        assert S.UNCLAIMED not in RETRIES_FROM

    def test_each_may_have_been_a_failure_or_was_never_submitted(self) -> None:
        for state in RETRIES_FROM - {S.RESERVED}:
            assert may_follow(state, S.FAILED)

    def test_no_report_can_bring_a_payout_back_to_reserved(self) -> None:
        for state in RETRIES_FROM:
            assert S.RESERVED not in TRANSITIONS[state]
