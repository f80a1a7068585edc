"""The handbook's prequential protocol: who is tested when, and how well a score does.

A fold trains up to a day, waits for the days in which labels are not known yet, and tests on the
days after it. Customers whose fraud is known drop out of the test: those with a fraud in the seven
days before the wait, and, day by day, those with one a wait and a day before the day tested. That
population does not change with the days that are trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from streams.fraud.fdh import Flags, Matrix, Numbers, Transactions

TRAIN_DAYS = 7
"""Days of the handbook's training; they also say which customers are known at the test's start."""

DELAY_DAYS = 7
"""Days in which labels are not known."""

TEST_DAYS = 7
"""Days of a test, and from a fold to the next."""

WARM_UP_DAYS = 14
"""Days at the data's beginning that are not trained on: too little is known of anybody, and no
label for the first seven."""

TOP_CARDS = 100
"""Cards that are looked into each day."""

_EPOCH = date(1970, 1, 1)


def day_number(day: date) -> int:
    """Days since the epoch."""
    return (day - _EPOCH).days


@dataclass(frozen=True, slots=True)
class Fold:
    """One training and its test, by the first day of the handbook's training."""

    start: date

    @property
    def trained_until(self) -> date:
        """The last day trained on."""
        return self.start + timedelta(days=TRAIN_DAYS - 1)

    @property
    def test_from(self) -> date:
        """The first day of the test."""
        return self.start + timedelta(days=TRAIN_DAYS + DELAY_DAYS)

    @property
    def test_until(self) -> date:
        """The last day of the test."""
        return self.test_from + timedelta(days=TEST_DAYS - 1)

    def within(self, data: Transactions) -> bool:
        """Whether the data has days of the training, and reaches the test's last."""
        first, last = int(data.days[0]), int(data.days[-1])
        return first <= day_number(self.start) and day_number(self.test_until) <= last

    def training(self, data: Transactions, days: int | None) -> NDArray[np.intp]:
        """The rows of the last ``days`` days of training. None: of all days behind the warm-up.

        Data that is no longer than the warm-up and a week is trained on from its first day.
        """
        end = day_number(self.trained_until)
        if days is None:
            past = end + 1 - int(data.days[0])
            days = past - WARM_UP_DAYS if past >= WARM_UP_DAYS + TRAIN_DAYS else past
        return np.flatnonzero((data.days > end - days) & (data.days <= end))

    def test(self, data: Transactions) -> NDArray[np.intp]:
        """The rows of the test: none of a customer whose fraud is known by that day."""
        first = day_number(self.start)
        days = data.days
        known: set[int] = set()
        rows: list[NDArray[np.intp]] = []
        for day in range(first + TRAIN_DAYS + DELAY_DAYS, day_number(self.test_until) + 1):
            labelled = day - DELAY_DAYS - 1
            since = first if not rows else labelled
            told = (days >= since) & (days <= labelled) & data.frauds
            known.update(data.customers[told].tolist())
            due = np.flatnonzero(days == day)
            rows.append(due[~np.isin(data.customers[due], sorted(known))])
        return np.concatenate(rows)


def last_folds(data: Transactions, count: int) -> list[Fold]:
    """The folds whose tests are the data's last weeks, the earliest first."""
    last = _EPOCH + timedelta(days=int(data.days[-1]))
    start = last - timedelta(days=TRAIN_DAYS + DELAY_DAYS + TEST_DAYS - 1)
    return [Fold(start - timedelta(days=TEST_DAYS * k)) for k in reversed(range(count))]


@dataclass(frozen=True, slots=True)
class Figures:
    """How well a score ranks a test's transactions."""

    auc: float
    """Area under the ROC curve."""
    ap: float
    """Average precision."""
    cp100: float
    """Card precision: the share of frauds in the 100 cards of the highest score, a day."""
    cp100_share: float
    """That, of what a perfect score reaches."""


def figures(data: Transactions, rows: NDArray[np.intp], scores: Matrix) -> Figures:
    """The figures of a test. Raises ValueError if it holds no fraud or nothing but fraud."""
    frauds = data.frauds[rows]
    if frauds.all() or not frauds.any():
        raise ValueError("a test needs genuine and fraudulent transactions")
    cp100 = card_precision(data, rows, scores)
    return Figures(
        auc=float(roc_auc_score(frauds, scores)),
        ap=float(average_precision_score(frauds, scores)),
        cp100=cp100,
        cp100_share=cp100 / card_precision(data, rows, frauds.astype(np.float64)),
    )


def card_precision(
    data: Transactions, rows: NDArray[np.intp], scores: Matrix, top: int = TOP_CARDS
) -> float:
    """The mean over the days of the share of frauds in the ``top`` cards of the day.

    A card has the highest score of its day. A card that was found leaves the days that follow.
    """
    days, cards, frauds = data.days[rows], data.customers[rows], data.frauds[rows]
    found: list[int] = []
    shares = []
    for day in np.unique(days):
        due = (days == day) & ~np.isin(cards, found)
        caught = _caught(cards[due], scores[due], frauds[due], top)
        shares.append(len(caught) / top)
        found += caught.tolist()
    return float(np.mean(shares))


def _caught(cards: Numbers, scores: Matrix, frauds: Flags, top: int) -> Numbers:
    names, place = np.unique(cards, return_inverse=True)
    highest = np.full(len(names), -np.inf)
    np.maximum.at(highest, place, scores)
    bad = np.zeros(len(names), dtype=np.bool_)
    np.logical_or.at(bad, place, frauds)
    first = np.argsort(-highest, kind="stable")[:top]
    caught: Numbers = names[first][bad[first]]
    return caught
