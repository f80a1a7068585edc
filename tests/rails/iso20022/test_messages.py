"""What goes to the bank is valid by the standard's schemas, and says what was instructed."""

import json
from datetime import UTC, datetime, timedelta, timezone
from xml.etree.ElementTree import Element

import pytest
import xmlschema
from defusedxml.ElementTree import fromstring
from hypothesis import given, settings
from hypothesis import strategies as st

from rails.accounts import HOLDER_CHARS_MAX, read_account
from rails.iso20022.capabilities import AMOUNT_MINOR_MAX
from rails.iso20022.messages import (
    Debtor,
    Form,
    NameNotWritable,
    payment_written,
    question_written,
    writable,
)
from rails.rail import NOTE_CHARS_MAX, Instruction
from tests.rails.iso20022 import standard

NOW = datetime(2026, 11, 25, 3, 4, 5, 678_000, UTC)
ID = "2a" + "0" * 30
DEBTOR = Debtor("Muster & Söhne GmbH", "DE75512108001245126199", "SANDDEFFXXX")
IBAN = "DE89370400440532013000"
FORMS: tuple[Form, ...] = ("pacs.008", "pain.001")


def instruction(amount_minor: int = 1050, note: str = "", holder: str = "Anna Muster"):
    destination = json.dumps({"kind": "iban", "iban": IBAN, "holder": holder})
    return Instruction("2a", amount_minor, "EUR", destination, "seller-1", note)


def written(form: Form, one: Instruction, debtor: Debtor = DEBTOR) -> bytes:
    return payment_written(form, ID, one, read_account(one.destination), debtor=debtor, now=NOW)


def value(data: bytes, *path: str) -> str | None:
    element: Element | None = fromstring(data, forbid_dtd=True)[0]
    for tag in path:
        element = element.find(f"{{*}}{tag}") if element is not None else None
    return None if element is None else element.text


holders = st.text(min_size=1, max_size=HOLDER_CHARS_MAX).filter(
    lambda text: not set(text) & set('<>"\\') and text.isprintable() and text.strip() != ""
)


@settings(deadline=None)
@given(
    st.sampled_from(FORMS),
    st.integers(1, AMOUNT_MINOR_MAX),
    st.text(max_size=NOTE_CHARS_MAX),
    holders,
    st.sampled_from(["", "SANDDEFF", "SANDDEFFXXX"]),
)
def test_whatever_is_instructed_is_valid(
    form: Form, amount_minor: int, note: str, holder: str, bic: str
) -> None:
    one = instruction(amount_minor, note, holder)
    try:
        data = written(form, one, Debtor("Muster GmbH", DEBTOR.iban, bic))
    except NameNotWritable:
        assert writable(holder, 70) == ""
        return
    standard.check(data)


def test_a_schema_refuses_what_is_wrong() -> None:
    """The check can fail."""
    data = written("pacs.008", instruction()).replace(b"<ChrgBr>SLEV", b"<ChrgBr>NONE")
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        standard.schema("pacs.008.001.08").validate(data.decode())


def test_a_payment_between_banks_is_sepa_instant() -> None:
    data = written("pacs.008", instruction(123_456, "Commission 11/2026"))
    said = {
        ("GrpHdr", "MsgId"): ID,
        ("GrpHdr", "CreDtTm"): "2026-11-25T03:04:05Z",
        ("GrpHdr", "NbOfTxs"): "1",
        ("GrpHdr", "TtlIntrBkSttlmAmt"): "1234.56",
        ("GrpHdr", "IntrBkSttlmDt"): "2026-11-25",
        ("GrpHdr", "SttlmInf", "SttlmMtd"): "CLRG",
        ("GrpHdr", "PmtTpInf", "SvcLvl", "Cd"): "SEPA",
        ("GrpHdr", "PmtTpInf", "LclInstrm", "Cd"): "INST",
        ("GrpHdr", "InstgAgt", "FinInstnId", "BICFI"): "SANDDEFFXXX",
        ("CdtTrfTxInf", "PmtId", "EndToEndId"): ID,
        ("CdtTrfTxInf", "PmtId", "TxId"): ID,
        ("CdtTrfTxInf", "IntrBkSttlmAmt"): "1234.56",
        ("CdtTrfTxInf", "ChrgBr"): "SLEV",
        ("CdtTrfTxInf", "Dbtr", "Nm"): "Muster + Sohne GmbH",
        ("CdtTrfTxInf", "DbtrAcct", "Id", "IBAN"): DEBTOR.iban,
        ("CdtTrfTxInf", "CdtrAgt", "FinInstnId", "Othr", "Id"): "NOTPROVIDED",
        ("CdtTrfTxInf", "Cdtr", "Nm"): "Anna Muster",
        ("CdtTrfTxInf", "CdtrAcct", "Id", "IBAN"): IBAN,
        ("CdtTrfTxInf", "RmtInf", "Ustrd"): "Commission 11/2026",
    }
    assert {path: value(data, *path) for path in said} == said


def test_an_order_to_ones_bank_says_the_same() -> None:
    data = written("pain.001", instruction(1))
    said = {
        ("GrpHdr", "MsgId"): ID,
        ("GrpHdr", "CtrlSum"): "0.01",
        ("PmtInf", "PmtInfId"): ID,
        ("PmtInf", "PmtMtd"): "TRF",
        ("PmtInf", "PmtTpInf", "LclInstrm", "Cd"): "INST",
        ("PmtInf", "ReqdExctnDt", "Dt"): "2026-11-25",
        ("PmtInf", "ChrgBr"): "SLEV",
        ("PmtInf", "CdtTrfTxInf", "PmtId", "EndToEndId"): ID,
        ("PmtInf", "CdtTrfTxInf", "Amt", "InstdAmt"): "0.01",
        ("PmtInf", "CdtTrfTxInf", "RmtInf"): None,
    }
    assert {path: value(data, *path) for path in said} == said


@pytest.mark.parametrize("form", FORMS)
def test_a_question_names_the_payment(form: Form) -> None:
    data = question_written("Q" + "1" * 32, ID, form, DEBTOR, NOW)
    standard.check(data)
    assert value(data, "OrgnlGrpInf", "OrgnlMsgId") == ID
    assert (value(data, "OrgnlGrpInf", "OrgnlMsgNmId") or "").startswith(form)
    assert value(data, "TxInf", "OrgnlTxId") == ID


def test_days_are_utc_wherever_the_clock_is() -> None:
    one = instruction()
    east = NOW.astimezone(timezone(timedelta(hours=-9)))
    account = read_account(one.destination)
    moved = payment_written("pacs.008", ID, one, account, debtor=DEBTOR, now=east)
    assert moved == written("pacs.008", one)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Jürgen Groß", "Jurgen Gross"),
        ("Łukasz Żółć", "Lukasz Zolc"),
        ("Søren Ærø", "Soren AEro"),
        ("O'Neill-Smith", "O'Neill-Smith"),
        ("Анна", ""),
        ("Anna 李", "Anna"),
        ("A" * 80, "A" * 70),
        ("a\nb\t c", "a b c"),
        ("<script>", "script"),
    ],
)
def test_names_in_letters_that_every_bank_takes(text: str, plain: str) -> None:
    assert writable(text, 70) == plain


def test_nothing_of_the_recipient_is_in_a_repr() -> None:
    assert DEBTOR.iban not in repr(DEBTOR)
