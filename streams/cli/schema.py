"""`payouts schema`: the events' contract as JSON Schemas and an AsyncAPI document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.console import console
from streams.cli.errors import BadUse


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(schema)


def schema(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="A topic such as sales, or asyncapi; without it, all."
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write one file each into this directory instead."),
    ] = None,
) -> None:
    """Print the JSON Schema of each topic and the AsyncAPI document, made from the models.

    Without a name, all of them in one JSON object, by file name.
    """
    from models.schema import documents

    made = documents()
    if name is not None:
        file = name if name.endswith(".json") else f"{name}.json"
        if file not in made:
            known = ", ".join(each.removesuffix(".json") for each in made)
            raise BadUse(f"there is no {name}; there are {known}")
        made = {file: made[file]}
    if write is not None:
        _write(made, write)
    elif name is not None:
        typer.echo(next(iter(made.values())), nl=False)
    else:
        everything = {file: json.loads(text) for file, text in made.items()}
        typer.echo(json.dumps(everything, indent=2, ensure_ascii=False))


def _write(made: dict[str, str], directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, text in made.items():
            (directory / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadUse(f"{directory}: cannot be written: {error.strerror}") from error
    console().print(f"{len(made)} files in {directory}")
