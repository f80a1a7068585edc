"""`payouts doctor`: is everything there and set up as it must be?"""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated

import typer

from streams.cli.console import console
from streams.cli.errors import CommandError

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object per check.")] = False,
) -> None:
    """Check brokers, topics, Redis, shards, files, model and keys, and say what to do.

    Changes nothing. Exit code 1 if a check fails; warnings do not count.
    """
    from streams.doctor import examine
    from streams.logs import mask
    from streams.settings import load_settings

    counted: Counter[str] = Counter()
    for finding in examine(load_settings()):
        counted[finding.status] += 1
        if as_json:
            fields = {
                "status": finding.status,
                "check": finding.what,
                "detail": mask(finding.detail),
                "advice": finding.advice,
            }
            typer.echo(json.dumps(fields, ensure_ascii=False))
            continue
        colour = _COLOURS[finding.status]
        console().print(
            f"[{colour}]{finding.status:<4}[/]  [bold]{finding.what:<18}[/]", markup=True, end=""
        )
        console().print(mask(finding.detail) + (f"; {finding.advice}" if finding.advice else ""))
    if counted["fail"]:
        raise CommandError(f"{counted['fail']} of {counted.total()} checks failed")
