"""`payouts webhooks`: what providers called us with, as it came."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.console import console
from streams.cli.errors import BadUse, CommandError, LineErrors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.settings import Settings
    from streams.webhooks import RawCall

group = typer.Typer(
    cls=LineErrors, no_args_is_help=True, help="Providers' calls as they came: list, show."
)

LISTED_MAX = 100_000


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="webhooks")


@group.command("list")
def list_(
    rail: Annotated[str | None, typer.Option("--rail", help="Only this rail's.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=LISTED_MAX, help="At most this many, the newest.")
    ] = 20,
) -> None:
    """Calls that were proven to come from their provider, oldest first."""
    from streams.settings import load_settings

    settings = load_settings()
    if rail is not None and rail not in settings.rails():
        raise BadUse(f"there is no rail {rail[:40]!r}; there are {', '.join(settings.rails())}")
    newest = deque(sorted(_calls(settings, rail), key=lambda call: call.at), maxlen=limit)
    for call in newest:
        console().print(f"{call.at}  {call.place}  {call.rail}", highlight=False)


@group.command()
def show(
    place: Annotated[
        str, typer.Argument(metavar="TOPIC:PARTITION:OFFSET", help="As `list` shows it.")
    ],
) -> None:
    """One call, opened: its headers and its body. It holds personal data."""
    from rails.destination import SealError
    from streams.deadletters import Place, PlaceInvalid
    from streams.settings import load_settings

    try:
        wanted = Place.parse(place)
    except PlaceInvalid as error:
        raise BadUse(str(error)) from None
    settings = load_settings()
    call = next((call for call in _calls(settings) if call.place == wanted), None)
    if call is None:
        raise CommandError(f"there is no call at {wanted}; `payouts webhooks list` has them")
    try:
        headers, body = call.open(settings.seal())
    except SealError as error:
        raise CommandError(str(error)) from None
    for name, value in headers.items():
        typer.echo(f"{name}: {value}")
    typer.echo("")
    typer.echo(body.encode("utf-8", errors="surrogateescape"))


def _calls(settings: Settings, rail: str | None = None) -> Iterator[RawCall]:
    from streams.reading import TopicUnreadable
    from streams.webhooks import read

    try:
        yield from read(settings.kafka_client(), rail)
    except TopicUnreadable as error:
        raise CommandError(str(error)) from error
