"""A bank's statement (camt.053) or debit and credit notification (camt.054) of ISO 20022.

Read entry by entry, with the dataclasses of pyiso20022; of the XML nothing is taken that could
name a file or expand (no DTD, no entity). The versions read are ``VERSIONS``.

By the message definitions: an entry is booked (``BOOK``) or not yet; its details name the payments
it bundles, each with the references of its order (``EndToEndId``, ``InstrId``, ``TxId``, ``UETR``)
and, of a return, ``RtrInf``; ``Btch`` says how many there are where they are not listed. By custom
of banks, not by the definitions: a return shows the ``EndToEndId`` of the payment that it returns,
and charges that are no payment are of the sub-family ``CHRG``, ``FEES`` or ``COMM``.

Names, accounts and texts of a statement are not looked at.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, BinaryIO, get_args, get_type_hints
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse
from xsdata.exceptions import ParserError
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig
from xsdata.formats.dataclass.parsers.handlers import XmlEventHandler

from rails.statement import (
    Bounded,
    Line,
    LineKind,
    Lines,
    Part,
    Statement,
    StatementUnusable,
    bounded,
    payout_in,
    places_of,
    references_of,
    shown,
)

XML_BYTES_MAX = 256 * 1024 * 1024
"""Largest message."""

ENTRY_ELEMENTS_MAX = 500_000
"""Most XML elements in one entry, some 20,000 payments: it is held as a tree, 0.5 KiB each."""

MESSAGES = {"camt.053": ("BkToCstmrStmt", "Stmt"), "camt.054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn")}
"""The messages, by the elements that hold their entries."""

VERSIONS = ("02", "04", "06", "08", "10", "12")
"""Versions of both messages: 02 and 08 are those of SEPA banks, the others are in use elsewhere."""

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:"

CHARGES = frozenset({"CHRG", "FEES", "COMM"})

# It warns of text between elements, which is nobody's: nothing of a statement goes to a log.
logging.getLogger("xsdata").addHandler(logging.NullHandler())

# What it learns of the dataclasses costs far more than an entry does.
_CONTEXT = XmlContext()
_CONFIG = ParserConfig(fail_on_unknown_properties=True, fail_on_converter_warnings=True)
_ORDER_IDS = ("end_to_end_id", "instr_id", "tx_id", "uetr", "pmt_inf_id", "msg_id")
_BANK_IDS = ("acct_svcr_ref", "tx_id", "uetr", "clr_sys_ref", "msg_id", "pmt_inf_id")


def read_camt(source: BinaryIO) -> Statement:
    """A camt.053 or camt.054. Raises StatementUnusable."""
    try:
        return _read(source)
    except DefusedXmlException:
        raise StatementUnusable("XML with a DTD or entities, which no bank sends") from None
    except (LookupError, UnicodeError):
        raise StatementUnusable("line 1: an encoding that XML readers do not have") from None
    except ParseError as error:
        line, _ = error.position
        raise StatementUnusable(f"line {line}: not XML: {error}; is the file whole?") from None


def _read(source: BinaryIO) -> Statement:
    lines, periods = Lines(), list[tuple[int | None, int | None]]()
    number = held = 0
    path: list[Element] = []
    bind: type | None = None
    bounded_source = Bounded(source, XML_BYTES_MAX)
    for event, element in iterparse(bounded_source, ("start", "end"), forbid_dtd=True):
        if event == "start":
            path.append(element)
            held += 1
            if held > ENTRY_ELEMENTS_MAX:
                raise StatementUnusable(
                    f"entry {number + 1}: more than {ENTRY_ELEMENTS_MAX:,} XML elements in one"
                )
            if len(path) == 1:
                bind = _entry_type(element.tag)
            continue
        path.pop()
        name = _local(element)
        if name == "Ntry" and len(path) == 3 and bind is not None:
            number += 1
            for line in _lines(_bound(element, bind, f"entry {number}"), f"entry {number}", lines):
                lines.add(line)
        elif name == "FrToDt" and len(path) == 3:
            periods.append(_period(element, number))
        if len(path) == 3:
            # What was read is let go, so that a large statement needs no large memory.
            element.clear()
            path[-1].remove(element)
            held = 0
    since = [each for each, _ in periods if each is not None]
    until = [each for _, each in periods if each is not None]
    return lines.statement(min(since, default=None), max(until, default=None))


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _entry_type(tag: str) -> type:
    """The dataclass of an entry in the message with a root element."""
    space, _, name = tag.rpartition("}")
    message, _, version = space.removeprefix("{" + NAMESPACE).partition(".001.")
    if name != "Document" or message not in MESSAGES or version not in VERSIONS:
        known = ", ".join(f"{each}.001.{version}" for each in MESSAGES for version in VERSIONS)
        told = space.removeprefix("{").removeprefix(NAMESPACE) or name
        raise StatementUnusable(
            f"line 1: the message is {told[:80]!r}; those that are read: {known}"
        )
    return _entry_class(message, version)


@cache
def _entry_class(message: str, version: str) -> type:
    name = message.replace(".", "_")
    module = importlib.import_module(f"pyiso20022.camt.{name}_001_{version}")
    found: Any = module.Document
    for element in (*MESSAGES[message], "Ntry"):
        found = _field_class(found, element)
    return found  # type: ignore[no-any-return]


def _field_class(owner: Any, element: str) -> Any:
    """The class of the field that an element of a dataclass is kept in."""
    [name] = [each.name for each in fields(owner) if each.metadata.get("name") == element]
    kind = get_type_hints(owner)[name]
    while not is_dataclass(kind):
        kind = next(each for each in get_args(kind) if each is not type(None))
    return kind


def _bound(element: Element, kind: type, place: str) -> Any:
    try:
        found: Any = XmlParser(_CONFIG, _CONTEXT, XmlEventHandler).parse(element, kind)
    except (ParserError, TypeError, ValueError) as error:
        # What follows the field's name is its text, which might be somebody's.
        told = " ".join(str(error).partition("\n")[0].split())[:200]
        raise StatementUnusable(f"{place}: {told}") from None
    # An attribute of XML Schema instances can make another type of it.
    if type(found) is not kind:
        raise StatementUnusable(f"{place}: no entry as the message defines it")
    return found


def _period(element: Element, number: int) -> tuple[int | None, int | None]:
    found = {_local(child): child.text or "" for child in element}
    place = f"the period before entry {number + 1}"
    since, until = found.get("FrDtTm"), found.get("ToDtTm")
    return (
        _ms(since, place) if since else None,
        _ms(until, place) if until else None,
    )


def _lines(entry: Any, place: str, lines: Lines) -> Iterator[Line]:
    """The lines that an entry makes; what is not about payouts is counted."""
    status = getattr(entry.sts, "cd", entry.sts)
    if _word(status) != "BOOK":
        lines.others += 1
        return
    currency = entry.amt.ccy
    sign = _sign(entry.cdt_dbt_ind)
    entry_minor = sign * _minor(entry.amt.value, currency, place)
    at_ms = _booked_ms(entry, place)
    details = [each for group in entry.ntry_dtls for each in group.tx_dtls]
    batches = [group.btch for group in entry.ntry_dtls if group.btch is not None]
    parts = tuple(_part(each, entry_minor, currency, place) for each in details)
    references = _references(entry, details, batches)
    payout_id = _payout_of(details, batches)
    kind = _kind(entry, details, entry_minor, payout_id or any(each.payout_id for each in parts))
    if kind is None:
        lines.others += 1
        return
    amounts = [each.amount_minor for each in parts]
    told = bool(amounts) and None not in amounts
    charges_minor = entry_minor - sum(minor or 0 for minor in amounts) if told else 0
    charged = abs(charges_minor) == _charges_minor(entry, details, currency, place)
    if charges_minor and charged and kind is not LineKind.FEE:
        yield Line(place, LineKind.FEE, at_ms, currency, charges_minor, payout_id, references)
        entry_minor -= charges_minor
    yield Line(
        place,
        kind,
        at_ms,
        currency,
        entry_minor,
        payout_id,
        references,
        parts if len(parts) > 1 else (),
        _count(batches),
    )


def _kind(entry: Any, details: Sequence[Any], minor: int, ours: object) -> LineKind | None:
    """What an entry is about; None for money that came in and is no return."""
    domain = entry.bk_tx_cd.domn if entry.bk_tx_cd is not None else None
    family = domain.fmly.sub_fmly_cd if domain is not None else None
    if not ours and family in CHARGES:
        return LineKind.FEE
    if minor < 0:
        return LineKind.PAYOUT
    back = entry.rvsl_ind or any(each.rtr_inf is not None for each in details)
    return LineKind.RETURN if ours or back else None


def _part(detail: Any, entry_minor: int, currency: str, place: str) -> Part:
    """One payment of an entry, whose sign it has where it names none."""
    found, indicator = getattr(detail, "amt", None), getattr(detail, "cdt_dbt_ind", None)
    if found is None and detail.amt_dtls is not None and detail.amt_dtls.tx_amt is not None:
        found = detail.amt_dtls.tx_amt.amt
    sign = _sign(indicator) if indicator is not None else (1 if entry_minor > 0 else -1)
    # Of a payment in another currency only the entry's amount moved on this account.
    amount_minor = None
    if found is not None and found.ccy == currency:
        amount_minor = sign * _minor(found.value, currency, place)
    return Part(_payout_of([detail], ()), amount_minor, _references_of(detail.refs))


def _payout_of(details: Sequence[Any], batches: Sequence[Any]) -> str | None:
    """The payout that an entry of one payment, or its batch, names."""
    if len(details) > 1:
        return None
    holders = [each.refs for each in details if each.refs is not None] + list(batches)
    named = (payout_in(getattr(holder, name, None)) for holder in holders for name in _ORDER_IDS)
    return next((each for each in named if each is not None), None)


def _references(entry: Any, details: Sequence[Any], batches: Sequence[Any]) -> tuple[str, ...]:
    of_details = _references_of(details[0].refs) if len(details) == 1 else ()
    of_batches = (
        reference for each in batches for reference in (each.msg_id, each.pmt_inf_id) if reference
    )
    return references_of(entry.acct_svcr_ref, *of_details, entry.ntry_ref, *of_batches)


def _references_of(refs: Any) -> tuple[str, ...]:
    if refs is None:
        return ()
    return references_of(*(getattr(refs, name, None) for name in _BANK_IDS))


def _charges_minor(entry: Any, details: Sequence[Any], currency: str, place: str) -> int:
    """Charges that an entry or its payments name, in the entry's currency."""
    total = 0
    for holder in (entry, *details):
        charges = holder.chrgs
        records = charges if isinstance(charges, list) else getattr(charges, "rcrd", ())
        amounts = [each.amt for each in records or ()]
        if not amounts and getattr(charges, "ttl_chrgs_and_tax_amt", None) is not None:
            amounts = [charges.ttl_chrgs_and_tax_amt]
        total += sum(
            _minor(each.value, currency, place) for each in amounts if each.ccy == currency
        )
    return total


def _count(batches: Sequence[Any]) -> int | None:
    counts = [int(each.nb_of_txs) for each in batches if (each.nb_of_txs or "").isdigit()]
    return sum(counts) if counts else None


def _word(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _sign(indicator: Any) -> int:
    return -1 if _word(indicator) == "DBIT" else 1


def _minor(value: Decimal, currency: str, place: str) -> int:
    """An amount in minor units, exact. Zeros behind the currency's places are no amount's part."""
    scaled = value.scaleb(places_of(currency, place))
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise StatementUnusable(
            f"{place}: {shown(str(value))} has more decimal places than {currency}"
        )
    return bounded(int(scaled), place)


def _booked_ms(entry: Any, place: str) -> int:
    for when in (entry.bookg_dt, entry.val_dt):
        found = getattr(when, "dt_tm", None) or getattr(when, "dt", None)
        if found is not None:
            return _ms(str(found), place)
    raise StatementUnusable(f"{place}: no booking date")


def _ms(text: str, place: str) -> int:
    """A date or time in milliseconds; one without a zone is taken as UTC."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise StatementUnusable(f"{place}: {shown(text)} is no date or time") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return int(found.timestamp()) * 1000
