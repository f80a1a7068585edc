"""Statements: what a provider says it moved, as lines that mean the same whoever wrote them.

A reader of a provider's format lies in the provider's folder; what CSV reports share is here. A
statement that cannot be read whole is not read at all: a line that was passed over would look like
money that nobody moved.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, BinaryIO

from models.money import MINOR_MAX, exponent

CSV_BYTES_MAX = 512 * 1024 * 1024
"""Largest CSV statement."""

LINES_MAX = 500_000
"""Most lines that a statement may have about payouts: about 0.5 KiB of memory each."""

REFERENCE_CHARS_MAX = 80
"""What is longer is no reference of a provider."""

_DECIMAL = re.compile(r"(-?)([0-9]{1,15})(?:\.([0-9]{1,6}))?")
_PAYOUT = re.compile(
    r"([0-9a-f]{8})-?([0-9a-f]{4})-?(5[0-9a-f]{3})-?([89ab][0-9a-f]{3})-?([0-9a-f]{12})"
    r"(?:[^0-9a-f].{0,15})?"
)
_SHOWN = re.compile(r"[A-Z0-9]{0,3}|[0-9TZ.,:/'+ -]{1,26}")
_REFERENCE = re.compile(rf"[A-Za-z0-9._:/-]{{1,{REFERENCE_CHARS_MAX}}}")


class LineKind(StrEnum):
    """What a line of a statement is about."""

    PAYOUT = "payout"  # money that left for a recipient
    RETURN = "return"  # money of a payout that came back
    FEE = "fee"  # what the provider takes for its work: no payout's principal


class StatementUnusable(ValueError):
    """A statement cannot be read; one line that says where, what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """One payment of a line that bundles several. ``amount_minor`` is signed as the line's, and
    None where the statement does not name it."""

    payout_id: str | None
    amount_minor: int | None
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One movement on the account at the provider.

    ``place`` says where it stands in its file. ``amount_minor`` is in minor units of ISO 4217,
    below zero for money that left the account. ``payout_id`` is ours, where the provider shows it;
    ``references`` are the provider's, the movement's own first. ``parts`` are the payments that
    the line bundles, ``count`` how many it says there are. Nothing of a person is kept.
    """

    place: str
    kind: LineKind
    at_ms: int
    currency: str
    amount_minor: int
    payout_id: str | None = None
    references: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """What a file says: its lines about payouts, and the period it covers if it names one.

    ``until_ms`` is the first moment behind the period. ``others``: lines about other things, such
    as money that came in; they are counted only.
    """

    lines: tuple[Line, ...]
    others: int = 0
    since_ms: int | None = None
    until_ms: int | None = None


class Bounded(io.RawIOBase):
    """A file that ends with StatementUnusable where it is larger than a statement may be."""

    def __init__(self, source: BinaryIO, bytes_max: int) -> None:
        """Take the file, which stays open, and the bytes that may be read of it."""
        super().__init__()
        self._source = source
        self._bytes_max = bytes_max
        self._read_bytes = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the file goes."""
        data = self._source.read(len(buffer))
        self._read_bytes += len(data)
        if self._read_bytes > self._bytes_max:
            raise StatementUnusable(f"more than {self._bytes_max:,} bytes; split the statement")
        buffer[: len(data)] = data
        return len(data)


class Lines:
    """Collects a statement's lines, within bounds."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lines: list[Line] = []
        self.others = 0

    def add(self, line: Line) -> None:
        """Keep a line. Raises StatementUnusable when there are too many."""
        if len(self._lines) >= LINES_MAX:
            raise StatementUnusable(
                f"{line.place}: more than {LINES_MAX:,} lines about payouts; split the statement"
            )
        self._lines.append(line)

    def statement(self, since_ms: int | None = None, until_ms: int | None = None) -> Statement:
        """What was collected."""
        return Statement(tuple(self._lines), self.others, since_ms, until_ms)


def payout_in(reference: str | None) -> str | None:
    """The payout that a reference of ours names, with or without hyphens and attempt number.

    ISO 20022 bounds an EndToEndId to 35 characters, one less than a payout id with its hyphens.
    None for whatever has not the form of our ids, so that nobody's free text is passed on.
    """
    found = _PAYOUT.fullmatch((reference or "").strip().lower())
    return "-".join(found.groups()) if found else None


def references_of(*values: str | None) -> tuple[str, ...]:
    """The values that have the form of a reference, each once, in their order."""
    found = (value.strip() for value in values if value)
    return tuple(dict.fromkeys(each for each in found if _REFERENCE.fullmatch(each)))


def shown(text: str) -> str:
    """A text of a statement that could not be read, for the line that says so.

    Only what is short and looks like a code, a number or a time: where columns are out of place it
    might be somebody's name or account.
    """
    text = text.strip()
    return repr(text) if _SHOWN.fullmatch(text) else f"a text of {len(text)} characters"


def places_of(currency: str, place: str) -> int:
    """Decimal places of a currency by ISO 4217. Raises StatementUnusable for an unknown one."""
    try:
        return exponent(currency)
    except KeyError:
        raise StatementUnusable(f"{place}: {shown(currency)} is no currency of ISO 4217") from None


def minor_of(text: str, currency: str, place: str) -> int:
    """A decimal amount of a report in minor units, exact, with its sign.

    Raises StatementUnusable for thousands separators, decimal commas and more decimal places than
    the currency has: ``1.234`` might be a thousand of somebody else's.
    """
    places = places_of(currency, place)
    found = _DECIMAL.fullmatch(text.strip())
    if found is None:
        raise StatementUnusable(
            f"{place}: {shown(text)} is no plain decimal amount; export the report without "
            "thousands separators and with a point before the decimals"
        )
    sign, whole, part = found.group(1), found.group(2), found.group(3) or ""
    if len(part) > places:
        raise StatementUnusable(
            f"{place}: {text.strip()!r} has {len(part)} decimal places, {currency} has {places}"
        )
    return bounded(int(sign + whole + part.ljust(places, "0")), place)


def bounded(amount_minor: int, place: str) -> int:
    """The amount. Raises StatementUnusable for more than any payment may be."""
    if abs(amount_minor) > MINOR_MAX:
        raise StatementUnusable(f"{place}: {amount_minor} minor units is more than any payment")
    return amount_minor


def moment_ms(text: str, form: str, place: str) -> int:
    """A time of a report in milliseconds since the epoch; ``form`` is strptime's, with its zone.

    Raises StatementUnusable.
    """
    try:
        found = datetime.strptime(text.strip(), form)
        return int(found.timestamp()) * 1000
    except (ValueError, OverflowError):
        raise StatementUnusable(
            f"{place}: {shown(text)} is no time as this report has it"
        ) from None


def rows_of(source: BinaryIO, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file and the lines they begin at, streamed.

    Raises StatementUnusable for what is no CSV in UTF-8, and beyond ``CSV_BYTES_MAX``.
    """
    raw = io.BufferedReader(Bounded(source, CSV_BYTES_MAX))
    text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True, delimiter=delimiter)
    number = 1
    try:
        for row in reader:
            if any(row):
                yield number, row
            number = reader.line_num + 1
    except UnicodeDecodeError:
        raise StatementUnusable(
            f"line {number}: not UTF-8 text; is it a CSV file, unpacked?"
        ) from None
    except csv.Error as error:
        raise StatementUnusable(f"line {number}: not CSV: {error}; is the file whole?") from None


def columns_of(header: Sequence[str], required: Sequence[str], place: str) -> Mapping[str, int]:
    """Where each column is, by its name with single blanks.

    Raises StatementUnusable if a required one is not there, or one is there twice.
    """
    names = [" ".join(name.split()) for name in header]
    missing = [name for name in required if name not in names]
    if missing:
        raise StatementUnusable(
            f"{place}: no column {missing[0]!r}; is it another report, or were columns left out?"
        )
    twice = [name for name in required if names.count(name) > 1]
    if twice:
        raise StatementUnusable(f"{place}: column {twice[0]!r} is there twice")
    return {name: index for index, name in enumerate(names)}


def cells_of(row: Sequence[str], columns: Mapping[str, int], place: str) -> Mapping[str, str]:
    """A row by its columns' names. Raises StatementUnusable if it has too few, or more."""
    width = max(columns.values(), default=-1) + 1
    if len(row) < width or any(row[width:]):
        raise StatementUnusable(
            f"{place}: {len(row)} columns instead of {width}; is the file whole?"
        )
    return {name: row[index].strip() for name, index in columns.items()}
