"""`payouts worker`: the process that takes events to their effects."""

from __future__ import annotations

import typer

from streams.cli.errors import CommandError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(worker)


def worker() -> None:
    """Take events from Kafka, book them, pay sellers out. Until SIGTERM or Ctrl-C.

    PAYOUTS_ROLES says what it does; by default everything. A batch in hand is finished before
    the end. More workers share the partitions; more than there are partitions stay idle. Run it
    under a supervisor that starts it again when it ends with an error.
    """
    from models.config import ConfigError
    from streams.logs import setup_logging
    from streams.settings import load_settings
    from streams.worker import Worker

    settings = load_settings()
    setup_logging(settings.log_format, settings.log_level)
    try:
        code = Worker(settings).run()
    except (ConfigError, OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    raise typer.Exit(code)
