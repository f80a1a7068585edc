"""Spending: a usual amount that no fraud teaches, and high amounts that show at once."""

from __future__ import annotations

import struct
from math import exp, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decay import NEVER
from models.spending import (
    NO_SPENDING,
    SPENDING_CHARS,
    SPENDING_FEATURES,
    is_high,
    spend,
)

AT = 1_790_000_000
DAY = 86_400


def pay(*payments: tuple[int, float]) -> tuple[dict[str, float], str]:
    """The figures of the last of ``(day, amount)``, and the state behind it."""
    text, figures = "", NO_SPENDING
    for day, amount in payments:
        figures, text = spend(text, AT + day * DAY, amount, 0.0)
    return dict(zip(SPENDING_FEATURES, figures, strict=True)), text


def test_the_first_payment_is_held_against_sales_at_large() -> None:
    first, _ = pay((0, 55.0))
    assert first["card_amount_against_own"] == 0
    assert first["card_experience"] == 0
    assert first["card_last"] == first["card_high_last"] == NEVER


def test_a_usual_amount_is_learned() -> None:
    figures, _ = pay(*[(day, 20.0) for day in range(50)], (50, 20.0))
    assert figures["card_amount_against_own"] == pytest.approx(0, abs=0.1)
    assert figures["card_experience"] == log(1 + 50)
    assert figures["card_last"] == log(1 + 1)


def test_high_amounts_do_not_teach_that_they_are_usual() -> None:
    usual = [(day, 20.0) for day in range(50)]
    figures, _ = pay(*usual, *[(50, 9_000.0)] * 3, (50, 20.0))
    assert figures["card_amount_against_own"] > -0.15


def test_high_amounts_are_counted_and_their_times_kept() -> None:
    usual = [(day, 20.0) for day in range(20)]
    figures, _ = pay(*usual, (20, 100.0), (21, 30.0), (23, 100.0), (24, 20.0))
    assert figures["card_high_last"] == pytest.approx(log(1 + 1))
    assert figures["card_high_second"] == pytest.approx(log(1 + 4))
    assert figures["card_high_third"] == NEVER
    assert figures["card_high_7d"] > 1
    later, _ = pay(*usual, (20, 100.0), (200, 20.0))
    assert later["card_high_7d"] < 0.01


def test_a_high_amount_is_twice_the_usual() -> None:
    usual = [(day, 20.0) for day in range(50)]
    assert is_high(pay(*usual, (50, 50.0))[0]["card_amount_against_own"])
    assert not is_high(pay(*usual, (50, 35.0))[0]["card_amount_against_own"])


@given(
    st.lists(
        st.tuples(st.integers(-9, 9_000), st.floats(0, 1e7), st.floats(0, 1e6)),
        max_size=12,
    )
)
def test_figures_are_finite_and_states_are_read_back(
    payments: list[tuple[int, float, float]],
) -> None:
    text = ""
    for number, (day, amount, before) in enumerate(payments):
        figures, text = spend(text, AT + day * DAY, amount, before)
        assert all(isfinite(figure) for figure in figures)
        assert len(text) == SPENDING_CHARS
        assert round(exp(figures[0])) == number + 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("place", range(4))
def test_a_state_with_an_impossible_figure_counts_as_absent(place: int, value: float) -> None:
    figures = [20.0, 5.0, 1.0, 2.0]
    good = struct.pack("<IHH4f4I", AT, AT // DAY, 3, *figures, 0, 0, 0, 0).hex()
    figures[place] = value
    bad = struct.pack("<IHH4f4I", AT, AT // DAY, 3, *figures, 0, 0, 0, 0).hex()
    assert spend(bad, AT, 10.0, 0.0) == spend("", AT, 10.0, 0.0)
    assert spend(good, AT, 10.0, 0.0) != spend("", AT, 10.0, 0.0)


@given(st.text(max_size=90) | st.binary(min_size=40, max_size=40).map(bytes.hex))
def test_any_text_gives_finite_figures(text: str) -> None:
    assert all(isfinite(figure) for figure in spend(text, AT, 10.0, 0.0)[0])
