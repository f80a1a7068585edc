"""`payouts worker`: the process that takes events to their effects."""

from __future__ import annotations

import typer

from streams.cli.errors import CommandError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(worker)


def worker() -> None:
    """Take sales and commissions from Kafka, book them, pay them out. Until SIGTERM or Ctrl-C.

    A batch in hand is finished before the end. Start as many as there are partitions to share;
    a supervisor starts a worker again that ended with an error.
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
