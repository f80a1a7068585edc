"""UCI Online Retail as events: every invoice of a real retailer as a sale or a return.

Chen, D. (2015), Online Retail, UCI Machine Learning Repository, CC BY 4.0. The columns are UCI's:
InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country; csv, also
gzipped. How the file becomes events:

    invoice     all lines of one InvoiceNo, wherever they stand in the file (one invoice of the
                published file is interrupted by another); its date, customer and country are
                those of its first line
    amount      quantity × unit price, summed exactly, then rounded once an invoice to whole pence,
                half to even (a few prices have three decimals)
    sale        a total of zero or more: ``sale.completed``, zero included
    return      a total below zero: ``sale.returned`` without ``sale_id``, since the file does not
                say which sale a cancellation (InvoiceNo ``C…``) cancels. So are the two ``A…``
                adjustments of bad debt
    time        local time in London, either as ``2010-12-01T08:26:00`` or, as in UCI's own
                spreadsheet, month first: ``12/1/2010 8:26``
    seller      by :class:`SellersBy`
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from pydantic_core import to_json

from models.money import MINOR_MAX
from streams.demo.messages import Kind, Message
from streams.demo.sellers import Seal
from streams.demo.ways import PAYPAL

CURRENCY = "GBP"
ZONE = "Europe/London"
SELLERS = 50
"""How many sellers share the customers, unless told otherwise."""

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)

_GZIP_MAGIC = b"\x1f\x8b"
_LONDON = ZoneInfo(ZONE)
_WEEK = timedelta(weeks=1)
_RECRUITS_EACH = 3
_PENCE = 100
_MICRO = 10**6
_MICRO_PER_PENNY = _MICRO // _PENCE

_INVOICE = re.compile(r"[A-Za-z0-9._:-]{1,48}", re.ASCII)
_QUANTITY = re.compile(r"-?\d{1,9}", re.ASCII)
_PRICE = re.compile(r"-?\d{1,9}(\.\d{1,6})?", re.ASCII)
_CUSTOMER = re.compile(r"([A-Za-z0-9]{1,32})(\.0)?", re.ASCII)
_MONTH_FIRST = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{2})", re.ASCII)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?", re.ASCII)

UNKNOWN_COUNTRY = "ZZ"
"""ISO 3166-1's code for no known country: for "Unspecified", and for names not listed here."""

_COUNTRIES = {
    "Australia": "AU",
    "Austria": "AT",
    "Bahrain": "BH",
    "Belgium": "BE",
    "Brazil": "BR",
    "Canada": "CA",
    "Channel Islands": "JE",
    "Cyprus": "CY",
    "Czech Republic": "CZ",
    "Denmark": "DK",
    "EIRE": "IE",
    "European Community": "EU",
    "Finland": "FI",
    "France": "FR",
    "Germany": "DE",
    "Greece": "GR",
    "Hong Kong": "HK",
    "Iceland": "IS",
    "Israel": "IL",
    "Italy": "IT",
    "Japan": "JP",
    "Lebanon": "LB",
    "Lithuania": "LT",
    "Malta": "MT",
    "Netherlands": "NL",
    "Norway": "NO",
    "Poland": "PL",
    "Portugal": "PT",
    "RSA": "ZA",
    "Saudi Arabia": "SA",
    "Singapore": "SG",
    "Spain": "ES",
    "Sweden": "SE",
    "Switzerland": "CH",
    "USA": "US",
    "United Arab Emirates": "AE",
    "United Kingdom": "GB",
    "Unspecified": UNKNOWN_COUNTRY,
}


class RetailFileError(ValueError):
    """The file is not what it should be: which file, line and column, and what stands there."""

    def __init__(self, path: Path, line: int, column: str, detail: str) -> None:
        """``line`` counts from 1, the header's."""
        super().__init__(f"{path}, line {line}, column {column}: {detail}")
        self.path = path
        self.line = line
        self.column = column


class SellersBy(StrEnum):
    """How invoices are given to sellers; the file knows customers only.

    ``CUSTOMER`` (the default): each customer is always served by the same one of N sellers, by a
    stable hash of CustomerID; an invoice without CustomerID goes to the seller of its country.
    ``COUNTRY``: one seller a country. ``HASH``: one of N sellers by a stable hash of InvoiceNo.
    """

    CUSTOMER = "customer"
    COUNTRY = "country"
    HASH = "hash"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file, checked. ``at`` is local time in London; ``number`` counts from 1."""

    number: int
    invoice: str
    quantity: int
    at: datetime
    price: Decimal
    customer: str | None
    country: str


@dataclass(slots=True)
class Invoice:
    """One invoice: what its first line says, and the exact total of all."""

    number: str
    line: int
    at: datetime
    customer: str | None
    country: str
    lines: int
    total: Decimal

    @property
    def cancelled(self) -> bool:
        """Whether the number says so: UCI's cancellations begin with C."""
        return self.number.startswith("C")

    @property
    def minor(self) -> int:
        """The total in pence, rounded half to even; below zero for a return."""
        return int((self.total * _PENCE).to_integral_value(ROUND_HALF_EVEN))


@dataclass(frozen=True, slots=True)
class Totals:
    """The file's own figures, summed from its lines and not from the events. Pence.

    ``returned_minor`` is what invoices below zero come to, as a positive amount;
    ``cancelled_minor`` the part of it on cancellations (``C…``). ``exact_net`` is the sum of all
    lines in pounds before any rounding.
    """

    lines: int
    invoices: int
    cancellations: int
    sales: int
    returns: int
    gross_minor: int
    returned_minor: int
    cancelled_minor: int
    net_minor: int
    exact_net: Decimal
    currency: str = CURRENCY


def lines(path: Path) -> Iterator[Line]:
    """The lines of the file, one by one. Raises RetailFileError, or OSError from the disk."""
    at_text, at = "", datetime.min
    with _opened(path) as text:
        for number, row in _rows(path, text):
            invoice, _, _, quantity, date, price, customer, country = row
            if date != at_text:
                at_text, at = date, _date(path, number, date)
            if not _INVOICE.fullmatch(invoice):
                raise RetailFileError(path, number, "InvoiceNo", f"{invoice!r} is not a number")
            if not _QUANTITY.fullmatch(quantity):
                raise RetailFileError(path, number, "Quantity", f"{quantity!r} is not whole")
            if not _PRICE.fullmatch(price):
                raise RetailFileError(path, number, "UnitPrice", f"{price!r} is not a price")
            if not country.strip():
                raise RetailFileError(path, number, "Country", "is empty")
            known = _customer(path, number, customer)
            yield Line(number, invoice, int(quantity), at, Decimal(price), known, country)


def invoices(path: Path, limit: int | None = None) -> list[Invoice]:
    """The invoices, in the order of their first lines; the first ``limit`` of them, whole."""
    found: dict[str, Invoice] = {}
    for line in lines(path):
        amount = line.quantity * line.price
        invoice = found.get(line.invoice)
        if invoice is not None:
            invoice.lines += 1
            invoice.total += amount
        elif limit is None or len(found) < limit:
            found[line.invoice] = Invoice(
                line.invoice, line.number, line.at, line.customer, line.country, 1, amount
            )
    for invoice in found.values():
        if abs(invoice.minor) > MINOR_MAX:
            raise RetailFileError(path, invoice.line, "UnitPrice", "the invoice is too large")
    return list(found.values())


def totals(path: Path, limit: int | None = None) -> Totals:
    """The figures of the first ``limit`` invoices, in arithmetic of their own: whole millionths
    of a pound, rounded to pence once an invoice."""
    sums: dict[str, int] = {}
    count = 0
    for line in lines(path):
        if line.invoice not in sums:
            if limit is not None and len(sums) >= limit:
                continue
            sums[line.invoice] = 0
        count += 1
        sums[line.invoice] += line.quantity * int(line.price.scaleb(6))
    pence = {number: _to_pence(micro) for number, micro in sums.items()}
    gross_minor = sum(minor for minor in pence.values() if minor > 0)
    returned_minor = -sum(minor for minor in pence.values() if minor < 0)
    cancelled = {number: minor for number, minor in pence.items() if number.startswith("C")}
    returns = sum(1 for minor in pence.values() if minor < 0)
    return Totals(
        lines=count,
        invoices=len(sums),
        cancellations=len(cancelled),
        sales=len(sums) - returns,
        returns=returns,
        gross_minor=gross_minor,
        returned_minor=returned_minor,
        cancelled_minor=-sum(minor for minor in cancelled.values() if minor < 0),
        net_minor=gross_minor - returned_minor,
        exact_net=Decimal(sum(sums.values())).scaleb(-6),
    )


def messages(
    path: Path,
    limit: int | None = None,
    *,
    sellers_by: SellersBy = SellersBy.CUSTOMER,
    sellers: int = SELLERS,
    ends_ms: int | None = None,
    seal: Seal | None = None,
) -> Iterator[Message]:
    """The file as messages: the sellers' profiles, then the first ``limit`` invoices in its order.

    ``ends_ms`` moves all dates by whole weeks, time of day and weekday kept, so that the last
    invoice lies at most a week before it: a pipeline refuses events older than it remembers ids.
    The whole file spans 374 days. With ``seal`` each seller has a payout destination. Raises
    RetailFileError before the first message, ValueError for fewer than one seller.
    """
    if sellers < 1:
        raise ValueError("there is at least one seller")
    found = invoices(path, limit)
    if not found:
        return
    shift = _shift(found, ends_ms)
    start = min(invoice.at for invoice in found) + shift
    at_ms = _ms(start)
    owners = [_owner(invoice, sellers_by, sellers) for invoice in found]
    countries = {
        owner: invoice.country
        for owner, invoice in zip(owners, found, strict=True)
        if owner.startswith(_COUNTRY_PREFIX)
    }
    numbered = [_numbered(k) for k in range(sellers)]
    for k, seller_id in enumerate(numbered):
        sponsor = numbered[(k - 1) // _RECRUITS_EACH] if k else None
        yield _profile(seller_id, "GB", sponsor, start, seal)
    for seller_id, country in sorted(countries.items()):
        sponsor = numbered[_hash(seller_id) % sellers]
        yield _profile(seller_id, country_code(country), sponsor, start, seal)
    for invoice, owner in zip(found, owners, strict=True):
        at = invoice.at + shift
        # The file is not quite in the order of time; publishing is.
        at_ms = max(at_ms, _ms(at))
        yield _event(invoice, owner, at, at_ms)


def country_code(name: str) -> str:
    """The ISO 3166-1 code of a country as the file names it; ``ZZ`` for one it does not know."""
    return _COUNTRIES.get(name, UNKNOWN_COUNTRY)


# -- reading --------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The file as text, unzipped if it is zipped, whatever it is called."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == _GZIP_MAGIC
    # Descriptions are Latin-1 in some copies of the file. They are not used, so a character
    # that is not UTF-8 must not stop the reading; in a column that is used the checks find it.
    if zipped:
        with gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as text:
            yield text
    else:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as text:
            yield text


def _rows(path: Path, text: TextIO) -> Iterator[tuple[int, list[str]]]:
    """The rows after the header with the line they end on, each of the right width."""
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, [])
        for k, name in enumerate(COLUMNS):
            stands = header[k] if k < len(header) else "nothing"
            if stands != name:
                raise RetailFileError(path, 1, name, f"the header has {stands!r} in its place")
        if len(header) > len(COLUMNS):
            raise RetailFileError(path, 1, header[len(COLUMNS)], "is one column too many")
        for row in reader:
            if len(row) != len(COLUMNS):
                column = COLUMNS[min(len(row), len(COLUMNS) - 1)]
                detail = f"the line has {len(row)} columns instead of {len(COLUMNS)}"
                raise RetailFileError(path, reader.line_num, column, detail)
            yield reader.line_num, row
    except (csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RetailFileError(path, reader.line_num + 1, COLUMNS[0], str(error)) from None


def _date(path: Path, number: int, text: str) -> datetime:
    try:
        if _ISO.fullmatch(text):
            return datetime.fromisoformat(text)
        match = _MONTH_FIRST.fullmatch(text)
        if match:
            month, day, year, hour, minute = map(int, match.groups())
            return datetime(year, month, day, hour, minute)
    except ValueError as error:
        raise RetailFileError(path, number, "InvoiceDate", f"{text!r}: {error}") from None
    detail = f"{text!r} is neither like 2010-12-01T08:26:00 nor like 12/1/2010 8:26"
    raise RetailFileError(path, number, "InvoiceDate", detail)


def _customer(path: Path, number: int, text: str) -> str | None:
    if not text:
        return None
    match = _CUSTOMER.fullmatch(text)
    if match is None:
        raise RetailFileError(path, number, "CustomerID", f"{text!r} is not an identifier")
    # Spreadsheets turn a column with gaps into decimals: 17850.0 is customer 17850.
    return match.group(1)


def _to_pence(micro: int) -> int:
    """Millionths of a pound as pence, half to even."""
    pence, rest = divmod(micro, _MICRO_PER_PENNY)
    double = 2 * rest
    up = double > _MICRO_PER_PENNY or (double == _MICRO_PER_PENNY and pence & 1 == 1)
    return pence + 1 if up else pence


# -- writing --------------------------------------------------------------------------------

_COUNTRY_PREFIX = "country-"


def _hash(text: str) -> int:
    """The same for the same text, in every process and on every machine."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _numbered(k: int) -> str:
    return f"retail-{k:04}"


def _owner(invoice: Invoice, sellers_by: SellersBy, sellers: int) -> str:
    if sellers_by is SellersBy.HASH:
        return _numbered(_hash(invoice.number) % sellers)
    if sellers_by is SellersBy.CUSTOMER and invoice.customer is not None:
        return _numbered(_hash(invoice.customer) % sellers)
    words = re.findall(r"[a-z0-9]+", invoice.country.lower(), re.ASCII)
    return _COUNTRY_PREFIX + ("-".join(words)[:48] or "unnamed")


def _shift(found: list[Invoice], ends_ms: int | None) -> timedelta:
    """How many whole weeks to move the dates by."""
    if ends_ms is None:
        return timedelta(0)
    ends = datetime.fromtimestamp(ends_ms / 1000, UTC).astimezone(_LONDON).replace(tzinfo=None)
    return (ends - max(invoice.at for invoice in found)) // _WEEK * _WEEK


def _ms(at: datetime) -> int:
    """Local time in London as milliseconds since the epoch."""
    return int(at.replace(tzinfo=_LONDON).timestamp()) * 1000


def _rfc3339(at: datetime) -> str:
    return at.replace(tzinfo=_LONDON).isoformat()


def _profile(
    seller_id: str, country: str, sponsor: str | None, start: datetime, seal: Seal | None
) -> Message:
    event: dict[str, Any] = {
        "id": f"profile-{seller_id}",
        "type": "seller.updated",
        "version": 1,
        "occurred_at": _rfc3339(start),
        "seller_id": seller_id,
        "country": country,
        "zone": ZONE,
        "status": "active",
        "joined_at": _rfc3339(start - timedelta(days=365)),
    }
    if sponsor is not None:
        event["sponsor_id"] = sponsor
    if seal is not None:
        sealed = seal(seller_id, f"{seller_id}@example.com")
        event["payout"] = {"rail": PAYPAL, "destination": sealed}
    key = seller_id.encode()
    return Message("sellers", key, to_json(event), _ms(start), None, event["id"], Kind.PROFILE)


def _event(invoice: Invoice, seller_id: str, at: datetime, at_ms: int) -> Message:
    minor = invoice.minor
    event: dict[str, Any] = {
        "id": f"invoice-{invoice.number}",
        "type": "sale.completed" if minor >= 0 else "sale.returned",
        "version": 1,
        "occurred_at": _rfc3339(at),
        "seller_id": seller_id,
        "currency": CURRENCY,
        "amount_minor": abs(minor),
        "lines": invoice.lines,
    }
    if minor < 0:
        event["reason"] = "cancelled" if invoice.cancelled else "adjusted"
    else:
        event["sale_id"] = invoice.number
        country = country_code(invoice.country)
        if country != UNKNOWN_COUNTRY:
            event["country"] = country
        if invoice.customer is not None:
            event["customer_ref"] = f"cus-{_hash(invoice.customer):016x}"
    return Message("sales", seller_id.encode(), to_json(event), at_ms, None, event["id"])
