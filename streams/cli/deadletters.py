"""`payouts dead-letters`: look at refused events and send them again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.refusals import Reason
from streams.cli.console import console, remarks
from streams.cli.errors import BadUse, CommandError, LineErrors
from streams.cli.moments import moment

if TYPE_CHECKING:
    from streams.deadletters import DeadLetter, Filter, Place

group = typer.Typer(
    cls=LineErrors, no_args_is_help=True, help="Refused events: list, show, send again."
)

SHOWN_MAX = 100_000
"""Most dead letters that one command takes."""


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="dead-letters")


class Form(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"


ReasonOption = Annotated[
    str | None, typer.Option("--reason", help="Only this reason, such as not_json.")
]
TopicOption = Annotated[
    str | None, typer.Option("--topic", help="Only those that came from this topic.")
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", help="Only those refused since then, such as 2026-11-23T12:00Z."
    ),
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=SHOWN_MAX, help="At most this many, the newest.")
]


@group.command("list")
def list_(
    reason: ReasonOption = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    limit: LimitOption = 50,
    form: Annotated[Form, typer.Option("--format", help="A table, or a JSON object per line.")] = (
        Form.TABLE
    ),
) -> None:
    """List refused events, oldest first: when, why, where they came from. Not their contents."""
    letters = _read(_filter(reason, topic, since), limit)
    if form is Form.JSON:
        for letter in letters:
            typer.echo(json.dumps(_entry(letter), ensure_ascii=False))
        return
    _print_table(letters)


@group.command()
def show(
    place: Annotated[
        str,
        typer.Argument(
            metavar="TOPIC:PARTITION:OFFSET",
            help="Where the dead letter is, or where the refused message was; `list` shows both.",
        ),
    ],
    raw: Annotated[bool, typer.Option("--raw", help="Only the original bytes, unchanged.")] = False,
) -> None:
    """Show one refused event with its contents, which may hold personal data."""
    wanted = _filter(places=[place])
    letters = _read(wanted, 1)
    if not letters:
        raise CommandError(f"no dead letter {place}")
    letter = letters[-1]
    if raw:
        typer.get_binary_stream("stdout").write(letter.value or b"")
        return
    for name, value in _entry(letter).items():
        console().print(f"[bold]{name:<10}[/]", end="", markup=True)
        console().print(str(value))
    console().print(f"[bold]{'key':<10}[/]", end="", markup=True)
    console().print((letter.key or b"").decode(errors="backslashreplace"))
    console().print()
    console().print((letter.value or b"").decode(errors="backslashreplace"))


@group.command()
def replay(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOPIC:PARTITION:OFFSET]...",
            help="Which ones: their places as `list` shows them; or choose by options.",
        ),
    ] = None,
    *,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    limit: LimitOption = 1_000,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Send refused events again, unchanged, to the topics they came from.

    For when the cause is gone: a sale that had not come, a rule that was wrong. Harmless if
    repeated, since an event counts once. What is refused again becomes a new dead letter.
    """
    if not (places or reason or topic or since):
        raise BadUse("say which: places, or --reason, --topic or --since")
    meant = _read(_filter(reason, topic, since, places or ()), limit)
    if not meant:
        raise CommandError("no dead letter is meant by that")
    letters = [letter for letter in meant if letter.reason != Reason.CAUSE_VOID]
    if len(letters) < len(meant):
        remarks().print(
            f"{len(meant) - len(letters)} {Reason.CAUSE_VOID} left out: the event behind it was "
            "taken again, and said anew what is so",
            soft_wrap=True,
        )
    if not letters:
        raise CommandError("nothing to send")
    if not yes:
        _print_table(letters)
        typer.confirm(f"Send {len(letters)} again?", abort=True, err=True)
    _replay(letters)


def _replay(letters: Sequence[DeadLetter]) -> None:
    from models import notices
    from models.events import TOPICS
    from streams import deadletters
    from streams.settings import load_settings

    client = load_settings().kafka_client()
    try:
        sent = deadletters.replay(
            client, letters, frozenset(TOPICS) | set(notices.TOPICS), lambda letter: None
        )
    except deadletters.DeadLettersUnavailable as error:
        raise CommandError(str(error)) from error
    console().print(f"{sent} sent again")
    if sent < len(letters):
        raise CommandError(f"{len(letters) - sent} name no topic that is taken from; left out")


def _filter(
    reason: str | None = None,
    topic: str | None = None,
    since: str | None = None,
    places: Sequence[str] = (),
) -> Filter:
    from streams.deadletters import Filter

    if reason is not None and reason not in set(Reason):
        raise BadUse(f"{reason!r} is no reason; there are {', '.join(Reason)}")
    earliest = None if since is None else moment(since, "--since")
    return Filter(reason, topic, earliest, frozenset(map(_place, places)))


def _place(text: str) -> Place:
    from streams.deadletters import Place, PlaceInvalid

    try:
        return Place.parse(text)
    except PlaceInvalid as error:
        raise BadUse(str(error)) from None


def _read(wanted: Filter, limit: int) -> list[DeadLetter]:
    from streams import deadletters
    from streams.reading import TopicUnreadable
    from streams.settings import load_settings

    client = load_settings().kafka_client()
    try:
        return deadletters.newest(deadletters.read(client), wanted, limit)
    except TopicUnreadable as error:
        raise CommandError(str(error)) from error


def _entry(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": str(letter.place),
        "source": str(letter.source),
        "reason": letter.reason,
        "detail": letter.detail,
        "at": letter.at,
        "bytes": len(letter.value or b""),
    }


def _print_table(letters: Sequence[DeadLetter]) -> None:
    from rich.table import Table

    table = Table("at", "id", "source", "reason", "detail", box=None, pad_edge=False)
    for letter in letters:
        table.add_row(
            letter.at, str(letter.place), str(letter.source), letter.reason, letter.detail
        )
    console().print(table)
    remarks().print(f"{len(letters)} dead letter{'' if len(letters) == 1 else 's'}")
