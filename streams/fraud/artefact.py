"""The artefact of a fraud model: fitted, with all that is kept beside its numbers, and written.

Whatever a model is trained on, it becomes a file here, in the format that
:class:`models.scorer.Scorer` reads. Numbers in JSON only: reading one runs no code.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from models import pipeline
from models.drift import Reference
from models.features import FEATURES
from models.scorer import FORMAT, Scorer, digest_of

BOUND = 4.0
"""Standard deviations at which a feature is cut off, so that no outlier decides alone, and amounts
far beyond those trained on are taken for the largest of them."""

STRENGTH = 1.0
"""Inverse of the regularisation's strength."""

_PROBES = 32

Figures = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = Mapping[str, Any]


def features_digest() -> str:
    """SHA-256 of the features' names in order: which vectors a model is for."""
    return sha256(json.dumps(FEATURES).encode()).hexdigest()


def fitted(
    rows: Figures,
    frauds: Flags,
    crosses: Sequence[tuple[str, str]],
    weights: Figures | None = None,
) -> dict[str, Any]:
    """A model as numbers. ``crosses``: pairs of features whose product is a term of its own.

    ``weights`` says how many sales a row stands for; None: one. The same rows, the same numbers.
    """
    pairs = [(FEATURES.index(left), FEATURES.index(right)) for left, right in crosses]
    made = pipeline.unfitted(pairs, BOUND, strength=STRENGTH)
    # The variance of a feature that never varies may come out a little below zero; scikit-learn
    # takes its square root before it sees that.
    with np.errstate(invalid="ignore"):
        made.fit(rows, frauds, model__sample_weight=weights)
    scale, model = made.named_steps["scale"], made.named_steps["model"]
    return {
        "means": scale.mean_.tolist(),
        "scales": scale.scale_.tolist(),
        "pairs": [list(pair) for pair in pairs],
        "bound": BOUND,
        "coefficients": model.coef_[0].tolist(),
        "intercept": float(model.intercept_[0]),
    }


def scores(numbers: Numbers, rows: Figures) -> Figures:
    """What scikit-learn makes of the numbers: the probability of fraud of each row."""
    rebuilt = pipeline.rebuilt(**numbers)
    return np.asarray(pipeline.probabilities(rebuilt, rows), dtype=np.float64)


def sealed(
    numbers: Numbers,
    rows: Figures,
    frauds: Flags,
    *,
    provenance: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> dict[str, Any]:
    """The artefact of a model that was trained on ``rows``, with its digest."""
    probes = _probes(rows, frauds)
    artefact: dict[str, Any] = {
        "format": FORMAT,
        "features": list(FEATURES),
        "sklearn": pipeline.VERSION,
        **numbers,
        "probes": {"rows": probes.tolist(), "scores": scores(numbers, probes).tolist()},
        "reference": Reference.of(rows, scores(numbers, rows)).json(),
        "provenance": {
            **provenance,
            "features_digest": features_digest(),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "metrics": metrics,
    }
    artefact["digest"] = digest_of(artefact)
    return artefact


def write(artefact: Mapping[str, Any], out: Path) -> None:
    """Write a model to a file, whole or not at all.

    Raises :class:`models.scorer.ModelUnreadable` if it could not be read back, and OSError.
    """
    lines = [
        f"{json.dumps(name)}: {json.dumps(part, sort_keys=True, allow_nan=False)}"
        for name, part in sorted(artefact.items())
    ]
    # A line for each part, so that a change shows where it is.
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    Scorer.load(text)
    replace(out, text)


def replace(path: Path, text: str) -> None:
    """Write a file, whole or not at all. Raises OSError."""
    with replacing(path) as file:
        file.write(text)


@contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """A file to write, which takes the place of another one when it is whole. Raises OSError.

    Whoever reads it finds the old text or the new one. A link stays: what it leads to is replaced.
    """
    path = path.resolve()
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        part = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.chmod(mode)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _probes(rows: Figures, frauds: Flags) -> Figures:
    """A few rows of each kind, evenly spread: what a loaded model must score as it did here."""
    picked = []
    for kind in (frauds, ~frauds):
        where = np.flatnonzero(kind)
        spread = np.linspace(0, len(where) - 1, min(_PROBES // 2, len(where)))
        picked.append(where[spread.astype(np.intp)])
    probes: Figures = rows[np.concatenate(picked)]
    return probes
