"""`payouts faults`: what it offers, and what it refuses."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from streams.cli import app
from streams.faults.kinds import KINDS

runner = CliRunner()


def test_the_list_has_every_kind_with_its_sentence() -> None:
    result = runner.invoke(app, ["faults", "--list"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == len(KINDS)
    for kind, line in zip(KINDS.values(), lines, strict=True):
        assert line.split(maxsplit=1) == [kind.name, kind.sentence]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--kinds", "flood"], "no fault is called flood"),
        (["--kinds", "broker-killed", "--kafka", "embedded"], "broker-killed needs"),
        (["--kafka", "rabbit"], "take apache or embedded"),
        (["--faults", "9", "--events", "5", "--kafka", "embedded"], "9 faults do not fit"),
        (["--faults", "-1"], "--faults"),
    ],
)
def test_bad_use_is_one_line_and_2(words: list[str], says: str) -> None:
    result = runner.invoke(app, ["faults", *words])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert says in line
