"""`payouts sandbox`: a stateful stand-in for the rails' providers."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.console import console
from streams.cli.errors import CommandError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sandbox)


def sandbox(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = 8700,
    seed: Annotated[int, typer.Option(help="Decides which payouts random faults hit.")] = 0,
    settle_delay_ms: Annotated[
        int, typer.Option(min=0, help="Time from acceptance to settlement, in ms.")
    ] = 200,
    webhook_url: Annotated[
        str | None, typer.Option(help="Where to send webhooks; without it, none are sent.")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(help="The address others reach it by, if not http://HOST:PORT.")
    ] = None,
) -> None:
    """Serve a sandbox of the payout providers until Ctrl-C. No money moves.

    Set PAYOUTS_PAYPAL_BASE_URL to its address, PAYOUTS_PAYPAL_CLIENT_ID to sandbox-client and
    PAYOUTS_PAYPAL_CLIENT_SECRET to sandbox-secret. Its books are at /sandbox/books.
    """
    from rails.sandbox.server import run_sandbox

    try:
        run_sandbox(
            host,
            port,
            seed=seed,
            settle_delay_ms=settle_delay_ms,
            webhook_url=webhook_url,
            public_url=public_url,
            on_ready=lambda url: console().print(f"sandbox at {url}"),
        )
    except OSError as error:
        raise CommandError(f"cannot listen on {host}:{port}: {error.strerror}") from error
