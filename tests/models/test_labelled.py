"""Labels: known frauds and genuine sales, in whatever order they become known."""

from __future__ import annotations

import struct
from base64 import b64encode
from itertools import permutations
from math import exp, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decay import NEVER
from models.labelled import LABELLED_CHARS, UNLABELLED, known, labelled

AT = 1_790_000_000
DAY = 86_400


def told(*labels: tuple[int, bool], day: int) -> tuple[float, ...]:
    """What is known on ``day`` after labels of ``(day, fraud)``."""
    text = ""
    for sold, fraud in labels:
        text = labelled(text, AT + sold * DAY, fraud=fraud)
    return known(text, AT + day * DAY)


def test_without_labels_nothing_is_known() -> None:
    assert known("", AT) == UNLABELLED
    assert known("rubbish", AT) == UNLABELLED


def test_frauds_make_a_run() -> None:
    run, first, last, genuine, frauds, share = told((0, False), (2, True), (5, True), day=10)
    assert run == log(1 + 2)
    assert first == log(1 + 8)
    assert last == log(1 + 5)
    assert genuine == log(1 + 10)
    assert 0.9 < exp(frauds) - 1 < 2
    assert 0.4 < share < 0.6


def test_a_genuine_sale_ends_the_run() -> None:
    run, first, last, genuine, *_ = told((2, True), (5, True), (6, False), day=10)
    assert run == 0
    assert first == NEVER
    assert last == log(1 + 5)
    assert genuine == log(1 + 4)


def test_what_is_known_fades() -> None:
    at_once, later = told((0, True), day=0), told((0, True), day=28)
    assert exp(at_once[4]) - 1 == pytest.approx(1)
    assert exp(later[4]) - 1 == pytest.approx(0.5)
    assert later[5] < at_once[5]


def test_the_order_in_which_labels_come_does_not_matter_to_times_and_shares() -> None:
    labels = [(0, False), (3, True), (4, False), (6, True)]
    due = told(*labels, day=9)
    for order in permutations(labels):
        assert told(*order, day=9) == pytest.approx(due, rel=1e-5)


@given(st.lists(st.tuples(st.integers(0, 9_000), st.booleans()), max_size=15))
def test_figures_are_finite_and_states_small(labels: list[tuple[int, bool]]) -> None:
    text = ""
    for day, fraud in labels:
        text = labelled(text, AT + day * DAY, fraud=fraud)
        assert len(text) == LABELLED_CHARS
        assert all(isfinite(figure) and figure >= 0 for figure in known(text, AT))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("place", range(2))
def test_a_state_with_an_impossible_figure_counts_as_absent(place: int, value: float) -> None:
    figures = [1.0, 2.0]
    figures[place] = value
    packed = struct.pack("<Iff3IHx", AT, *figures, AT, 0, 0, 0)
    assert known(b64encode(packed).decode(), AT) == UNLABELLED


@given(
    st.text(max_size=60) | st.binary(min_size=27, max_size=27).map(lambda b: b64encode(b).decode())
)
def test_any_text_gives_finite_figures(text: str) -> None:
    assert all(isfinite(figure) for figure in known(text, AT))
