"""What the bank says: pacs.002, pain.002, pacs.004 and camt.054, read without trusting them.

XML without DTD, entities and references outside, of bounded size, in the versions listed; whatever
cannot be read raises :class:`MessageRefused` and nothing else.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from importlib import import_module
from types import MappingProxyType
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from xsdata.exceptions import ConverterError, ParserError
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig
from xsdata.formats.dataclass.parsers.handlers import XmlEventHandler

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
REPORTS_MAX = 20_000
"""Most reports in one message; a notification of a day's bookings has many."""

_NOT_BY_SCHEMA = (
    ParserError,
    ConverterError,
    # The classes made from the schemas check neither what has to be there nor an empty element.
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)

# It writes contents of messages.
logging.getLogger("xsdata").setLevel(logging.CRITICAL)

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:"

VERSIONS = frozenset(
    {
        "pacs.002.001.10", "pacs.002.001.11", "pacs.002.001.12",
        "pain.002.001.03", "pain.002.001.10", "pain.002.001.11", "pain.002.001.12",
        "pacs.004.001.09", "pacs.004.001.10", "pacs.004.001.11",
        "camt.054.001.02", "camt.054.001.08", "camt.054.001.09", "camt.054.001.10",
    }
)  # fmt: skip
"""What is read. A bank that moves to another version is noticed at once: its files are refused.
Messages of other kinds, such as statements, are kept and not read."""

_PAYMENT_ID = re.compile(r"[0-9a-f]{32}(?:\.[0-9]{1,2})?")
_CODE = re.compile(r"[A-Z0-9]{1,4}")
_ABOUT = re.compile(r"[a-z]{4}\.[0-9]{3}")

RETURNED = "returned"
DEBITED = "debited"
CREDITED = "credited"
OTHER = "other"
"""Words of ours, for what is said without a status code; in lower case, unlike the standard's."""


SIDES: Mapping[tuple[str, bool], str] = MappingProxyType(
    {("DBIT", False): DEBITED, ("CRDT", True): RETURNED, ("CRDT", False): CREDITED}
)
"""What a booking is, by its side and by whether it is of money that comes back."""


class MessageRefused(ValueError):
    """A file that is no message we read. Its text is a machine code; it holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a message says of one payment.

    ``ids``: where it names the payment, ours by form, the best first. ``word``: a status code of
    the standard's, or one of the words above. ``reason``: a code, or empty.
    """

    ids: tuple[str, ...]
    word: str
    reason: str = ""
    amount_minor: int | None = None
    currency: str | None = None


def read_reports(data: bytes) -> list[Report]:
    """What a message says of payments that might be ours; nothing, if it is of another kind.

    Raises MessageRefused.
    """
    if len(data) > MESSAGE_BYTES_MAX:
        raise MessageRefused("too_large")
    name, root = _parsed(data)
    if name[:8] not in READERS:
        return []
    try:
        body = _body(XML.parse(root, _document(name)))
        reports: list[Report] = []
        for report in READERS[name[:8]](body):
            if report.ids:
                reports.append(report)
            if len(reports) > REPORTS_MAX:
                raise MessageRefused("too_many_reports")
    except MessageRefused:
        raise
    except _NOT_BY_SCHEMA:
        raise MessageRefused("not_by_schema") from None
    return reports


def _parsed(data: bytes) -> tuple[str, Element]:
    """The message's version and root. Raises MessageRefused."""
    try:
        root = fromstring(data, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except DefusedXmlException:
        raise MessageRefused("dtd_or_entity") from None
    except (ParseError, ValueError, LookupError):
        raise MessageRefused("not_xml") from None
    namespace, brace, tag = root.tag[1:].partition("}")
    if not brace or tag != "Document" or not namespace.startswith(NAMESPACE):
        raise MessageRefused("not_iso20022")
    name = namespace.removeprefix(NAMESPACE)
    if name[:8] in READERS and name not in VERSIONS:
        raise MessageRefused("version_not_read")
    return name, root


XML = XmlParser(
    config=ParserConfig(fail_on_unknown_properties=True, fail_on_converter_warnings=True),
    handler=XmlEventHandler,
)


@lru_cache(maxsize=len(VERSIONS))
def _document(name: str) -> Any:
    """The dataclass of a version's root; loaded when the first such message comes."""
    module = name.replace(".", "_")
    return import_module(f"pyiso20022.{name[:4]}.{module}.{module}").Document


def _body(document: Any) -> Any:
    """The one element in the root."""
    (field,) = document.__dataclass_fields__
    return getattr(document, field)


def _statuses(body: Any) -> Iterator[Report]:
    """pacs.002: per transaction, or for all of a message."""
    groups = body.orgnl_grp_inf_and_sts
    for group in groups if isinstance(groups, list) else [groups]:
        yield from _of_group(group, body.tx_inf_and_sts)
    if not groups:
        for transaction in body.tx_inf_and_sts:
            yield from _of_transaction(transaction, None)


def _customer_statuses(body: Any) -> Iterator[Report]:
    """pain.002: the same, with the transactions inside of orders."""
    orders = body.orgnl_pmt_inf_and_sts
    transactions = [one for order in orders for one in order.tx_inf_and_sts]
    yield from _of_group(body.orgnl_grp_inf_and_sts, transactions)
    for order in orders:
        if not order.tx_inf_and_sts and order.pmt_inf_sts is not None:
            yield _status((order.orgnl_pmt_inf_id,), order.pmt_inf_sts, order.sts_rsn_inf)


def _of_group(group: Any, transactions: list[Any]) -> Iterator[Report]:
    for transaction in transactions:
        yield from _of_transaction(transaction, group)
    if not transactions and group.grp_sts is not None and not _asked(group):
        yield _status((group.orgnl_msg_id,), group.grp_sts, group.sts_rsn_inf)


def _of_transaction(transaction: Any, group: Any) -> Iterator[Report]:
    own = getattr(transaction, "orgnl_grp_inf", None) or group
    if own is not None and _asked(own):
        return
    ids = (
        getattr(transaction, "orgnl_tx_id", None),
        transaction.orgnl_end_to_end_id,
        transaction.orgnl_instr_id,
    )
    word = transaction.tx_sts or (group.grp_sts if group is not None else None)
    if word is None:
        return
    reasons = transaction.sts_rsn_inf or (group.sts_rsn_inf if group is not None else [])
    reference = transaction.orgnl_tx_ref
    amount = getattr(reference, "intr_bk_sttlm_amt", None)
    yield _status(ids, word, reasons, amount)


def _asked(group: Any) -> bool:
    """Whether a status is of our question, and says nothing of the payment."""
    name = _ABOUT.match(group.orgnl_msg_nm_id.strip().lower())
    return name is not None and name[0] == "pacs.028"


def _status(ids: tuple[Any, ...], word: Any, reasons: list[Any], amount: Any = None) -> Report:
    code = _code(word)
    return Report(_ours(ids), code if _CODE.fullmatch(code) else OTHER, _why(reasons), *_of(amount))


def _returns(body: Any) -> Iterator[Report]:
    """pacs.004: a payment that had settled comes back."""
    for one in body.tx_inf:
        ids = (one.orgnl_tx_id, one.orgnl_end_to_end_id, one.orgnl_instr_id)
        amount = one.rtrd_intr_bk_sttlm_amt
        yield Report(_ours(ids), RETURNED, _why(one.rtr_rsn_inf), *_of(amount))


def _bookings(body: Any) -> Iterator[Report]:
    """camt.054: what was booked on our account."""
    for notification in body.ntfctn:
        for entry in notification.ntry:
            if _code(getattr(entry.sts, "cd", entry.sts)) != "BOOK":
                continue
            for details in entry.ntry_dtls:
                for one in details.tx_dtls:
                    if one.refs is not None:
                        yield _booking(entry, one)


def _booking(entry: Any, one: Any) -> Report:
    refs = one.refs
    side = _code(getattr(one, "cdt_dbt_ind", None) or entry.cdt_dbt_ind)
    back = one.rtr_inf is not None or bool(entry.rvsl_ind)
    word = SIDES.get((side, back), OTHER)
    amount = getattr(one, "amt", None)
    if amount is None and len(entry.ntry_dtls) == len(entry.ntry_dtls[0].tx_dtls) == 1:
        amount = entry.amt
    ids = (refs.tx_id, refs.end_to_end_id, refs.instr_id)
    reasons = [one.rtr_inf] if one.rtr_inf is not None else []
    return Report(_ours(ids), word, _why(reasons), *_of(amount))


READERS: Mapping[str, Callable[[Any], Iterator[Report]]] = MappingProxyType(
    {
        "pacs.002": _statuses,
        "pain.002": _customer_statuses,
        "pacs.004": _returns,
        "camt.054": _bookings,
    }
)


def _ours(ids: tuple[Any, ...]) -> tuple[str, ...]:
    """Those that have the form of our payments' ids: nothing else is ever looked up."""
    return tuple(one for one in ids if isinstance(one, str) and _PAYMENT_ID.fullmatch(one))


def _why(reasons: list[Any]) -> str:
    """The first reason that is a code; a sentence stays out: it might name somebody."""
    for one in reasons:
        code = _code(getattr(one.rsn, "cd", None)) or _code(getattr(one.rsn, "prtry", None))
        if _CODE.fullmatch(code):
            return code
    return ""


def _code(value: Any) -> str:
    """A code, which some versions have as an enumeration; empty if there is none."""
    code = getattr(value, "value", value)
    return code.strip() if isinstance(code, str) else ""


def _of(amount: Any) -> tuple[int | None, str | None]:
    """An amount in minor units, and its currency; euro has two places."""
    if amount is None:
        return None, None
    minor = Decimal(amount.value).scaleb(2)
    if minor != minor.to_integral_value() or abs(minor) >= 10**15:
        raise MessageRefused("amount_unreadable")
    return int(minor), amount.ccy
