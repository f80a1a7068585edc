"""`payouts train`: make a fraud model from simulated, labelled history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.console import console, remarks
from streams.cli.errors import BadUse, CommandError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the model.")] = Path(
        "model.json"
    ),
    seed: Annotated[int, typer.Option(help="The same seed makes the same model.")] = 1,
    events: Annotated[int, typer.Option(min=1_000, help="Events in each simulated history.")] = (
        20_000
    ),
) -> None:
    """Train the fraud model on simulated history and test it on other seeds.

    The model is a JSON file, and reading it runs no code. Set PAYOUTS_MODEL to it to use it.
    """
    if not out.parent.is_dir():
        raise BadUse(f"{out}: there is no directory {out.parent}")
    from streams.training import train as train_model

    with remarks().status("training"):
        try:
            report = train_model(seed=seed, events=events, out=out)
        except ValueError as error:
            raise CommandError(f"no model from that history: {error}; use more events") from error
        except OSError as error:
            raise CommandError(f"{out}: cannot be written: {error.strerror}") from error
    console().print(f"{out}  {report.digest}")
    console().print(
        f"trained on {report.sales_trained} sales, tested on {report.sales_tested}: average "
        f"precision {report.average_precision}, AUC {report.auc}, {report.recall:.1%} of the "
        f"frauds caught with 1 % of genuine sales held"
    )
    for pattern, recall in sorted(report.recall_by_pattern.items()):
        console().print(f"  {pattern:<24} {recall:.1%}")
