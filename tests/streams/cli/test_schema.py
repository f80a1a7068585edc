"""`payouts schema`: all documents, one of them, or files."""

import json
from pathlib import Path

from typer.testing import CliRunner

from models.schema import documents
from streams.cli import app

runner = CliRunner()


def test_all_are_one_json_object() -> None:
    printed = json.loads(runner.invoke(app, ["schema"]).stdout)
    assert set(printed) == set(documents())
    assert printed["asyncapi.json"]["asyncapi"].startswith("3.")


def test_one_is_printed_as_its_file() -> None:
    assert runner.invoke(app, ["schema", "sales"]).stdout == documents()["sales.json"]
    assert runner.invoke(app, ["schema", "asyncapi.json"]).stdout == documents()["asyncapi.json"]


def test_an_unknown_one_names_the_known() -> None:
    result = runner.invoke(app, ["schema", "nope"])
    assert result.exit_code == 2
    assert "there are asyncapi, commissions" in result.stderr


def test_files_are_written(tmp_path: Path) -> None:
    result = runner.invoke(app, ["schema", "--write", str(tmp_path / "new")])
    assert result.exit_code == 0
    assert {path.name: path.read_text() for path in (tmp_path / "new").iterdir()} == documents()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = runner.invoke(app, ["schema", "--write", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
