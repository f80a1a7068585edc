"""The scorer: the probability that a sale is fraud, from its vector of features.

The model is a scikit-learn pipeline kept as JSON: numbers, a digest, and where it came from; no
pickle, so reading one runs no code. On loading, the pipeline is rebuilt from the numbers, and the
scorer, a few lines of numpy or a loop (:mod:`models.logits`), must agree with it and with the
scores recorded at training.

A score does not depend on the batch it is computed in: sums are taken in a fixed order, element by
element, and never by a matrix product, whose rounding changes with the shape. So a score can be
derived again from a published vector, bit for bit.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from hashlib import sha256
from struct import Struct
from struct import error as StructError
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models import logits
from models.drift import Reference
from models.features import FEATURES

FORMAT = 2
"""Version of the artefact's format."""

ARTEFACT_BYTES_MAX = 1_000_000
"""Largest artefact that is read, in bytes."""

PARITY_MAX = 1e-9
"""How far a score may lie from scikit-learn's."""

_REASONS = 3
_SHARE_MIN = 0.1  # of a logit: below it a feature is not worth a reviewer's time
_BLOCK = 256  # rows whose terms fit a processor's cache
_LOOP_MIN = 128  # columns from which on a loop over the terms is the faster way to add them


_pack = Struct(f"={len(FEATURES)}d").pack


class ModelUnreadable(Exception):
    """A model that must not score: damaged, tampered with, or made for other features or code."""


class RowRefused(ValueError):
    """A matrix that cannot be scored: of another width, or with a NaN or an infinity in it."""


def digest_of(artefact: Mapping[str, Any]) -> str:
    """SHA-256 of an artefact's canonical JSON, without its own digest, in hexadecimal."""
    body = {name: value for name, value in artefact.items() if name != "digest"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()


class Scorer:
    """A loaded model. Immutable; use :meth:`load`."""

    def __init__(self, artefact: Mapping[str, Any]) -> None:
        """From a checked artefact; raises what the checks below raise on a malformed one."""
        width = len(FEATURES)
        self.digest = str(artefact["digest"])
        """Identifies the model in decisions."""
        self.sklearn_version = str(artefact["sklearn"])
        """The scikit-learn the model was trained with."""
        self.metrics: Mapping[str, Any] = artefact["metrics"]
        self.provenance: Mapping[str, Any] = artefact["provenance"]
        self.reference = Reference.read(artefact["reference"])
        """The sales it was trained on, as drift is told from them."""
        means = _numbers(artefact["means"], width)
        scales = _numbers(artefact["scales"], width)
        if not (scales > 0).all():
            raise ValueError("a scale must be positive")
        pairs = [_pair(pair, width) for pair in artefact["pairs"]]
        self._means = means[:, None]
        self._scales = scales[:, None]
        self._left = np.array([pair[0] for pair in pairs], dtype=np.intp)
        self._right = np.array([pair[1] for pair in pairs], dtype=np.intp)
        self._weights = _numbers(artefact["coefficients"], width + len(pairs))[:, None]
        self._intercept = float(_numbers([artefact["intercept"]], 1)[0])
        self._bound = float(_numbers([artefact["bound"]], 1)[0])
        if self._bound <= 0:
            raise ValueError("the bound must be positive")
        self._columns = (
            array("d", means),
            array("d", scales),
            array("q", self._left),
            array("q", self._right),
            array("d", self._weights[:, 0]),
        )

    def is_above(self, feature: int, value: float) -> bool:
        """Whether a value of a feature is at or above its mean in training."""
        return value >= self._columns[0][feature]

    @property
    def intercept(self) -> float:
        """The logit of a sale of which no feature says anything."""
        return self._intercept

    @classmethod
    def load(cls, text: str) -> Scorer:
        """The scorer that an artefact describes. Raises :class:`ModelUnreadable`."""
        artefact = _read(text)
        try:
            scorer = cls(artefact)
            rows = np.array([_numbers(r, len(FEATURES)) for r in artefact["probes"]["rows"]])
            expected = _numbers(artefact["probes"]["scores"], len(rows))
            if not len(rows):
                raise ValueError("no probes")
            with np.errstate(all="ignore"):  # an overflow ends in a score that differs
                scores = scorer.score_matrix(rows)
                of_lists = scorer.score(rows.tolist())
                rebuilt = _scikit_learn(artefact, rows)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise ModelUnreadable(f"malformed: {error!r}") from None
        if scores.tolist() != of_lists.tolist():
            raise ModelUnreadable("scores of lists differ from those of a matrix")
        for name, others in (("scikit-learn", rebuilt), ("training", expected)):
            apart = float(np.abs(scores - others).max())
            if not apart <= PARITY_MAX:
                raise ModelUnreadable(f"scores differ from those of {name} by {apart:.3g}")
        return scorer

    def score(self, rows: ArrayLike) -> NDArray[np.float64]:
        """The probability of fraud for each row. Raises :class:`RowRefused`."""
        if logits.LOOPS and _are_lists(rows):
            return np.array(logits.probabilities(self._looped(rows)))
        return self.score_matrix(rows)

    def score_matrix(self, matrix: ArrayLike) -> NDArray[np.float64]:
        """The same to the last bit, by numpy."""
        rows = _checked(matrix)
        found: list[float] = []
        for k in range(0, len(rows), _BLOCK):
            sums = _sums(self._terms(rows[k : k + _BLOCK]))
            sums += self._intercept
            found += sums.tolist()
        return np.array(logits.probabilities(found))

    def _looped(self, rows: list[list[float]]) -> list[float]:
        try:
            return logits.logits(rows, *self._columns, self._bound, self._intercept)
        except (TypeError, ValueError) as error:
            raise RowRefused(str(error)) from None

    def shares(self, row: Sequence[float]) -> list[float]:
        """What each feature adds to a row's logit; they sum to it, but for the intercept.

        Exact: a product's share goes half to each of its factors.
        """
        if logits.LOOPS and type(row) is list:
            try:
                return logits.shares(row, *self._columns, self._bound)
            except (TypeError, ValueError) as error:
                raise RowRefused(str(error)) from None
        terms = self._terms(_checked([row]))[:, 0]
        width = len(FEATURES)
        shares = terms[:width].copy()
        halves = terms[width:] / 2
        np.add.at(shares, self._left, halves)
        np.add.at(shares, self._right, halves)
        found: list[float] = shares.tolist()
        return found

    def reasons(self, row: Sequence[float]) -> list[str]:
        """The features that speak most for fraud in a row, strongest first, in a reviewer's words.

        At most three, and none that adds next to nothing.
        """
        shares = self.shares(row)
        strong = [i for i, share in enumerate(shares) if share > _SHARE_MIN]
        strong.sort(key=shares.__getitem__, reverse=True)
        return [WORDS[FEATURES[i]][0 if self.is_above(i, row[i]) else 1] for i in strong[:_REASONS]]

    def _terms(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each feature and each product adds to the logits, one column a row."""
        width = len(FEATURES)
        terms = np.empty((len(self._weights), len(rows)))
        values = terms[:width]
        np.subtract(rows.T, self._means, out=values)
        values /= self._scales
        np.minimum(values, self._bound, out=values)
        np.maximum(values, -self._bound, out=values)
        np.multiply(values[self._left], values[self._right], out=terms[width:])
        terms *= self._weights
        return terms


def _are_lists(rows: ArrayLike) -> TypeGuard[list[list[float]]]:
    return isinstance(rows, list) and all(type(row) is list for row in rows)


def _checked(matrix: ArrayLike) -> NDArray[np.float64]:
    """Rows of the right width, all finite. Raises :class:`RowRefused`."""
    rows = _matrix(matrix)
    width = len(FEATURES)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise RowRefused(f"shape {rows.shape}; due are rows of {width}")
    if not np.isfinite(rows).all():
        raise RowRefused("a vector holds a NaN or an infinity")
    return rows


def _matrix(rows: ArrayLike) -> NDArray[np.float64]:
    # Packing a list's rows one by one takes half as long as numpy takes to look through them.
    if isinstance(rows, list) and rows and isinstance(rows[0], list | tuple):
        try:
            packed = b"".join([_pack(*row) for row in rows])
        except StructError as error:
            raise RowRefused(str(error)) from None
        return np.frombuffer(packed).reshape(-1, len(FEATURES))
    return np.asarray(rows, dtype=np.float64)


def _sums(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of each column, term after term, so that its last bit is the same in any batch."""
    if terms.shape[1] < _LOOP_MIN:
        sums: NDArray[np.float64] = np.add.accumulate(terms, axis=0)[-1]
        return sums
    sums = terms[0].copy()
    for term in terms[1:]:
        sums += term
    return sums


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number of a model")


def _read(text: str) -> Mapping[str, Any]:
    if len(text) > ARTEFACT_BYTES_MAX:
        raise ModelUnreadable(f"{len(text)} characters; at most {ARTEFACT_BYTES_MAX}")
    try:
        artefact = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelUnreadable(f"not JSON: {error}") from None
    if not isinstance(artefact, dict):
        raise ModelUnreadable("not a JSON object")
    if artefact.get("format") != FORMAT:
        raise ModelUnreadable(f"format {artefact.get('format')!r}; this code reads {FORMAT}")
    try:
        digest = digest_of(artefact)
    except (ValueError, RecursionError) as error:
        raise ModelUnreadable(f"malformed: {error}") from None
    if artefact.get("digest") != digest:
        raise ModelUnreadable("the digest does not fit the content")
    if artefact.get("features") != list(FEATURES):
        raise ModelUnreadable("made for other features than this code computes")
    return artefact


def _scikit_learn(artefact: Mapping[str, Any], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    # Imported here: it takes a second, which only loading a model needs.
    from models import pipeline  # noqa: PLC0415

    rebuilt = pipeline.rebuilt(
        means=artefact["means"],
        scales=artefact["scales"],
        pairs=[(int(left), int(right)) for left, right in artefact["pairs"]],
        bound=artefact["bound"],
        coefficients=artefact["coefficients"],
        intercept=artefact["intercept"],
    )
    return np.asarray(pipeline.probabilities(rebuilt, rows), dtype=np.float64)


def _numbers(values: Any, length: int) -> NDArray[np.float64]:
    if not isinstance(values, list) or len(values) != length:
        raise ValueError(f"a list of {length} numbers is due")
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        raise TypeError("a number is due")
    numbers = np.array(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("a number is not finite")
    return numbers


def _pair(pair: Any, width: int) -> tuple[int, int]:
    left, right = pair
    if not (isinstance(left, int) and isinstance(right, int)):
        raise TypeError("a pair is of integers")
    if not (0 <= left < width and 0 <= right < width):
        raise ValueError("a pair names a feature that does not exist")
    return left, right


WORDS: dict[str, tuple[str, str]] = {
    "amount": ("large amount", "very small amount"),
    "amount_against_own": (
        "amount far above this seller's usual",
        "amount far below this seller's usual",
    ),
    "sales_1h": ("many sales within the hour", "few sales within the hour"),
    "sales_24h": ("many sales within the day", "few sales within the day"),
    "burst_1h": ("sales come much faster than usual", "sales come slower than usual"),
    "volume_burst_24h": (
        "the day's volume is far above this seller's usual",
        "the day's volume is below this seller's usual",
    ),
    "returns_ratio": ("much of what was sold came back", "hardly anything sold came back"),
    "tenure": ("joined long ago", "joined recently"),
    "experience": ("many sales before", "few or no sales before"),
    "since_last_sale": ("first sale after a long pause", "just after the sale before"),
    "payout_just_changed": (
        "payout destination changed shortly before",
        "payout destination not changed lately",
    ),
    "foreign": ("sold outside the seller's country", "sold in the seller's country"),
    "card_1h": ("card used several times within the hour", "card not used within the hour"),
    "card_24h": ("card used several times within the day", "card not used within the day"),
    "card_other_sellers": ("card also used with other sellers", "card used with one seller"),
    "card_new_sellers": (
        "card moves between sellers",
        "card stays with its sellers",
    ),
    "card_share": (
        "one card pays much of this seller's sales",
        "card pays little of this seller's sales",
    ),
    "card_other_customer": (
        "card used before under another customer's name",
        "card used by one customer",
    ),
    "card_7d": ("card used often within the week", "card hardly used within the week"),
    "card_experience": ("many payments with the card before", "few or no payments before"),
    "card_age": ("card seen first long ago", "card seen first recently"),
    "card_last": ("card not used for long", "card used just before"),
    "card_amount_against_own": (
        "amount far above what the card usually pays",
        "amount far below what the card usually pays",
    ),
    "card_spent_7d": (
        "card paid more this week than it usually does",
        "card paid less this week than it usually does",
    ),
    "card_high_7d": (
        "card paid unusually high amounts this week",
        "card paid no unusually high amount this week",
    ),
    "card_high_28d": (
        "card paid unusually high amounts this month",
        "card paid no unusually high amount this month",
    ),
    "card_high_last": (
        "card's last unusually high amount is long ago",
        "card paid an unusually high amount lately",
    ),
    "card_high_second": (
        "card's unusually high amounts are long ago",
        "card paid two unusually high amounts lately",
    ),
    "card_high_third": (
        "card's unusually high amounts are long ago",
        "card paid three unusually high amounts lately",
    ),
    "card_high_fourth": (
        "card's unusually high amounts are long ago",
        "card paid four unusually high amounts lately",
    ),
    "card_fraud_last": (
        "no known fraud on the card lately",
        "a known fraud on the card lately",
    ),
    "card_genuine_last": (
        "nothing genuine known from the card for long",
        "a sale known as genuine from the card lately",
    ),
    "card_frauds_28d": ("known frauds on the card", "no known frauds on the card"),
    "device_1h": ("device used many times within the hour", "device not used within the hour"),
    "device_other_sellers": ("device shared by several sellers", "device used by one seller"),
    "device_new_sellers": ("device moves between sellers", "device stays with its sellers"),
    "device_new_to_seller": ("device of another seller", "device known with this seller"),
    "device_7d": ("device used often within the week", "device hardly used within the week"),
    "device_experience": ("many sales on the device before", "few or no sales on the device"),
    "device_last": ("device not used for long", "device used just before"),
    "device_amount_against_own": (
        "amount far above what is usually sold on the device",
        "amount far below what is usually sold on the device",
    ),
    "device_spent_7d": (
        "more sold on the device this week than usual",
        "less sold on the device this week than usual",
    ),
    "device_fraud_run": (
        "known frauds on the device and nothing genuine since",
        "no unbroken run of frauds on the device",
    ),
    "device_fraud_first": (
        "no run of known frauds on the device, or an old one",
        "a run of known frauds on the device began lately",
    ),
    "device_fraud_last": (
        "no known fraud on the device lately",
        "a known fraud on the device lately",
    ),
    "device_genuine_last": (
        "nothing genuine known from the device for long",
        "a sale known as genuine from the device lately",
    ),
    "device_frauds_28d": ("known frauds on the device", "no known frauds on the device"),
    "device_fraud_share": (
        "much of what is known of the device is fraud",
        "hardly anything known of the device is fraud",
    ),
    "customer_1h": ("customer buys several times an hour", "customer bought nothing this hour"),
    "customer_24h": ("customer buys several times a day", "customer bought nothing this day"),
    "customer_7d": ("customer buys often within the week", "customer hardly buys within the week"),
    "customer_other_sellers": (
        "customer buys from several sellers",
        "customer buys from one seller",
    ),
    "customer_new_sellers": (
        "customer moves between sellers",
        "customer stays with the same sellers",
    ),
    "customer_other_card": (
        "customer pays with another card than before",
        "customer pays with the card of before",
    ),
    "customer_experience": ("many purchases of the customer", "few or no purchases before"),
    "customer_last": ("customer not seen for long", "customer bought just before"),
    "customer_amount_against_own": (
        "amount far above what the customer usually buys for",
        "amount far below what the customer usually buys for",
    ),
    "customer_spent_7d": (
        "customer bought for more this week than usual",
        "customer bought for less this week than usual",
    ),
    "own_purchase": ("the seller buys from herself", "the buyer is not known to be the seller"),
    "own_share": (
        "much of what she sold this week she bought herself",
        "hardly anything she sold this week she bought herself",
    ),
    "amounts_alike_1h": (
        "one sale after another of the same amount",
        "amounts differ from sale to sale",
    ),
    "strangers_1h": (
        "many cards never seen before within the hour",
        "no cards never seen before within the hour",
    ),
    "linked_sellers": (
        "shares cards or devices with several sellers",
        "shares no card or device with other sellers",
    ),
    "period_left": ("early in the month", "near the end of the month"),
    "account_sellers": (
        "paid to an account that other sellers share",
        "nobody else is paid to her accounts",
    ),
    "upline_returns": (
        "much of what her upline's team sold came back",
        "hardly anything came back of what her upline's team sold",
    ),
}
"""What a feature says when it speaks for fraud: above its mean, and below it."""

if tuple(WORDS) != FEATURES:
    raise RuntimeError("every feature needs its words")
