"""Measures of a model on sales whose labels are known.

A row may stand for more sales than one (its weight): what was let through as a sample stands for
all that was held.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

FALSE_POSITIVES = 0.01
"""The share of genuine sales that a threshold may hold, for which recall is stated."""

REVIEW_COST = 5.0
"""What it costs to hold a sale that need not have been, in reference units: the review, and a
seller who waits."""

_BINS = 10

Figures = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Measures:
    """How good scores were."""

    sales: int
    frauds: int
    average_precision: float
    auc: float
    brier: float
    """Mean squared distance of the probability from what the sale was."""
    calibration_error: float
    """Expected calibration error: how far a probability is from the share of frauds among the
    sales that have about that one, in the mean over ten groups of equal size."""
    recall: float
    """Share of the frauds above the threshold."""
    threshold: float
    """The score that 1 % of the genuine sales exceed."""

    def json(self) -> dict[str, Any]:
        """For an artefact or a log."""
        return asdict(self)


def measured(frauds: Flags, scores: Figures, weights: Figures) -> Measures:
    """The measures of scores. Raises ValueError without a fraud, or without a genuine sale."""
    if frauds.all() or not frauds.any():
        raise ValueError("measuring needs genuine and fraudulent sales")
    threshold = _quantile(scores[~frauds], weights[~frauds], 1 - FALSE_POSITIVES)
    caught = weights[frauds & (scores > threshold)].sum() / weights[frauds].sum()
    return Measures(
        sales=len(frauds),
        frauds=int(frauds.sum()),
        average_precision=_rounded(average_precision_score(frauds, scores, sample_weight=weights)),
        auc=_rounded(roc_auc_score(frauds, scores, sample_weight=weights)),
        brier=_rounded(brier_score_loss(frauds, scores, sample_weight=weights)),
        calibration_error=_rounded(_calibration_error(frauds, scores, weights)),
        recall=_rounded(caught),
        threshold=_rounded(threshold),
    )


def cost(
    frauds: Flags, scores: Figures, amounts: Figures, weights: Figures, review_cost: float
) -> float:
    """What sales cost on average, in the unit of ``amounts``, decided by expected cost.

    A sale is held where its score times its amount is at least what holding costs. One that is
    held costs that; a fraud that is not costs its amount.
    """
    held = scores * amounts >= review_cost
    costs = np.where(held, review_cost, np.where(frauds, amounts, 0.0))
    return float(np.average(costs, weights=weights))


def _calibration_error(frauds: Flags, scores: Figures, weights: Figures) -> float:
    order = np.argsort(scores, kind="stable")
    error = 0.0
    for part in np.array_split(order, _BINS):
        if len(part):
            apart = np.average(scores[part] - frauds[part], weights=weights[part])
            error += abs(float(apart)) * float(weights[part].sum())
    return error / float(weights.sum())


def _quantile(values: Figures, weights: Figures, share: float) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    place = min(int(np.searchsorted(reached, share)), len(values) - 1)
    return float(values[order][place])


def _rounded(figure: Any) -> float:
    return round(float(figure), 6)
