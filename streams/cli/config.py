"""`payouts config`: check configuration files, show what is in effect, print the reference."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.cli.console import console, print_page
from streams.cli.errors import BadUse, CommandError, LineErrors

group = typer.Typer(
    cls=LineErrors, no_args_is_help=True, help="Check configuration files, show the settings."
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="config")


class Kind(StrEnum):
    """What a configuration file is about."""

    PLAN = "plan"
    POLICY = "policy"
    CAMPAIGNS = "campaigns"


def load_config(kind: Kind, path: Path) -> Any:
    """The checked configuration in a file.

    Raises:
        ConfigError: every mistake with its line.
        BadUse: the file cannot be read.
    """
    from models import config
    from models.campaigns import Campaigns
    from models.plan import CommissionPlan
    from models.policy import PayoutPolicy

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BadUse(f"{path}: cannot be read: {reason}") from error
    if kind is Kind.PLAN:
        return config.load(text, CommissionPlan, str(path))
    if kind is Kind.POLICY:
        return config.load(text, PayoutPolicy, str(path))
    return config.load(text, Campaigns, str(path))


def kind_of(path: Path) -> Kind:
    """What a file is about by its name. Raises BadUse when its name does not say."""
    for kind in Kind:
        if kind.value.removesuffix("s") in path.stem.lower():
            return kind
    raise BadUse(f"{path}: its name does not say what it is; add --kind plan, policy or campaigns")


@group.command()
def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="YAML files; without any, the plan, policy and campaigns in effect.",
        ),
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option(help="What the files are; without it, their names say so.")
    ] = None,
) -> None:
    """Check plans, policies and campaigns: every mistake with its file and line.

    Exit code 1 if there is a mistake.
    """
    from models.config import ConfigError

    mistakes = 0
    for each, path in _wanted(files, kind):
        try:
            load_config(each, path)
        except ConfigError as error:
            mistakes += len(error.problems)
            for problem in error.problems:
                typer.echo(str(problem), err=True)
        else:
            console().print(f"[green]ok[/] {path} ({each})", markup=True)
    if mistakes:
        raise CommandError(f"{mistakes} mistake{'s' if mistakes > 1 else ''} found")


def _wanted(files: list[Path] | None, kind: Kind | None) -> list[tuple[Kind, Path]]:
    if files:
        return [(kind or kind_of(path), path) for path in files]
    from streams.settings import load_settings

    settings = load_settings()
    configured = {
        Kind.PLAN: settings.plan,
        Kind.POLICY: settings.policy,
        Kind.CAMPAIGNS: settings.campaigns,
    }
    return [(each, path) for each, path in configured.items() if kind in (None, each)]


@group.command()
def show() -> None:
    """Show the settings in effect, secrets masked, and which of them were set."""
    from rich.table import Table

    from streams.settings import load_settings, setting_names, unknown_variables, variable

    settings = load_settings()
    table = Table("variable", "value", "", box=None, pad_edge=False)
    # Addresses that may hold a password or a token.
    shown = {"redis_url": settings.redis_address, "notices_url": settings.notices_origin}
    for name in setting_names():
        value = shown[name] if name in shown else getattr(settings, name)
        # Also what came from a file: pydantic knows which fields were given.
        given = "set" if name in settings.model_fields_set else ""
        table.add_row(variable(name), "" if value is None else str(value), given)
    console().print(table)
    for name, meant in unknown_variables(os.environ):
        typer.echo(f"{name} is no setting" + (f"; {meant}?" if meant else ""), err=True)


@group.command()
def reference(
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to a file instead of stdout.")
    ] = None,
) -> None:
    """Print the page of all settings, as Markdown."""
    from streams.configuration import configuration_markdown

    print_page(configuration_markdown(), write)
