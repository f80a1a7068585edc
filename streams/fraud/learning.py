"""Learning: a model from a training set of the company's own sales.

Split by time, as life does: what is tested comes after all that was learnt. The days before the
test set the probabilities right, so that a score is the share of frauds among sales like it. The
last of the data is therefore never trained on; the artefact says up to when it was. Nothing is
drawn: the same file and versions give the same artefact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from streams.fraud import artefact
from streams.fraud.dataset import Dataset, read
from streams.fraud.measures import Measures, measured
from streams.training import CROSSES

TEST_DAYS, CALIBRATION_DAYS = 14, 7

FRAUDS_MIN = 10
"""Fewest known frauds in each of the three parts."""

_DAY_MS = 86_400_000
_LOGIT_MAX = 40.0

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Learnt:
    """What became of a training set."""

    digest: str
    trained: int
    calibrated: int
    tested: Measures
    raw: Measures
    """The same test before probabilities were put right."""


@dataclass(frozen=True, slots=True)
class Split:
    """The known sales of a training set, cut at two moments."""

    trained: Rows
    calibrated: Rows
    tested: Rows
    until_ms: int
    """All that a model knows is from before."""

    @classmethod
    def of(cls, data: Dataset, test_days: int, calibration_days: int) -> Split:
        """Raises ValueError where a part has too few frauds, or no genuine sale."""
        known = np.flatnonzero(data.known)
        if not len(known):
            raise ValueError("no sale has a known label")
        at_ms = data.at_ms[known]
        until_ms = int(at_ms[-1]) + 1 - test_days * _DAY_MS
        begin_ms = until_ms - calibration_days * _DAY_MS
        parts = (
            known[at_ms < begin_ms],
            known[(at_ms >= begin_ms) & (at_ms < until_ms)],
            known[at_ms >= until_ms],
        )
        for part, name in zip(parts, ("training", "calibration", "test"), strict=True):
            frauds = int(data.frauds[part].sum())
            if frauds < FRAUDS_MIN or frauds == len(part):
                raise ValueError(
                    f"the {name} has {len(part)} sales with {frauds} known frauds; due are "
                    f"{FRAUDS_MIN} and genuine ones"
                )
        return cls(*parts, until_ms)


def learn(
    file: Path, out: Path, *, test_days: int = TEST_DAYS, calibration_days: int = CALIBRATION_DAYS
) -> Learnt:
    """Train on a file, test on its last days, and write the model to ``out``.

    Raises DatasetUnreadable, ValueError for data that teaches nothing, and OSError.
    """
    data = read(file)
    split = Split.of(data, test_days, calibration_days)
    rows, frauds, weights = data.rows, data.frauds, data.weights
    learnt = split.trained
    raw = artefact.fitted(rows[learnt], frauds[learnt], CROSSES, weights[learnt])
    numbers = calibrated(raw, data, split.calibrated)
    test = split.tested
    before, after = (
        measured(frauds[test], artefact.scores(each, rows[test]), weights[test])
        for each in (raw, numbers)
    )
    made = artefact.sealed(
        numbers,
        rows[learnt],
        frauds[learnt],
        provenance={
            "data": "decisions and labels",
            "data_digest": data.digest,
            "seed": None,
            "until_ms": split.until_ms,
            "sales_trained": len(learnt),
            "frauds_trained": int(frauds[learnt].sum()),
            "sales_calibrated": len(split.calibrated),
            "frauds_calibrated": int(frauds[split.calibrated].sum()),
            "test_days": test_days,
        },
        metrics=after.json(),
    )
    artefact.write(made, out)
    return Learnt(made["digest"], len(learnt), len(split.calibrated), after, before)


def calibrated(numbers: Mapping[str, Any], data: Dataset, part: Rows) -> dict[str, Any]:
    """The model with its logits scaled and shifted to fit what became of some other sales.

    That is Platt's way. It leaves the order of scores as it is; where it would turn it, or there
    is nothing to fit, the model stays.
    """
    found = np.clip(artefact.scores(numbers, data.rows[part]), np.exp(-_LOGIT_MAX), 1 - 1e-15)
    logits = np.log(found / (1 - found))[:, None]
    fit = LogisticRegression(C=1e6, max_iter=1000)
    fit.fit(logits, data.frauds[part], sample_weight=data.weights[part])
    scale, shift = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    if not scale > 0:
        return dict(numbers)
    return {
        **numbers,
        "coefficients": [scale * each for each in numbers["coefficients"]],
        "intercept": scale * numbers["intercept"] + shift,
    }
