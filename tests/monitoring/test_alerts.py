"""Every alert fires when it should, is quiet when it should be, and says what to do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from streams.metrics.definitions import Definitions

ROOT = Path(__file__).parents[2]
RULES = ROOT / "prometheus" / "alerts.yml"
CASES = sorted((ROOT / "prometheus" / "tests").glob("*.yml"))

rules: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
alerts = [rule for rule in rules if "alert" in rule]


def run(promtool: Path, *words: str | Path) -> str:
    ended = subprocess.run(
        [promtool, *words], capture_output=True, text=True, check=False, timeout=60
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    return said


def test_prometheus_takes_the_rules(promtool: Path) -> None:
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", RULES)


def test_every_case_ends_as_it_says(promtool: Path) -> None:
    assert run(promtool, "test", "rules", *CASES).count("SUCCESS") == len(CASES)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    found: dict[str, set[bool]] = {}
    for case in (case for file in CASES for case in yaml.safe_load(file.read_text())["tests"]):
        [asked] = case["promql_expr_test"]
        [name] = re.findall(r'alertname="(\w+)",alertstate="firing"', asked["expr"])
        assert case["name"].startswith(f"{name} {'fires' if asked['exp_samples'] else 'is quiet'}")
        found.setdefault(name, set()).add(bool(asked["exp_samples"]))
    assert found == {each["alert"]: {True, False} for each in alerts}


@pytest.mark.parametrize("alert", alerts, ids=lambda each: each["alert"])
def test_an_alert_has_a_severity_and_a_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert set(alert["annotations"]) == {"summary", "runbook"}
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert anchor == alert["alert"].lower()
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {heading.lower() for heading in headings}, f"{page} has no heading {anchor}"


def test_no_runbook_is_left_of_an_alert_that_is_gone() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    headings = re.findall(r"^### (Payouts\w+)$", page, re.MULTILINE)
    assert headings == [each["alert"] for each in alerts]


def test_rules_ask_for_metrics_that_there_are() -> None:
    known = {each.name for each in Definitions(CollectorRegistry()).described}
    for rule in rules:
        assert set(re.findall(r"\bpayouts_\w+", rule["expr"])) <= known, rule
