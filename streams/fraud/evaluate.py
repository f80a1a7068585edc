"""Evaluation: the stream's features and boosted trees, fold by fold, with two baselines beside.

The baselines are the handbook's: logistic regression and a random forest on its 15 features and
seven days of training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.decay import DAY_S
from models.features import FEATURES
from streams.fraud.fdh import Flags, Matrix, Transactions, handbook_features, history
from streams.fraud.prequential import DELAY_DAYS, TRAIN_DAYS, Figures, Fold, figures
from streams.fraud.replay import replayed
from streams.fraud.trees import Choice, Rows, Trees

FOREST_DEPTH = 20
"""Depth of the random forest, from the handbook's own selection."""

Fitted = Callable[[Matrix], Matrix]
"""Gives the probability of fraud for rows."""


def stream_vectors(data: Transactions) -> Rows:
    """Every transaction's vector, as the stream computes it, labels known after the delay."""
    rows = np.empty((len(data), len(FEATURES)), dtype=np.float32)
    replay = replayed(history(data), label_delay_ms=DELAY_DAYS * DAY_S * 1000)
    for number, (_, row) in enumerate(replay):
        rows[number] = row
    return rows


def logistic_regression(rows: Matrix, frauds: Flags) -> Fitted:
    """The handbook's logistic regression, fitted."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(rows, frauds)
    return lambda asked: np.asarray(model.predict_proba(asked)[:, 1], dtype=np.float64)


def random_forest(rows: Matrix, frauds: Flags) -> Fitted:
    """The handbook's random forest, fitted."""
    model = RandomForestClassifier(max_depth=FOREST_DEPTH, random_state=0, n_jobs=1)
    model.fit(rows, frauds)
    return lambda asked: np.asarray(model.predict_proba(asked)[:, 1], dtype=np.float64)


BASELINES: dict[str, Callable[[Matrix, Flags], Fitted]] = {
    "logistic_regression": logistic_regression,
    "random_forest": random_forest,
}
"""What stands beside the model, by name."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One fold, and the figures of all who took part."""

    fold: Fold
    trained: int
    """Transactions in the days trained on."""
    tested: int
    frauds_tested: int
    model: Figures
    baselines: dict[str, Figures]

    def json(self) -> dict[str, Any]:
        """For a report."""
        fold = self.fold
        return {
            "start": fold.start.isoformat(),
            "trained_until": fold.trained_until.isoformat(),
            "test_from": fold.test_from.isoformat(),
            "test_until": fold.test_until.isoformat(),
            "trained": self.trained,
            "tested": self.tested,
            "frauds_tested": self.frauds_tested,
            **asdict(self.model),
        }


def evaluate(
    data: Transactions,
    folds: Sequence[Fold],
    choice: Choice,
    *,
    baselines: bool = True,
) -> Iterator[Tested]:
    """Train and test fold after fold.

    Raises ValueError when a fold has no fraud to train on or to test on, or nothing but fraud.
    """
    ours = stream_vectors(data)
    theirs = handbook_features(data) if baselines else np.empty((0, 0))
    for fold in folds:
        train, test = fold.training(data, choice.window_days), fold.test(data)
        trees = Trees.fit(ours[train], data.frauds[train], choice)
        beside = {}
        week = fold.training(data, TRAIN_DAYS)
        for name, baseline in BASELINES.items() if baselines else ():
            fitted = baseline(theirs[week], data.frauds[week])
            beside[name] = figures(data, test, fitted(theirs[test]))
        yield Tested(
            fold=fold,
            trained=len(train),
            tested=len(test),
            frauds_tested=int(data.frauds[test].sum()),
            model=figures(data, test, trees.score(ours[test])),
            baselines=beside,
        )


def report(tested: Sequence[Tested], choice: Choice) -> dict[str, Any]:
    """All figures, their means and standard deviations over the folds, and what was chosen."""
    names = list(tested[0].baselines)
    return {
        "folds": [one.json() for one in tested],
        **_summary([one.model for one in tested]),
        "baselines": {
            name: {
                "folds": [asdict(one.baselines[name]) for one in tested],
                **_summary([one.baselines[name] for one in tested]),
            }
            for name in names
        },
        "choice": asdict(choice),
        "features": list(FEATURES),
    }


def _summary(several: Sequence[Figures]) -> dict[str, dict[str, float]]:
    columns = {
        one.name: np.array([getattr(each, one.name) for each in several]) for one in fields(Figures)
    }
    return {
        "mean": {name: float(values.mean()) for name, values in columns.items()},
        "sd": {name: float(values.std()) for name, values in columns.items()},
    }
