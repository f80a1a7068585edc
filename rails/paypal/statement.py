"""PayPal's statement: the Settlement Report (STL) or Transaction Detail Report (TRR), as CSV.

Documented by PayPal: amounts are unsigned, without a decimal point, and read by the debit or
credit column; the event codes of payouts (T0001 sent, T0104 fee of a batch, T1114 reversed, T1115
refunded, T1503 and T1105 a hold and its end); columns are to be found by name.
https://developer.paypal.com/docs/reports/sftp-reports/settlement-report/ and
https://developer.paypal.com/payouts/settlement-transaction-details

From general knowledge of these files, not from that text: the row types (RH, FH, SH, CH, SB, SF,
SC, RF, RC, FF), the form of their times, the status S of a completed transaction. PayPal does not
say which column shows a payout item's ``sender_item_id``; ``Custom Field`` and ``Invoice ID`` are
both looked at, and an id of ours is told by its form.

The Activity Download is not read: its times and amounts are written as the account's language
has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

from rails.amounts import step
from rails.statement import (
    Line,
    LineKind,
    Lines,
    Statement,
    StatementUnusable,
    bounded,
    cells_of,
    columns_of,
    moment_ms,
    payout_in,
    places_of,
    references_of,
    rows_of,
    shown,
)

COLUMNS = (
    "Transaction ID",
    "Invoice ID",
    "PayPal Reference ID",
    "Transaction Event Code",
    "Transaction Initiation Date",
    "Transaction Completion Date",
    "Transaction Debit or Credit",
    "Gross Transaction Amount",
    "Gross Transaction Currency",
    "Fee Debit or Credit",
    "Fee Amount",
    "Fee Currency",
    "Custom Field",
)
"""Columns that have to be there, in both reports."""

STATUS = "Transactional Status"
"""Column of the Transaction Detail Report alone; ``S``: the money moved."""

KINDS: Mapping[str, LineKind] = {
    "T0001": LineKind.PAYOUT,
    "T0104": LineKind.FEE,
    "T1114": LineKind.RETURN,
    "T1115": LineKind.RETURN,
}
"""What an event code is about; every other code is none of a payout's."""

ROW_TYPES = frozenset({"RH", "FH", "SH", "CH", "SB", "SF", "SC", "RF", "RC", "FF"})

_TIME = "%Y/%m/%d %H:%M:%S %z"
_SIGNS = {"DR": -1, "DEBIT": -1, "CR": 1, "CREDIT": 1}


class _Report:
    """The sections of a report, row by row."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.periods: list[tuple[int, int]] = []
        self.whole = False
        self._columns: Mapping[str, int] | None = None
        self._body = 0

    def take(self, number: int, row: list[str]) -> None:
        place = f"line {number}"
        kind = row[0].strip()
        if kind not in ROW_TYPES:
            raise StatementUnusable(
                f"{place}: a row of type {shown(kind)}; a Settlement or Transaction Detail Report "
                "has RH, SH, CH, SB and so on"
            )
        if kind == "SH":
            if len(row) < 3:
                raise StatementUnusable(f"{place}: no reporting period; is the file whole?")
            # The end is the last second of the period.
            ends = moment_ms(row[2], _TIME, place) + 1000
            self.periods.append((moment_ms(row[1], _TIME, place), ends))
            self._columns, self._body = None, 0
        elif kind == "CH":
            self._columns = columns_of(row[1:], COLUMNS, place)
        elif kind == "SB":
            if self._columns is None:
                raise StatementUnusable(f"{place}: a transaction before its column headers (CH)")
            self._body += 1
            self._transaction(cells_of(row[1:], self._columns, place), place)
        elif kind == "SC" and row[1:2] != [str(self._body)]:
            raise StatementUnusable(
                f"{place}: the section says {shown(''.join(row[1:2]))} rows and has {self._body}"
            )
        elif kind == "FF":
            self.whole = True

    def _transaction(self, cells: Mapping[str, str], place: str) -> None:
        kind = KINDS.get(cells["Transaction Event Code"].upper())
        if kind is None or cells.get(STATUS, "S").upper() not in {"S", ""}:
            self.lines.others += 1
            return
        currency = cells["Gross Transaction Currency"]
        amount_minor = _minor(
            cells["Gross Transaction Amount"], cells["Transaction Debit or Credit"], currency, place
        )
        when = cells["Transaction Completion Date"] or cells["Transaction Initiation Date"]
        at_ms = moment_ms(when, _TIME, place)
        payout_id = payout_in(cells["Custom Field"]) or payout_in(cells["Invoice ID"])
        references = references_of(cells["Transaction ID"], cells["PayPal Reference ID"])
        if kind is not LineKind.FEE:
            kind = LineKind.PAYOUT if amount_minor < 0 else LineKind.RETURN
        if amount_minor > 0 and KINDS[cells["Transaction Event Code"].upper()] is LineKind.PAYOUT:
            # Somebody else's payout, to this account.
            self.lines.others += 1
            return
        if amount_minor:
            self.lines.add(Line(place, kind, at_ms, currency, amount_minor, payout_id, references))
        if cells["Fee Amount"].strip("0"):
            fee_minor = _minor(
                cells["Fee Amount"], cells["Fee Debit or Credit"], cells["Fee Currency"], place
            )
            self.lines.add(
                Line(
                    place,
                    LineKind.FEE,
                    at_ms,
                    cells["Fee Currency"],
                    fee_minor,
                    payout_id,
                    references,
                )
            )


def read_paypal(source: BinaryIO) -> Statement:
    """A Settlement Report or Transaction Detail Report. Raises StatementUnusable."""
    report = _Report()
    for number, row in rows_of(source):
        report.take(number, row)
    if not report.whole:
        raise StatementUnusable("no file footer (FF) at the end; the file is not whole")
    if not report.periods:
        raise StatementUnusable("no section (SH); the report says of no account what moved")
    return report.lines.statement(
        min(since for since, _ in report.periods), max(until for _, until in report.periods)
    )


def _minor(text: str, sign: str, currency: str, place: str) -> int:
    """An unsigned amount in PayPal's own smallest unit, in minor units of ISO 4217.

    PayPal carries some currencies without decimals that ISO 4217 gives two.
    """
    places_of(currency, place)
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise StatementUnusable(
            f"{place}: {shown(text)} is no amount of this report, which has digits alone"
        )
    signed = _SIGNS.get(sign.upper())
    if signed is None:
        raise StatementUnusable(f"{place}: {shown(sign)} is neither DR nor CR")
    return bounded(signed * int(text) * step("paypal", currency), place)
