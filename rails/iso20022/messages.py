"""What goes to the bank: a payment as pacs.008 or pain.001, and a question as pacs.028.

Pure: dataclasses made from the standard's schemas, written as XML. ``mapping.md`` explains each
field. Every function is deterministic in its arguments.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from xsdata.formats.dataclass.serializers import XmlSerializer
from xsdata.formats.dataclass.serializers.config import SerializerConfig
from xsdata.models.datatype import XmlDate, XmlDateTime

from rails.accounts import Account
from rails.rail import Instruction

# Each is thousands of lines of dataclasses: a function that writes one imports it, so that a worker
# which pays nothing by such messages does not wait for them at its start.
if TYPE_CHECKING:
    from pyiso20022.pacs.pacs_008_001_08 import pacs_008_001_08 as pacs008
    from pyiso20022.pain.pain_001_001_09 import pain_001_001_09 as pain001

Form = Literal["pacs.008", "pain.001"]
"""As what a payment is written: between banks, or as a customer's order to its bank."""

NAMES: dict[Form, str] = {"pacs.008": "pacs.008.001.08", "pain.001": "pain.001.001.09"}
"""The version of each form: those of the SEPA Instant rulebooks since November 2023."""

NAME_CHARS_MAX = 70
"""Longest name of a party in SEPA; ISO 20022 itself has 140."""

NOTE_CHARS_MAX = 140
NOT_PROVIDED = "NOTPROVIDED"
"""The standard's word for an identification that the sender leaves to the bank."""

_LETTERS = str.maketrans(
    {"ß": "ss", "Æ": "AE", "æ": "ae", "Ø": "O", "ø": "o", "Œ": "OE", "œ": "oe", "Ł": "L", "ł": "l",
     "Đ": "D", "đ": "d", "Ð": "D", "ð": "d", "Þ": "TH", "þ": "th", "ı": "i", "&": "+"}
)  # fmt: skip
_NOT_WRITABLE = re.compile(r"[^A-Za-z0-9/?:().,'+ -]+")


@dataclass(frozen=True, slots=True)
class Debtor:
    """Who pays: the company's own account at the bank. An empty BIC leaves it to the bank."""

    name: str
    iban: str = field(repr=False)
    bic: str = ""


class NameNotWritable(ValueError):
    """A name of which nothing is left in the characters that every bank takes."""


class _Transfer(NamedTuple):
    """What a payment's message says, in the letters in which it says it."""

    id: str
    amount: Decimal
    currency: str
    holder: str
    iban: str
    note: str


def writable(text: str, chars_max: int) -> str:
    """A text in the Latin characters that every SEPA bank takes (EPC217-08): accents go, what
    has no counterpart becomes a blank."""
    plain = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    bare = "".join(char for char in plain if not unicodedata.combining(char))
    words = " ".join(_NOT_WRITABLE.sub(" ", bare).split())
    return words[:chars_max].strip()


def payment_written(
    form: Form,
    payment_id: str,
    instruction: Instruction,
    account: Account,
    *,
    debtor: Debtor,
    now: datetime,
) -> bytes:
    """A payment as a message of one transaction. Raises NameNotWritable."""
    transfer = _Transfer(
        payment_id,
        Decimal(instruction.amount_minor).scaleb(-2),
        instruction.currency,
        writable(account.holder, NAME_CHARS_MAX),
        account.fields["iban"],
        writable(instruction.note, NOTE_CHARS_MAX),
    )
    if not transfer.holder:
        raise NameNotWritable("holder_not_writable")
    write = _pacs008 if form == "pacs.008" else _pain001
    return _xml(write(transfer, debtor, now), NAMES[form])


def question_written(
    question_id: str, payment_id: str, form: Form, debtor: Debtor, now: datetime
) -> bytes:
    """A request for a payment's status: pacs.028.001.03."""
    from pyiso20022.pacs.pacs_028_001_03 import pacs_028_001_03 as pacs028  # noqa: PLC0415

    body = pacs028.FitoFipaymentStatusRequestV03(
        grp_hdr=pacs028.GroupHeader91(
            msg_id=question_id, cre_dt_tm=_moment(now), instg_agt=_agent(pacs028, debtor.bic)
        ),
        orgnl_grp_inf=[
            pacs028.OriginalGroupInformation27(orgnl_msg_id=payment_id, orgnl_msg_nm_id=NAMES[form])
        ],
        tx_inf=[
            pacs028.PaymentTransaction113(orgnl_end_to_end_id=payment_id, orgnl_tx_id=payment_id)
        ],
    )
    return _xml(pacs028.Document(fito_fipmt_sts_req=body), "pacs.028.001.03")


def _pacs008(transfer: _Transfer, debtor: Debtor, now: datetime) -> pacs008.Document:
    from pyiso20022.pacs.pacs_008_001_08 import pacs_008_001_08 as m  # noqa: PLC0415

    money = m.ActiveCurrencyAndAmount(value=transfer.amount, ccy=transfer.currency)
    header = m.GroupHeader93(
        msg_id=transfer.id,
        cre_dt_tm=_moment(now),
        nb_of_txs="1",
        ttl_intr_bk_sttlm_amt=money,
        intr_bk_sttlm_dt=_day(now),
        sttlm_inf=m.SettlementInstruction7(sttlm_mtd=m.SettlementMethod1Code.CLRG),
        pmt_tp_inf=m.PaymentTypeInformation28(
            svc_lvl=[m.ServiceLevel8Choice(cd="SEPA")],
            lcl_instrm=m.LocalInstrument2Choice(cd="INST"),
        ),
        instg_agt=_agent(m, debtor.bic),
    )
    transaction = m.CreditTransferTransaction39(
        pmt_id=m.PaymentIdentification7(end_to_end_id=transfer.id, tx_id=transfer.id),
        intr_bk_sttlm_amt=money,
        accptnc_dt_tm=_moment(now),
        chrg_br=m.ChargeBearerType1Code.SLEV,
        dbtr=m.PartyIdentification135(nm=writable(debtor.name, NAME_CHARS_MAX)),
        dbtr_acct=_account(m, debtor.iban),
        dbtr_agt=_agent(m, debtor.bic) or _agent_unnamed(m),
        cdtr_agt=_agent_unnamed(m),
        cdtr=m.PartyIdentification135(nm=transfer.holder),
        cdtr_acct=_account(m, transfer.iban),
        rmt_inf=_remittance(m, transfer),
    )
    return m.Document(
        fito_ficstmr_cdt_trf=m.FitoFicustomerCreditTransferV08(
            grp_hdr=header, cdt_trf_tx_inf=[transaction]
        )
    )


def _pain001(transfer: _Transfer, debtor: Debtor, now: datetime) -> pain001.Document:
    from pyiso20022.pain.pain_001_001_09 import pain_001_001_09 as m  # noqa: PLC0415

    money = m.ActiveOrHistoricCurrencyAndAmount(value=transfer.amount, ccy=transfer.currency)
    payer = m.PartyIdentification135(nm=writable(debtor.name, NAME_CHARS_MAX))
    transaction = m.CreditTransferTransaction34(
        pmt_id=m.PaymentIdentification6(instr_id=transfer.id, end_to_end_id=transfer.id),
        amt=m.AmountType4Choice(instd_amt=money),
        cdtr=m.PartyIdentification135(nm=transfer.holder),
        cdtr_acct=_account(m, transfer.iban),
        rmt_inf=_remittance(m, transfer),
    )
    order = m.PaymentInstruction30(
        pmt_inf_id=transfer.id,
        pmt_mtd=m.PaymentMethod3Code.TRF,
        btch_bookg=False,
        nb_of_txs="1",
        ctrl_sum=transfer.amount,
        pmt_tp_inf=m.PaymentTypeInformation26(
            svc_lvl=[m.ServiceLevel8Choice(cd="SEPA")],
            lcl_instrm=m.LocalInstrument2Choice(cd="INST"),
        ),
        reqd_exctn_dt=m.DateAndDateTime2Choice(dt=_day(now)),
        dbtr=payer,
        dbtr_acct=_account(m, debtor.iban),
        dbtr_agt=_agent(m, debtor.bic) or _agent_unnamed(m),
        chrg_br=m.ChargeBearerType1Code.SLEV,
        cdt_trf_tx_inf=[transaction],
    )
    header = m.GroupHeader85(
        msg_id=transfer.id,
        cre_dt_tm=_moment(now),
        nb_of_txs="1",
        ctrl_sum=transfer.amount,
        initg_pty=payer,
    )
    return m.Document(
        cstmr_cdt_trf_initn=m.CustomerCreditTransferInitiationV09(grp_hdr=header, pmt_inf=[order])
    )


# The versions' modules have the same classes under the same names, so that these serve each.


def _remittance(m: Any, transfer: _Transfer) -> Any:
    return m.RemittanceInformation16(ustrd=[transfer.note]) if transfer.note else None


def _account(m: Any, iban: str) -> Any:
    return m.CashAccount38(id=m.AccountIdentification4Choice(iban=iban))


def _agent(m: Any, bic: str) -> Any:
    if not bic:
        return None
    return m.BranchAndFinancialInstitutionIdentification6(
        fin_instn_id=m.FinancialInstitutionIdentification18(bicfi=bic)
    )


def _agent_unnamed(m: Any) -> Any:
    return m.BranchAndFinancialInstitutionIdentification6(
        fin_instn_id=m.FinancialInstitutionIdentification18(
            othr=m.GenericFinancialIdentification1(id=NOT_PROVIDED)
        )
    )


def _moment(now: datetime) -> XmlDateTime:
    return XmlDateTime.from_datetime(now.astimezone(UTC).replace(microsecond=0))


def _day(now: datetime) -> XmlDate:
    return XmlDate.from_date(now.astimezone(UTC).date())


def _xml(document: object, name: str) -> bytes:
    serializer = XmlSerializer(config=SerializerConfig(encoding="UTF-8"))
    ns_map = {None: f"urn:iso:std:iso:20022:tech:xsd:{name}"}
    return serializer.render(document, ns_map=ns_map).encode()
