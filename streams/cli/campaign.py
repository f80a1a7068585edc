"""`payouts campaign`: check a file of campaigns, and try it on events before it goes live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.config import Kind, load_config
from streams.cli.console import console
from streams.cli.errors import BadUse, CommandError, LineErrors

if TYPE_CHECKING:
    from models.campaigns import Campaigns
    from streams.trial import Result

group = typer.Typer(
    cls=LineErrors, no_args_is_help=True, help="Check campaigns, and try them before they go live."
)

SELLERS_SHOWN_MAX = 20
"""Sellers that are listed without --json."""


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="campaign")


def _load(file: Path) -> Campaigns:
    """Campaigns that are right by themselves and by the plan. Raises BadUse, CommandError."""
    from models.campaigns import check_levels
    from models.config import ConfigError
    from streams.settings import load_settings

    try:
        campaigns: Campaigns = load_config(Kind.CAMPAIGNS, file)
        check_levels(campaigns, load_config(Kind.PLAN, load_settings().plan), str(file))
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        count = len(error.problems)
        raise CommandError(f"{count} mistake{'s' if count > 1 else ''} found") from error
    return campaigns


@group.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Campaigns, a YAML file.")],
) -> None:
    """Check campaigns: every mistake with its file and line, also against the plan in effect.

    Exit code 1 if there is a mistake.
    """
    campaigns = _load(file)
    count = len(campaigns.campaigns) + len(campaigns.reinvest)
    console().print(
        f"[green]ok[/] {file}: {count} campaign{'' if count == 1 else 's'}", markup=True
    )


@group.command()
def simulate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Campaigns, a YAML file.")],
    *,
    events: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Events to try them on: one a line, as in the topics."),
    ] = None,
    from_topic: Annotated[
        bool, typer.Option("--from-topic", help="Try them on what the broker's topics hold.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON with every seller, amounts in minor units.")
    ] = False,
) -> None:
    """Say what campaigns would have granted, to whom, at what cost. Nothing is booked anywhere.

    Runs the rules and the Redis functions of this version on a server of its own, with the plan in
    effect. Sellers are told by their ids.
    """
    if (events is None) != from_topic:
        raise BadUse("give either --events FILE or --from-topic")
    result = _tried(_load(file), events)
    if as_json:
        typer.echo(json.dumps(result.json(), indent=2))
    else:
        _print(result)


def _tried(campaigns: Campaigns, events: Path | None) -> Result:
    from streams.demo.embedded import EmbeddedUnavailable
    from streams.settings import load_settings
    from streams.trial import Unusable, events_of_file, events_of_topics, try_campaigns
    from streams.wallets.evidence import EvidenceMissing

    settings = load_settings()
    source = events_of_topics(settings) if events is None else events_of_file(events)
    plan, policy = (load_config(k, getattr(settings, k)) for k in (Kind.PLAN, Kind.POLICY))
    try:
        return try_campaigns(campaigns, plan, policy, source)
    except OSError as error:
        raise BadUse(f"{events}: cannot be read: {error.strerror}") from error
    except (Unusable, EmbeddedUnavailable, EvidenceMissing) as error:
        raise CommandError(str(error)) from error


def _print(result: Result) -> None:
    from rich.table import Table

    from models.money import text

    found = result.json()
    out = console()
    table = Table("campaign", "", "sellers", "grants", "cost", "no budget for", box=None)
    for row in found["campaigns"]:
        cost, lacking = (
            text(row[name], row["currency"]) for name in ("cost_minor", "no_budget_minor")
        )
        figures = (str(row["sellers"]), str(row["grants"]))
        table.add_row(row["campaign"], row["kind"], *figures, cost, lacking)
    out.print(table)
    sellers = Table("seller", "campaign", "", "grants", "amount", box=None)
    for row in found["sellers"][:SELLERS_SHOWN_MAX]:
        amount = text(row["amount_minor"], row["currency"])
        names = (row["seller_id"], row["campaign"], row["kind"])
        sellers.add_row(*names, str(row["grants"]), amount)
    out.print(sellers)
    if (more := len(found["sellers"]) - SELLERS_SHOWN_MAX) > 0:
        out.print(f"and {more} more; --json lists all")
    out.print(f"{result.events:,} events, {sum(result.refused.values()):,} of them refused")
    if result.unknown:
        out.print(
            f"{result.unknown:,} count nowhere: their sellers have no profile among the events"
        )
