"""A dashboard as data, and what Grafana reads of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableRefresh,
)

WHERE = 'job="payout-streams",namespace=~"$namespace"'
"""What selects this product's series; without namespaces, as in Compose, it selects all of them."""

Unit = Literal["short", "ops", "s", "bytes", "percentunit", "none"]

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHT = 8
_STAT_HEIGHT = 4
_WHOLE = 24


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, where ``$where`` stands for the selection, and the name of its series."""

    text: str
    legend: str

    @property
    def expression(self) -> str:
        """As Grafana has it."""
        return self.text.replace("$where", WHERE)


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. ``stat``: a single figure; else lines, or areas on one another."""

    title: str
    text: str
    queries: tuple[Query, ...]
    unit: Unit = "short"
    kind: Literal["lines", "stacked", "stat"] = "lines"
    width: int = 12


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; its file is named as its uid."""

    uid: str
    title: str
    text: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...] = field(default=())

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them, in order."""
        return tuple(panel for _, panels in self.rows for panel in panels)


def lines(title: str, text: str, *queries: tuple[str, str], **more: Any) -> Panel:
    """A panel of lines."""
    return Panel(title, text, tuple(Query(*each) for each in queries), **more)


def stacked(title: str, text: str, *queries: tuple[str, str], **more: Any) -> Panel:
    """A panel of areas on one another."""
    return lines(title, text, *queries, kind="stacked", **more)


def figure(title: str, text: str, query: str, **more: Any) -> Panel:
    """A panel with a single figure, a quarter as wide as the page."""
    return lines(title, text, (query, title), kind="stat", **{"width": 6, **more})


def quantiles(
    title: str, text: str, metric: str, by: str = "", where: str = "", **more: Any
) -> Panel:
    """A histogram's p50, p95 and p99; by a label, its p95."""
    selected = f"{metric}_bucket{{$where{where}}}"
    if by:
        rate = f"sum by (le, {by}) (rate({selected}[$__rate_interval]))"
        asked = ((f"histogram_quantile(0.95, {rate})", f"{{{{{by}}}}}"),)
        return lines(title, text, *asked, unit="s", **more)
    rate = f"sum by (le) (rate({selected}[$__rate_interval]))"
    return lines(
        title,
        text,
        *((f"histogram_quantile(0.{q}, {rate})", f"p{q}") for q in (50, 95, 99)),
        unit="s",
        **more,
    )


def document(board: Board) -> str:
    """The dashboard's JSON, ending in a newline; the same each time."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.text)
        .tags(["payout-streams"])
        .readonly()
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("namespace")
            .datasource(_SOURCE)
            .query("label_values(payouts_build_info, namespace)")
            .include_all(True)
            .all_value(".*")
            .multi(True)
            .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        )
    )
    number = 0
    for title, panels in board.rows:
        made = made.with_row(dashboard.Row(title).id(number := number + 1))
        for panel in panels:
            made = made.with_panel(_panel(panel).id(number := number + 1))
    return str(JSONEncoder(sort_keys=True, indent=2).encode(made.build())) + "\n"


def _panel(panel: Panel) -> Any:
    if panel.kind == "stat":
        made: Any = (
            stat.Panel()
            .height(_STAT_HEIGHT)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        )
    else:
        made = (
            timeseries.Panel()
            .height(_HEIGHT)
            .draw_style(GraphDrawStyle.LINE)
            .fill_opacity(30 if panel.kind == "stacked" else 5)
            .min(0)
            .legend(
                common.VizLegendOptions()
                .display_mode(LegendDisplayMode.LIST)
                .placement(LegendPlacement.BOTTOM)
                .show_legend(True)
            )
            .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        )
        if panel.kind == "stacked":
            made = made.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    made = made.title(panel.title).description(panel.text).unit(panel.unit)
    made = made.datasource(_SOURCE).span(min(panel.width, _WHOLE))
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expression)
        made = made.with_target(target.legend_format(query.legend).range())
    return made


def files(boards: Sequence[Board]) -> dict[str, str]:
    """What stands in grafana/dashboards, by name."""
    return {f"{board.uid}.json": document(board) for board in boards}
