"""`payouts topics`: the topics in Kafka."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.console import console
from streams.cli.errors import CommandError, LineErrors

group = typer.Typer(cls=LineErrors, no_args_is_help=True, help="Create the topics in Kafka.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="topics")


@group.command()
def create(
    partitions: Annotated[
        int | None, typer.Option(help="Partitions of each topic; PAYOUTS_PARTITIONS if not given.")
    ] = None,
    replication: Annotated[
        int | None,
        typer.Option(help="Replicas of each topic; PAYOUTS_TOPIC_REPLICATION if not given."),
    ] = None,
) -> None:
    """Create the topics that are missing. An existing one is never changed.

    Exit code 1 if one exists with another number of partitions.
    """
    from streams.settings import load_settings
    from streams.topics import TopicsUnavailable, create_topics

    given = {"partitions": partitions, "topic_replication": replication}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    try:
        report = create_topics(
            settings.kafka_brokers,
            settings.partitions,
            replication=settings.topic_replication,
            client_config={**settings.kafka_client(), "log_level": 0},
        )
    except TopicsUnavailable as error:
        raise CommandError(f"{settings.kafka_brokers}: {error}") from error
    for name in report.created:
        console().print(f"[green]created[/] {name}", markup=True)
    console().print(f"{len(report.created)} created, {len(report.existing)} were there")
    if report.mismatched:
        raise CommandError(
            "; ".join(map(str, report.mismatched))
            + "; set PAYOUTS_PARTITIONS to that, or start anew: a topic's keys would move"
        )
