"""The scorer: agrees with scikit-learn, scores alike in any batch, refuses every damaged model."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import pipeline
from models.features import FEATURES
from models.scorer import (
    ARTEFACT_BYTES_MAX,
    FORMAT,
    WORDS,
    ModelUnreadable,
    RowRefused,
    Scorer,
    digest_of,
)

SHIPPED = Path(__file__).parents[2] / "streams" / "defaults" / "model.json"
WIDTH = len(FEATURES)


@pytest.fixture(scope="module")
def text() -> str:
    return SHIPPED.read_text(encoding="ascii")


@pytest.fixture(scope="module")
def scorer(text: str) -> Scorer:
    return Scorer.load(text)


@pytest.fixture
def artefact(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@pytest.fixture(scope="module")
def rows(text: str) -> list[list[float]]:
    """Real vectors, shaken, and a few far outside."""
    probes = json.loads(text)["probes"]["rows"]
    rng = random.Random(5)
    shaken = [[x * rng.uniform(0.5, 1.5) for x in rng.choice(probes)] for _ in range(490)]
    return shaken + [[x * 1e6 for x in row] for row in probes[:10]]


def sealed(artefact: dict[str, Any]) -> str:
    """The artefact with a digest that fits, as somebody would make who tampers knowingly."""
    return json.dumps({**artefact, "digest": digest_of(artefact)})


class TestScore:
    def test_agrees_with_scikit_learn(
        self, scorer: Scorer, artefact: dict[str, Any], rows: list[list[float]]
    ) -> None:
        names = ("means", "scales", "pairs", "bound", "coefficients", "intercept")
        rebuilt = pipeline.rebuilt(**{name: artefact[name] for name in names})
        theirs = pipeline.probabilities(rebuilt, np.array(rows))
        assert np.abs(scorer.score(rows) - theirs).max() < 1e-12

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 16, 17, 127, 128, 129, 250])
    def test_a_score_does_not_hang_on_its_batch(
        self, scorer: Scorer, rows: list[list[float]], size: int
    ) -> None:
        whole = scorer.score(rows).tolist()
        cut = [s for k in range(0, len(rows), size) for s in scorer.score(rows[k : k + size])]
        assert cut == whole

    def test_scores_are_probabilities(self, scorer: Scorer, rows: list[list[float]]) -> None:
        scores = scorer.score(rows)
        assert ((scores >= 0) & (scores <= 1)).all()
        assert scores.max() > 0.9
        assert scores.min() < 0.01

    def test_an_empty_batch_has_no_scores(self, scorer: Scorer) -> None:
        assert scorer.score(np.empty((0, WIDTH))).shape == (0,)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_refuses_what_is_not_finite(self, scorer: Scorer, value: float) -> None:
        row = [0.0] * WIDTH
        row[3] = value
        with pytest.raises(RowRefused):
            scorer.score([[0.0] * WIDTH, row])

    @pytest.mark.parametrize("shape", [(1, WIDTH - 1), (1, WIDTH + 1), (WIDTH,)])
    def test_refuses_another_width(self, scorer: Scorer, shape: tuple[int, ...]) -> None:
        with pytest.raises(RowRefused):
            scorer.score(np.zeros(shape))

    @pytest.mark.parametrize("rows", [[[0.0]], [[0.0] * WIDTH, [0.0]], [["x"] * WIDTH], [0.0]])
    def test_refuses_rows_that_are_none(self, scorer: Scorer, rows: list[Any]) -> None:
        with pytest.raises(RowRefused):
            scorer.score(rows)

    def test_lists_tuples_and_arrays_score_alike(
        self, scorer: Scorer, rows: list[list[float]]
    ) -> None:
        scores = scorer.score(np.array(rows)).tolist()
        assert scorer.score(rows).tolist() == scores
        assert scorer.score([tuple(row) for row in rows]).tolist() == scores


class TestReasons:
    def test_every_feature_has_words(self) -> None:
        assert tuple(WORDS) == FEATURES

    def test_names_what_was_raised(self, scorer: Scorer, artefact: dict[str, Any]) -> None:
        row = list(artefact["means"])
        row[FEATURES.index("card_other_sellers")] = 4.0
        assert WORDS["card_other_sellers"][0] in scorer.reasons(row)

    def test_an_average_sale_has_few(self, scorer: Scorer, artefact: dict[str, Any]) -> None:
        assert scorer.reasons(artefact["means"]) == []

    def test_the_shares_sum_to_the_logit(
        self, scorer: Scorer, artefact: dict[str, Any], rows: list[list[float]]
    ) -> None:
        shares = scorer.shares(rows[0])
        logit = math.fsum(shares) + artefact["intercept"]
        assert 1 / (1 + math.exp(-logit)) == pytest.approx(float(scorer.score(rows[:1])[0]))


def _drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda artefact: artefact.pop(name)


def _set(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda artefact: artefact.update({name: value})


DAMAGE: dict[str, Callable[[dict[str, Any]], None]] = {
    **{
        f"without {name}": _drop(name)
        for name in (
            "format",
            "features",
            "sklearn",
            "means",
            "scales",
            "pairs",
            "bound",
            "coefficients",
            "intercept",
            "probes",
            "reference",
            "metrics",
            "provenance",
        )
    },
    "the format before": _set("format", FORMAT - 1),
    "a later format": _set("format", FORMAT + 1),
    "other features": _set("features", ["amount"]),
    "features in another order": lambda a: a["features"].reverse(),
    "a coefficient too few": lambda a: a["coefficients"].pop(),
    "a coefficient changed": lambda a: a["coefficients"].__setitem__(0, 9.0),
    "a coefficient of text": lambda a: a["coefficients"].__setitem__(0, "9"),
    "a coefficient of true": lambda a: a["coefficients"].__setitem__(0, True),
    "a coefficient that overflows": lambda a: a["coefficients"].__setitem__(0, 1e308),
    "a huge coefficient": lambda a: a["coefficients"].__setitem__(0, 10**400),
    "a scale of zero": lambda a: a["scales"].__setitem__(0, 0.0),
    "a negative scale": lambda a: a["scales"].__setitem__(0, -1.0),
    "a pair out of range": lambda a: a["pairs"].__setitem__(0, [0, WIDTH]),
    "a negative pair": lambda a: a["pairs"].__setitem__(0, [0, -1]),
    "a pair of three": lambda a: a["pairs"].__setitem__(0, [0, 1, 2]),
    "a pair of halves": lambda a: a["pairs"].__setitem__(0, [0.5, 1]),
    "means of nothing": _set("means", None),
    "a bound below zero": _set("bound", -6.0),
    "a bound of nothing": _set("bound", None),
    "no probes": _set("probes", {"rows": [], "scores": []}),
    "a probe too narrow": lambda a: a["probes"]["rows"][0].pop(),
    "a probe's score changed": lambda a: a["probes"]["scores"].__setitem__(0, 0.123),
    "a list for probes": _set("probes", [1]),
    "a reference of nothing": _set("reference", None),
    "edges that fall": lambda a: a["reference"]["edges"]["amount"].reverse(),
    "shares of half": lambda a: a["reference"]["shares"]["score"].__setitem__(0, 0.9),
}


class TestLoad:
    def test_the_shipped_model_loads(self, scorer: Scorer, artefact: dict[str, Any]) -> None:
        assert scorer.digest == artefact["digest"] == digest_of(artefact)
        assert scorer.sklearn_version
        assert scorer.metrics["average_precision"] > 0.85
        assert scorer.provenance["train_seeds"]

    @pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
    def test_damage_is_refused_even_with_a_fitting_digest(
        self, artefact: dict[str, Any], damage: Callable[[dict[str, Any]], None]
    ) -> None:
        damage(artefact)
        with pytest.raises(ModelUnreadable):
            Scorer.load(sealed(artefact))

    def test_any_change_breaks_the_digest(self, artefact: dict[str, Any]) -> None:
        artefact["metrics"]["auc"] = 1.0
        with pytest.raises(ModelUnreadable, match="digest"):
            Scorer.load(json.dumps(artefact))

    def test_spaces_and_order_do_not_matter(self, artefact: dict[str, Any]) -> None:
        turned = dict(reversed(artefact.items()))
        assert Scorer.load(json.dumps(turned, indent=3)).digest == artefact["digest"]

    @pytest.mark.parametrize(
        "text",
        ["", "{", "[]", "null", "1", "NaN", '"x"', "[" * 100_000, "\x80\x04\x95", "{}"],
        ids=lambda text: text[:8],
    )
    def test_what_is_not_an_artefact_is_refused(self, text: str) -> None:
        with pytest.raises(ModelUnreadable):
            Scorer.load(text)

    def test_a_cut_file_is_refused(self, text: str) -> None:
        with pytest.raises(ModelUnreadable):
            Scorer.load(text[: len(text) // 2])

    def test_nan_is_refused(self, text: str, artefact: dict[str, Any]) -> None:
        number = json.dumps(artefact["intercept"])
        with pytest.raises(ModelUnreadable, match="not JSON"):
            Scorer.load(text.replace(number, "NaN"))

    def test_a_huge_file_is_refused(self, text: str) -> None:
        with pytest.raises(ModelUnreadable):
            Scorer.load(text + " " * ARTEFACT_BYTES_MAX)

    def test_a_scorer_that_differs_from_scikit_learn_is_refused(
        self, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        honest = pipeline.probabilities
        monkeypatch.setattr(pipeline, "probabilities", lambda p, rows: honest(p, rows) + 1e-6)
        with pytest.raises(ModelUnreadable, match="scikit-learn"):
            Scorer.load(text)
