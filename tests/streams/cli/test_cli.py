"""The command line: help, version, errors in one line with the right exit code."""

import resource
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from streams.cli import MODULES, app
from streams.cli.errors import CommandError, LineErrors

runner = CliRunner()


def one_line(text: str) -> str:
    """The only line of an output."""
    (line,) = text.splitlines()
    return line


def test_help_names_every_command() -> None:
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    for name in ("config", "topics", "doctor", "dead-letters", "schema", "sandbox", "fraud"):
        assert name in result.stdout


def test_no_command_is_the_help_and_bad_use() -> None:
    result = runner.invoke(app, [])
    assert result.exit_code == 2
    assert "Usage: payouts" in result.output
    assert "Error" not in result.output


def test_version() -> None:
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout.split()[0]) == (0, "payouts")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nope"], "No such command 'nope'"),
        (["config", "nope"], "No such command 'nope'"),
        (["doctor", "--nope"], "No such option"),
        (["dead-letters", "show"], "Missing argument"),
        (["dead-letters", "list", "--limit", "0"], "--limit"),
        (["config", "check", "--kind", "nope", "x.yaml"], "--kind"),
    ],
)
def test_bad_use_is_one_line_and_2(words: list[str], says: str) -> None:
    result = runner.invoke(app, words)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert says in line
    assert "--help" in line


def test_a_wrong_setting_is_one_line_and_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYOUTS_PARTITIONS", "7")
    result = runner.invoke(app, ["topics", "create"])
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: PAYOUTS_PARTITIONS: 7 does not divide 64; use 1, 2, 4, 8, 16, 32 or 64\n"
    )


def failing(error: Exception) -> LineErrors:
    import typer

    broken = typer.Typer(cls=LineErrors)

    @broken.callback()
    def group() -> None:
        """A group."""

    @broken.command()
    def fail() -> None:
        raise error

    command = typer.main.get_command(broken)
    assert isinstance(command, LineErrors)
    return command


def test_an_unexpected_error_is_one_line_and_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        failing(KeyError("secret=hunter2\nx")).main(["fail"])
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: KeyError: ")
    assert "--debug" in line
    assert "hunter2" not in line


@pytest.mark.parametrize("words", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_shows_where(words: list[str]) -> None:
    with pytest.raises(KeyError, match="x"):
        failing(KeyError("x")).main(words)


def test_a_failed_command_is_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        failing(CommandError("three sales are missing")).main(["fail"])
    assert (ended.value.code, capsys.readouterr().err) == (1, "Error: three sales are missing\n")


def test_help_waits_for_nothing_heavy() -> None:
    """Importing the command line must not import Faust, scikit-learn or the Kafka client."""
    modules = ", ".join(sorted(module.__name__ for module in MODULES))
    code = (
        f"import sys, {modules}\n"
        "heavy = {'faust', 'sklearn', 'numpy', 'confluent_kafka', 'redis', 'aiohttp', 'pydantic'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or None)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"imported at start: {ended.stderr}"


def test_help_is_quick() -> None:
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-c", "from streams.cli import main; main()", "--help"],
            check=True,
            capture_output=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # 0.4 s of CPU; the best of three, with room for a busy machine, which does not count waiting.
    assert min(took) < 1.0
