"""What the bank says is read in every version listed; nothing it could say breaks the reader."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rails.iso20022.reports import (
    CREDITED,
    DEBITED,
    MESSAGE_BYTES_MAX,
    NAMESPACE,
    OTHER,
    READERS,
    RETURNED,
    VERSIONS,
    MessageRefused,
    Report,
    read_reports,
)
from rails.sandbox import bank

ID = "2a" + "0" * 30
OTHER_ID = "2b" + "0" * 30 + ".1"
HEADER = "<GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-11-25T03:04:05</CreDtTm>{}</GrpHdr>"


def document(name: str, body: str) -> bytes:
    return f'<Document xmlns="{NAMESPACE}{name}">{body}</Document>'.encode()


def group(element: str, status: str = "", about: str = ID, name: str = "pacs.008.001.08") -> str:
    return (
        f"<{element}><OrgnlMsgId>{about}</OrgnlMsgId><OrgnlMsgNmId>{name}</OrgnlMsgNmId>"
        f"{status}</{element}>"
    )


def transaction(status: str, code: str = "", end_to_end_id: str = ID) -> str:
    reason = f"<StsRsnInf><Rsn><Cd>{code}</Cd></Rsn></StsRsnInf>" if code else ""
    return (
        f"<TxInfAndSts><OrgnlEndToEndId>{end_to_end_id}</OrgnlEndToEndId>"
        f"<TxSts>{status}</TxSts>{reason}</TxInfAndSts>"
    )


def pacs002(
    *transactions: str, status: str = "", name: str = "pacs.002.001.10", **about: str
) -> bytes:
    told = f"<GrpSts>{status}</GrpSts>" if status else ""
    body = HEADER.format("") + group("OrgnlGrpInfAndSts", told, **about) + "".join(transactions)
    return document(name, f"<FIToFIPmtStsRpt>{body}</FIToFIPmtStsRpt>")


def pain002(*transactions: str, status: str = "", name: str = "pain.002.001.10") -> bytes:
    told = f"<GrpSts>{status}</GrpSts>" if status else ""
    order = ""
    if transactions:
        inside = f"<OrgnlPmtInfId>{ID}</OrgnlPmtInfId>{''.join(transactions)}"
        order = f"<OrgnlPmtInfAndSts>{inside}</OrgnlPmtInfAndSts>"
    body = HEADER.format("") + group("OrgnlGrpInfAndSts", told, name="pain.001.001.09") + order
    return document(name, f"<CstmrPmtStsRpt>{body}</CstmrPmtStsRpt>")


def pacs004(amount: str = "10.50", name: str = "pacs.004.001.09") -> bytes:
    settlement = "<NbOfTxs>1</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf>"
    body = (
        f"<TxInf><OrgnlEndToEndId>{ID}</OrgnlEndToEndId>"
        f'<RtrdIntrBkSttlmAmt Ccy="EUR">{amount}</RtrdIntrBkSttlmAmt>'
        "<RtrRsnInf><Rsn><Cd>AC04</Cd></Rsn></RtrRsnInf></TxInf>"
    )
    return document(name, f"<PmtRtr>{HEADER.format(settlement)}{body}</PmtRtr>")


def camt054(
    side: str = "DBIT",
    status: str = "BOOK",
    details: str = "",
    name: str = "camt.054.001.08",
    more: str = "",
) -> bytes:
    shown = status if name == "camt.054.001.02" else f"<Cd>{status}</Cd>"
    money = f'<Amt Ccy="EUR">10.50</Amt><CdtDbtInd>{side}</CdtDbtInd>'
    own = "" if name == "camt.054.001.02" else money
    entry = (
        f"<Ntry>{money}{more}<Sts>{shown}</Sts><BkTxCd/><NtryDtls><TxDtls>"
        f"<Refs><EndToEndId>{ID}</EndToEndId></Refs>{own}{details}</TxDtls></NtryDtls></Ntry>"
    )
    account = "<Acct><Id><IBAN>DE75512108001245126199</IBAN></Id></Acct>"
    notification = (
        f"<Ntfctn><Id>N1</Id><CreDtTm>2026-11-25T03:04:05</CreDtTm>{account}{entry}</Ntfctn>"
    )
    return document(
        name, f"<BkToCstmrDbtCdtNtfctn>{HEADER.format('')}{notification}</BkToCstmrDbtCdtNtfctn>"
    )


BACK = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>"


def read(data: bytes) -> list[tuple[str, str]]:
    return [(report.word, report.reason) for report in read_reports(data)]


@pytest.mark.parametrize("name", sorted(VERSIONS))
def test_every_version_listed_is_read(name: str) -> None:
    written = {
        "pacs.002": lambda: pacs002(transaction("RJCT", "AC04"), name=name),
        "pain.002": lambda: pain002(transaction("RJCT", "AC04"), name=name),
        "pacs.004": lambda: pacs004(name=name),
        "camt.054": lambda: camt054("CRDT", details=BACK, name=name),
    }
    word = "RJCT" if name[5:8] == "002" else RETURNED
    assert read(written[name[:8]]()) == [(word, "AC04")]
    assert set(written) == set(READERS)


def test_a_transactions_own_status_goes_before_its_groups() -> None:
    both = pacs002(transaction("ACSC"), transaction("RJCT", "AC04", OTHER_ID), status="PART")
    assert read_reports(both) == [
        Report((ID,), "ACSC"),
        Report((OTHER_ID,), "RJCT", "AC04"),
    ]


def test_a_group_speaks_for_its_message() -> None:
    reason = "<StsRsnInf><Rsn><Cd>FF01</Cd></Rsn></StsRsnInf>"
    data = document(
        "pacs.002.001.10",
        f"<FIToFIPmtStsRpt>{HEADER.format('')}"
        f"{group('OrgnlGrpInfAndSts', f'<GrpSts>RJCT</GrpSts>{reason}')}</FIToFIPmtStsRpt>",
    )
    assert read_reports(data) == [Report((ID,), "RJCT", "FF01")]
    assert read_reports(pain002(status="RJCT")) == [Report((ID,), "RJCT")]


def test_what_is_said_of_our_question_says_nothing_of_the_payment() -> None:
    asked = {"about": "Q1", "name": "pacs.002.001.10"}
    data = pacs002(transaction("RJCT", "NOOR"), **asked).replace(
        b"pacs.008.001.08", b"pacs.028.001.03"
    )
    assert b"pacs.028.001.03" in data
    assert read_reports(data) == []


@pytest.mark.parametrize(
    ("side", "status", "details", "more", "word"),
    [
        ("DBIT", "BOOK", "", "", DEBITED),
        ("CRDT", "BOOK", BACK, "", RETURNED),
        ("CRDT", "BOOK", "", "<RvslInd>true</RvslInd>", RETURNED),
        ("CRDT", "BOOK", "", "", CREDITED),
        ("DBIT", "BOOK", BACK, "", OTHER),
        ("DBIT", "PDNG", "", "", None),
    ],
)
def test_bookings(side: str, status: str, details: str, more: str, word: str | None) -> None:
    reports = read_reports(camt054(side, status, details, more=more))
    assert [report.word for report in reports] == ([word] if word else [])
    assert all((one.amount_minor, one.currency) == (1050, "EUR") for one in reports)


@pytest.mark.parametrize(
    "strange", ["../../etc/passwd", "INV-1", ID.upper(), ID + ".100", ID + "/..", "", " " + ID]
)
def test_ids_that_are_not_of_our_form_are_never_looked_up(strange: str) -> None:
    if strange:
        assert read_reports(pacs002(transaction("ACSC", "", strange))) == []
    else:
        assert read_reports(pacs002()) == []


def test_sentences_stay_out() -> None:
    told = transaction("RJCT").replace(
        "</TxSts>",
        "</TxSts><StsRsnInf><Rsn><Prtry>Anna Secret</Prtry></Rsn>"
        "<AddtlInf>Anna Secret, DE89370400440532013000</AddtlInf></StsRsnInf>",
    )
    assert read(pacs002(told)) == [("RJCT", "")]
    assert "Secret" not in repr(read_reports(pacs002(told)))


@pytest.mark.parametrize(
    ("amount", "minor"), [("10.50", 1050), ("10.5", 1050), ("10", 1000), ("0.01", 1)]
)
def test_amounts(amount: str, minor: int) -> None:
    assert read_reports(pacs004(amount))[0].amount_minor == minor


BILLION = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.002.001.10">&c;</Document>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.002.001.10">&x;</Document>"""
DTD = b"""<?xml version="1.0"?><!DOCTYPE d SYSTEM "http://127.0.0.1:1/d.dtd"><Document/>"""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (BILLION, "dtd_or_entity"),
        (OUTSIDE, "dtd_or_entity"),
        (DTD, "dtd_or_entity"),
        (b"", "not_xml"),
        (b"<html>created</html>", "not_iso20022"),
        (b"<Document/>", "not_iso20022"),
        (b"\xff\xfe\x00", "not_xml"),
        (b'<?xml version="1.0" encoding="klingon"?><Document/>', "not_xml"),
        (pacs002(transaction("ACSC"))[:-20], "not_xml"),
        (pacs002(transaction("ACSC"), name="pacs.002.001.99"), "version_not_read"),
        (pacs002().replace(b"2026-11-25", b"yesterday"), "not_by_schema"),
        (pacs002().replace(b"<MsgId>M1</MsgId>", b""), "not_by_schema"),
        (pacs002("<News/>"), "not_by_schema"),
        (document("pacs.002.001.10", ""), "not_by_schema"),
        (document("pacs.002.001.10", "<CstmrPmtStsRpt/>"), "not_by_schema"),
        (pacs004("ten"), "not_by_schema"),
        (pacs004("NaN"), "amount_unreadable"),
        (pacs004("1e99"), "amount_unreadable"),
        (pacs004("0.001"), "amount_unreadable"),
        (b" " * (MESSAGE_BYTES_MAX + 1), "too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_by_name(data: bytes, reason: str) -> None:
    with pytest.raises(MessageRefused, match=f"^{reason}$"):
        read_reports(data)


def test_messages_of_another_kind_are_no_news() -> None:
    assert read_reports(bank.NEWS) == []
    assert read_reports(document("camt.053.001.08", "<BkToCstmrStmt/>")) == []


SAMPLES = [
    pacs002(transaction("ACSC"), transaction("RJCT", "AC04", OTHER_ID), status="PART"),
    pain002(transaction("ACCP")),
    pacs004(),
    camt054("CRDT", details=BACK),
    camt054(name="camt.054.001.02"),
]
PIECES = [
    b"<", b">", b"/", b"&", b"&lt;", b"&#0;", b"&#x10FFFF;", b"<![CDATA[", b"]]>", b"<!--", b"-->",
    b"<?x?>", b"\x00", b"\xff", b'xmlns="x"', b' xsi:nil="true"', b"NaN", b"Infinity", b"-1e999",
    b'<Envlp xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Document"/>',
    b"<a>" * 2_000,
    b"<SplmtryData><Envlp>" + b"<a>" * 500 + b"</a>" * 500 + b"</Envlp></SplmtryData>",
    "é".encode("latin-1"), b"9" * 400,
]  # fmt: skip


def refused_or_read(data: bytes) -> None:
    try:
        reports = read_reports(data)
    except MessageRefused as refused:
        assert re.fullmatch("[a-z0-9_]+", str(refused))
        return
    assert all(isinstance(report, Report) and report.ids for report in reports)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=2_000))
def test_any_bytes(data: bytes) -> None:
    refused_or_read(data)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(SAMPLES), st.data())
def test_any_damage_to_a_message(sample: bytes, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(sample)))
        to = min(len(sample), at + data.draw(st.integers(0, 40)))
        sample = (
            sample[:at] + data.draw(st.sampled_from(PIECES) | st.binary(max_size=8)) + sample[to:]
        )
    refused_or_read(sample)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(SAMPLES), st.data())
def test_any_content_of_any_element(sample: bytes, data: st.DataObject) -> None:
    """Still XML, and the tags still the standard's: what reaches deepest."""
    ends = [match.start() for match in re.finditer(b"</", sample)]
    at = data.draw(st.sampled_from(ends))
    start = sample.rindex(b">", 0, at) + 1
    text = data.draw(st.sampled_from([b"", b"NaN", b"-0", b"1e999999", b"true", b"<a/>", b"  "])
                     | st.text("0123456789.-+eE:TZ", max_size=30).map(str.encode))  # fmt: skip
    refused_or_read(sample[:start] + text + sample[at:])
    tags = re.findall(rb"<[A-Za-z]+", sample)
    one, other = data.draw(st.sampled_from(tags))[1:], data.draw(st.sampled_from(tags))[1:]
    refused_or_read(re.sub(rb"(</?)" + one + rb"\b", rb"\1" + other, sample))
