"""`payouts statement`: a seller's, or the company's, over a month or a year."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.console import remarks
from streams.cli.errors import BadUse, CommandError

if TYPE_CHECKING:
    from models.statement import CompanyStatement, Period, Statement
    from streams.settings import Settings
    from streams.statements.sheet import Sheet

FORMATS = ("pdf", "csv", "json")

SellerArgument = Annotated[
    str | None,
    typer.Argument(metavar="[SELLER]", help="The seller's id.", show_default=False),
]
CompanyOption = Annotated[
    bool, typer.Option("--company", help="The company's, by account, instead of a seller's.")
]
MonthOption = Annotated[
    str | None, typer.Option("--month", metavar="MONTH", help="A month, such as 2026-10.")
]
YearOption = Annotated[
    str | None, typer.Option("--year", metavar="YEAR", help="A year, such as 2026.")
]
ZoneOption = Annotated[
    str,
    typer.Option("--zone", metavar="ZONE", help="Whose months: a time zone like Europe/Berlin."),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="pdf, csv or json; by the file's name if left out, csv without a file.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Write to this file instead of stdout."),
]
NameOption = Annotated[
    str, typer.Option("--name", metavar="NAME", help="A name to print on a PDF; kept nowhere.")
]
FontOption = Annotated[
    Path | None,
    typer.Option(
        "--font",
        metavar="FILE",
        help="A TrueType font for a PDF, for names in other letters than Western Europe's.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(statement)


def statement(
    seller: SellerArgument = None,
    *,
    company: CompanyOption = False,
    month: MonthOption = None,
    year: YearOption = None,
    zone: ZoneOption = "UTC",
    format_: FormatOption = None,
    output: OutputOption = None,
    name: NameOption = "",
    font: FontOption = None,
) -> None:
    """A statement by the journal: opening balances, every movement with its reason, closing.

    Months are UTC's unless --zone says otherwise. Redis is not asked, nothing is changed.
    """
    if (seller is None) != company:
        raise BadUse("a statement is of one SELLER, or with --company of the company")
    made_ms = time.time_ns() // 1_000_000
    period = _period(month, year, zone, made_ms)
    kind = _format(format_, output)
    if kind == "pdf":
        _check_pdf(name, font)
    elif name or font is not None:
        raise BadUse(f"--name and --font are for a PDF, not for {kind}")
    found = _read(seller, period)
    _write(_told(found, kind, made_ms=made_ms, name=name, font=font), output)


def _period(month: str | None, year: str | None, zone: str, now_ms: int) -> Period:
    from models import statement as models

    if (month is None) == (year is None):
        raise BadUse("give either --month, such as 2026-10, or --year, such as 2026")
    try:
        period = models.month(month, zone) if month is not None else models.year(year or "", zone)
    except models.PeriodInvalid as error:
        raise BadUse(str(error)) from error
    if period.since_ms > now_ms:
        raise BadUse(f"{period.label} is in the future")
    return period


def _format(format_: str | None, output: Path | None) -> str:
    kind = format_
    if kind is None:
        kind = "csv" if output is None else output.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise BadUse(f"no format {kind!r}; --format is one of {', '.join(FORMATS)}")
    if kind == "pdf" and output is None and sys.stdout.isatty():
        raise BadUse("a PDF is not for a terminal: --output FILE")
    return kind


def _check_pdf(name: str, font: Path | None) -> None:
    """Before anything is read: whether a PDF can be drawn, and what it will not show."""
    try:
        from streams.statements.pdf import lacking
    except ModuleNotFoundError as error:
        raise CommandError(
            f"a PDF needs {error.name}: pip install 'payout-streams[statements]'; "
            "csv and json do without"
        ) from error
    if font is None and (letters := lacking(name)):
        remarks().print(f"the built-in font has no {letters}; it prints ?. --font FILE has another")


def _read(seller: str | None, period: Period) -> Statement | CompanyStatement:
    from models.statement import StatementBroken, StatementTooLong
    from streams.settings import load_settings
    from streams.wallets.journal import JournalUnreadable

    try:
        return _from_journal(load_settings(), seller, period)
    except JournalUnreadable as error:
        raise CommandError(f"cannot read the journal: {error}") from error
    except (StatementBroken, StatementTooLong) as error:
        raise CommandError(str(error)) from error


def _from_journal(
    settings: Settings, seller: str | None, period: Period
) -> Statement | CompanyStatement:
    from models.statement import company_statement, seller_statement
    from streams.statements.ledger import Ledger

    ledger = Ledger(settings)
    if seller is None:
        return company_statement(period, ledger.with_postings())
    found = seller_statement(seller, period, ledger.of_seller(seller))
    if found is None:
        raise CommandError(f"nothing is known of a seller {seller!r}")
    return found


def _told(
    found: Statement | CompanyStatement, kind: str, *, made_ms: int, name: str, font: Path | None
) -> bytes:
    from models.statement import Statement
    from streams.statements import files, sheet

    if isinstance(found, Statement):
        if kind == "csv":
            return files.seller_csv(found, made_ms).encode()
        if kind == "json":
            return files.seller_json(found, made_ms).encode()
        return _drawn(sheet.seller_sheet(found, holder=name, made_ms=made_ms), font)
    if kind == "csv":
        return files.company_csv(found).encode()
    if kind == "json":
        return files.company_json(found, made_ms).encode()
    return _drawn(sheet.company_sheet(found, holder=name, made_ms=made_ms), font)


def _drawn(sheet: Sheet, font: Path | None) -> bytes:
    from streams.statements.pdf import FontUnusable, draw

    try:
        return draw(sheet, font=font)
    except FontUnusable as error:
        raise BadUse(str(error)) from error


def _write(told: bytes, output: Path | None) -> None:
    if output is None:
        typer.echo(told, nl=False)
        return
    try:
        output.write_bytes(told)
    except OSError as error:
        raise CommandError(f"cannot write {output}: {error.strerror}") from error
