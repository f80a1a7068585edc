"""Uplines: the share of a team's sales that came back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decay import FIGURE_MAX
from models.uplines import team, upline_key

WEEK_S = 7 * 86_400
NOW_S = 1_800_000_000


def play(*events: tuple[int, float, float], text: str | None = None) -> tuple[list[float], str]:
    """Events of a team, as (second, sold, returned): the share before each, and the state."""
    shares = []
    for at, sold, returned in events:
        share, text = team(text, at, sold, returned)
        shares.append(share)
    return shares, str(text)


def after(*events: tuple[int, float, float]) -> float:
    """The share behind these events, at the time of the last one."""
    return play(*events, (events[-1][0], 0.0, 0.0))[0][-1]


def test_a_team_of_which_nothing_came_back_has_none() -> None:
    assert after((NOW_S, 10_000.0, 0.0)) == 0


def test_the_share_is_of_what_was_sold_with_some_more() -> None:
    assert after((NOW_S, 1_500.0, 0.0), (NOW_S, 0.0, 500.0)) == pytest.approx(500 / 2_000)


def test_a_single_sale_that_came_back_tells_little() -> None:
    assert after((NOW_S, 50.0, 0.0), (NOW_S, 0.0, 50.0)) < 0.1


def test_it_fades_with_a_half_life_of_a_week() -> None:
    sold, back = (NOW_S, 4_000.0, 0.0), (NOW_S, 0.0, 2_000.0)
    later = after(sold, back, (NOW_S + WEEK_S, 0.0, 0.0))
    assert later == pytest.approx(1_000 / (2_000 + 500), rel=1e-6)


def test_an_event_does_not_count_itself() -> None:
    assert play((NOW_S, 0.0, 1e6))[0] == [0]


def test_more_than_was_sold_is_all_of_it() -> None:
    assert after((NOW_S, 0.0, 1e9)) == 1


def test_a_late_event_counts_as_if_it_came_at_the_last_time() -> None:
    first = (NOW_S, 1_000.0, 0.0)
    assert after(first, (NOW_S - WEEK_S, 0.0, 500.0)) == after(first, (NOW_S, 0.0, 500.0))


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(0, 1e7), st.floats(0, 1e7)), min_size=1)
)
def test_a_state_has_its_length_and_a_share_its_bounds(
    events: list[tuple[int, float, float]],
) -> None:
    shares, text = play(*events)
    assert len(text) == 20
    assert all(0 <= share <= 1 for share in shares)


@pytest.mark.parametrize(
    "text",
    ["", "rubbish", "AAAA", "\xff" * 20, team(None, NOW_S, math.nan, 0.0)[1],
     team(None, NOW_S, 10 * FIGURE_MAX, 0.0)[1]],
)  # fmt: skip
def test_a_state_that_cannot_be_read_counts_as_absent(text: str) -> None:
    assert play((NOW_S, 1.0, 1.0), text=text) == play((NOW_S, 1.0, 1.0))


def test_a_team_is_named_by_who_recruited_it() -> None:
    assert upline_key("ben") == "u:ben"
