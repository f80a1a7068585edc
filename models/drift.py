"""Drift: how far today's sales are from those a model was trained on, feature by feature.

The measure is the population stability index. A figure's range is cut into bins at training, and
kept with the model together with the share of sales in each. Of the same figure later the index is
the sum over the bins of (share now - share then) * ln(share now / share then): 0 for the same,
below .1 much the same, above .25 another population.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features import FEATURES

BINS_MAX = 10
"""Most bins of a figure: the deciles at training, fewer where many sales share a value."""

PSI_MAX = 0.25
"""From here on it is another population."""

SHARE_MIN = 1e-4
"""A bin's share is taken to be no smaller: one that was empty must not make an infinity."""

COLUMNS = (*FEATURES, "score")
"""What is compared, in order: a vector's figures, and the score."""

_SUM_APART_MAX = 1e-3

Figures = NDArray[np.float64]
Counts = NDArray[np.int64]


class Reference:
    """Where the bins of each column are cut, and what share of the sales each held at training.

    A bin begins with its lower edge, and ends before the next one's.
    """

    def __init__(self, edges: Sequence[Sequence[float]], shares: Sequence[Sequence[float]]) -> None:
        """Raises ValueError if these are no bins of :data:`COLUMNS`, TypeError for no numbers."""
        if not len(edges) == len(shares) == len(COLUMNS):
            raise ValueError(f"a reference has {len(COLUMNS)} columns")
        # No value reaches the edges behind a column's last, so their bins stay empty.
        self._edges = np.full((len(COLUMNS), BINS_MAX - 1), np.inf)
        self._shares = np.zeros((len(COLUMNS), BINS_MAX))
        for column, (cuts, parts) in enumerate(zip(edges, shares, strict=True)):
            if not len(cuts) + 1 == len(parts) <= BINS_MAX:
                raise ValueError("each bin needs a share, and there are too few or too many")
            found, share = np.array(cuts, dtype=np.float64), np.array(parts, dtype=np.float64)
            if not (np.isfinite(found).all() and (np.diff(found) > 0).all()):
                raise ValueError("edges must be numbers that rise")
            if not ((share >= 0).all() and abs(share.sum() - 1) < _SUM_APART_MAX):
                raise ValueError("shares must sum to 1")
            self._edges[column, : len(found)] = found
            self._shares[column, : len(share)] = share
        self._used = np.arange(BINS_MAX) < np.array([[len(parts)] for parts in shares])
        self._first = np.arange(len(COLUMNS)) * BINS_MAX

    @classmethod
    def of(cls, rows: Figures, scores: Figures) -> Reference:
        """The reference that vectors and their scores make. Raises ValueError for none."""
        if not len(rows):
            raise ValueError("a reference needs sales")
        edges, shares = [], []
        for values in [*rows.T, scores]:
            cuts = _cuts(values)
            held = np.bincount(np.searchsorted(cuts, values, "right"), minlength=len(cuts) + 1)
            edges.append(cuts.tolist())
            shares.append(np.round(held / len(values), 6).tolist())
        return cls(edges, shares)

    @classmethod
    def read(cls, part: Any) -> Reference:
        """From a model's artefact. Raises ValueError, TypeError or LookupError on anything else."""
        if not isinstance(part, Mapping):
            raise TypeError("a reference is an object")
        return cls([part["edges"][name] for name in COLUMNS],
                   [part["shares"][name] for name in COLUMNS])  # fmt: skip

    def json(self) -> dict[str, Any]:
        """For an artefact."""
        bins = self._used.sum(axis=1).tolist()
        edges, shares = self._edges.tolist(), self._shares.tolist()
        return {
            "edges": {n: edges[i][: bins[i] - 1] for i, n in enumerate(COLUMNS)},
            "shares": {n: shares[i][: bins[i]] for i, n in enumerate(COLUMNS)},
        }

    def counts(self, rows: Figures, scores: Figures) -> Counts:
        """How many of the sales are in each bin: a row a column, :data:`BINS_MAX` wide."""
        values = np.column_stack([rows, scores])
        bins = np.repeat(self._first[None], len(values), axis=0)
        for edges in self._edges.T:  # three times as fast as all of them in one cube
            bins += values >= edges
        counted = np.bincount(bins.ravel(), minlength=len(COLUMNS) * BINS_MAX)
        return counted.reshape(len(COLUMNS), BINS_MAX)

    def psi(self, counts: Counts) -> dict[str, float]:
        """The index of each column, by name, from what :meth:`counts` gave, or a sum of such."""
        now = np.maximum(counts / counts.sum(axis=1, keepdims=True), SHARE_MIN)
        then = np.maximum(self._shares, SHARE_MIN)
        apart = np.where(self._used, (now - then) * np.log(now / then), 0.0).sum(axis=1)
        return dict(zip(COLUMNS, apart.tolist(), strict=True))


def _cuts(values: Figures) -> Figures:
    """The deciles. A value that takes two of them or more has a bin of its own.

    A figure that was always the same has one bin, and never drifts: the model learnt nothing of it.
    """
    deciles, times = np.unique(
        np.quantile(values, np.arange(1, BINS_MAX) / BINS_MAX, method="lower"), return_counts=True
    )
    ends = [values[values > one].min(initial=np.inf) for one in deciles[times > 1]]
    cuts = np.unique([*deciles, *ends])
    return np.asarray(cuts[(cuts > values.min()) & np.isfinite(cuts)], dtype=np.float64)
