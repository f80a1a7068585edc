"""`payouts sandbox`: a stateful stand-in for the rails' providers."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from streams.cli.console import console
from streams.cli.errors import BadUse, CommandError

_NAMED = re.compile(r"([A-Za-z0-9_-]+)=(.*)")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sandbox)


def sandbox(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = 8700,
    seed: Annotated[int, typer.Option(help="Decides which payouts which faults hit.")] = 0,
    settle_delay_ms: Annotated[
        int, typer.Option(min=0, help="Time from acceptance to settlement, in ms.")
    ] = 200,
    webhook_url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER=URL",
            help="Where to send a provider's webhooks; none are sent without. May be repeated; "
            "a URL alone is for PayPal's.",
        ),
    ] = None,
    webhook_late_ms: Annotated[
        int, typer.Option(min=0, help="How late the webhooks of webhook-late are, in ms.")
    ] = 8_000,
    public_url: Annotated[
        str | None, typer.Option(help="The address others reach it by, if not http://HOST:PORT.")
    ] = None,
    bank_directory: Annotated[
        Path | None,
        typer.Option(help="Where a bank reads outbox/ and writes inbox/; no bank without."),
    ] = None,
) -> None:
    """Serve a sandbox of the payout providers until Ctrl-C. No money moves.

    It prints the variables that make a worker talk to it. Its books are at /sandbox/books.
    """
    from rails.sandbox.server import run_sandbox

    webhook_urls = _webhook_urls(webhook_url or [])
    if bank_directory is not None:
        bank_directory = bank_directory.absolute()
        try:
            bank_directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadUse(f"--bank-directory: cannot make it: {error.strerror}") from None
    try:
        run_sandbox(
            host,
            port,
            seed=seed,
            settle_delay_ms=settle_delay_ms,
            webhook_urls=webhook_urls,
            webhook_late_ms=webhook_late_ms,
            public_url=public_url,
            bank_directory=bank_directory,
            on_ready=partial(_tell, bank_directory=bank_directory),
        )
    except OSError as error:
        raise CommandError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _webhook_urls(texts: list[str]) -> dict[str, str]:
    """Where each provider's webhooks go. Raises BadUse."""
    from rails.sandbox.server import PROVIDERS

    urls: dict[str, str] = {}
    for text in texts:
        named = _NAMED.fullmatch(text)
        name, url = named.groups() if named else ("paypal", text)
        if name not in PROVIDERS:
            raise BadUse(f"--webhook-url: no provider {name!r}; there are {', '.join(PROVIDERS)}")
        if name in urls:
            raise BadUse(f"--webhook-url: {name} is named twice; write it once")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BadUse(
                f"--webhook-url: {url[:80]!r} is no address; write {name}=http://host:port/path"
            )
        urls[name] = url
    return urls


def _tell(url: str, *, bank_directory: Path | None = None) -> None:
    """Say where it is, and by which settings a worker's rails talk to it."""
    from rails.sandbox.bank import BankSandbox, link_fields
    from rails.sandbox.server import PROVIDERS
    from streams.settings import variable

    out = console()
    out.print(f"sandbox at {url}")
    for name, one in PROVIDERS.items():
        for field, value in one.rail_fields(url).items():
            out.print(f"{variable(f'{name}_{field}')}={value}", soft_wrap=True)
    if bank_directory is not None:
        for field, value in link_fields(bank_directory).items():
            out.print(f"{variable(f'{BankSandbox.rail}_{field}')}={value}", soft_wrap=True)
