"""A stateful bank that is reached by files: pacs.008 and pacs.028 in; pacs.002, pacs.004, camt.054.

It empties ``outbox`` and fills ``inbox``, named as the company sees them. It shares no code with
the connector, so that one cannot hide the other's error.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from uuid import UUID
from xml.etree.ElementTree import Element, ParseError

from aiohttp import web
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from rails.sandbox.befalls import Befalls
from rails.sandbox.behaviours import BEHAVIOURS, NORMAL, Enquiry, Manner, script
from rails.sandbox.books import Books, Entry, SandboxClock, moment
from rails.sandbox.hooks import LATE_MS
from rails.sandbox.notices import Notice, due_ms
from rails.sandbox.provider import ONCE, Asked, Given, Provider, Refused, Settings

log = logging.getLogger(__name__)

POLL_S = 0.01
BIC = "SANDDEFFXXX"
ACCOUNT = "DE75512108001245126199"
"""The company's account at the bank, in its notifications."""

STATUSES: Mapping[str, str] = MappingProxyType(
    {
        "PENDING": "ACSP",
        "ONHOLD": "PDNG",
        "SUCCESS": "ACSC",
        "FAILED": "RJCT",
        "BLOCKED": "RJCT",
    }
)
"""The status code of each of the sandbox's own words."""

STATUS_OTHERWISE = "QUAR"
BACK = frozenset({"RETURNED", "REFUNDED", "REVERSED"})

CODES: Mapping[str, str] = MappingProxyType(
    {
        "RECEIVER_ACCOUNT_LOCKED": "AC04",
        "RECEIVER_ACCOUNT_INVALID": "AC01",
        "SELF_PAY_NOT_ALLOWED": "AG01",
        "RECEIVING_LIMIT_EXCEEDED": "AM02",
        "REGULATORY_BLOCKED": "RR04",
        "RISK_DECLINE": "MS03",
        "NON_HOLDING_CURRENCY": "AM04",
        "INTERNAL_ERROR": "AB08",
        "INSUFFICIENT_FUNDS": "AM04",
        "SENDER_RESTRICTED": "AM23",
        "RATE_LIMIT_REACHED": "AB06",
        "VALIDATION_ERROR": "FF01",
        "DUPLICATE_TRANSACTION": "AM05",
        "CURRENCY": "AM03",
    }
)
"""The reason code of each of the sandbox's errors."""

CODE_OTHERWISE = "ZZ99"

_SILENT = frozenset({Manner.HANG_AFTER, Manner.RESET_AFTER, Manner.ERROR_AFTER})
_UNREADABLE = {Manner.GARBAGE_AFTER: b"<html>created</html>", Manner.HUGE_AFTER: b" " * 5_000_000}


class BankSandbox(Provider):
    """The bank's side."""

    rail = "iso20022"

    def __init__(
        self,
        books: Books,
        clock: SandboxClock,
        befalls: Befalls,
        settings: Settings,
        directory: Path,
        *,
        late_ms: int = LATE_MS,
    ) -> None:
        """``directory``: where ``outbox`` and ``inbox`` are, or are made. Raises ValueError for
        unknown faults, OSError."""
        super().__init__(books, clock, befalls, settings)
        self.outbox = directory / "outbox"
        self.inbox = directory / "inbox"
        for folder in (self.outbox, self.inbox):
            folder.mkdir(parents=True, exist_ok=True)
        self._late_ms = late_ms
        self._due: list[tuple[int, int, Entry, int]] = []
        self._later: list[tuple[int, bytes]] = []
        self._written = 0

    @staticmethod
    def rail_fields(_url: str) -> dict[str, object]:
        """None follow from an address: the bank is where its directory is."""
        return {}

    def able(self, name: str) -> bool:
        """What others say by webhook the bank writes into files."""
        return name not in self.foreign

    def routes(self) -> list[web.RouteDef]:
        """None: it is reached by files."""
        return []

    async def run(self) -> None:
        """Read and answer for ever."""
        while True:
            try:
                self.round()
            except OSError as error:
                log.warning("the bank cannot read or write: %s", type(error).__name__)
            await asyncio.sleep(POLL_S)

    def round(self) -> None:
        """Take what is in the outbox and say what is due."""
        for path in sorted(self.outbox.glob("*.xml"), key=lambda each: each.stat().st_mtime_ns):
            data = path.read_bytes()
            path.unlink()
            self._handle(data)
        self._say_what_is_due()

    def _handle(self, data: bytes) -> None:
        try:
            root = fromstring(data, forbid_dtd=True)
        except (ParseError, DefusedXmlException, ValueError):
            nobody = "NOTPROVIDED"
            self._write(_status(nobody, nobody, "", "RJCT", "FF01", at_ms=self._now()))
            return
        kind = root.tag.partition("}")[0].rpartition(":")[2][:8]
        if kind == "pacs.008":
            self.counts["create"] += 1
            self._payment(root)
        elif kind == "pacs.028":
            self.counts["show"] += 1
            self._question(root)

    def _payment(self, root: Element) -> None:
        number = _text(root, "CdtTrfTxInf/PmtId/TxId")
        try:
            asked = _asked(root)
            given = self.given(None, _text(root, "CdtTrfTxInf/Cdtr/Nm"), asked.attempt_id, _any)
            manner = given.behaviour.manner
            if manner in ONCE and given.first:
                # It is lost on the way, and nothing ever repeats it.
                self.remember(asked.attempt_id, given)
                return
            entry = self._execute(asked, given)
        except Refused as refused:
            if refused.name == "SOMETHING_NEW":
                self._write(NEWS)
            else:
                code = CODES.get(refused.name, CODE_OTHERWISE)
                self._write(self._status_of(number, "RJCT", code))
            return
        self._tell(entry, 0)
        self._answer(number, manner)

    def _execute(self, asked: Asked, given: Given) -> Entry:
        """Check and book. Raises Refused."""
        behaviour = given.behaviour
        if behaviour.refusal is not None:
            if given.befallen:
                self.remember(asked.attempt_id, given)
            raise Refused(*behaviour.refusal)
        if not self.funded:
            raise Refused(422, "INSUFFICIENT_FUNDS")
        if self.books.by_attempt(asked.attempt_id) is not None:
            self.counts["duplicate"] += 1
            raise Refused(409, "DUPLICATE_TRANSACTION")
        return self.book(asked, given)

    def _answer(self, number: str, manner: Manner) -> None:
        """The first status of what was executed, in a behaviour's manner."""
        if manner in _SILENT:
            return
        if manner in _UNREADABLE:
            self._write(_UNREADABLE[manner])
        elif manner is Manner.DUPLICATE_AFTER:
            self._write(self._status_of(number, "RJCT", "AM05"))
        else:
            late_ms = self.settings.slow_ms if manner is Manner.SLOW else 0
            self._later.append((self._now() + late_ms, self._status_of(number, "ACCP", "")))

    def _question(self, root: Element) -> None:
        number = _text(root, "TxInf/OrgnlTxId")
        entry = self.books.by_attempt(_attempt_id(number))
        if entry is None:
            about, name = _text(root, "GrpHdr/MsgId"), "pacs.028.001.03"
            self._write(_status(about, name, number, "RJCT", "NOOR", at_ms=self._now()))
            return
        try:
            if not self.silent(entry):
                self._write(self._message(entry, entry.status(self._now()), "A"))
        except Refused:
            self._write(b"<html>500</html>")

    def _tell(self, entry: Entry, index: int) -> None:
        """Put the next notice of an entry where it waits until it is due."""
        behaviour = BEHAVIOURS.get(entry.behaviour, NORMAL)
        if behaviour.enquiry is not Enquiry.OK:
            return  # says nothing unasked
        notices = script(entry)
        if index < len(notices):
            at_ms = due_ms(entry, notices[index], self._late_ms)
            heapq.heappush(self._due, (at_ms, self._count(), entry, index))
        elif behaviour.notices is not None and entry.befallen:
            self.befalls.happen(entry.behaviour)

    def _say_what_is_due(self) -> None:
        now_ms = self._now()
        late, self._later = self._later, []
        for at_ms, data in late:
            if at_ms <= now_ms:
                self._write(data)
            else:
                self._later.append((at_ms, data))
        while self._due and self._due[0][0] <= now_ms:
            _, _, entry, index = heapq.heappop(self._due)
            notice: Notice = script(entry)[index]
            if not notice.lost and not notice.forged and notice.word != "CANCELED":
                self._write(self._message(entry, notice.word, "N"))
            self._tell(entry, index + 1)

    def _message(self, entry: Entry, word: str, unasked: str) -> bytes:
        """What is said of an entry in a word; what is said unasked is the same bytes each time."""
        number = _number(entry.attempt_id)
        mark = f"{unasked}{self._count()}" if unasked == "A" else f"{unasked}{word}"
        message_id = f"{entry.reference}{mark}"[:35]
        amount = f"{entry.amount_minor // 100}.{entry.amount_minor % 100:02d}"
        if word in BACK:
            write = _credit if word == "REFUNDED" else _return
            return write(message_id, number, amount, entry.currency, entry.created_ms)
        status = STATUSES.get(word, STATUS_OTHERWISE)
        error = BEHAVIOURS.get(entry.behaviour, NORMAL).error
        code = CODES.get(error or "", CODE_OTHERWISE) if status == "RJCT" else ""
        return _status(
            number, "pacs.008.001.08", number, status, code, at_ms=entry.created_ms,
            message_id=message_id, amount=amount, currency=entry.currency,
        )  # fmt: skip

    def _status_of(self, number: str, status: str, code: str) -> bytes:
        return _status(
            number, "pacs.008.001.08", number, status, code,
            at_ms=self._now(), message_id=f"S{self._count()}",
        )  # fmt: skip

    def _now(self) -> int:
        return self.clock.now_ms()

    def _count(self) -> int:
        self._written += 1
        return self._written

    def _write(self, data: bytes) -> None:
        """Put a file into the inbox when it is whole."""
        name = f"bank-{self._count():09d}"
        part = self.inbox / f".{name}.tmp"
        part.write_bytes(data)
        part.rename(self.inbox / f"{name}.xml")


def link_fields(directory: Path) -> dict[str, object]:
    """The settings of a rail that talks to a bank at a directory, by their fields."""
    return {
        "outbox": directory / "outbox",
        "inbox": directory / "inbox",
        "archive": directory / "archive",
        "debtor_name": "Sandbox Company",
        "debtor_iban": ACCOUNT,
        "debtor_bic": BIC,
    }


def _asked(root: Element) -> Asked:
    """What a pacs.008 asks for, by the rules of SEPA Instant. Raises Refused."""
    rules = {
        "GrpHdr/NbOfTxs": "1",
        "GrpHdr/SttlmInf/SttlmMtd": "CLRG",
        "GrpHdr/PmtTpInf/SvcLvl/Cd": "SEPA",
        "GrpHdr/PmtTpInf/LclInstrm/Cd": "INST",
        "CdtTrfTxInf/ChrgBr": "SLEV",
        "GrpHdr/TtlIntrBkSttlmAmt": _text(root, "CdtTrfTxInf/IntrBkSttlmAmt"),
    }
    number = _text(root, "CdtTrfTxInf/PmtId/TxId")
    amount = _text(root, "CdtTrfTxInf/IntrBkSttlmAmt")
    iban = _text(root, "CdtTrfTxInf/CdtrAcct/Id/IBAN")
    name = _text(root, "CdtTrfTxInf/Cdtr/Nm")
    currency = next((each.get("Ccy", "") for each in _all(root, "CdtTrfTxInf/IntrBkSttlmAmt")), "")
    good = (
        all(_text(root, path) == value for path, value in rules.items())
        and 0 < len(number) <= 35
        and re.fullmatch(r"[0-9]{1,9}\.[0-9]{2}", amount)
        and re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", iban)
        and name
    )
    if not good:
        raise Refused(422, "VALIDATION_ERROR")
    if currency != "EUR":
        raise Refused(422, "CURRENCY")
    attempt_id = _attempt_id(number)
    return Asked(attempt_id, attempt_id, name, currency, int(amount.replace(".", "")))


def _any() -> bool:
    """What has passed the bank's checks can be executed."""
    return True


def _attempt_id(number: str) -> str:
    """The company writes its payouts' ids without hyphens; books have them with."""
    digits, dot, attempt = number.partition(".")
    return str(UUID(digits)) + dot + attempt if re.fullmatch("[0-9a-f]{32}", digits) else number


def _number(attempt_id: str) -> str:
    return attempt_id.replace("-", "")


def _all(root: Element, path: str) -> Iterator[Element]:
    """Elements at a path under the message, whatever their namespace."""
    return root.iterfind("/".join(["*", *(f"{{*}}{tag}" for tag in path.split("/"))]))


def _text(root: Element, path: str) -> str:
    return next((each.text or "" for each in _all(root, path)), "")


def _document(name: str, body: str) -> bytes:
    space = f"urn:iso:std:iso:20022:tech:xsd:{name}"
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f'{head}<Document xmlns="{space}">{body}</Document>\n'.encode()


def _status(
    about: str,
    name: str,
    number: str,
    status: str,
    code: str,
    *,
    at_ms: int,
    message_id: str = "S0",
    amount: str = "",
    currency: str = "",
) -> bytes:
    reason = f"<StsRsnInf><Rsn><Cd>{code}</Cd></Rsn></StsRsnInf>" if code else ""
    reference = (
        f'<OrgnlTxRef><IntrBkSttlmAmt Ccy="{currency}">{amount}</IntrBkSttlmAmt></OrgnlTxRef>'
        if amount
        else ""
    )
    transaction = (
        f"<TxInfAndSts><OrgnlEndToEndId>{number}</OrgnlEndToEndId><OrgnlTxId>{number}</OrgnlTxId>"
        f"<TxSts>{status}</TxSts>{reason}{reference}</TxInfAndSts>"
    )
    group_status = "" if number else f"<GrpSts>{status}</GrpSts>{reason}"
    return _document(
        "pacs.002.001.10",
        f"<FIToFIPmtStsRpt><GrpHdr><MsgId>{message_id}</MsgId><CreDtTm>{moment(at_ms)}</CreDtTm>"
        f"<InstgAgt><FinInstnId><BICFI>{BIC}</BICFI></FinInstnId></InstgAgt></GrpHdr>"
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{about}</OrgnlMsgId><OrgnlMsgNmId>{name}</OrgnlMsgNmId>"
        f"{group_status}</OrgnlGrpInfAndSts>{transaction if number else ''}</FIToFIPmtStsRpt>",
    )


def _return(message_id: str, number: str, amount: str, currency: str, at_ms: int) -> bytes:
    return _document(
        "pacs.004.001.09",
        f"<PmtRtr><GrpHdr><MsgId>{message_id}</MsgId><CreDtTm>{moment(at_ms)}</CreDtTm>"
        "<NbOfTxs>1</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf></GrpHdr>"
        f"<TxInf><RtrId>{message_id}</RtrId><OrgnlEndToEndId>{number}</OrgnlEndToEndId>"
        f"<OrgnlTxId>{number}</OrgnlTxId>"
        f'<RtrdIntrBkSttlmAmt Ccy="{currency}">{amount}</RtrdIntrBkSttlmAmt>'
        "<RtrRsnInf><Rsn><Cd>AC04</Cd></Rsn></RtrRsnInf></TxInf></PmtRtr>",
    )


def _credit(message_id: str, number: str, amount: str, currency: str, at_ms: int) -> bytes:
    money = f'<Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
    code = "<Domn><Cd>PMNT</Cd><Fmly><Cd>ICDT</Cd><SubFmlyCd>RRTN</SubFmlyCd></Fmly></Domn>"
    return _document(
        "camt.054.001.08",
        f"<BkToCstmrDbtCdtNtfctn><GrpHdr><MsgId>{message_id}</MsgId>"
        f"<CreDtTm>{moment(at_ms)}</CreDtTm></GrpHdr><Ntfctn><Id>{message_id}</Id>"
        f"<Acct><Id><IBAN>{ACCOUNT}</IBAN></Id></Acct><Ntry>{money}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BkTxCd>{code}</BkTxCd><NtryDtls><TxDtls><Refs><EndToEndId>{number}</EndToEndId></Refs>"
        f"{money}<RtrInf><Rsn><Cd>MS02</Cd></Rsn></RtrInf></TxDtls></NtryDtls></Ntry></Ntfctn>"
        "</BkToCstmrDbtCdtNtfctn>",
    )


NEWS = _document("admi.099.001.01", "<News/>")
"""A message that nobody has heard of."""
