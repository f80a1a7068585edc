"""Buying: a usual amount that no single purchase teaches, and what was bought lately beside it."""

from __future__ import annotations

import struct
from math import exp, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.buying import (
    BUYING_FEATURES,
    BUYING_FORMAT,
    NEW,
    NO_BUYING,
    Buying,
    buy,
    is_sound,
)
from models.decay import NEVER, PER_WEEK

DAY = 86_400
STATE = struct.Struct("<" + BUYING_FORMAT)


def bought(*purchases: tuple[int, float]) -> dict[str, float]:
    """The figures of the last of ``(days since the one before, amount)``, states being stored."""
    state, figures, decayed = NEW, NO_BUYING, 0.0
    for days, amount in purchases:
        week = exp(days * DAY * PER_WEEK)
        decayed *= week
        figures, state = buy(state, days * DAY, week, amount, decayed)
        state = STATE.unpack(STATE.pack(*state))
        decayed += 1.0
    return dict(zip(BUYING_FEATURES, figures, strict=True))


def test_the_first_purchase_is_held_against_sales_at_large() -> None:
    first = bought((0, 55.0))
    assert first["amount_against_own"] == 0
    assert first["experience"] == first["spent_7d"] == 0
    assert first["last"] == NEVER


def test_a_usual_amount_is_learned() -> None:
    figures = bought(*[(1, 20.0)] * 51)
    assert figures["amount_against_own"] == pytest.approx(0, abs=0.1)
    assert figures["experience"] == log(1 + 50)
    assert figures["last"] == log(1 + 1)


def test_no_single_purchase_teaches_that_large_is_usual() -> None:
    figures = bought(*[(1, 20.0)] * 50, (1, 9_000.0), (0, 20.0))
    assert figures["amount_against_own"] > -0.15


def test_what_was_bought_this_week_is_held_against_as_many_usual_purchases() -> None:
    calm = bought(*[(1, 20.0)] * 50)["spent_7d"]
    after_a_large_one = bought(*[(1, 20.0)] * 49, (1, 900.0), (0, 20.0))["spent_7d"]
    long_after = bought(*[(1, 20.0)] * 49, (1, 900.0), (70, 20.0))["spent_7d"]
    assert calm == pytest.approx(log(2), abs=0.1)
    assert after_a_large_one > calm + 0.5
    assert long_after < 0.1


@given(st.lists(st.tuples(st.integers(0, 4_000), st.floats(0, 1e7)), min_size=1, max_size=20))
def test_whatever_is_bought_the_state_is_sound_and_figures_are_finite(
    purchases: list[tuple[int, float]],
) -> None:
    state: Buying = NEW
    for days, amount in purchases:
        figures, state = buy(state, days * DAY, exp(days * DAY * PER_WEEK), amount, 1.0)
        state = STATE.unpack(STATE.pack(*state))
        assert is_sound(state)
        assert all(isfinite(figure) for figure in figures)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 3e38])
@pytest.mark.parametrize("place", [1, 2])
def test_what_was_never_written_is_not_sound(place: int, value: float) -> None:
    state = [3, 55.0, 100.0]
    assert is_sound((3, 55.0, 100.0))
    state[place] = value
    assert not is_sound((3, state[1], state[2]))
