"""The check of messages can fail, at each kind of rule."""

import pytest
from xmlschema import XMLSchemaValidationError
from xsdata.exceptions import ConverterError, ParserError

from rails.sandbox.bank import _credit, _return, _status
from tests.rails.iso20022 import standard

STATUS = _status("M1", "pacs.008.001.08", "2a", "RJCT", "AC04", at_ms=1, message_id="S1",
                 amount="10.50", currency="EUR")  # fmt: skip
RETURN = _return("M2", "2a", "10.50", "EUR", 1)
CREDIT = _credit("M3", "2a", "10.50", "EUR", 1)


@pytest.mark.parametrize("data", [STATUS, RETURN, CREDIT], ids=standard.name_of)
def test_what_the_bank_says_is_valid(data: bytes) -> None:
    standard.check(data)


def test_a_whole_schema_refuses_what_is_wrong() -> None:
    with pytest.raises(XMLSchemaValidationError):
        standard.check(CREDIT.replace(b"<CdtDbtInd>CRDT", b"<CdtDbtInd>NONE"))


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("<MsgId>S1</MsgId>", "", "msg_id"),
        ("<MsgId>S1</MsgId>", "<MsgId></MsgId>", "too short"),
        ("<MsgId>S1</MsgId>", f"<MsgId>{'S' * 36}</MsgId>", "too long"),
        ("<Cd>AC04</Cd>", "<Cd>AC04</Cd><Prtry>x</Prtry>", "one has to be chosen"),
        ("<Cd>AC04</Cd>", "", "one has to be chosen"),
        ("<BICFI>SANDDEFFXXX", "<BICFI>sand", "is not as"),
        ('Ccy="EUR"', 'Ccy="eur"', "is not as"),
        ('Ccy="EUR"', "", "ccy"),
        (">10.50<", ">10.123456<", "too many decimals"),
        (">10.50<", ">12345678901234567.89<", "too many digits"),
        (">10.50<", ">-1<", "out of bounds"),
        ("<TxSts>RJCT</TxSts>", "", None),
        ("<OrgnlTxId>2a</OrgnlTxId><TxSts>RJCT</TxSts>",
         "<TxSts>RJCT</TxSts><OrgnlTxId>2a</OrgnlTxId>", "order"),
        ("<TxSts>", "<News/><TxSts>", "News"),
        ("1970-01-01T00:00:00", "yesterday", "yesterday"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused(before: str, after: str, rule: str | None) -> None:
    assert before in STATUS.decode()
    data = STATUS.decode().replace(before, after).encode()
    if rule is None:
        standard.check(data)  # may be left out
        return
    with pytest.raises((standard.Invalid, ParserError, ConverterError, TypeError), match=rule):
        standard.check(data)
