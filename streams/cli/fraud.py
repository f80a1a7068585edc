"""`payouts fraud`: how well frauds are found, by a public protocol and by pattern."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli import patterns
from streams.cli.console import console, remarks
from streams.cli.errors import BadUse, CommandError, LineErrors

if TYPE_CHECKING:
    from streams.fraud.evaluate import Tested
    from streams.fraud.fdh import Transactions
    from streams.fraud.prequential import Fold

group = typer.Typer(cls=LineErrors, no_args_is_help=True, help="How well frauds are found.")


class Dataset(StrEnum):
    """Which data, and so which protocol."""

    FDH = "fdh"  # the Fraud Detection Handbook's transactions


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="fraud")


patterns.register(group)


@group.command()
def evaluate(  # noqa: PLR0917 - a command's options
    dataset: Annotated[Dataset, typer.Option(help="Whose data and protocol.")],
    file: Annotated[Path, typer.Option(metavar="FILE", help="The transactions, in Parquet.")],
    starts: Annotated[
        list[datetime] | None,
        typer.Option(
            "--start",
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="First day of a fold's 7 days of training; its test begins 14 days later. May be "
            "repeated. Without it the folds test the file's last weeks.",
        ),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=1, max=52, help="How many of the last weeks, without --start.")
    ] = 4,
    window: Annotated[
        int | None,
        typer.Option(
            min=7,
            metavar="DAYS",
            help="Days our model is trained on; without it all of the file but its first 14.",
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="The handbook's models and features beside ours.")
    ] = True,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures there.")
    ] = None,
) -> None:
    """Evaluate the stream's features by the prequential protocol of the Fraud Detection Handbook.

    Trained up to a day, tested on 7 days after a delay of 7 in which labels are not known, without
    customers whose fraud is known.
    """
    if json_file is not None and not json_file.parent.is_dir():
        raise BadUse(f"{json_file}: there is no directory {json_file.parent}")
    from streams.fraud.evaluate import evaluate as evaluated
    from streams.fraud.evaluate import report
    from streams.fraud.fdh import DataUnreadable, read
    from streams.fraud.trees import Choice

    choice = Choice(window_days=window)
    try:
        data = read(file)
        asked = _folds(data, starts, folds)
        with remarks().status("replaying the history, then training fold by fold"):
            tested = []
            for one in evaluated(data, asked, choice, baselines=baselines):
                tested.append(one)
                remarks().print(f"tested {one.fold.test_from} to {one.fold.test_until}")
    except DataUnreadable as error:
        raise BadUse(str(error)) from error
    except ValueError as error:
        raise CommandError(f"no figures from that history: {error}") from error
    figures = report(tested, choice)
    _show(tested, figures)
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="ascii")
        except OSError as error:
            raise CommandError(f"{json_file}: cannot be written: {error.strerror}") from error


def _folds(data: Transactions, starts: list[datetime] | None, count: int) -> list[Fold]:
    from streams.fraud.prequential import Fold, last_folds

    folds = [Fold(start.date()) for start in sorted(starts)] if starts else last_folds(data, count)
    for fold in folds:
        if not fold.within(data):
            raise BadUse(
                f"the file does not reach from {fold.start} to {fold.test_until}, as the fold does"
            )
    return folds


def _show(tested: list[Tested], figures: dict[str, Any]) -> None:
    from rich.table import Table

    from streams.fraud.prequential import Figures

    names = [one.name for one in fields(Figures)]
    table = Table("test", "model", *("AUC", "AP", "CP@100", "of perfect"))
    for one in tested:
        for model, reached in {"ours": one.model, **one.baselines}.items():
            table.add_row(
                f"{one.fold.test_from} to {one.fold.test_until}" if model == "ours" else "",
                model.replace("_", " "),
                *(f"{getattr(reached, name):.4f}" for name in names),
            )
    table.add_section()
    for model, summary in {"ours": figures, **figures["baselines"]}.items():
        table.add_row(
            "mean ± sd" if model == "ours" else "",
            model.replace("_", " "),
            *(f"{summary['mean'][name]:.4f} ± {summary['sd'][name]:.4f}" for name in names),
        )
    console().print(table)
