"""Drift: nothing for the same sales, much for others, and every damaged reference refused."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from models.drift import BINS_MAX, COLUMNS, PSI_MAX, Reference
from models.features import FEATURES

WIDTH = len(FEATURES)
ATOMS = 3
"""This column is 0 in nine of ten sales, the next one always."""


def sales(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(count, WIDTH))
    rows[:, ATOMS] = np.where(chance.random(count) < 0.9, 0.0, rows[:, ATOMS] + 20)
    rows[:, ATOMS + 1] = 0.0
    return rows, chance.random(count) ** 4


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.of(*sales(20_000))


def test_the_same_population_has_not_drifted(reference: Reference) -> None:
    psi = reference.psi(reference.counts(*sales(2_000, seed=2)))
    assert tuple(psi) == COLUMNS
    assert 0 <= max(psi.values()) < 0.03


def test_another_population_is_told_by_its_feature_alone(reference: Reference) -> None:
    rows, scores = sales(2_000, seed=3)
    rows[:, 0] += 1.0
    psi = reference.psi(reference.counts(rows, scores))
    assert psi["amount"] > PSI_MAX
    assert max(each for name, each in psi.items() if name != "amount") < 0.03


def test_a_value_that_most_sales_share_has_a_bin_of_its_own(reference: Reference) -> None:
    rows, scores = sales(2_000, seed=4)
    rows[:, ATOMS] = np.where(np.arange(2_000) % 2, 0.0, 20.0)
    psi = reference.psi(reference.counts(rows, scores))
    assert psi[FEATURES[ATOMS]] > PSI_MAX


def test_a_score_and_a_figure_that_never_varied(reference: Reference) -> None:
    rows, scores = sales(2_000, seed=5)
    rows[:, ATOMS + 1] = 7.0
    psi = reference.psi(reference.counts(rows, scores**0.5))
    assert psi["score"] > PSI_MAX
    assert psi[FEATURES[ATOMS + 1]] == 0.0


def test_agrees_with_the_definition_written_out(reference: Reference) -> None:
    rows, scores = sales(3_000, seed=6)
    rows[:, 0] *= 1.5
    part = reference.json()
    edges, then = part["edges"]["amount"], np.array(part["shares"]["amount"])
    bins = [-np.inf, *edges, np.inf]
    now = np.array([((rows[:, 0] >= a) & (rows[:, 0] < b)).mean() for a, b in pairwise(bins)])
    due = float(((now - then) * np.log(now / then)).sum())
    assert reference.psi(reference.counts(rows, scores))["amount"] == pytest.approx(due)


def test_counts_of_parts_add_up(reference: Reference) -> None:
    rows, scores = sales(500, seed=7)
    parts = reference.counts(rows[:200], scores[:200]) + reference.counts(rows[200:], scores[200:])
    assert (parts == reference.counts(rows, scores)).all()
    assert (parts.sum(axis=1) == 500).all()


def test_is_the_same_after_a_way_through_json(reference: Reference) -> None:
    rows, scores = sales(500, seed=8)
    again = Reference.read(json.loads(json.dumps(reference.json())))
    counts = reference.counts(rows, scores)
    assert (again.counts(rows, scores) == counts).all()
    assert again.psi(counts) == reference.psi(counts)


def damaged(part: dict[str, Any], name: str) -> None:
    edges, shares = part["edges"]["amount"], part["shares"]["amount"]
    match name:
        case "no column":
            del part["edges"]["amount"]
        case "falling":
            edges.reverse()
        case "an infinity":
            edges[-1] = float("inf")
        case "a word":
            edges[0] = "much"
        case "too many":
            part["edges"]["amount"] = list(range(BINS_MAX))
            part["shares"]["amount"] = [1 / (BINS_MAX + 1)] * (BINS_MAX + 1)
        case "a share less":
            shares.pop()
        case "more than all":
            shares[0] = 0.9
        case "below nothing":
            shares[0], shares[1] = -0.1, shares[0] + shares[1] + 0.1


@pytest.mark.parametrize(
    "name",
    [
        *("no column", "falling", "an infinity", "a word", "too many"),
        *("a share less", "more than all", "below nothing"),
    ],
)
def test_a_damaged_reference_is_refused(reference: Reference, name: str) -> None:
    part = reference.json()
    damaged(part, name)
    with pytest.raises((ValueError, LookupError)):
        Reference.read(part)


def test_no_object_is_refused() -> None:
    with pytest.raises(TypeError):
        Reference.read([])
    with pytest.raises(ValueError, match="needs sales"):
        Reference.of(np.empty((0, WIDTH)), np.empty(0))
