"""Pictures of the main panels for docs/: ``python -m tests.monitoring.pictures``."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from grafana.board import Panel
from grafana.boards import PICTURED
from grafana.picture import Line, name_of, svg
from tests.monitoring.demo import Watched, watched_demo
from tests.monitoring.tools import missing, tool

FOLDER = Path(__file__).parents[2] / "docs" / "dashboards"


def file_of(panel: Panel) -> Path:
    """Where a panel's picture is."""
    return FOLDER / (re.sub(r"[^a-z0-9]+", "-", panel.title.lower()).strip("-") + ".svg")


def drawn(panel: Panel, seen: Watched) -> str:
    """The picture of a panel, from the queries that Grafana asks."""
    lines = [
        Line(
            name_of(query.legend, series.labels),
            [(at - seen.began_s, value) for at, value in series.points],
        )
        for query in panel.queries
        for series in seen.ask(query.expression)
    ]
    return svg(panel, lines)


def main() -> None:
    """Run a demo and draw."""
    parser = argparse.ArgumentParser(prog="python -m tests.monitoring.pictures")
    parser.add_argument("--events", type=int, default=4_000)
    parser.add_argument("--rate", type=float, default=80.0, help="events a second")
    options = parser.parse_args()
    prometheus = tool("prometheus")
    if prometheus is None:
        sys.exit(missing())
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        watched_demo(prometheus, Path(directory), events=options.events, rate=options.rate) as seen,
    ):
        for panel in PICTURED:
            file_of(panel).write_text(drawn(panel, seen), encoding="utf-8")


if __name__ == "__main__":
    main()
