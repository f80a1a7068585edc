"""`payouts fx`: what conversions brought the company, by the journal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.console import console
from streams.cli.errors import BadUse, CommandError
from streams.cli.moments import moment_ms

if TYPE_CHECKING:
    from models.gains import Gains
    from models.quotes import Quote

SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Count from here on, such as 2026-11-01."),
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="End here, a date included.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, amounts in minor units.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(fx)


def fx(
    *, since: SinceOption = None, until: UntilOption = None, as_json: JsonOption = False
) -> None:
    """What conversions brought: by pair what was exchanged, realised and is open; markup, rounding.

    Positions are closed at their average cost, whatever the period. Only the journal is read.
    """
    since_ms = moment_ms(since, "--since") if since else 0
    until_ms = moment_ms(until, "--until", ends=True) if until else None
    if until_ms is not None and until_ms <= since_ms:
        raise BadUse("--until is not behind --since")
    found = report(_conversions(until_ms), since_ms)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _print(found)


def _conversions(until_ms: int | None) -> list[tuple[int, Quote]]:
    """When each was made, in the order of time."""
    from streams.settings import load_settings
    from streams.statements.ledger import Ledger
    from streams.wallets.journal import JournalUnreadable

    found = []
    try:
        for entry, at_ms in Ledger(load_settings()).with_postings():
            quote = entry.quote
            if quote is None or quote.step != "converted":
                continue
            if until_ms is None or at_ms < until_ms:
                found.append((at_ms, entry.shard, entry.seq, quote))
    except JournalUnreadable as error:
        raise CommandError(f"cannot read the journal: {error}") from error
    found.sort(key=lambda each: each[:3])
    return [(at_ms, quote) for at_ms, _, _, quote in found]


def report(conversions: Iterable[tuple[int, Quote]], since_ms: int) -> dict[str, Any]:
    """The report on conversions in the order of time; flows are those from ``since_ms`` on."""
    from models.gains import Gains

    whole, inside = Gains(), Gains()
    before: dict[tuple[str, str], int] = {}
    for at_ms, quote in conversions:
        whole.take(quote)
        if at_ms < since_ms:
            before = {key: each.realised_minor for key, each in whole.positions.items()}
        else:
            inside.take(quote)
    return {
        "conversions": [
            {
                "source": source,
                "target": target,
                "count": count,
                "sold_minor": inside.sold[source, target],
                "bought_minor": inside.bought[source, target],
            }
            for (source, target), count in sorted(inside.made.items())
        ],
        "pairs": _pairs(whole, before),
        "markup_minor": dict(sorted(inside.markup.items())),
        "rounding_minor": dict(sorted(inside.rounding.items())),
    }


def _pairs(whole: Gains, before: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    return [
        {
            "held": each.first,
            "held_minor": each.held_minor,
            "in": each.second,
            "cost_minor": each.cost_minor,
            "realised_minor": each.realised_minor - before.get(key, 0),
        }
        for key, each in sorted(whole.positions.items())
    ]


def _print(found: Mapping[str, Any]) -> None:
    from models.money import text

    if not found["pairs"]:
        console().print("nothing was converted")
        return
    _print_table(
        ("from", "to", "conversions", "sold", "bought"),
        [
            (
                each["source"],
                each["target"],
                f"{each['count']:,}",
                text(each["sold_minor"], each["source"]),
                text(each["bought_minor"], each["target"]),
            )
            for each in found["conversions"]
        ],
    )
    _print_table(
        ("pair", "", "held", "cost", "realised"),
        [
            (
                each["held"],
                each["in"],
                text(each["held_minor"], each["held"]),
                text(each["cost_minor"], each["in"]),
                text(each["realised_minor"], each["in"]),
            )
            for each in found["pairs"]
        ],
    )
    for name in ("markup", "rounding"):
        kept = [text(minor, currency) for currency, minor in found[f"{name}_minor"].items()]
        console().print(f"{name}: {', '.join(kept) or 'none'}")


def _print_table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(*titles, box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    console().print(table)
