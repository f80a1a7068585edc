"""The command line, `payouts`.

A module a command group; each has `register`, which adds its commands to the application. Modules
import what is heavy only when a command runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli import (
    api,
    campaign,
    cancel,
    config,
    deadletters,
    debt,
    demo,
    doctor,
    faults,
    fraud,
    fraudmodel,
    fx,
    ledger,
    metrics,
    reconcile,
    review,
    sandbox,
    schema,
    statement,
    topics,
    unknown,
    wallet,
    webhooks,
    worker,
)
from streams.cli.errors import LineErrors

MODULES = (
    *(
        demo,
        worker,
        api,
        config,
        metrics,
        campaign,
        topics,
        doctor,
        deadletters,
        webhooks,
        schema,
        sandbox,
        fraud,
        review,
        fraudmodel,
        ledger,
        reconcile,
        wallet,
        debt,
        statement,
        fx,
        cancel,
        unknown,
        faults,
    ),
)
"""The command groups, in the order in which `--help` lists them."""

app = typer.Typer(
    name="payouts",
    cls=LineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"payouts {version('payout-streams')}")
        raise typer.Exit


_HELP = (
    "Instant payouts for direct selling: a sale comes in, the seller is paid, every cent is "
    "accounted for. [bold]payouts demo[/] shows all of it on this machine."
    "\n\n"
    "Settings are PAYOUTS_* environment variables. [bold]payouts config reference[/] lists them, "
    "[bold]payouts doctor[/] checks them against the running servers."
)


@app.callback(help=_HELP)
def _payouts(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")
    ] = False,
) -> None:
    """What holds for every command."""


for _module in MODULES:
    _module.register(app)


def main() -> None:
    """The entry point of the `payouts` script."""
    app()
