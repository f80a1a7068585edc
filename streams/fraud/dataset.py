"""Training sets: decided sales, what became known of them, in JSON lines.

The first line names the features, the others are a sale each, in any order. Nothing in it says who
sold or who bought: of a sale there is the hash of its event's id, by which whoever has the event
finds its line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from models.features import FEATURES

FORMAT = 1
"""Version of the file's format."""

WEIGHT_MAX = 1_000.0
"""Most sales that one may stand for."""

_ROWS = 4_096  # are put together at a time

Figures = NDArray[np.float64]


class Label(IntEnum):
    """What is known of a sale."""

    UNKNOWN = -1
    GENUINE = 0
    FRAUD = 1


@dataclass(frozen=True, slots=True)
class Example:
    """A decided sale."""

    event_id: str
    at_ms: int
    label: Label
    weight: float
    """How many sales it stands for."""
    score: float
    model: str
    """Digest of the model that gave the score."""
    vector: tuple[float, ...]
    challenger: tuple[str, float] | None = None
    """Digest and score of the model that scored in its shadow."""

    def line(self) -> str:
        """As in the file."""
        body: dict[str, Any] = {
            "sale": sale_hash(self.event_id),
            "at_ms": self.at_ms,
            "label": self.label.name.lower(),
            "weight": self.weight,
            "score": self.score,
            "model": self.model,
        }
        if self.challenger is not None:
            body["challenger"] = {"model": self.challenger[0], "score": self.challenger[1]}
        body["vector"] = self.vector
        return json.dumps(body, separators=(",", ":"), allow_nan=False)


class DatasetUnreadable(Exception):
    """A file is no training set that this code can use; one line."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Sales in order of time, a row each."""

    rows: Figures
    labels: NDArray[np.int8]
    weights: Figures
    at_ms: NDArray[np.int64]
    scores: Figures
    models: list[str]
    challengers: list[tuple[str, float] | None]
    digest: str
    """SHA-256 of all that was read, in hexadecimal."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """True where a sale's label is known."""
        return np.asarray(self.labels != Label.UNKNOWN, dtype=np.bool_)

    @property
    def frauds(self) -> NDArray[np.bool_]:
        """True where a sale is known as a fraud."""
        return np.asarray(self.labels == Label.FRAUD, dtype=np.bool_)


def sale_hash(event_id: str) -> str:
    """What a line has in place of its event's id."""
    return sha256(event_id.encode()).hexdigest()[:16]


def header(**more: Any) -> str:
    """A file's first line."""
    return json.dumps({"training_set": FORMAT, "features": list(FEATURES), **more})


def write(examples: Iterable[Example], to: IO[str], **more: Any) -> dict[Label, int]:
    """Write a file; how many sales of each label. ``more`` stands in the first line."""
    to.write(header(**more) + "\n")
    counts = dict.fromkeys(Label, 0)
    for example in examples:
        to.write(example.line() + "\n")
        counts[example.label] += 1
    return counts


def read(path: Path) -> Dataset:
    """Read a file. Raises DatasetUnreadable."""
    try:
        with path.open("rb") as file:
            return collected(_lines(file))
    except OSError as error:
        raise DatasetUnreadable(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DatasetUnreadable(f"{path}: {error}") from None


def collected(lines: Iterable[bytes]) -> Dataset:
    """What the lines of a file tell, or as many lines that were never written.

    Raises ValueError for a line that is none.
    """
    digest = sha256()
    counted: list[tuple[int, int, float, float]] = []  # time, label, weight, score
    models: list[str] = []
    challengers: list[tuple[str, float] | None] = []
    parts: list[Figures] = []
    rows: list[list[float]] = []
    known: dict[str, str] = {}  # one text for each model, however many lines name it
    for number, line in enumerate(lines):
        digest.update(line)
        if number == 0:
            _check_header(line)
            continue
        try:
            at_ms, label, weight, score, model, row, challenger = _example(line)
        except (ValueError, TypeError, LookupError) as error:
            raise ValueError(f"line {number + 1} is no sale: {error!r}") from None
        counted.append((at_ms, label, weight, score))
        models.append(known.setdefault(model, model))
        challengers.append(challenger)
        rows.append(row)
        if len(rows) == _ROWS:
            parts.append(np.array(rows, dtype=np.float64))
            rows = []
    if not counted:
        raise ValueError("there are no sales in it")
    if rows:
        parts.append(np.array(rows, dtype=np.float64))
    matrix = np.vstack(parts)
    at = np.array([one[0] for one in counted], dtype=np.int64)
    order = np.lexsort((*matrix.T, at))
    return Dataset(
        rows=matrix[order],
        labels=np.array([one[1] for one in counted], dtype=np.int8)[order],
        weights=np.array([one[2] for one in counted])[order],
        at_ms=at[order],
        scores=np.array([one[3] for one in counted])[order],
        models=[models[i] for i in order],
        challengers=[challengers[i] for i in order],
        digest=digest.hexdigest(),
    )


def _lines(file: Iterable[bytes]) -> Iterator[bytes]:
    for line in file:
        if not line.endswith(b"\n"):
            raise ValueError("the last line is cut off")
        yield line


def _check_header(line: bytes) -> None:
    try:
        found = json.loads(line)
        form, features = found["training_set"], found["features"]
    except (ValueError, TypeError, LookupError):
        raise ValueError("no training set: the first line names no features") from None
    if form != FORMAT:
        raise ValueError(f"format {form!r}; this code reads {FORMAT}")
    if features != list(FEATURES):
        raise ValueError("made of other features than this code computes")


_Read = tuple[int, int, float, float, str, list[float], tuple[str, float] | None]


def _example(line: bytes) -> _Read:
    body = json.loads(line)
    row = [float(figure) for figure in body["vector"]]
    weight, score = float(body["weight"]), float(body["score"])
    if len(row) != len(FEATURES) or not all(map(isfinite, row)):
        raise ValueError("a vector of other features")
    if not (0 < weight <= WEIGHT_MAX and 0 <= score <= 1):
        raise ValueError("a weight or score out of bounds")
    rival = body.get("challenger")
    challenger = None if rival is None else (str(rival["model"]), float(rival["score"]))
    label = Label[body["label"].upper()]
    return int(body["at_ms"]), label, weight, score, str(body["model"]), row, challenger
