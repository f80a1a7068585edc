"""What cannot be scored, or was tampered with: never a crash, never paid at once above the cap."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.config import load
from models.decisions import Tier, Why, decide
from models.events import SaleCompleted
from models.features import FEATURES, Profile, observe
from models.policy import PayoutPolicy
from models.scorer import Scorer, digest_of
from streams.agents.sales import _scored
from streams.fraud.serving import Serving
from streams.metrics import Metrics
from streams.settings import DEFAULTS

MODEL = (DEFAULTS / "model.json").read_text()
POLICY = load((DEFAULTS / "policy.yaml").read_text(), PayoutPolicy, "policy.yaml").fraud
ROWS: list[list[float]] = json.loads(MODEL)["probes"]["rows"]
CAP = POLICY.unscored_cap("EUR")


def sealed(change: Callable[[dict[str, Any]], object]) -> str:
    """The shipped model, changed, with a digest that fits."""
    artefact = json.loads(MODEL)
    change(artefact)
    artefact["digest"] = digest_of(artefact)
    return json.dumps(artefact)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_only_the_sale_with_a_number_that_is_none_goes_without_a_score(wrong: float) -> None:
    scorer = Scorer.load(MODEL)
    bad = [wrong, *ROWS[0][1:]]
    scores = _scored(scorer, [ROWS[0], bad, ROWS[1]])
    assert scores == [*scorer.score([ROWS[0]]), None, *scorer.score([ROWS[1]])]
    for amount, tier in ((CAP, Tier.INSTANT), (CAP + 1, Tier.HOLD)):
        assert decide(scores[1], amount, "EUR", POLICY, profile=Profile()).tier is tier


@pytest.mark.parametrize("row", [[], ROWS[0][:-1], [*ROWS[0], 0.0]])
def test_so_does_one_of_another_width(row: list[float]) -> None:
    assert _scored(Scorer.load(MODEL), [ROWS[0], row])[1] is None


@pytest.mark.parametrize(
    "text",
    [
        MODEL[:-9],
        MODEL.replace('"bound": ', '"bound": 1'),
        sealed(lambda model: model.update(format=99)),
        sealed(lambda model: model.update(features=model["features"][:-1])),
        sealed(lambda model: model["coefficients"].__setitem__(0, 1e9)),
        sealed(lambda model: model.pop("means")),
        "\udcff",
    ],
)
def test_without_a_sound_model_nothing_above_the_cap_is_paid_at_once(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "model.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    used: list[Scorer | None] = []
    Serving(file, None, lambda scorer, _: used.append(scorer), Metrics()).begin()
    assert used == [None]
    assert "a model that cannot be used" in caplog.text
    decision = decide(None, CAP + 1, "EUR", POLICY, profile=Profile())
    assert (decision.tier, decision.reasons) == (Tier.HOLD, (Why.UNSCORED,))


def test_what_a_sale_does_not_say_or_nobody_knows_has_a_value_of_its_own() -> None:
    fields = {"type": "sale.completed", "id": "e", "version": 1, "seller_id": "s", "sale_id": "x",
              "occurred_at": "2026-11-23T10:00:00Z", "currency": "EUR"}  # fmt: skip
    scorer = Scorer.load(MODEL)
    states = {"s:s": "not a state", "i:c": "ff" * 71}
    for more in ({"amount_minor": 0}, {"amount_minor": 10**12, "country": "ZZ"},
                 {"amount_minor": 5, "instrument_ref": "c"}):  # fmt: skip
        event = SaleCompleted.model_validate({**fields, **more})
        for profile in (None, Profile(), Profile("QQ", -1, 2**60)):
            row, _ = observe(states, event, profile)
            assert row is not None
            assert len(row) == len(FEATURES)
            [score] = _scored(scorer, [row])
            assert score is not None
            assert 0 <= score <= 1
