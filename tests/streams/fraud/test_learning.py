"""Learning from the company's own sales: split by time, calibrated, the same for the same file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.scorer import Scorer
from streams.fraud.artefact import features_digest
from streams.fraud.dataset import Label, read
from streams.fraud.learning import Split, calibrated, learn
from streams.fraud.measures import cost, measured
from tests.streams.fraud.harness import DAY_MS, END_MS, NUMBERS, artefact, examples, training_set


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_set(tmp_path_factory.mktemp("sets") / "set", examples(4_000))


def test_the_model_is_read_back_and_says_where_it_came_from(file: Path, tmp_path: Path) -> None:
    learnt = learn(file, tmp_path / "one")
    again = learn(file, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert learnt == again
    scorer = Scorer.load((tmp_path / "one").read_text())
    assert scorer.digest == learnt.digest
    told = scorer.provenance
    assert told["data_digest"] == read(file).digest
    assert told["features_digest"] == features_digest()
    assert told["until_ms"] == pytest.approx(END_MS - 14 * DAY_MS, abs=DAY_MS)
    assert {"numpy", "python", "seed"} <= set(told)
    assert set(scorer.metrics) >= {
        "average_precision", "auc", "brier", "calibration_error", "recall",
    }  # fmt: skip
    assert learnt.tested.average_precision > 0.5
    assert learnt.tested.calibration_error < 0.03


def test_what_is_tested_comes_after_all_that_was_learnt(file: Path) -> None:
    data = read(file)
    split = Split.of(data, 14, 7)
    assert data.at_ms[split.trained].max() < data.at_ms[split.calibrated].min()
    assert data.at_ms[split.calibrated].max() < split.until_ms <= data.at_ms[split.tested].min()
    assert len(split.trained) + len(split.calibrated) + len(split.tested) == len(data.labels)


def test_unknown_sales_take_no_part(tmp_path: Path) -> None:
    some = examples(3_000)
    some[::2] = [replace(one, label=Label.UNKNOWN) for one in some[::2]]
    split = Split.of(read(training_set(tmp_path / "set", some)), 14, 7)
    assert len(split.trained) + len(split.calibrated) + len(split.tested) == 1_500


@pytest.mark.parametrize("label", [Label.UNKNOWN, Label.GENUINE, Label.FRAUD])
def test_data_that_teaches_nothing_is_refused(tmp_path: Path, label: Label) -> None:
    some = [replace(one, label=label) for one in examples(500)]
    with pytest.raises(ValueError, match="known"):
        learn(training_set(tmp_path / "set", some), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_calibration_mends_what_a_model_exaggerates(file: Path) -> None:
    data = read(file)
    learnt = {name: artefact()[name] for name in NUMBERS}
    everything = np.arange(len(data.labels))
    mended = calibrated(learnt, data, everything)
    assert mended["coefficients"] != learnt["coefficients"]
    from streams.fraud.artefact import scores

    before, after = (
        measured(data.frauds, scores(each, data.rows), data.weights) for each in (learnt, mended)
    )
    assert after.calibration_error < before.calibration_error
    assert after.auc == pytest.approx(before.auc, abs=1e-6)  # the order stays


def test_a_row_that_stands_for_two_counts_as_two() -> None:
    frauds = np.array([True, False, True, False, False])
    scores = np.array([0.9, 0.8, 0.4, 0.3, 0.1])
    twice = [0, 1, 1, 2, 3, 4]
    weights = np.array([1.0, 2.0, 1.0, 1.0, 1.0])
    one = measured(frauds, scores, weights)
    other = measured(frauds[twice], scores[twice], np.ones(6))
    assert one.average_precision == pytest.approx(other.average_precision)
    assert one.brier == pytest.approx(other.brier)
    assert one.auc == pytest.approx(other.auc)


def test_cost_is_of_reviews_and_of_what_was_let_through() -> None:
    frauds = np.array([True, True, False, False])
    scores = np.array([0.5, 0.01, 0.5, 0.01])
    amounts = np.full(4, 100.0)
    assert cost(frauds, scores, amounts, np.ones(4), 5.0) == (5 + 100 + 5 + 0) / 4
    assert cost(frauds, scores, amounts, np.array([1.0, 0, 0, 1.0]), 5.0) == 2.5


def test_one_line_of_the_artefact_is_one_part(file: Path, tmp_path: Path) -> None:
    learn(file, tmp_path / "model")
    text = (tmp_path / "model").read_text()
    assert len(text.splitlines()) == len(json.loads(text)) + 2
