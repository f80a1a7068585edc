"""Champion and challenger: which model is better on sales whose labels came, and the change.

Both are asked again about the vectors that were decided upon, so neither has an advantage by what
it was asked then. Only sales count that neither model was trained on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from models.features import FEATURES
from models.scorer import ModelUnreadable, Scorer
from streams.fraud.artefact import replace
from streams.fraud.dataset import Dataset
from streams.fraud.measures import Measures, cost, measured

FRAUDS_MIN = 20
"""Fewest known frauds for a comparison that says anything."""

_AMOUNT = FEATURES.index("amount")


@dataclass(frozen=True, slots=True)
class Judged:
    """A model on sales with known labels."""

    digest: str
    measures: Measures
    cost: float
    """Of a sale in the mean, in reference units (about a euro each)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same sales."""

    champion: Judged
    challenger: Judged
    since_ms: int
    """Sales from then on were compared; what is before, one of the models was trained on."""
    shadow: int
    """Sales that the challenger scored in the shadow when they were decided."""
    shadow_apart: int
    """Those of them whose score is another one now: more than none means other code."""

    @property
    def objections(self) -> list[str]:
        """Why the challenger should not take over, in words; none if it should."""
        one, other = self.champion, self.challenger
        found = []
        if one.measures.frauds < FRAUDS_MIN:
            found.append(f"only {one.measures.frauds} known frauds; {FRAUDS_MIN} say something")
        if other.measures.average_precision < one.measures.average_precision:
            found.append("its average precision is lower")
        if other.cost > one.cost:
            found.append("it costs more")
        if self.shadow_apart:
            found.append(f"{self.shadow_apart} of its shadow scores cannot be derived again")
        return found


def compare(champion: Scorer, challenger: Scorer, data: Dataset, review_cost: float) -> Comparison:
    """Both on the known sales of a training set. Raises ValueError if there are none to tell by."""
    since_ms = max(int(each.provenance.get("until_ms", 0)) for each in (champion, challenger))
    fresh = np.flatnonzero(data.known & (data.at_ms >= since_ms))
    frauds, weights = data.frauds[fresh], data.weights[fresh]
    if frauds.all() or not frauds.any():
        raise ValueError(
            f"{len(fresh)} sales with known labels that neither model was trained on, "
            f"{int(frauds.sum())} of them frauds; both kinds are needed"
        )
    rows = data.rows[fresh]
    amounts = np.expm1(rows[:, _AMOUNT])

    def judged(scorer: Scorer) -> Judged:
        scores = scorer.score(rows)
        return Judged(
            scorer.digest,
            measured(frauds, scores, weights),
            cost(frauds, scores, amounts, weights, review_cost),
        )

    shadow, apart = _shadow(challenger, data)
    return Comparison(judged(champion), judged(challenger), since_ms, shadow, apart)


def _shadow(challenger: Scorer, data: Dataset) -> tuple[int, int]:
    found = [
        (row, each[1])
        for row, each in enumerate(data.challengers)
        if each is not None and each[0] == challenger.digest
    ]
    if not found:
        return 0, 0
    again = challenger.score(data.rows[[row for row, _ in found]]).tolist()
    return len(found), sum(a != then for a, (_, then) in zip(again, found, strict=True))


def load(path: Path) -> tuple[str, Scorer]:
    """A model's text, and the model. Raises ModelUnreadable, also if there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ModelUnreadable(f"{path}: cannot be read: {reason}") from None
    try:
        return text, Scorer.load(text)
    except ModelUnreadable as error:
        raise ModelUnreadable(f"{path}: {error}") from None


def promote(
    path: Path, champion: tuple[str, Scorer] | None, text: str, compared: Comparison | None,
    *, by: str, at_ms: int, forced: Sequence[str],
) -> Path:  # fmt: skip
    """Write ``text`` over the champion's file; the log beside it. Raises OSError.

    The log is written first: a change that is in no log cannot be, one that was not made after all
    says so in its next line. The former model stays beside it under its digest, so that decisions
    it made can be explained, and so that it can be promoted again.
    """
    log = path.with_name(path.name + ".log")
    line: dict[str, Any] = {
        "at": datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(),
        "by": by,
        "from": champion[1].digest if champion else None,
        "to": json.loads(text)["digest"],
        "forced": list(forced),
        "compared": asdict(compared) if compared else None,
    }
    _append(log, line)
    try:
        if champion is not None:
            replace(path.with_name(f"{path.stem}-{champion[1].digest[:12]}.json"), champion[0])
        replace(path, text)
    except OSError as error:
        _append(log, {"at": line["at"], "to": line["to"], "failed": error.strerror})
        raise
    return log


def _append(log: Path, line: dict[str, Any]) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
