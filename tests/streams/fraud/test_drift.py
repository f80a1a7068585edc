"""The window of drift: sampled evenly, bounded, silent while chance could look like drift."""

from __future__ import annotations

import numpy as np

from models.drift import COLUMNS, PSI_MAX, Reference
from models.features import FEATURES
from streams.fraud.drift import BLOCK, BLOCKS_MAX, BLOCKS_MIN, SAMPLED, DriftWindow

NORMAL = np.random.default_rng(1)


def rows(count: int, shift: float = 0.0) -> list[list[float] | None]:
    found = NORMAL.normal(size=(count, len(FEATURES)))
    found[:, 0] += shift
    made: list[list[float] | None] = [*found.tolist()]
    return made


def window() -> DriftWindow:
    return DriftWindow(Reference.of(NORMAL.normal(size=(5_000, len(FEATURES))), np.arange(5e3)))


def fed(drift: DriftWindow, count: int, size: int, shift: float = 0.0) -> list[dict[str, float]]:
    found = []
    for _ in range(count // size):
        scores = NORMAL.integers(0, 5_000, size).astype(float).tolist()
        psi = drift.take(rows(size, shift), scores)
        if psi is not None:
            found.append(psi)
    return found


def test_every_eighth_sale_is_looked_at_however_batches_are_cut() -> None:
    one, many = window(), window()
    kept = rows(402)
    scores: list[float | None] = [float(k) for k in range(402)]
    one.take(kept, scores)
    for k in range(0, 402, 3):
        many.take(kept[k : k + 3], scores[k : k + 3])
    assert one._figures == many._figures
    assert one._figures[len(FEATURES) :: len(COLUMNS)].tolist() == list(range(0, 402, SAMPLED))


def test_returns_and_unscored_sales_are_passed_by() -> None:
    drift = window()
    for row, score in ((None, None), ([0.0] * len(FEATURES), None)):
        assert drift.take([row] * 5_000, [score] * 5_000) is None
    assert not drift._figures


def test_it_tells_once_there_is_enough_and_forgets_what_is_old() -> None:
    drift = window()
    least = SAMPLED * BLOCK * BLOCKS_MIN
    assert fed(drift, least - SAMPLED, SAMPLED) == []
    [first] = fed(drift, SAMPLED, SAMPLED)
    assert max(first.values()) < PSI_MAX
    whole = SAMPLED * BLOCK * BLOCKS_MAX
    shifted = fed(drift, whole, 256, shift=1.0)
    assert shifted[-1]["amount"] > PSI_MAX
    assert len(drift._blocks) == BLOCKS_MAX
    same = fed(drift, whole, 256)
    assert same[-1]["amount"] < PSI_MAX
