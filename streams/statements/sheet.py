"""A statement as a sheet for people: facts at its head, and a table for each currency.

What a sheet says is decided here, how it is drawn in :mod:`streams.statements.pdf`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

from models.money import grouped
from models.movements import WORDS, Movement
from models.statement import SELLERS, AccountLine, CompanyStatement, Period, Statement

ACCOUNT_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "available": "Available",
        "held": "Under review",
        "pending": "Released later",
        "in_flight": "On its way",
        "credit": "Store credit",
        "debt": "Owed",
        "authorised": "At the till",
        "quoted": "Being exchanged",
    }
)
"""A seller's accounts for people; another is told by its own name."""


class Cell(NamedTuple):
    """Text, and smaller text below it."""

    text: str
    below: str = ""


class Column(NamedTuple):
    """A column of a table. ``share`` is its part of the width, in thousandths."""

    title: str
    share: int
    right: bool = False


class Row(NamedTuple):
    """A row of a table; a strong one stands out."""

    cells: tuple[Cell, ...]
    strong: bool = False


class Table(NamedTuple):
    """A table with its heading."""

    heading: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is drawn."""

    title: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    foot: str


def seller_sheet(statement: Statement, *, holder: str, made_ms: int) -> Sheet:
    """A seller's statement. ``holder`` is a name to print, or nothing."""
    facts = [("Holder", holder)] if holder else []
    facts += [("Seller", statement.seller_id), *_period_facts(statement.period, made_ms)]
    tables = [_currency_table(statement, currency) for currency in statement.currencies()]
    foot = f"{statement.seller_id}, {statement.period.label}"
    return Sheet("Statement of account", tuple(facts), tuple(tables), foot)


def company_sheet(statement: CompanyStatement, *, holder: str, made_ms: int) -> Sheet:
    """The company's statement by account."""
    facts = [("Company", holder)] if holder else []
    facts += _period_facts(statement.period, made_ms)
    tables = [_company_table(statement, currency) for currency in statement.currencies()]
    return Sheet("Statement by account", tuple(facts), tuple(tables), statement.period.label)


def _period_facts(period: Period, made_ms: int) -> list[tuple[str, str]]:
    words = period.label
    if made_ms < period.until_ms:
        words += ", not over yet: up to when this was made"
    made = f"{moment(made_ms, period.zone)}"
    return [("Period", words), ("Times", period.zone), ("Made", made)]


def moment(at_ms: int, zone: str) -> str:
    """A moment for people, to the minute, in a time zone."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(ZoneInfo(zone))
    return at.strftime("%Y-%m-%d %H:%M")


def _currency_table(statement: Statement, currency: str) -> Table:
    accounts = statement.accounts(currency)
    width = min(110, 600 // max(len(accounts), 1))
    columns = (
        Column("Date", 125),
        Column("Movement", 875 - width * len(accounts)),
        *(Column(ACCOUNT_WORDS.get(name, name), width, right=True) for name in accounts),
    )
    opening, closing = statement.opening.get(currency, {}), statement.closing.get(currency, {})
    rows = [_balances_row("Opening balance", opening, accounts, currency)]
    rows += [
        _movement_row(movement, accounts, currency, statement.period.zone)
        for movement in statement.movements
        if any(posting.currency == currency for posting in movement.postings)
    ]
    rows.append(_balances_row("Closing balance", closing, accounts, currency))
    return Table(currency, columns, tuple(rows))


def _balances_row(
    title: str, balances: Mapping[str, int], accounts: Sequence[str], currency: str
) -> Row:
    amounts = (Cell(grouped(balances.get(name, 0), currency)) for name in accounts)
    return Row((Cell(""), Cell(title), *amounts), strong=True)


def _movement_row(movement: Movement, accounts: Sequence[str], currency: str, zone: str) -> Row:
    moved = {p.account: p for p in movement.postings if p.currency == currency}
    cells = [Cell(moment(movement.at_ms, zone)), Cell(movement.words, movement.reference)]
    for name in accounts:
        posting = moved.get(name)
        if posting is None:
            cells.append(Cell(""))
        else:
            amount = signed(posting.minor, currency)
            cells.append(Cell(amount, grouped(posting.after, currency)))
    return Row(tuple(cells))


def signed(minor: int, currency: str) -> str:
    """A change for people, with its sign."""
    return ("+" if minor > 0 else "") + grouped(minor, currency)


def _company_table(statement: CompanyStatement, currency: str) -> Table:
    columns = (
        Column("Account", 260),
        Column("Movement", 400),
        Column("Entries", 100, right=True),
        Column("Amount", 240, right=True),
    )
    rows: list[Row] = []
    for line in statement.of(currency):
        rows += _account_rows(line)
    return Table(currency, columns, tuple(rows))


def _account_rows(line: AccountLine) -> list[Row]:
    name = account_words(line.account)
    opening, closing = (
        Cell(grouped(minor, line.currency)) for minor in (line.opening_minor, line.closing_minor)
    )
    return [
        Row((Cell(name), Cell("Opening balance"), Cell(""), opening), strong=True),
        *(
            Row(
                (
                    Cell(""),
                    Cell(kind_words(total.kind)),
                    Cell(f"{total.entries:,}"),
                    Cell(signed(total.minor, line.currency)),
                )
            )
            for total in line.totals()
        ),
        Row((Cell(""), Cell("Closing balance"), Cell(""), closing), strong=True),
    ]


def account_words(account: str) -> str:
    """An account of a company statement for people."""
    name = account.removeprefix(SELLERS)
    return account if name == account else f"Sellers: {ACCOUNT_WORDS.get(name, name).lower()}"


def kind_words(kind: str) -> str:
    """A kind of entry for people, without what hangs on the single entry."""
    words = WORDS.get(kind, kind)
    for part in ("{volume}", "{amount}", "{rail}"):
        words = words.replace(part, "")
    return words
