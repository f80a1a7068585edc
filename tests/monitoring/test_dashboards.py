"""The dashboards are those that the code makes, and every panel of theirs has something to show."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from prometheus_client import CollectorRegistry

from grafana.board import Panel, Query, files, stacked
from grafana.boards import BOARDS, PICTURED
from grafana.picture import Line, name_of, svg
from streams.demo.embedded import EmbeddedUnavailable
from streams.metrics.definitions import Definitions
from tests.monitoring.demo import RULES, Watched, watched_demo
from tests.monitoring.pictures import file_of

FOLDER = Path(__file__).parents[2] / "grafana" / "dashboards"


def test_the_files_are_those_that_the_code_makes() -> None:
    there = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert there == files(BOARDS), "run `make dashboards`"


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_grafana_finds_what_it_needs(board: Any) -> None:
    made = json.loads(files([board])[f"{board.uid}.json"])
    assert (made["uid"], made["title"]) == (board.uid, board.title)
    assert made["schemaVersion"] >= 36
    ids = [panel["id"] for panel in made["panels"]]
    assert len(set(ids)) == len(ids)
    shown = [panel for panel in made["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in shown] == [panel.title for panel in board.panels]
    assert len({panel.title for panel in board.panels}) == len(shown)
    for panel in shown:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["description"].endswith(".")
        assert all(target["expr"] for target in panel["targets"])


def test_panels_ask_for_metrics_that_there_are() -> None:
    described = Definitions(CollectorRegistry()).described
    known = {each.name for each in described}
    for each in described:
        if each.kind == "histogram":
            known |= {f"{each.name}_{part}" for part in ("bucket", "sum", "count")}
    groups = yaml.safe_load(RULES.read_text())["groups"]
    known |= {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    for board in BOARDS:
        for panel in board.panels:
            for query in panel.queries:
                assert set(re.findall(r"\bpayouts[_:][\w:]+", query.text)) <= known, panel.title


@pytest.mark.parametrize("panel", PICTURED, ids=lambda panel: panel.title)
def test_a_main_panel_has_a_picture_in_the_documentation(panel: Panel) -> None:
    picture = file_of(panel)
    assert f"(dashboards/{picture.name})" in (picture.parents[1] / "dashboards.md").read_text()
    tree = ElementTree.parse(picture).getroot()
    assert tree[0].text == panel.title, "run `make pictures`"
    assert len(tree.findall("{*}path[@fill]")) > 0


def test_a_picture_is_drawn_of_what_there_is() -> None:
    panel = stacked("A <b>", "", ("x", "{{rail}} in {{currency}}"), unit="ops")
    assert name_of(panel.queries[0].legend, {"rail": "adyen", "currency": "EUR"}) == "adyen in EUR"
    late = Line("late & never", [(1.0, 30.0), (2.0, math.nan)])
    picture = svg(panel, [Line("zero", [(0.0, 0.0)]), Line("b", [(0.0, 10.0), (2.0, 50.0)]), late])
    words = [each.text for each in ElementTree.fromstring(picture).findall(".//{*}text")]
    assert words[0] == "A <b>"
    assert words[-2:] == ["b", "late & never"]
    # The two on top of one another come to 50, and the axis ends there.
    assert "50/s" in words
    assert ElementTree.fromstring(svg(panel, [])) is not None


@pytest.mark.timeout(240)
def test_every_panel_has_figures(prometheus: Path, tmp_path: Path) -> None:
    # All in one test: processes that share them out would each run a demo.
    wanting = []
    try:
        with watched_demo(prometheus, tmp_path, events=250, rate=60) as seen:
            for board in BOARDS:
                for panel in board.panels:
                    wanting += [
                        f"{board.title}, {panel.title}: {query.expression}"
                        for query in panel.queries
                        if not has_figures(seen, query)
                    ]
            firing = {one["metric"]["alertname"] for one in seen.now('ALERTS{severity!=""}')}
    except EmbeddedUnavailable as error:
        pytest.skip(str(error))
    assert wanting == []
    # All is well in a demo but for the messages that it spoils itself.
    assert firing <= {"PayoutsDeadLetters"}


def has_figures(seen: Watched, query: Query) -> bool:
    return any(math.isfinite(v) for series in seen.ask(query.expression) for _, v in series.points)
