"""Logits: what a model's numbers come to for vectors, term after term.

The plain loop. It says in which order a logit is summed, so that a score can be derived again to
the last bit, and it is the quickest way where it is compiled (:mod:`models.compiled`). In plain
Python it would take twenty times as long as :mod:`models.scorer`, which lets numpy do the same
additions in the same order.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from models.compiled import is_compiled

LOOPS = is_compiled("logits")
"""Whether the loop is the quickest way here."""

_LOGIT_MAX = 40.0  # beyond this a probability is 0 or 1 to the last bit but one


def logits(  # noqa: PLR0917 - called for each batch
    rows: Sequence[Sequence[float]],
    means: Sequence[float],
    scales: Sequence[float],
    left: Sequence[int],
    right: Sequence[int],
    weights: Sequence[float],
    bound: float,
    intercept: float,
) -> list[float]:
    """The logit of each row.

    A feature is standardised, cut off at ``bound`` and weighed; then come the products of those
    that ``left`` and ``right`` name. ``weights`` are the features', then the products'.

    Raises ValueError for a row of another width or with a NaN or an infinity, TypeError for one
    that holds something else than numbers.
    """
    width, products = len(means), len(left)
    values = array("d", bytes(8 * width))
    found: list[float] = []
    for row in rows:
        _standardise(row, means, scales, bound, values)
        total = 0.0
        for k in range(width):
            total += values[k] * weights[k]
        for k in range(products):
            total += values[left[k]] * values[right[k]] * weights[width + k]
        found.append(total + intercept)
    return found


def shares(  # noqa: PLR0917 - called for each decision that is explained
    row: Sequence[float],
    means: Sequence[float],
    scales: Sequence[float],
    left: Sequence[int],
    right: Sequence[int],
    weights: Sequence[float],
    bound: float,
) -> list[float]:
    """What each feature adds to a row's logit: its own term, and half of those of its products.

    Raises what :func:`logits` raises.
    """
    width, products = len(means), len(left)
    values, found = array("d", bytes(8 * width)), array("d", bytes(8 * width))
    _standardise(row, means, scales, bound, values)
    for k in range(width):
        found[k] = values[k] * weights[k]
    for factors in (left, right):
        for k in range(products):
            term = values[left[k]] * values[right[k]] * weights[width + k]
            found[factors[k]] += term / 2.0
    return [found[k] for k in range(width)]  # compiled, list() would go through each as an object


def probabilities(found: Sequence[float]) -> list[float]:
    """The probability that each logit stands for.

    By the C library's exponential, one by one: numpy's differs between processors in the last bit.
    """
    probable: list[float] = []
    for logit in found:
        bounded = min(max(logit, -_LOGIT_MAX), _LOGIT_MAX)
        probable.append(1.0 / (1.0 + math.exp(-bounded)))
    return probable


def _standardise(
    row: Sequence[float],
    means: Sequence[float],
    scales: Sequence[float],
    bound: float,
    values: array[float],
) -> None:
    """Put a row's features into ``values``, each standardised and cut off at ``bound``."""
    width = len(means)
    if len(row) != width:
        raise ValueError(f"a row of {len(row)} numbers; due are {width}")
    for k in range(width):
        value = row[k]
        if not math.isfinite(value):
            raise ValueError("a vector holds a NaN or an infinity")
        value = (value - means[k]) / scales[k]
        value = min(value, bound)
        values[k] = max(value, -bound)
