"""The sandbox's own statement: a CSV file of what moved in its books, for ``payouts reconcile``.

One row a movement: a payout when its money left, a return when it came back. The columns are
``COLUMNS``; times are RFC 3339 in UTC, amounts signed decimals of ISO 4217.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from rails.amounts import amount_text
from rails.sandbox.books import Movement, moment
from rails.statement import (
    Line,
    LineKind,
    Lines,
    Statement,
    StatementUnusable,
    cells_of,
    columns_of,
    minor_of,
    moment_ms,
    payout_in,
    references_of,
    rows_of,
    shown,
)

COLUMNS = (
    "transaction_id",
    "booked_at",
    "kind",
    "rail",
    "reference",
    "attempt_id",
    "currency",
    "amount",
)


def written(movements: Iterable[Movement]) -> Iterator[str]:
    """The lines of the statement of movements, its header first."""
    yield _row(COLUMNS)
    for at_ms, entry, number, amount_minor in movements:
        kind = LineKind.PAYOUT if amount_minor < 0 else LineKind.RETURN
        yield _row(
            (
                f"{entry.reference}-{number}",
                moment(at_ms),
                kind,
                entry.rail,
                entry.reference,
                entry.sender_item_id,
                entry.currency,
                _decimal(amount_minor, entry.currency),
            )
        )


def read_sandbox(source: BinaryIO) -> Statement:
    """The sandbox's statement; it names no period. Raises StatementUnusable."""
    lines = Lines()
    columns = None
    for number, row in rows_of(source):
        place = f"line {number}"
        if columns is None:
            columns = columns_of(row, COLUMNS, place)
            continue
        cells = cells_of(row, columns, place)
        try:
            kind = LineKind(cells["kind"])
        except ValueError:
            raise StatementUnusable(
                f"{place}: {shown(cells['kind'])} is no kind of line; there are "
                f"{', '.join(LineKind)}"
            ) from None
        currency = cells["currency"]
        lines.add(
            Line(
                place,
                kind,
                moment_ms(cells["booked_at"], "%Y-%m-%dT%H:%M:%S%z", place),
                currency,
                minor_of(cells["amount"], currency, place),
                payout_in(cells["attempt_id"]),
                references_of(cells["transaction_id"], cells["reference"], cells["attempt_id"]),
            )
        )
    if columns is None:
        raise StatementUnusable("the file is empty; a statement without payouts has its header")
    return lines.statement()


def _row(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _decimal(amount_minor: int, currency: str) -> str:
    return "-" * (amount_minor < 0) + amount_text("sandbox", abs(amount_minor), currency)
