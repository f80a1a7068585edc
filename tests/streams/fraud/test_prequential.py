"""The protocol: who is tested, on what is trained, and what the figures say."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from streams.fraud.fdh import Transactions, handbook_features, transactions
from streams.fraud.prequential import Fold, card_precision, figures, last_folds

FIRST = date(2026, 1, 1)


def bought(*rows: tuple[int, int, bool]) -> Transactions:
    """Transactions of ``(day, customer, fraud)``, all at terminal 1."""
    noon = np.datetime64(FIRST, "s").astype(np.int64) + 43_200
    days, customers, frauds = (np.array(column) for column in zip(*rows, strict=True))
    return transactions(
        noon + days * 86_400, customers, np.ones(len(rows)), np.full(len(rows), 10.0), frauds
    )


def asked(data: Transactions) -> set[tuple[int, int]]:
    """Day and customer of each transaction in the test of the fold that starts on the first day."""
    zero = int(np.datetime64(FIRST, "D").astype(np.int64))
    rows = Fold(FIRST).test(data)
    return {(int(data.days[row]) - zero, int(data.customers[row])) for row in rows}


class TestFold:
    def test_trains_a_week_waits_a_week_and_tests_a_week(self) -> None:
        fold = Fold(date(2018, 7, 25))
        assert fold.trained_until == date(2018, 7, 31)
        assert (fold.test_from, fold.test_until) == (date(2018, 8, 8), date(2018, 8, 14))

    def test_tests_only_the_days_of_the_test(self) -> None:
        data = bought(*[(day, day, False) for day in range(25)])
        assert asked(data) == {(day, day) for day in range(14, 21)}

    def test_a_longer_training_does_not_change_the_test(self) -> None:
        data = bought(*[(day, day % 5, day % 3 == 0) for day in range(40)])
        fold = Fold(FIRST + timedelta(days=15))
        zero = int(data.days[0])
        assert (data.days[fold.training(data, 7)] - zero).tolist() == list(range(15, 22))
        assert (data.days[fold.training(data, 20)] - zero).tolist() == list(range(2, 22))

    def test_all_the_past_is_trained_on_but_the_first_two_weeks(self) -> None:
        data = bought(*[(day, day, False) for day in range(50)])
        zero = int(data.days[0])
        rows = Fold(FIRST + timedelta(days=15)).training(data, None)
        assert (data.days[rows] - zero).tolist() == list(range(14, 22))
        short = Fold(FIRST + timedelta(days=3)).training(data, None)
        assert (data.days[short] - zero).tolist() == list(range(10))

    @pytest.mark.parametrize(
        ("fraud_day", "known"), [(-1, False), (0, True), (6, True), (7, False), (13, False)]
    )
    def test_a_customer_known_from_the_week_of_training_is_not_tested(
        self, fraud_day: int, known: bool
    ) -> None:
        data = bought((fraud_day, 1, True), (14, 1, False), (14, 2, False))
        assert ((14, 1) in asked(data)) is not known

    def test_a_customer_drops_out_the_day_after_the_wait(self) -> None:
        data = bought((8, 1, True), *[(day, 1, False) for day in range(14, 21)])
        assert asked(data) == {(14, 1), (15, 1)}

    def test_the_last_folds_test_the_last_weeks(self) -> None:
        data = bought((0, 1, False), (156, 1, False))  # as the handbook's data: 2018-04-01 on
        folds = last_folds(data, 4)
        assert folds[-1].test_until == FIRST + timedelta(days=156)
        assert [after.start - before.start for before, after in pairwise(folds)] == [
            timedelta(days=7)
        ] * 3
        assert all(fold.within(data) for fold in folds)
        assert not Fold(FIRST + timedelta(days=140)).within(data)
        assert not Fold(FIRST - timedelta(days=1)).within(data)


class TestFigures:
    def test_a_perfect_score_reaches_all_there_is(self) -> None:
        data = bought((0, 1, True), (0, 2, False), (1, 3, True), (1, 2, False))
        rows = np.arange(len(data))
        perfect = figures(data, rows, data.frauds.astype(float))
        assert (perfect.auc, perfect.ap, perfect.cp100, perfect.cp100_share) == (1, 1, 0.01, 1)

    def test_are_scikit_learns(self) -> None:
        data = bought(*[(0, card, card % 3 == 0) for card in range(60)])
        scores = np.random.default_rng(1).random(60)
        found = figures(data, np.arange(60), scores)
        assert found.ap == average_precision_score(data.frauds, scores)

    def test_a_card_counts_once_a_day_and_leaves_when_found(self) -> None:
        data = bought((0, 1, True), (0, 1, False), (0, 2, True), (1, 1, True), (1, 3, True))
        scores = np.array([0.9, 0.8, 0.1, 0.9, 0.5])
        rows = np.arange(5)
        assert card_precision(data, rows, scores, top=1) == 1.0  # card 1, then card 3
        assert card_precision(data, rows, scores, top=2) == 0.75  # cards 1 and 2, then card 3

    def test_a_test_without_fraud_has_none(self) -> None:
        data = bought((0, 1, False))
        with pytest.raises(ValueError, match="genuine and fraudulent"):
            figures(data, np.arange(1), np.ones(1))


class TestHandbook:
    def test_features_are_those_of_a_slow_reading(self) -> None:
        chance = np.random.default_rng(3)
        count = 400
        at_s = np.sort(chance.integers(0, 60 * 86_400, count)) + 1_522_540_800
        data = transactions(
            at_s,
            chance.integers(0, 8, count),
            chance.integers(0, 5, count),
            chance.integers(1, 9_000, count) / 100,
            chance.random(count) < 0.2,
        )
        found = handbook_features(data)
        for row in range(0, count, 7):
            assert found[row] == pytest.approx(_slowly(data, row))


def _slowly(data: Transactions, row: int) -> list[float]:
    at = int(data.at_s[row])
    moment = datetime.fromisoformat(str(np.datetime64(at, "s")))
    due = [data.minor[row] / 100, moment.weekday() >= 5, moment.hour <= 6]
    before = range(row + 1)
    for days in (1, 7, 30):
        own = [
            data.minor[i] / 100
            for i in before
            if data.customers[i] == data.customers[row] and at - days * 86_400 < data.at_s[i]
        ]
        due += [len(own), sum(own) / len(own)]
    for days in (1, 7, 30):
        there = [
            data.frauds[i]
            for i in before
            if data.terminals[i] == data.terminals[row]
            and at - (days + 7) * 86_400 < data.at_s[i] <= at - 7 * 86_400
        ]
        due += [len(there), sum(there) / len(there) if there else 0]
    return [float(figure) for figure in due]
