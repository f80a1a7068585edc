"""What a score costs: our own sums, scikit-learn itself, and ONNX Runtime.

``python -m benchmarks.serving``: microseconds of CPU a sale, on one thread, at batches of 1, 200
and 1,000; and what the watch on drift adds. Ours are summed by numpy, and in a loop where it is
compiled. A challenger costs what the scorer does. ONNX Runtime is no dependency: without ``onnx``
and ``onnxruntime`` its row is left out. Its graph is made here from the model's numbers, in 64-bit
floats as ours: skl2onnx knows no products of chosen features.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from time import process_time
from typing import Any

import numpy as np

from models import logits, pipeline
from models.scorer import Scorer
from streams.fraud.drift import DriftWindow
from streams.settings import DEFAULTS

BATCHES = (1, 200, 1_000)
ROUNDS = 9
ROUND_S = 0.2

Score = Callable[[list[list[float]]], Any]


def ours(text: str) -> Score:
    """The product's scorer: a list of rows to probabilities."""
    return Scorer.load(text).score


def ours_in_numpy(text: str) -> Score:
    """As it is where nothing is compiled."""
    return Scorer.load(text).score_matrix


def scikit_learn(artefact: dict[str, Any]) -> Score:
    """The pipeline's own ``predict_proba``."""
    names = ("means", "scales", "pairs", "bound", "coefficients", "intercept")
    rebuilt = pipeline.rebuilt(**{name: artefact[name] for name in names})
    return lambda rows: pipeline.probabilities(rebuilt, np.array(rows))


def onnx_runtime(artefact: dict[str, Any]) -> Score | None:
    """The same model as a graph; None if ONNX Runtime is not installed."""
    try:
        import onnx  # noqa: PLC0415
        import onnxruntime  # noqa: PLC0415
        from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415
    except ImportError:
        return None
    bound, width = artefact["bound"], len(artefact["means"])
    constants = {
        "means": np.array(artefact["means"]),
        "scales": np.array(artefact["scales"]),
        "least": np.array(-bound),
        "most": np.array(bound),
        "left": np.array([pair[0] for pair in artefact["pairs"]]),
        "right": np.array([pair[1] for pair in artefact["pairs"]]),
        "weights": np.array(artefact["coefficients"])[:, None],
        "intercept": np.array([artefact["intercept"]]),
    }
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Sub", ["rows", "means"], ["centred"]),
            node("Div", ["centred", "scales"], ["scaled"]),
            node("Clip", ["scaled", "least", "most"], ["cut"]),
            node("Gather", ["cut", "left"], ["lefts"], axis=1),
            node("Gather", ["cut", "right"], ["rights"], axis=1),
            node("Mul", ["lefts", "rights"], ["crosses"]),
            node("Concat", ["cut", "crosses"], ["terms"], axis=1),
            node("MatMul", ["terms", "weights"], ["sums"]),
            node("Add", ["sums", "intercept"], ["logits"]),
            node("Sigmoid", ["logits"], ["scores"]),
        ],
        "scorer",
        [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, width])],
        [helper.make_tensor_value_info("scores", TensorProto.DOUBLE, [None, 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda rows: session.run(None, {"rows": np.array(rows)})[0][:, 0]


def per_sale_us(work: Callable[[], Any], sales: int) -> float:
    """Microseconds of CPU a sale: the best of some rounds, which others disturbed least."""
    work()
    began = process_time()
    work()
    times = max(3, round(ROUND_S / max(process_time() - began, 1e-6)))
    rounds = []
    for _ in range(ROUNDS):
        began = process_time()
        for _ in range(times):
            work()
        rounds.append((process_time() - began) / times / sales * 1e6)
    return min(rounds)


def rows_of(artefact: dict[str, Any], count: int) -> list[list[float]]:
    """Vectors like the ones in the stream: lists of floats."""
    probes = artefact["probes"]["rows"]
    return [list(probes[k % len(probes)]) for k in range(count)]


def main() -> None:
    """Measure, and print a table for docs/fraud.md."""
    text = (DEFAULTS / "model.json").read_text(encoding="ascii")
    artefact = json.loads(text)
    several: dict[str, Score | None] = {
        "ours, compiled": ours(text) if logits.LOOPS else None,
        "ours, by numpy": ours_in_numpy(text),
        "scikit-learn": scikit_learn(artefact),
        "ONNX Runtime": onnx_runtime(artefact),
    }
    tell(["µs of CPU a sale, batch of", *(f"{count:,}" for count in BATCHES), "furthest apart"])
    tell(["---"] * (len(BATCHES) + 2))
    due = np.array(ours(text)(rows_of(artefact, max(BATCHES))))
    for name, score in several.items():
        if score is None:
            continue
        apart = np.abs(np.asarray(score(rows_of(artefact, max(BATCHES)))) - due).max()
        figures = [_measured(score, rows_of(artefact, count)) for count in BATCHES]
        tell([name, *(f"{figure:.2f}" for figure in figures), f"{apart:.0e}"])
    scorer = Scorer.load(text)
    figures = []
    for count in BATCHES:
        window, rows = DriftWindow(scorer.reference), rows_of(artefact, count)
        scores = scorer.score(rows).tolist()
        figures.append(per_sale_us(lambda w=window, r=rows, s=scores: w.take(r, s), count))  # type: ignore[misc]
    tell(["watch on drift", *(f"{figure:.2f}" for figure in figures), ""])


def _measured(score: Score, rows: list[list[float]]) -> float:
    return per_sale_us(lambda: score(rows), len(rows))


def tell(cells: Sequence[str]) -> None:
    """Print a row of a Markdown table."""
    sys.stdout.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
