"""`payouts config`: mistakes with file and line, settings without secrets."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli import app
from streams.cli.config import Kind, kind_of
from streams.cli.errors import BadUse
from streams.configuration import configuration_markdown
from streams.settings import DEFAULTS

runner = CliRunner()


def test_the_packaged_files_are_right() -> None:
    result = runner.invoke(app, ["config", "check"])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("ok ") == 3


def test_a_mistake_is_named_with_file_and_line(tmp_path: Path) -> None:
    lines = (DEFAULTS / "policy.yaml").read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith("currencies:"))
    lines[number + 1] = lines[number + 1].replace(lines[number + 1].strip()[:3], "QQQ", 1)
    wrong = tmp_path / "my-policy.yaml"
    wrong.write_text("\n".join([*lines, "surprise: 1", ""]))
    result = runner.invoke(app, ["config", "check", str(wrong), str(DEFAULTS / "plan.yaml")])
    assert result.exit_code == 1
    assert f"{wrong}:{number + 2}: " in result.stderr
    assert f"{wrong}:{len(lines) + 1}: surprise: " in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert "ok " in result.stdout


def test_yaml_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    wrong = tmp_path / "plan.yaml"
    wrong.write_text("retail: 25\nlevels: [\n")
    result = runner.invoke(app, ["config", "check", str(wrong)])
    assert result.exit_code == 1
    assert f"{wrong}:3: " in result.stderr


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("plan.yaml", Kind.PLAN),
        ("Policy-de.yml", Kind.POLICY),
        ("campaigns.yaml", Kind.CAMPAIGNS),
        ("spring-campaign.yaml", Kind.CAMPAIGNS),
    ],
)
def test_the_name_says_what_a_file_is(name: str, kind: Kind) -> None:
    assert kind_of(Path(name)) is kind


def test_another_name_needs_the_kind() -> None:
    with pytest.raises(BadUse, match="--kind"):
        kind_of(Path("x.yaml"))


def test_a_file_that_is_not_there_is_bad_use() -> None:
    result = runner.invoke(app, ["config", "check", "/nowhere/plan.yaml"])
    assert result.exit_code == 2
    assert result.stderr == "Error: /nowhere/plan.yaml: cannot be read: No such file or directory\n"


def test_show_hides_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYOUTS_REDIS_URL", "redis://u:hunter2@h:1/0")
    monkeypatch.setenv("PAYOUTS_SEAL_KEYS", "k:hunter2")
    monkeypatch.setenv("PAYOUTS_NOTICES_URL", "https://company.example/hunter2?key=hunter2")
    monkeypatch.setenv("PAYOUTS_NOTICES_SECRET", "whsec_hunter2")
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKER", "x:1")
    result = runner.invoke(app, ["config", "show"])
    assert result.exit_code == 0
    assert "hunter2" not in result.output
    assert "redis://h:1/0" in result.stdout
    assert "https://company.example" in result.stdout
    assert "PAYOUTS_KAFKA_BROKER is no setting; PAYOUTS_KAFKA_BROKERS?" in result.stderr


def test_the_reference_is_the_page(tmp_path: Path) -> None:
    assert runner.invoke(app, ["config", "reference"]).stdout == configuration_markdown()
    page = tmp_path / "page.md"
    assert runner.invoke(app, ["config", "reference", "--write", str(page)]).exit_code == 0
    assert page.read_text() == configuration_markdown()
