"""The trees' score: what they learnt, and below it the order of sales of which nothing is told."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest

from models.features import FEATURES, NOTHING
from streams.fraud.fdh import Flags
from streams.fraud.trees import LEARNED, Choice, Rows, Trees

CHOICE = Choice(models=2, genuine_share=1.0, iterations=10, leaf_min=20)
AMOUNT = FEATURES.index("amount")
SOUND, RUN = FEATURES.index("device_genuine_last"), FEATURES.index("device_fraud_run")
NEVER = NOTHING["device_genuine_last"]


def sales(count: int = 600) -> tuple[Rows, Flags]:
    """Sales whose amount alone tells frauds; devices were known to be sound 7 to 9 days ago."""
    chance = np.random.default_rng(2)
    rows = np.zeros((count, len(FEATURES)), dtype=np.float32)
    for name, value in NOTHING.items():
        rows[:, FEATURES.index(name)] = value
    rows[:, AMOUNT] = chance.uniform(0, 5, count)
    rows[:, SOUND] = np.log1p(chance.permutation(np.linspace(7, 9, count)))
    return rows, rows[:, AMOUNT] > 4.5


def asked(*days: float | None, amount: float = 1.0) -> Rows:
    """Sales that differ in how long ago the device was known to be sound; None: it never was."""
    rows = np.repeat(sales(1)[0], len(days), axis=0)
    rows[:, AMOUNT] = amount
    rows[:, SOUND] = [NEVER if since is None else log(1 + since) for since in days]
    return rows


class TestScore:
    def test_of_what_nothing_is_told_the_longer_unseen_is_the_likelier(self) -> None:
        trees = Trees.fit(*sales(), CHOICE)
        scores = trees.score(asked(10, 12, 15, 20))  # for the trees all the same, behind the last
        assert (np.diff(scores) > 0).all()

    def test_a_device_never_known_to_be_sound_counts_as_the_mean(self) -> None:
        trees = Trees.fit(*sales(), CHOICE)
        assert trees.days == pytest.approx(8, rel=1e-4)
        without = Trees(CHOICE, trees.fitted).score(asked(None))
        share = sales()[1].mean()
        assert trees.score(asked(None)) == pytest.approx(1 - (1 - without) * np.exp(-share))

    def test_a_device_with_a_known_fraud_is_not_unseen(self) -> None:
        trees = Trees.fit(*sales(), CHOICE)
        rows = asked(8, 20)
        rows[:, RUN] = log(2)
        assert (
            trees.score(rows)[0] == trees.score(rows)[1] == pytest.approx(trees.score(asked(8))[0])
        )

    def test_what_the_trees_know_stands_above_it(self) -> None:
        trees = Trees.fit(*sales(), CHOICE)
        assert trees.score(asked(7, amount=4.9)) > trees.score(asked(28, amount=1.0))

    def test_without_any_label_it_is_the_trees_probability(self) -> None:
        rows, frauds = sales()
        rows[:, SOUND] = NEVER
        trees = Trees.fit(rows, frauds, CHOICE)
        assert trees.unseen == 0
        [(model, silent)] = trees.fitted[:1]
        assert silent.any() and model.n_iter_ == CHOICE.iterations
        assert trees.score(asked(None, amount=4.9)) > 0.2 > trees.score(asked(None))


def test_one_model_in_four_knows_how_busy_a_seller_is() -> None:
    rows, _ = sales()
    busy = FEATURES.index("sales_1h")
    rows[:, busy] = np.random.default_rng(3).uniform(0, 5, len(rows))
    trees = Trees.fit(rows, rows[:, busy] > 4.5, replace(CHOICE, models=8))
    knows = [not left_out[LEARNED.index("sales_1h")] for _, left_out in trees.fitted]
    assert knows == [True, False, False, False] * 2
    quiet, loud = asked(7, 7), asked(7, 7)
    loud[:, busy] = 4.9
    for number, ((model, _), told) in enumerate(zip(trees.fitted, knows, strict=True)):
        alone = Trees(replace(CHOICE, models=1), [trees.fitted[number]])
        assert (alone.score(loud) > alone.score(quiet)).all() == told, model


@pytest.mark.parametrize("fraud", [True, False])
def test_one_kind_of_sale_trains_nothing(fraud: bool) -> None:
    rows, frauds = sales()
    with pytest.raises(ValueError, match="genuine and fraudulent"):
        Trees.fit(rows, np.full_like(frauds, fraud), CHOICE)
