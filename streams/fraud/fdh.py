"""The transactions of the Fraud Detection Handbook: reading them, and the handbook's own features.

Le Borgne, Siblini, Lebichot, Bontempi: Reproducible Machine Learning for Credit Card Fraud
Detection (2022). The file is a table in Parquet with the handbook's columns. A transaction becomes
a sale of the terminal's owner, at her terminal, paid with the customer's card.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.decay import DAY_S
from models.events import SaleCompleted
from streams.fraud.replay import Labelled

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Matrix = NDArray[np.float64]

COLUMNS = ("TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD")
"""What is read. The scenario of a fraud is not: it says how the data was made."""

HANDBOOK_FEATURES = (
    "amount",
    "weekend",
    "night",
    *(f"customer_{what}_{days}d" for days in (1, 7, 30) for what in ("count", "mean")),
    *(f"terminal_{what}_{days}d" for days in (1, 7, 30) for what in ("count", "risk")),
)
"""The handbook's 15 features, in the order of its notebooks."""

_WINDOWS_DAYS = (1, 7, 30)
_DELAY_DAYS = 7
_FRAUD = "fraud"


class DataUnreadable(Exception):
    """A file that does not hold the handbook's transactions, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Transactions:
    """Transactions in order of time, a column each."""

    at_s: Numbers
    customers: Numbers
    terminals: Numbers
    minor: Numbers
    """What was paid, in minor units."""
    frauds: Flags

    @property
    def days(self) -> Numbers:
        """The day of each, in days since the epoch (UTC)."""
        return self.at_s // DAY_S

    def __len__(self) -> int:
        return len(self.at_s)


def read(file: Path) -> Transactions:
    """The transactions of a Parquet file. Raises :class:`DataUnreadable`."""
    try:
        from pyarrow import ArrowException  # noqa: PLC0415 - an extra brings it
        from pyarrow.parquet import read_table  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise DataUnreadable(
            "reading Parquet needs pyarrow: install payout-streams[fraud]"
        ) from error
    try:
        table = read_table(file, columns=list(COLUMNS))
        if missing := sorted(set(COLUMNS) - set(table.column_names)):
            raise DataUnreadable(f"{file}: there is no column {missing[0]}")
        if table.num_rows == 0 or any(table[name].null_count for name in COLUMNS):
            raise DataUnreadable(f"{file}: no rows, or a value is missing")
        at, customers, terminals, paid, frauds = (table[name].to_numpy() for name in COLUMNS)
        return transactions(
            at.astype("datetime64[s]").astype(np.int64), customers, terminals, paid, frauds
        )
    except (OSError, ArrowException, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataUnreadable(f"{file}: {reason}") from error


def transactions(at_s: Any, customers: Any, terminals: Any, paid: Any, frauds: Any) -> Transactions:
    """Transactions from columns, put in order of time. ``paid`` is in major units.

    Raises ValueError for what nobody paid: a negative value, a NaN or an infinity.
    """
    paid = np.asarray(paid, dtype=np.float64)
    if not (np.isfinite(paid) & (paid >= 0) & (paid < 1e12)).all():
        raise ValueError("an amount is negative, too large or not a number")
    order = np.argsort(at_s, kind="stable")
    return Transactions(
        at_s=np.asarray(at_s, dtype=np.int64)[order],
        customers=np.asarray(customers, dtype=np.int64)[order],
        terminals=np.asarray(terminals, dtype=np.int64)[order],
        minor=np.rint(paid * 100).astype(np.int64)[order],
        frauds=np.asarray(frauds, dtype=np.int64)[order] != 0,
    )


def history(data: Transactions) -> Iterator[Labelled]:
    """The transactions as labelled sales, in order.

    They are made without the checks of a message that comes in: the columns have been checked.
    """
    columns = (data.at_s, data.customers, data.terminals, data.minor, data.frauds)
    for number, (at, customer, terminal, minor, fraud) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        name, card = f"t{terminal}", f"c{customer}"
        event = SaleCompleted.model_construct(
            id=f"e{number}",
            occurred_at=datetime.fromtimestamp(at, UTC),
            seller_id=name,
            sale_id=f"e{number}",
            currency="EUR",
            amount_minor=minor,
            customer_ref=card,
            instrument_ref=card,
            device_ref=name,
        )
        yield Labelled(event, None, _FRAUD if fraud else None)


def handbook_features(data: Transactions) -> Matrix:
    """The handbook's 15 features of each transaction.

    A customer's count and mean take the transaction itself in; a terminal's count and risk end
    seven days before it.
    """
    paid = data.minor / 100
    columns = [
        paid,
        (data.days + 3) % 7 >= 5,  # the epoch began on a Thursday
        data.at_s % DAY_S // 3600 <= 6,
    ]
    spans = [days * DAY_S for days in _WINDOWS_DAYS]
    for count, total in _rolled(data.customers, data.at_s, paid, spans):
        columns += [count, total / count]
    delay = _DELAY_DAYS * DAY_S
    frauds = data.frauds.astype(np.float64)
    (late, late_frauds), *windows = _rolled(
        data.terminals, data.at_s, frauds, [delay, *(delay + span for span in spans)]
    )
    for count, total in windows:
        seen = count - late
        columns += [seen, np.where(seen > 0, (total - late_frauds) / np.maximum(seen, 1), 0)]
    return np.column_stack(columns).astype(np.float64)


def _rolled(
    keys: Numbers, at_s: Numbers, values: Matrix, spans: Sequence[int]
) -> list[tuple[Matrix, Matrix]]:
    """For each span: how many rows of the same key there are in (at - span, at], and their sum."""
    order = np.argsort(keys, kind="stable")
    key, at = keys[order], at_s[order] - at_s[0]
    # One axis for all keys: a key's times lie behind those of the key before.
    apart = int(at.max()) + 2 * max(spans)
    place = np.unique(key, return_inverse=True)[1] * apart + at
    sums = np.concatenate([[0.0], np.cumsum(values[order])])
    ends = np.arange(1, len(key) + 1)
    found = []
    for span in spans:
        begins = np.searchsorted(place, place - span, side="right")
        count, total = np.empty(len(key)), np.empty(len(key))
        count[order] = ends - begins
        total[order] = sums[ends] - sums[begins]
        found.append((count, total))
    return found
