"""`payouts metrics`: the page of all metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.console import print_page
from streams.cli.errors import LineErrors

group = typer.Typer(cls=LineErrors, no_args_is_help=True, help="What is told to Prometheus.")


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(group, name="metrics")


@group.callback()
def _metrics() -> None:
    """What is told to Prometheus."""


@group.command()
def reference(
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to a file instead of stdout.")
    ] = None,
) -> None:
    """Print the page of all metrics, as Markdown."""
    from streams.metrics.reference import metrics_markdown

    print_page(metrics_markdown(), write)
