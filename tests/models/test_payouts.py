"""The payout's states: which may follow which, and what the sets of states promise."""

import re
from pathlib import Path

import pytest

from models.payouts import (
    AGE_MS_MAX,
    ENQUIRE_AFTER_MS,
    IN_FLIGHT,
    PAID,
    TERMINAL,
    TRANSITIONS,
    PayoutState,
    may_follow,
)

S = PayoutState


def reachable(start: PayoutState) -> set[PayoutState]:
    seen, todo = {start}, [start]
    while todo:
        for state in TRANSITIONS[todo.pop()] - seen:
            seen.add(state)
            todo.append(state)
    return seen


def test_every_state_is_reached_from_the_request() -> None:
    assert reachable(S.REQUESTED) == set(S)


def test_no_state_follows_itself_or_comes_round_again() -> None:
    for state in S:
        for after in TRANSITIONS[state]:
            assert state not in reachable(after), f"{state} → {after} → … → {state}"


def test_every_payout_can_end() -> None:
    for state in S:
        assert reachable(state) & TERMINAL


def test_silence_is_left_by_proof_alone() -> None:
    # From `unknown` there is no way back to a submission: nothing is sent a second time.
    assert not reachable(S.UNKNOWN) & {S.REQUESTED, S.RESERVED, S.SUBMITTED, S.HELD}


@pytest.mark.parametrize("state", [S.FAILED, S.CANCELLED, S.RETURNED])
def test_dead_is_dead(state: PayoutState) -> None:
    assert TRANSITIONS[state] == frozenset()


def test_money_that_left_comes_back_only_as_a_return() -> None:
    for state in PAID:
        for after in TRANSITIONS[state]:
            assert after in PAID or after == S.RETURNED


def test_a_payout_whose_money_left_was_in_flight_before() -> None:
    leads_to_paid = {before for before in S if TRANSITIONS[before] & PAID}
    assert leads_to_paid <= IN_FLIGHT | PAID


def test_the_rail_is_asked_only_with_the_money_reserved() -> None:
    assert {before for before in S if S.SUBMITTED in TRANSITIONS[before]} == {S.RESERVED}


def test_sets_of_states_do_not_overlap_and_leave_out_only_what_holds_no_money() -> None:
    assert not IN_FLIGHT & TERMINAL
    assert PAID <= TERMINAL
    assert set(S) - IN_FLIGHT - TERMINAL == {S.REQUESTED, S.HELD}


def test_may_follow_reads_the_table() -> None:
    assert may_follow(S.SUBMITTED, S.UNKNOWN)
    assert not may_follow(S.UNKNOWN, S.SUBMITTED)
    assert not may_follow(S.SETTLED, S.FAILED)
    assert not may_follow(S.SETTLED, S.SETTLED)


def test_nothing_is_overdue_before_its_rail_was_asked() -> None:
    for state, limit_ms in AGE_MS_MAX.items():
        assert limit_ms > ENQUIRE_AFTER_MS.get(state, (0,))[0], state


def test_the_page_says_the_limits() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) (min|h|days) \| .+ \|$", page, re.MULTILINE)
    unit = {"min": 60_000, "h": 3_600_000, "days": 86_400_000}
    said = {S(state): int(count) * unit[word] for state, count, word in rows}
    # The product does not put payouts into the others yet.
    assert said == {s: ms for s, ms in AGE_MS_MAX.items() if s in IN_FLIGHT}
