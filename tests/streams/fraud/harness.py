"""Models beside the shipped one, and sales that were decided and labelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from models.features import FEATURES
from models.scorer import Scorer, digest_of
from streams.fraud.artefact import scores
from streams.fraud.dataset import Example, Label, write
from streams.settings import DEFAULTS

AMOUNT = FEATURES.index("amount")
NUMBERS = ("means", "scales", "pairs", "bound", "coefficients", "intercept")


def artefact(shift: float = 0.0, scale: float = 1.0, **provenance: Any) -> dict[str, Any]:
    """The shipped model, all logits scaled and shifted."""
    made: dict[str, Any] = json.loads((DEFAULTS / "model.json").read_text(encoding="ascii"))
    made["coefficients"] = [scale * each for each in made["coefficients"]]
    made["intercept"] = scale * made["intercept"] + shift
    rows = np.array(made["probes"]["rows"])
    made["probes"]["scores"] = scores({name: made[name] for name in NUMBERS}, rows).tolist()
    made["provenance"] = {**made["provenance"], **provenance}
    made["digest"] = digest_of(made)
    return made


def model(shift: float = 0.0, scale: float = 1.0, **provenance: Any) -> str:
    """Such a model as in a file."""
    return json.dumps(artefact(shift, scale, **provenance))


DAY_MS = 86_400_000
END_MS = 1_790_000_000_000


def examples(count: int, days: int = 60, seed: int = 1, **more: Any) -> list[Example]:
    """Decided sales up to :data:`END_MS`, one in ten a fraud: those of large amounts, mostly."""
    chance = np.random.default_rng(seed)
    made = artefact()
    rows = np.array(made["means"]) + chance.normal(size=(count, len(FEATURES))) * 0.3
    rows[:, AMOUNT] = chance.uniform(2.0, 6.0, count)
    frauds = chance.random(count) < 1 / (1 + np.exp(-3 * (rows[:, AMOUNT] - 5.2)))
    scorer = Scorer.load(json.dumps(made))
    found = scorer.score(rows).tolist()
    return [
        Example(
            event_id=f"ev-{k}",
            at_ms=END_MS - days * DAY_MS + k * days * DAY_MS // count,
            label=Label.FRAUD if frauds[k] else Label.GENUINE,
            weight=1.0,
            score=found[k],
            model=scorer.digest,
            vector=tuple(rows[k].tolist()),
            **more,
        )
        for k in range(count)
    ]


def training_set(path: Path, lines: list[Example]) -> Path:
    """The file of some sales."""
    with path.open("w", encoding="utf-8") as file:
        write(lines, file)
    return path
