"""The scikit-learn pipeline behind the scorer: how it is made, and rebuilt from plain numbers.

Apart from :mod:`models.scorer` because importing scikit-learn takes a second, which only loading a
model and training one need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

VERSION: str = sklearn.__version__


class Crosses(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Standardised features, cut off at ``bound``, followed by products of chosen pairs of them."""

    def __init__(self, pairs: Sequence[tuple[int, int]], bound: float) -> None:
        self.pairs = pairs
        self.bound = bound

    def fit(self, rows: Any, labels: Any = None) -> Crosses:
        """Nothing to learn; keeps the number of features, as scikit-learn asks."""
        self.n_features_in_ = rows.shape[1]
        return self

    def transform(self, rows: Any) -> Any:
        """The features and their products, one row a sale."""
        cut = np.clip(rows, -self.bound, self.bound)
        left = [pair[0] for pair in self.pairs]
        right = [pair[1] for pair in self.pairs]
        return np.hstack([cut, cut[:, left] * cut[:, right]])


def unfitted(pairs: Sequence[tuple[int, int]], bound: float, *, strength: float) -> Pipeline:
    """The pipeline before training. ``strength`` is the inverse of the regularisation."""
    return Pipeline(
        [
            ("scale", StandardScaler()),
            ("cross", Crosses(pairs, bound)),
            ("model", LogisticRegression(C=strength, max_iter=2000, tol=1e-6)),
        ]
    )


def rebuilt(
    *,
    means: Sequence[float],
    scales: Sequence[float],
    pairs: Sequence[tuple[int, int]],
    bound: float,
    coefficients: Sequence[float],
    intercept: float,
) -> Pipeline:
    """The fitted pipeline from its numbers, without running any code from a file."""
    pipeline = unfitted(pairs, bound, strength=1.0)
    scale = pipeline.named_steps["scale"]
    scale.mean_ = np.array(means)
    scale.scale_ = np.array(scales)
    scale.var_ = scale.scale_**2
    scale.n_features_in_ = len(means)
    scale.n_samples_seen_ = 1
    pipeline.named_steps["cross"].n_features_in_ = len(means)
    model = pipeline.named_steps["model"]
    model.classes_ = np.array([0, 1])
    model.coef_ = np.array([coefficients])
    model.intercept_ = np.array([intercept])
    model.n_features_in_ = len(coefficients)
    model.n_iter_ = np.array([0])
    return pipeline


def probabilities(pipeline: Pipeline, rows: Any) -> Any:
    """What scikit-learn itself gives as the probability of fraud, one a row."""
    return pipeline.predict_proba(rows)[:, 1]
