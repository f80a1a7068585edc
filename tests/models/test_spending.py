"""Spending: a usual amount that no fraud teaches, and high amounts that show at once."""

from __future__ import annotations

import struct
from math import exp, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decay import NEVER, PER_WEEK
from models.spending import (
    NO_SPENDING,
    SPENDING_FEATURES,
    SPENDING_FORMAT,
    Spending,
    is_high,
    is_sound,
    no_spending,
    spend,
)

AT = 1_790_000_000
DAY = 86_400


class Card:
    """A card's spending as it is stored from one payment to the next."""

    def __init__(self) -> None:
        self.state: Spending | None = None
        self.last = 0

    def pay(self, at: int, amount: float, before: float = 0.0) -> tuple[float, ...]:
        """The figures of a payment."""
        state = no_spending(at) if self.state is None else self.state
        passed = max(0, at - self.last) if self.state else 0
        self.last = max(self.last, at) if self.state else at
        figures, state = spend(state, self.last, passed, exp(passed * PER_WEEK), amount, before)
        self.state = STATE.unpack(STATE.pack(*state))
        return figures


STATE = struct.Struct("<" + SPENDING_FORMAT)


def pay(*payments: tuple[int, float]) -> dict[str, float]:
    """The figures of the last of ``(day, amount)``."""
    card, figures = Card(), NO_SPENDING
    for day, amount in payments:
        figures = card.pay(AT + day * DAY, amount)
    return dict(zip(SPENDING_FEATURES, figures, strict=True))


def test_the_first_payment_is_held_against_sales_at_large() -> None:
    first = pay((0, 55.0))
    assert first["card_amount_against_own"] == 0
    assert first["card_experience"] == 0
    assert first["card_last"] == first["card_high_last"] == NEVER


def test_a_usual_amount_is_learned() -> None:
    figures = pay(*[(day, 20.0) for day in range(50)], (50, 20.0))
    assert figures["card_amount_against_own"] == pytest.approx(0, abs=0.1)
    assert figures["card_experience"] == log(1 + 50)
    assert figures["card_last"] == log(1 + 1)


def test_high_amounts_do_not_teach_that_they_are_usual() -> None:
    usual = [(day, 20.0) for day in range(50)]
    figures = pay(*usual, *[(50, 9_000.0)] * 3, (50, 20.0))
    assert figures["card_amount_against_own"] > -0.15


def test_high_amounts_are_counted_and_their_times_kept() -> None:
    usual = [(day, 20.0) for day in range(20)]
    figures = pay(*usual, (20, 100.0), (21, 30.0), (23, 100.0), (24, 20.0))
    assert figures["card_high_last"] == pytest.approx(log(1 + 1))
    assert figures["card_high_second"] == pytest.approx(log(1 + 4))
    assert figures["card_high_third"] == NEVER
    assert figures["card_high_7d"] > 1
    later = pay(*usual, (20, 100.0), (200, 20.0))
    assert later["card_high_7d"] < 0.01


def test_a_high_amount_is_twice_the_usual() -> None:
    usual = [(day, 20.0) for day in range(50)]
    assert is_high(pay(*usual, (50, 50.0))["card_amount_against_own"])
    assert not is_high(pay(*usual, (50, 35.0))["card_amount_against_own"])


@given(
    st.lists(
        st.tuples(st.integers(-9, 9_000), st.floats(0, 1e7), st.floats(0, 1e6)),
        max_size=12,
    )
)
def test_figures_are_finite_and_states_are_read_back(
    payments: list[tuple[int, float, float]],
) -> None:
    card = Card()
    for number, (day, amount, before) in enumerate(payments):
        figures = card.pay(AT + day * DAY, amount, before)
        assert all(isfinite(figure) for figure in figures)
        assert card.state and is_sound(card.state, card.last)
        assert round(exp(figures[0])) == number + 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("place", range(2, 6))
def test_a_state_with_an_impossible_figure_is_not_sound(place: int, value: float) -> None:
    good: Spending = (AT // DAY, 3, 20.0, 5.0, 1.0, 2.0, 0, 0, 0, 0)
    bad = list(good)
    bad[place] = value
    assert is_sound(good, AT)
    assert not is_sound(tuple(bad), AT)  # type: ignore[arg-type]


def test_times_that_were_never_written_are_not_sound() -> None:
    assert is_sound((AT // DAY, 3, 20.0, 5.0, 1.0, 2.0, AT, AT - 9, 0, 0), AT)
    assert not is_sound((AT // DAY, 3, 20.0, 5.0, 1.0, 2.0, AT - 9, AT, 0, 0), AT)
    assert not is_sound((AT // DAY, 3, 20.0, 5.0, 1.0, 2.0, AT + 9, 0, 0, 0), AT)
