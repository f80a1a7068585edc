"""Adyen's statement: the Balance Platform Accounting Report, as CSV or TSV.

Documented by Adyen: a row without a ``Transaction Id`` has not moved money; linked rows share a
``Transfer Id``; payouts have the category ``bank`` (of cards ``card``), ``Balance (PC)`` is what
moved on the account in ``Payment Currency``, a decimal with its sign; ``Reference`` is that of the
transfer's request; a row of status ``cancelled`` has a ``Transaction Id`` and has moved nothing.
https://docs.adyen.com/platforms/reports-and-fees/balance-platform-accounting-report and
https://docs.adyen.com/platforms/reconciliation-use-cases/reconcile-transfers

From general knowledge, not from those pages: that a type with ``fee`` in it is a charge, and that
a payout that came back is in the statuses ``returned`` or ``reversed``. The zone of a time is an
abbreviation; the ones known are in ``ZONES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import BinaryIO

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
    "Transfer Id",
    "Transaction Id",
    "Category",
    "Status",
    "Type",
    "Booking Date",
    "Booking Date TimeZone",
    "Payment Currency",
    "Balance (PC)",
    "Reference",
)
"""Columns that have to be there."""

CATEGORIES = frozenset({"bank", "card"})
"""Categories of transfers to others' accounts."""

CAME_BACK = frozenset({"returned", "reversed"})

ZONES: Mapping[str, int] = {
    "UTC": 0, "GMT": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3,
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
    "SGT": 8, "JST": 9, "AEST": 10, "AEDT": 11,
}  # fmt: skip
"""Hours ahead of UTC. ``CST`` and ``BST`` are North America's and Britain's."""

HEADER_BYTES_MAX = 64 * 1024
"""Longest first line that is looked at for what divides the columns."""

_TIME = "%Y-%m-%d %H:%M:%S %z"


def read_adyen(source: BinaryIO) -> Statement:
    """A Balance Platform Accounting Report. It names no period. Raises StatementUnusable."""
    first = source.readline(HEADER_BYTES_MAX)
    source.seek(0)
    delimiter = "\t" if first.count(b"\t") > first.count(b",") else ","
    lines = Lines()
    columns: Mapping[str, int] | None = None
    for number, row in rows_of(source, delimiter):
        place = f"line {number}"
        if columns is None:
            columns = columns_of(row, COLUMNS, place)
        else:
            _take(lines, cells_of(row, columns, place), place)
    if columns is None:
        raise StatementUnusable("the file is empty; a report without transfers has its header")
    return lines.statement()


def _take(lines: Lines, cells: Mapping[str, str], place: str) -> None:
    status = cells["Status"].lower()
    if cells["Category"].lower() not in CATEGORIES or not cells["Transaction Id"]:
        lines.others += 1
        return
    currency = cells["Payment Currency"]
    amount_minor = minor_of(cells["Balance (PC)"], currency, place)
    payout_id = payout_in(cells["Reference"]) or payout_in(cells.get("Reference for Beneficiary"))
    if amount_minor == 0 or (amount_minor > 0 and payout_id is None and status not in CAME_BACK):
        # A cancellation, or money that somebody sent to this account.
        lines.others += 1
        return
    kind = LineKind.PAYOUT if amount_minor < 0 else LineKind.RETURN
    if "fee" in cells["Type"].lower():
        kind = LineKind.FEE
    references = references_of(cells["Transaction Id"], cells["Transfer Id"])
    at_ms = _booked_ms(cells["Booking Date"], cells["Booking Date TimeZone"], place)
    lines.add(Line(place, kind, at_ms, currency, amount_minor, payout_id, references))


def _booked_ms(text: str, zone: str, place: str) -> int:
    hours = ZONES.get(zone.upper())
    if hours is None:
        raise StatementUnusable(
            f"{place}: time zone {shown(zone)} is not known; those that are: {', '.join(ZONES)}"
        )
    # Some exports have fractions of a second.
    local_ms = moment_ms(text.partition(".")[0] + " +0000", _TIME, place)
    return local_ms - timedelta(hours=hours) // timedelta(milliseconds=1)
