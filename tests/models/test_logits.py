"""Logits: the loop gives what numpy gives, to the last bit, and refuses what it refuses."""

from __future__ import annotations

import random
from array import array
from math import inf, log, nan
from typing import Any

import numpy as np
import pytest

from models.features import FEATURES
from models.logits import logits, probabilities, shares
from models.scorer import RowRefused, Scorer
from streams.settings import DEFAULTS

WIDTH = len(FEATURES)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.load((DEFAULTS / "model.json").read_text(encoding="ascii"))


def rows_of(rng: random.Random, count: int) -> list[list[float]]:
    """Rows of usual figures, and some that no sale has."""
    odd = (0.0, -0.0, 1e308, -1e308, 5e-324, 1e-12)
    return [
        [rng.choice(odd) if rng.random() < 0.05 else rng.gauss(1, 2) for _ in range(WIDTH)]
        for _ in range(count)
    ]


def test_the_loop_and_numpy_give_the_same_bits(scorer: Scorer) -> None:
    rows = rows_of(random.Random(3), 400)
    with np.errstate(over="ignore"):
        assert scorer.score(np.array(rows)).tolist() == probabilities(scorer._looped(rows))


def test_a_probability_is_the_logistic_of_its_logit() -> None:
    assert probabilities([0.0, log(3.0), -log(3.0)]) == pytest.approx([0.5, 0.75, 0.25])
    assert probabilities([-1e300, 1e300]) == probabilities([-40.0, 40.0])
    assert 0.0 < probabilities([-1e300])[0] < probabilities([1e300])[0] <= 1.0


def test_shares_by_the_loop_and_by_numpy_are_the_same_bits(scorer: Scorer) -> None:
    for row in rows_of(random.Random(4), 100):
        looped = shares(row, *scorer._columns, scorer._bound)
        with np.errstate(over="ignore"):
            assert scorer.shares(tuple(row)) == looped  # what is no list goes to numpy
            assert scorer.shares(row) == looped


@pytest.mark.parametrize("value", [nan, inf, -inf, "x", None])
def test_what_is_no_figure_is_refused(scorer: Scorer, value: Any) -> None:
    row: list[Any] = [0.0] * WIDTH
    row[5] = value
    with pytest.raises(RowRefused):
        scorer._looped([[0.0] * WIDTH, row])


@pytest.mark.parametrize("width", [0, WIDTH - 1, WIDTH + 1])
def test_another_width_is_refused(scorer: Scorer, width: int) -> None:
    with pytest.raises(RowRefused, match=f"a row of {width} numbers; due are {WIDTH}"):
        scorer._looped([[0.0] * WIDTH, [0.0] * width])


def test_by_hand() -> None:
    """Two features and a product: (3 - 1) / 2 = 1, and 40 cut off at 8."""
    numbers = (array("d", [1.0, 0.0]), array("d", [2.0, 1.0]))
    pairs = (array("q", [0]), array("q", [1]))
    weights = array("d", [0.5, 0.25, 0.125])
    assert logits([[3.0, 40.0]], *numbers, *pairs, weights, 8.0, -1.0) == [0.5 + 2.0 + 1.0 - 1.0]
    assert logits([[3.0, -40.0]], *numbers, *pairs, weights, 8.0, 0.0) == [0.5 - 2.0 - 1.0]
    assert logits([], *numbers, *pairs, weights, 8.0, 0.0) == []
