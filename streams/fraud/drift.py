"""Drift in the stream: a sliding window of what sales are like now, against their model's training.

Every eighth sale is looked at, 128 of those at a time, so that a sale costs a fraction of a
microsecond. A window is the last 64 such blocks, 8,192 sales out of 65,536; it is kept as counts,
so its size is fixed.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence

import numpy as np

from models.drift import COLUMNS, Counts, Figures, Reference

SAMPLED = 8
"""One sale in so many is looked at."""

BLOCK = 128
"""Sales that are counted together."""

BLOCKS_MAX = 64
"""Blocks of a window."""

BLOCKS_MIN = 8
"""Blocks below which chance alone could look like drift, so nothing is told."""


class DriftWindow:
    """The last sales that one model scored."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        # Numpy takes longer to look through lists than an array takes to copy them.
        self._figures = array("d")
        self._blocks: deque[Counts] = deque()
        self._sum: Counts | None = None
        self._passed = 0

    def take(
        self, rows: Sequence[Sequence[float] | None], scores: Sequence[float | None]
    ) -> dict[str, float] | None:
        """Look at a batch; the index by column if it is due, else None. None in it is passed by."""
        first = -self._passed % SAMPLED
        self._passed = (self._passed + len(rows)) % SAMPLED
        figures = self._figures
        for row, score in zip(rows[first::SAMPLED], scores[first::SAMPLED], strict=True):
            if row is not None and score is not None:
                figures.extend(row)
                figures.append(score)
        if len(figures) < BLOCK * len(COLUMNS):
            return None
        self._figures = array("d")
        self._count(np.array(figures).reshape(-1, len(COLUMNS)))
        if self._sum is None or len(self._blocks) < BLOCKS_MIN:
            return None
        return self._reference.psi(self._sum)

    def _count(self, values: Figures) -> None:
        counts = self._reference.counts(values[:, :-1], values[:, -1])
        self._blocks.append(counts)
        self._sum = counts if self._sum is None else self._sum + counts
        if len(self._blocks) > BLOCKS_MAX:
            self._sum = self._sum - self._blocks.popleft()
