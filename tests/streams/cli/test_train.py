"""`payouts train`: writes a model that can be read, or says why not."""

from pathlib import Path

from typer.testing import CliRunner

from models.scorer import Scorer
from streams.cli import app

runner = CliRunner()


def test_a_model_is_written_and_described(tmp_path: Path) -> None:
    out = tmp_path / "model.json"
    result = runner.invoke(app, ["train", "--out", str(out), "--events", "1000", "--seed", "3"])
    assert result.exit_code == 0, result.output
    scorer = Scorer.load(out.read_text())
    assert scorer.digest in result.stdout
    assert "average precision" in result.stdout


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    out = tmp_path / "nowhere" / "model.json"
    result = runner.invoke(app, ["train", "--out", str(out)])
    assert result.exit_code == 2
    assert result.stderr == f"Error: {out}: there is no directory {out.parent}\n"
