"""`payouts fraud patterns`: how much of each fraud pattern the model finds, beside a baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.cli.console import console, remarks
from streams.cli.errors import BadUse, CommandError

FIRST_SEED = 2_000_001
SEEDS = 12


def register(group: typer.Typer) -> None:
    """Add the command to ``payouts fraud``."""
    group.command()(patterns)


def patterns(
    seeds: Annotated[
        list[int] | None,
        typer.Option(
            "--seeds",
            min=0,
            help=f"A simulated company; may be repeated. Without it {SEEDS} that no model is "
            "trained on.",
        ),
    ] = None,
    events: Annotated[int, typer.Option(min=2_000, help="Events of each company.")] = 20_000,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The model; without it the shipped one.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures there.")
    ] = None,
) -> None:
    """Recall of each fraud pattern when 1 % of the genuine sales are held.

    Of simulated companies that the model was not trained on, beside a logistic regression on the
    amount, the seller's counts and her tenure. Mean and spread are over the companies.
    """
    if json_file is not None and not json_file.parent.is_dir():
        raise BadUse(f"{json_file}: there is no directory {json_file.parent}")
    from models.scorer import ModelUnreadable, Scorer
    from streams.settings import DEFAULTS

    file = model or DEFAULTS / "model.json"
    try:
        scorer = Scorer.load(file.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadUse(
            f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    except ModelUnreadable as error:
        raise BadUse(f"{file}: {error}") from error
    from streams.fraud.patterns import evaluate_patterns, report

    asked = seeds or list(range(FIRST_SEED, FIRST_SEED + SEEDS))
    tested = []
    with remarks().status("selling"):
        try:
            for one in evaluate_patterns(scorer, asked, events):
                tested.append(one)
                remarks().print(f"tested company {one[0]}")
        except ValueError as error:
            raise BadUse(f"no figures: {error}") from error
    figures = report(scorer, events, tested)
    _show(figures)
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="ascii")
        except OSError as error:
            raise CommandError(f"{json_file}: cannot be written: {error.strerror}") from error


def _show(figures: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("pattern", "sales", "recall", "behind the first", "incidents", "baseline")
    for name, found in figures["patterns"].items():
        ours, beside = found["model"], found["baseline"]
        table.add_row(
            name.replace("_", " "),
            str(found["sales"]),
            *(_figure(ours[kind]) for kind in ("sales", "later_sales", "incidents")),
            _figure(beside["sales"]),
        )
    console().print(table)
    missed = ", ".join(name.replace("_", " ") for name in figures["not_reached"]) or "none"
    console().print(
        f"{len(figures['reached'])} reach {figures['aim']:.0%} of their sales; not: {missed}"
    )


def _figure(spread: dict[str, float]) -> str:
    return f"{spread['mean']:.3f} ± {spread['sd']:.3f}"
