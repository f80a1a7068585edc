"""Recall by fraud pattern, on simulated histories that the model was not trained on.

A score holds what lies above the threshold that holds 1 % of the genuine sales of the same history.
Recall is stated of all sales of a pattern; of those behind an incident's first, since the first
sale of many incidents looks like any other until a second comes; and of incidents with any sale
held.

Beside the model stands what a sensible engineer has on the first day: a logistic regression on the
amount, the seller's counts and her tenure, trained on the very histories that the model is from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.features import FEATURES
from models.scorer import Scorer
from streams.demo.patterns import incident_of
from streams.fraud.measures import FALSE_POSITIVES
from streams.fraud.replay import replayed
from streams.training import History, company_history

AIM = 0.9
"""The recall that each pattern is to reach."""

BASELINE_FEATURES = ("amount", "sales_1h", "sales_24h", "experience", "tenure")
"""What the baseline knows of a sale."""

KINDS = ("sales", "later_sales", "incidents")
"""What a recall may be of."""

Scores = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Played:
    """The sales of one history: vectors, patterns and incidents (empty for genuine ones)."""

    rows: NDArray[np.float64]
    patterns: NDArray[np.str_]
    incidents: NDArray[np.str_]

    @property
    def later(self) -> NDArray[np.bool_]:
        """True for an incident's sales but the first."""
        behind: NDArray[np.bool_] = self.patterns != ""
        behind[np.unique(self.incidents, return_index=True)[1]] = False
        return behind


def play(seed: int, events: int, history: History = company_history) -> Played:
    """A seed's history through the features, as the stream computes them."""
    rows, patterns, incidents = [], [], []
    for item, row in replayed(history(seed, events)):
        rows.append(row)
        patterns.append(item.pattern or "")
        incidents.append(incident_of(item.event.sale_id or "") if item.pattern else "")
    return Played(
        np.array(rows, dtype=np.float64).reshape(-1, len(FEATURES)),
        np.array(patterns, dtype=np.str_),
        np.array(incidents, dtype=np.str_),
    )


def baseline(histories: Sequence[Played]) -> Scores:
    """The first day's model. Raises ValueError if there is no fraud or nothing but fraud."""
    columns = [FEATURES.index(name) for name in BASELINE_FEATURES]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    frauds = np.concatenate([one.patterns != "" for one in histories])
    if frauds.all() or not frauds.any():
        raise ValueError("a training needs genuine and fraudulent sales")
    model.fit(np.vstack([one.rows[:, columns] for one in histories]), frauds)
    return lambda rows: np.asarray(model.predict_proba(rows[:, columns])[:, 1], dtype=np.float64)


def recalls(played: Played, scores: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """The recall of each pattern in a history, by :data:`KINDS`; NaN where there is none to find.

    Raises ValueError for a history without genuine sales.
    """
    genuine = played.patterns == ""
    if not genuine.any():
        raise ValueError("a history needs genuine sales")
    threshold = np.quantile(scores[genuine], 1 - FALSE_POSITIVES, method="higher")
    held = scores > threshold
    later = played.later
    found = {}
    for pattern in sorted(set(played.patterns.tolist()) - {""}):
        these = played.patterns == pattern
        incidents = set(played.incidents[these].tolist())
        known = set(played.incidents[these & held].tolist())
        found[pattern] = {
            "sales": float(held[these].mean()),
            "later_sales": float(held[these & later].mean()) if (these & later).any() else np.nan,
            "incidents": len(known) / len(incidents),
        }
    return found


def evaluate_patterns(
    scorer: Scorer, seeds: Sequence[int], events: int, history: History = company_history
) -> Iterator[tuple[int, Played, dict[str, dict[str, dict[str, float]]]]]:
    """Seed after seed: its history, and the recalls of the ``model`` and of the ``baseline``.

    Raises ValueError for a seed that the model was trained on, or a model that does not say what
    histories it was trained on.
    """
    trained = scorer.provenance.get("train_seeds")
    if not isinstance(trained, list) or not trained:
        raise ValueError("the model was not trained on simulated histories")
    if known := sorted(set(seeds) & set(trained)):
        raise ValueError(f"the model was trained on seed {known[0]}")
    length = int(scorer.provenance["events_per_seed"])
    beside = baseline([play(seed, length, history) for seed in trained])
    for seed in seeds:
        played = play(seed, events, history)
        yield (
            seed,
            played,
            {
                "model": recalls(played, scorer.score(played.rows)),
                "baseline": recalls(played, beside(played.rows)),
            },
        )


def report(
    scorer: Scorer,
    events: int,
    tested: Sequence[tuple[int, Played, dict[str, dict[str, dict[str, float]]]]],
) -> dict[str, Any]:
    """Means and standard deviations over the seeds, and which patterns reach :data:`AIM`."""
    names = sorted({name for _, _, found in tested for name in found["model"]})
    patterns: dict[str, Any] = {}
    for name in names:
        patterns[name] = {
            "sales": sum(int((played.patterns == name).sum()) for _, played, _ in tested)
        } | {
            who: {
                kind: _spread(
                    [found[who][name][kind] for _, _, found in tested if name in found[who]]
                )
                for kind in KINDS
            }
            for who in ("model", "baseline")
        }
    reached = [name for name in names if patterns[name]["model"]["sales"]["mean"] >= AIM]
    return {
        "model": scorer.digest,
        "seeds": [seed for seed, _, _ in tested],
        "events": events,
        "genuine_sales": sum(int((played.patterns == "").sum()) for _, played, _ in tested),
        "false_positives": FALSE_POSITIVES,
        "patterns": patterns,
        "aim": AIM,
        "reached": reached,
        "not_reached": [name for name in names if name not in reached],
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return {"mean": 0.0, "sd": 0.0}
    return {"mean": round(float(known.mean()), 4), "sd": round(float(known.std()), 4)}
