"""The page of the metrics is true: made from the definitions, and these are what is told."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from streams.cli import app
from streams.engine import EngineCounters
from streams.metrics import Metrics
from streams.metrics.definitions import Definitions
from streams.metrics.reference import metrics_markdown

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == metrics_markdown(), "run `payouts metrics reference --write`"


def test_the_command_prints_the_page(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["metrics", "reference"]).stdout == metrics_markdown()
    page = tmp_path / "page.md"
    assert runner.invoke(app, ["metrics", "reference", "--write", str(page)]).exit_code == 0
    assert page.read_text() == metrics_markdown()
    nowhere = str(tmp_path / "no" / "page.md")
    assert runner.invoke(app, ["metrics", "reference", "--write", nowhere]).exit_code == 2


def test_every_metric_is_on_the_page_with_its_kind_and_text() -> None:
    metrics = Metrics()
    metrics.watch(EngineCounters())
    described = {one.name: one for one in Definitions(type(metrics.registry)()).described}
    told = {
        family.name: family
        for family in text_string_to_metric_families(metrics.exposition().decode())
        if family.name.startswith("payouts_") and not family.name.endswith("_created")
    }
    # The parser names counters without their suffix.
    assert {name.removesuffix("_total") for name in described} == set(told)
    for name, one in described.items():
        family = told[name.removesuffix("_total")]
        assert one.text == family.documentation
        assert one.text.endswith(".")
        assert one.kind == {"build_info": "info"}.get(name[8:], family.type)
        for each in family.samples:
            assert set(each.labels) - {"le"} <= {label for label, _ in one.labels}, name
