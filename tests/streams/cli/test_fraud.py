"""`payouts fraud evaluate`: figures of a small company, and one line for what is no such file."""

from __future__ import annotations

import json
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from streams.cli import app
from streams.fraud import trees
from streams.fraud.fdh import read
from streams.fraud.prequential import Fold, card_precision, last_folds

runner = CliRunner()

DAYS = 36
FIRST_S = 1_522_540_800  # 2018-04-01
PUBLISHED = Path(__file__).parents[4] / "shared" / "data" / "fdh_transactions.parquet"


def table(days: int = DAYS, a_day: int = 150) -> pa.Table:
    """Cards that pay their usual amounts; some pay three times as much, and that is fraud."""
    chance = np.random.default_rng(5)
    count = days * a_day
    at_s = FIRST_S + np.sort(chance.integers(0, days * 86_400, count))
    cards = chance.integers(0, 300, count)
    frauds = chance.random(count) < 0.03
    paid = (5 + cards % 50) * chance.uniform(0.8, 1.2, count) * np.where(frauds, 3, 1)
    return pa.table(
        {
            "TX_DATETIME": at_s.astype("datetime64[s]").astype("datetime64[ns]"),
            "CUSTOMER_ID": cards,
            "TERMINAL_ID": chance.integers(0, 100, count),
            "TX_AMOUNT": paid.round(2),
            "TX_FRAUD": frauds.astype(np.int8),
        }
    )


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for so small a company."""
    monkeypatch.setattr(
        trees,
        "Choice",
        partial(trees.Choice, models=1, genuine_share=1.0, iterations=20, rate=0.3, leaf_min=20),
    )


def evaluate(file: Path, *options: str) -> list[str]:
    return ["fraud", "evaluate", "--dataset", "fdh", "--file", str(file), *options]


def test_figures_are_printed_and_written(tmp_path: Path) -> None:
    file, out = tmp_path / "sales.parquet", tmp_path / "figures.json"
    pq.write_table(table(), file)
    result = runner.invoke(app, evaluate(file, "--folds", "2", "--json", str(out)))
    assert result.exit_code == 0, result.output
    assert "2018-04-30 to 2018-05-06" in result.stdout
    figures = json.loads(out.read_text())
    assert [fold["start"] for fold in figures["folds"]] == ["2018-04-09", "2018-04-16"]
    assert set(figures["mean"]) == {"auc", "ap", "cp100", "cp100_share"}
    assert set(figures["baselines"]) == {"logistic_regression", "random_forest"}
    for name in figures["mean"]:
        assert figures["mean"][name] == pytest.approx(
            np.mean([fold[name] for fold in figures["folds"]])
        )
    # Three times what a card usually pays is what the features tell of.
    assert figures["mean"]["ap"] > 0.9


def test_a_fold_may_be_asked_for(tmp_path: Path) -> None:
    file, out = tmp_path / "sales.parquet", tmp_path / "figures.json"
    pq.write_table(table(), file)
    options = ("--start", "2018-04-12", "--no-baselines", "--json", str(out))
    result = runner.invoke(app, evaluate(file, *options))
    assert result.exit_code == 0, result.output
    figures = json.loads(out.read_text())
    assert [fold["test_from"] for fold in figures["folds"]] == ["2018-04-26"]
    assert figures["baselines"] == {}


def test_what_cannot_be_evaluated_is_one_line(tmp_path: Path) -> None:
    short, foreign, text = (tmp_path / name for name in ("short", "foreign", "text"))
    pq.write_table(table(days=20), short)
    pq.write_table(table().drop_columns(["TX_FRAUD"]), foreign)
    text.write_text("no table")
    for file, words in (
        (short, "does not reach"),
        (foreign, "TX_FRAUD"),
        (text, str(text)),
        (tmp_path / "none", "none"),
    ):
        result = runner.invoke(app, evaluate(file))
        assert result.exit_code == 2, result.output
        assert words in result.stderr
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs the handbook's transactions")
def test_the_published_test_week_is_who_the_handbook_tests() -> None:
    data = read(PUBLISHED)
    fold = Fold(date(2018, 7, 25))
    rows = fold.test(data)
    assert len(rows) == 58_264
    assert card_precision(data, rows, data.frauds[rows].astype(float)) == pytest.approx(
        0.397, abs=5e-4
    )
    assert last_folds(data, 4)[0] == fold
