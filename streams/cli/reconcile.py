"""`payouts reconcile`: the ledger against the statement of the provider."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.console import console, remarks
from streams.cli.errors import EXIT_FAILED, BadUse, CommandError
from streams.cli.moments import moment_ms

if TYPE_CHECKING:
    from rails.statement import Statement
    from streams.reconcile.breaks import Break, Result
    from streams.reconcile.match import Sides, Window

BREAKS_SHOWN_MAX = 50
"""Breaks that are printed; JSON has all."""

HOUR_MS = 3_600_000


RailOption = Annotated[
    str, typer.Option("--rail", metavar="RAIL", help="The rail that the statement is of.")
]
StatementOption = Annotated[
    list[Path],
    typer.Option(
        "--statement",
        metavar="FILE",
        help="The provider's statement; may be given several times, in any order.",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="camt, paypal, adyen or sandbox; found out from the file if left out.",
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Begin here, such as 2026-11-01; else where the statement's period begins.",
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="TIME",
        help="End here, a date included; else where the statement's period ends.",
    ),
]
MarginOption = Annotated[
    int,
    typer.Option(
        "--margin-hours",
        min=0,
        max=240,
        metavar="HOURS",
        help="So near to an end of the period a payout may be on the next statement.",
    ),
]
JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Also write the result as JSON to this file; - prints only that.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(reconcile)


def reconcile(
    *,
    rail: RailOption,
    statement: StatementOption,
    format_: FormatOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    margin_hours: MarginOption = 2,
    file: JsonOption = None,
) -> None:
    """Hold ledger, payout commands and a provider's statement together. Changes nothing.

    Statements: camt.053 and camt.054, PayPal's Settlement or Transaction Detail Report,
    Adyen's Balance Platform Accounting Report, the sandbox's.
    Exit code 0 without breaks, 1 with breaks, 2 if a statement cannot be used.
    """
    from streams.reconcile.evidence import read_sides
    from streams.reconcile.formats import FORMATS, merged
    from streams.settings import load_settings
    from streams.wallets.evidence import EvidenceMissing

    if format_ is not None and format_ not in FORMATS:
        raise BadUse(f"no format {format_!r}; there are {', '.join(FORMATS)}")
    bounds = (_moment(since, "--since"), _moment(until, "--until", ends=True))
    whole = merged([_read(path, format_) for path in statement])
    try:
        sides = read_sides(load_settings())
    except EvidenceMissing as error:
        raise CommandError(str(error)) from error
    _check_rail(rail, sides)
    now_ms = time.time_ns() // 1_000_000
    window = _window(whole, bounds, margin_hours * HOUR_MS)
    result = _matched(whole, sides, rail=rail, window=window, bounds=bounds, now_ms=now_ms)
    told = as_json(result, rail, window, [path.name for path in statement], now_ms)
    text = json.dumps({**told, "other_lines": whole.others}, indent=2)
    if file is not None and str(file) == "-":
        typer.echo(text)
    else:
        _print(result, window, whole.others, now_ms)
    if file is not None and str(file) != "-":
        try:
            file.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"cannot write {file}: {error.strerror}") from error
    if result.breaks:
        absent = any(each.kind == "not_on_statement" for each in result.breaks)
        if absent and _period(window) == (None, None):
            remarks().print(
                "no period is known: all of the ledger is expected; see --since, --until"
            )
        remarks().print(f"{len(result.breaks):,} breaks")
        raise typer.Exit(EXIT_FAILED)


def _moment(text: str | None, option: str, *, ends: bool = False) -> int | None:
    return None if text is None else moment_ms(text, option, ends=ends)


def _read(path: Path, format_: str | None) -> tuple[str, Statement]:
    from rails.statement import StatementUnusable
    from streams.reconcile.formats import read_statement

    try:
        return path.name, read_statement(path, format_)
    except StatementUnusable as error:
        raise BadUse(str(error)) from error
    except OSError as error:
        raise BadUse(f"cannot read {path}: {error.strerror}") from error


def _check_rail(rail: str, sides: Sides) -> None:
    from rails.registry import PROVIDERS

    seen = {each.rail for each in sides.booked.values()}
    known = sorted(seen | {each.rail for each in sides.commanded.values()} | set(PROVIDERS))
    if rail not in known:
        raise BadUse(f"no rail {rail!r}; there are {', '.join(known)}")


def _window(statement: Statement, bounds: tuple[int | None, int | None], margin_ms: int) -> Window:
    from streams.reconcile.match import NEVER_MS, Window

    since_ms, until_ms = bounds
    if since_ms is None:
        since_ms = statement.since_ms or 0
    if until_ms is None:
        until_ms = statement.until_ms or NEVER_MS
    if since_ms >= until_ms:
        raise BadUse("the period ends before it begins; see --since and --until")
    return Window(since_ms, until_ms, margin_ms)


def _matched(
    statement: Statement,
    sides: Sides,
    *,
    rail: str,
    window: Window,
    bounds: tuple[int | None, int | None],
    now_ms: int,
) -> Result:
    from streams.reconcile.match import NEVER_MS, Window
    from streams.reconcile.match import reconcile as match

    # By its own period no line is left out: only a date may say when it was booked.
    wanted = Window(bounds[0] or 0, bounds[1] or NEVER_MS)
    inside = [line for line in statement.lines if wanted.covers(line.at_ms)]
    outside = [line for line in statement.lines if not wanted.covers(line.at_ms)]
    return match(inside, sides, rail=rail, window=window, now_ms=now_ms, outside=outside)


def as_json(
    result: Result, rail: str, window: Window, names: Sequence[str], now_ms: int
) -> dict[str, Any]:
    """A result as the JSON of reports. Amounts in minor units."""
    since, until = _period(window)
    return {
        "ok": not result.breaks,
        "rail": rail,
        "statements": list(names),
        "since": since,
        "until": until,
        "lines": result.lines,
        "matched": result.matched,
        "in_flight": result.in_flight,
        "unclaimed": result.unclaimed,
        "at_the_edge": result.at_the_edge,
        "fees_minor": dict(result.fees_minor),
        "clearing": [
            {
                "currency": total.currency,
                "ledger_minor": total.ledger_minor,
                "statement_minor": total.statement_minor,
                "difference_minor": total.difference_minor,
            }
            for total in result.clearing
        ],
        "breaks": [_break_json(each, now_ms) for each in result.breaks],
    }


def _break_json(found: Break, now_ms: int) -> dict[str, Any]:
    from streams.reconcile.breaks import bucket

    age_days = found.age_days(now_ms)
    return {
        "kind": found.kind,
        "payout_id": found.payout_id,
        "place": found.place,
        "at": _time(found.at_ms),
        "age_days": age_days,
        "age": bucket(age_days),
        "currency": found.currency,
        "amount_minor": found.amount_minor,
        "detail": found.detail,
    }


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _period(window: Window) -> tuple[str | None, str | None]:
    from streams.reconcile.match import NEVER_MS

    since = _time(window.since_ms) if window.since_ms else None
    return since, _time(window.until_ms) if window.until_ms != NEVER_MS else None


def _print(result: Result, window: Window, others: int, now_ms: int) -> None:
    from models.money import text

    out = console()
    since, until = _period(window)
    out.print(f"from {since or 'the beginning'} to {until or 'now'}")
    out.print(
        f"{result.lines:,} lines about payouts, {others:,} about other things; "
        f"{result.matched:,} payouts match"
    )
    if fees := [text(minor, currency) for currency, minor in result.fees_minor.items()]:
        out.print(f"fees of the provider: {', '.join(fees)}")
    for count, words in (
        (result.in_flight, "payouts in flight in the ledger"),
        (result.unclaimed, "of them left and wait for their recipient"),
        (result.at_the_edge, "moved near an end of the period, and may be on the next statement"),
    ):
        if count:
            out.print(f"{count:,} {words}")
    _print_clearing(result)
    if result.breaks:
        _print_breaks(result, now_ms)


def _print_clearing(result: Result) -> None:
    from rich.table import Table
    from rich.text import Text

    from models.money import text

    table = Table("clearing", "ledger", "statement", "difference", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for total in result.clearing:
        difference = text(total.difference_minor, total.currency)
        table.add_row(
            total.currency,
            text(total.ledger_minor, total.currency),
            text(total.statement_minor, total.currency),
            Text(difference, "bold red" if total.difference_minor else "green"),
        )
    if result.clearing:
        console().print(table)


def _print_breaks(result: Result, now_ms: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from models.money import text
    from streams.reconcile.breaks import BUCKETS, OLDEST, BreakKind

    buckets = [name for _, name in BUCKETS] + [OLDEST]
    aged = result.aged(now_ms)
    summary = Table("breaks", *buckets, box=None, pad_edge=False)
    for column in summary.columns[1:]:
        column.justify = "right"
    for kind in BreakKind:
        if any(aged[kind, name] for name in buckets):
            counts = (f"{aged[kind, name]:,}" if aged[kind, name] else "" for name in buckets)
            summary.add_row(Text(kind, "red"), *counts)
    console().print(summary)
    table = Table("break", "payout", "at", "days", "amount", "", box=None, pad_edge=False)
    for found in result.breaks[:BREAKS_SHOWN_MAX]:
        table.add_row(
            Text(found.kind, "red"),
            Text(found.payout_id or "-"),
            Text(found.place or _time(found.at_ms)),
            str(found.age_days(now_ms)),
            text(found.amount_minor, found.currency),
            Text(found.detail),
        )
    console().print(table)
    if len(result.breaks) > BREAKS_SHOWN_MAX:
        remarks().print(f"the first {BREAKS_SHOWN_MAX}; --json FILE has all")
