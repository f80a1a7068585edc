"""Recall by pattern: counted as said, on seeds not trained on, beside a baseline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.features import FEATURES
from models.scorer import Scorer
from streams.cli import app
from streams.fraud.patterns import AIM, Played, evaluate_patterns, recalls, report
from streams.fraud.replay import Labelled
from streams.settings import DEFAULTS
from streams.training import company_history

runner = CliRunner()


def shipped() -> Scorer:
    return Scorer.load((DEFAULTS / "model.json").read_text(encoding="ascii"))


def played(patterns: list[str], incidents: list[str]) -> Played:
    rows = np.zeros((len(patterns), len(FEATURES)))
    return Played(rows, np.array(patterns), np.array(incidents))


def test_recalls_are_counted_by_sale_behind_the_first_and_by_incident() -> None:
    names = [""] * 200 + ["ring"] * 5 + ["burst"]
    incidents = [""] * 200 + ["a", "a", "a", "b", "b", "c"]
    scores = np.concatenate([np.linspace(0, 0.5, 200), [0.1, 0.9, 0.9, 0.2, 0.3, 0.9]])
    found = recalls(played(names, incidents), scores)
    assert found["ring"] == {"sales": 0.4, "later_sales": pytest.approx(2 / 3), "incidents": 0.5}
    assert found["burst"]["sales"] == found["burst"]["incidents"] == 1
    assert np.isnan(found["burst"]["later_sales"])


def test_one_in_a_hundred_genuine_sales_is_held() -> None:
    names, incidents = [""] * 1_000 + ["ring"] * 2, [""] * 1_000 + ["a"] * 2
    genuine = np.arange(1_000) / 1_000
    # No more than ten of the thousand lie at 0.99 and above: more than that is held.
    found = recalls(played(names, incidents), np.concatenate([genuine, [0.9905, 0.99]]))
    assert found["ring"]["sales"] == 0.5


def test_a_history_without_genuine_sales_is_refused() -> None:
    with pytest.raises(ValueError, match="genuine"):
        recalls(played(["ring"], ["a"]), np.array([0.5]))


def test_a_seed_that_was_trained_on_is_refused() -> None:
    scorer = shipped()
    seed = scorer.provenance["train_seeds"][0]
    with pytest.raises(ValueError, match=f"trained on seed {seed}"):
        next(evaluate_patterns(scorer, [seed], 2_000))


def test_the_baseline_learns_from_the_histories_that_the_model_did() -> None:
    scorer = shipped()
    asked: list[tuple[int, int]] = []

    def history(seed: int, events: int) -> Iterator[Labelled]:
        asked.append((seed, events))
        return company_history(seed, 2_500)

    tested = list(evaluate_patterns(scorer, [3_000_000], 2_500, history))
    length = scorer.provenance["events_per_seed"]
    trained = [(seed, length) for seed in scorer.provenance["train_seeds"]]
    assert asked == [*trained, (3_000_000, 2_500)]
    figures = report(scorer, 2_500, tested)
    assert set(figures["reached"]) | set(figures["not_reached"]) == set(figures["patterns"])
    for name, found in figures["patterns"].items():
        assert (found["model"]["sales"]["mean"] >= AIM) == (name in figures["reached"])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--model", "nowhere.json"], "nowhere.json: cannot be read"),
        (["--json", "nowhere/x.json"], "there is no directory nowhere"),
        (["--seeds", "1"], "the model was trained on seed 1"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(
    args: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["fraud", "patterns", *args])
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_text((DEFAULTS / "model.json").read_text().replace('"digest": "', '"digest": "0'))
    result = runner.invoke(app, ["fraud", "patterns", "--model", str(file)])
    assert result.exit_code == 2
    assert "digest" in result.stderr
