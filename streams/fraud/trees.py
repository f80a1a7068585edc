"""Boosted trees on the stream's features, for data with labels.

Several models of histogram gradient boosting, each on all frauds and a random part of the genuine
sales; the score is the mean of their logits, put right for the part that was left out. What a
feature says when there is nothing to tell is given to the trees as missing: else most of the places
at which a histogram could be cut would be spent on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from models.conduct import CONDUCT_FEATURES
from models.features import FEATURES, NOTHING
from streams.fraud.fdh import Flags, Matrix

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, on folds before the tests."""

    window_days: int | None = None
    """Days that are trained on, up to the last before the wait. None: all the data's past but its
    first weeks, in which too little is known of anybody."""
    models: int = 8
    genuine_share: float = 1 / 16
    """The share of genuine sales that a model is trained on."""
    iterations: int = 300
    depth: int = 4
    rate: float = 0.05
    penalty: float = 10.0
    """L2, on the leaves' values."""
    leaf_min: int = 200
    """Fewest sales a leaf."""

    def __post_init__(self) -> None:
        """Raises ValueError for a choice that trains nothing."""
        days = 1 if self.window_days is None else self.window_days
        if min(days, self.models) < 1 or not 0 < self.genuine_share <= 1:
            raise ValueError(f"nothing is trained by {self}")


@dataclass(frozen=True, slots=True)
class Trees:
    """Fitted models; use :meth:`fit`."""

    choice: Choice
    fitted: list[tuple[Any, Flags]] = field(default_factory=list)
    """The models, each with the features that had nothing to tell in all of its training."""

    @classmethod
    def fit(cls, rows: Rows, frauds: Flags, choice: Choice) -> Trees:
        """Train on vectors of :data:`models.features.FEATURES`. The same rows, the same trees.

        Raises ValueError if there is no fraud or nothing but fraud.
        """
        if frauds.all() or not frauds.any():
            raise ValueError("a training needs genuine and fraudulent transactions")
        prepared = _prepared(rows)
        fitted = []
        for seed in range(choice.models):
            drawn = np.random.default_rng(seed).random(len(frauds)) < choice.genuine_share
            taken = frauds | drawn
            model = HistGradientBoostingClassifier(
                max_iter=choice.iterations,
                max_depth=choice.depth,
                learning_rate=choice.rate,
                l2_regularization=choice.penalty,
                min_samples_leaf=choice.leaf_min,
                early_stopping=False,
                random_state=seed,
            )
            silent: Flags = np.all(np.isnan(prepared[taken]), axis=0)
            fitted.append((model.fit(_without(prepared[taken], silent), frauds[taken]), silent))
        return cls(choice, fitted)

    def score(self, rows: Rows) -> Matrix:
        """The probability of fraud for each row."""
        prepared = _prepared(rows)
        logits = np.mean(
            [model.decision_function(_without(prepared, silent)) for model, silent in self.fitted],
            axis=0,
        )
        probabilities: Matrix = 1 / (1 + np.exp(-(logits + log(self.choice.genuine_share))))
        return probabilities


LEARNED = tuple(name for name in FEATURES if name not in CONDUCT_FEATURES)
"""What the trees learn from. How a seller conducts herself is left out: a terminal's owner neither
buys from herself nor is there a month to reach a rank in, and the rest of it only makes noise."""

_LEARNED = [FEATURES.index(name) for name in LEARNED]
_NOTHING = [(LEARNED.index(name), np.float32(value)) for name, value in NOTHING.items()]


def _prepared(rows: Rows) -> Rows:
    prepared = rows[:, _LEARNED]
    for column, value in _NOTHING:
        prepared[prepared[:, column] == value, column] = np.nan
    return prepared


def _without(rows: Rows, silent: Flags) -> Rows:
    """Rows whose silent features say nothing else either: scikit-learn takes no empty column."""
    kept = rows.copy()
    kept[:, silent] = 0
    return kept
