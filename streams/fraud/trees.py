"""Boosted trees on the stream's features, for data with labels.

Several models of histogram gradient boosting, each on all frauds and a random part of the genuine
sales; the score is the mean of their logits, put right for the part that was left out. One model in
four knows how busy a seller and a device are, the others learn from the amount, the card and the
labels alone: the rest is noise to them. What a feature says when there is nothing to tell is given
to the trees as missing: else most of the places at which a histogram could be cut would be spent on
it.

Of most sales nothing is told, and there the trees' order is mostly noise. What is to be expected
of them is known beforehand: whatever befalls a device unseen may have done so since it was last
known to be sound, and the longer that is ago, the likelier. So that hazard is added to the trees'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from models.around import AROUND_FEATURES
from models.buying import BUYING_FEATURES
from models.conduct import CONDUCT_FEATURES
from models.features import FEATURES, NOTHING
from models.usage import CUSTOMER_FEATURES
from streams.fraud.fdh import Flags, Matrix

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, on folds before the tests."""

    window_days: int | None = None
    """Days that are trained on, up to the last before the wait. None: all the data's past but its
    first weeks, in which too little is known of anybody."""
    models: int = 16
    """One in four knows how busy seller and device are."""
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
    """The models, each with the features that it did not learn from."""
    unseen: float = 0.0
    """Hazard of a fraud for each day since the device was last known to be sound: frauds over days,
    of the training's sales at devices of which no fraud is known since."""
    days: float = 0.0
    """The mean of those days, which counts where they tell nothing."""

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
            if seed % _KNOW_ALL:
                silent |= _BUSY
            fitted.append((model.fit(_without(prepared[taken], silent), frauds[taken]), silent))
        since = _days_unseen(rows)
        seen: Flags = ~np.isnan(since)
        days = float(since[seen].sum())
        if not days:
            return cls(choice, fitted)
        unseen = np.count_nonzero(frauds & seen) / days
        return cls(choice, fitted, unseen, days / np.count_nonzero(seen))

    def score(self, rows: Rows) -> Matrix:
        """The score of each row: 1 - (1 - p) · exp(-hazard), p being the trees' probability.

        It is for ranking: the trees know a part of the hazard already, and frauds that they find
        are counted in it, so it is above the share of frauds.
        """
        prepared = _prepared(rows)
        logits = np.mean(
            [model.decision_function(_without(prepared, silent)) for model, silent in self.fitted],
            axis=0,
        )
        told = np.logaddexp(0, logits + log(self.choice.genuine_share))  # -log(1 - p)
        since = np.nan_to_num(_days_unseen(rows), nan=self.days)
        scores: Matrix = -np.expm1(-(told + self.unseen * since))
        return scores


_UNLEARNED = (
    *CONDUCT_FEATURES,
    *CUSTOMER_FEATURES,
    *(f"device_{name}" for name in BUYING_FEATURES),
    *AROUND_FEATURES,
)

LEARNED = tuple(name for name in FEATURES if name not in _UNLEARNED)
"""What the trees learn from. How a seller conducts herself is left out: a terminal's owner neither
buys from herself nor is there a month to reach a rank in, and the rest of it only makes noise. So
are the customer's, since there each has one card, and what is sold on a device, since each owner
has one terminal: the vector tells the same elsewhere. No profile names anybody around an owner."""

_TOLD = ("card_", "device_fraud", "device_genuine")
_KNOW_ALL = 4  # one model of so many
_BUSY: Flags = np.array([name != "amount" and not name.startswith(_TOLD) for name in LEARNED])

_LEARNED = [FEATURES.index(name) for name in LEARNED]
_NOTHING = [(LEARNED.index(name), np.float32(NOTHING[name])) for name in LEARNED if name in NOTHING]

_SOUND = FEATURES.index("device_genuine_last")
_RUN = FEATURES.index("device_fraud_run")


def _days_unseen(rows: Rows) -> Matrix:
    """Days since the device was known to be sound; NaN: it never was, or a fraud is known since."""
    figures = rows[:, _SOUND]
    told = (figures == np.float32(NOTHING["device_genuine_last"])) | (rows[:, _RUN] > 0)
    return np.where(told, np.nan, np.expm1(figures.astype(np.float64)))


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
