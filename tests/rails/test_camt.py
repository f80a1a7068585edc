"""camt.053 and camt.054 of ISO 20022, in every version that is read."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from rails import camt
from rails.camt import MESSAGES, VERSIONS, read_camt
from rails.statement import Line, LineKind, Part, Statement, StatementUnusable
from tests.rails.statements import text

STATEMENT = text("camt.xml")
PAYOUT = "0a1b2c3d-0000-5000-8000-00000000000"


def read(statement: str = STATEMENT) -> Statement:
    return read_camt(io.BytesIO(statement.encode()))


def version(message: str, number: str) -> str:
    """The statement as another message or version has it."""
    root, holder = MESSAGES[message]
    found = STATEMENT.replace("camt.053.001.08", f"{message}.001.{number}")
    found = found.replace("BkToCstmrStmt", root)
    found = found.replace("<Stmt>", f"<{holder}>").replace("</Stmt>", f"</{holder}>")
    if number < "07":
        found = found.replace("<Sts><Cd>", "<Sts>").replace("</Cd></Sts>", "</Sts>")
        found = found.replace("<Pty><Nm>", "<Nm>").replace("</Nm></Pty>", "</Nm>")
    if number == "02":
        found = found.replace("<Chrgs><Rcrd>", "<Chrgs>").replace("</Rcrd></Chrgs>", "</Chrgs>")
        old = '<Amt Ccy="EUR">{}</Amt>\n            <CdtDbtInd>{}</CdtDbtInd>'
        new = '<AmtDtls><TxAmt><Amt Ccy="EUR">{}</Amt></TxAmt></AmtDtls>'
        for amount in ("32.06", "4.00", "6.00"):
            for side in ("DBIT", "CRDT"):
                found = found.replace(old.format(amount, side), new.format(amount))
    return found


def shape(line: Line) -> tuple[str, LineKind, int, str | None]:
    return (line.place, line.kind, line.amount_minor, line.payout_id)


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("number", VERSIONS)
def test_each_entry_of_each_version(message: str, number: str) -> None:
    found = read(version(message, number))
    assert [shape(line) for line in found.lines] == [
        ("entry 1", LineKind.PAYOUT, -3_206, PAYOUT + "1"),
        ("entry 2", LineKind.FEE, -30, None),
        ("entry 2", LineKind.PAYOUT, -1_000, None),
        ("entry 3", LineKind.PAYOUT, -5_000, None),
        ("entry 4", LineKind.RETURN, 3_206, PAYOUT + "1"),
        ("entry 5", LineKind.FEE, -500, None),
    ]
    assert found.others == 2


def test_a_bundle_and_its_parts() -> None:
    bundle = read().lines[2]
    assert bundle.parts == (Part(PAYOUT + "2", -400), Part(PAYOUT + "3", -600))
    assert (bundle.count, bundle.references) == (2, ("ASR-2", "2", "BATCH-2"))


def test_a_bundle_without_details_says_how_many_there_are() -> None:
    bundle = read().lines[3]
    assert (bundle.parts, bundle.count) == ((), 5)
    assert bundle.references == ("ASR-3", "3", "BATCH-3")


def test_details_without_amounts_are_left_to_the_ledger() -> None:
    amount = '<Amt Ccy="EUR">4.00</Amt>\n            <CdtDbtInd>DBIT</CdtDbtInd>'
    bundle = read(STATEMENT.replace(amount, "")).lines[1]
    assert bundle.amount_minor == -1_030
    assert [part.amount_minor for part in bundle.parts] == [None, -600]


def test_charges_that_do_not_explain_the_difference_are_not_taken_off() -> None:
    lines = read(STATEMENT.replace(">10.30<", ">10.31<")).lines
    assert shape(lines[1]) == ("entry 2", LineKind.PAYOUT, -1_031, None)


def test_times_and_the_period() -> None:
    found = read()
    assert (found.since_ms, found.until_ms) == (1795474800000, 1795561200000)
    assert found.lines[0].at_ms == 1795507201000
    assert found.lines[1].at_ms == 1795478400000


def test_a_currency_without_decimals_and_zeros_that_are_none() -> None:
    one = STATEMENT.replace('Ccy="EUR">32.06<', 'Ccy="JPY">3206.000<')
    assert read(one).lines[0].amount_minor == -3_206


def test_nothing_of_a_person_is_kept() -> None:
    told = repr(read())
    assert not [word for word in ("Anna", "Muster", "DE8937", "GmbH", "Commission") if word in told]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("camt.053.001.08", "camt.053.001.03", "line 1: the message is 'camt.053.001.03'; those"),
        ("camt.053.001.08", "pain.001.001.09", "line 1: the message is 'pain.001.001.09'"),
        ('xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"', "", "the message is 'Document'"),
        ("</Document>", "", "line 116: not XML: .* is the file whole"),
        (">32.06<", ">32.065<", "entry 1: '32.065' has more decimal places than EUR"),
        (">32.06<", ">32,06<", "entry 1: "),
        (">32.06<", ">1e99<", "entry 1: "),
        ('Ccy="EUR">32', 'Ccy="EUX">32', "entry 1: 'EUX' is no currency"),
        ("2026-11-24T09:00:01+01:00", "yesterday", "entry 1: "),
        ("<BookgDt><Dt>2026-11-24</Dt></BookgDt>", "", "entry 2: no booking date"),
        ("<CdtDbtInd>DBIT</CdtDbtInd>", "<CdtDbtInd>OUT</CdtDbtInd>", "entry 1: .*cdt_dbt_ind`$"),
        ("<CdtDbtInd>DBIT</CdtDbtInd>\n        <Sts>", "<Sts>", "entry 1: "),
        ("<CdtDbtInd>DBIT</CdtDbtInd>", "<CdtDbtInd>DBIT</CdtDbtInd>" * 2, "entry 1: "),
        ("<NtryRef>", "<Strange>1</Strange><NtryRef>", "entry 1: Unknown property"),
        ("UTF-8", "UTN-8", "line 1: an encoding"),
        ("2026-11-24T00:00:00+01:00", "soon", "the period before entry 1: a text of 4"),
    ],
)
def test_what_cannot_be_used_is_one_line(old: str, new: str, told: str) -> None:
    assert old in STATEMENT
    with pytest.raises(StatementUnusable, match=told) as caught:
        read(STATEMENT.replace(old, new, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ['xsi:nil="true"', 'xsi:type="xs:string"'])
def test_an_entry_stays_an_entry(word: str) -> None:
    spaces = (
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xmlns:xs="http://www.w3.org/2001/XMLSchema"'
    )
    with pytest.raises(StatementUnusable, match=r"^entry 1: "):
        read(STATEMENT.replace("<Ntry>", f"<Ntry {spaces} {word}>", 1))


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE Document SYSTEM "http://127.0.0.1:1/x.dtd">',
        '<!DOCTYPE Document [<!ENTITY a "b">]>',
        '<!DOCTYPE Document [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    ],
)
def test_no_dtd_and_no_entity(doctype: str) -> None:
    with pytest.raises(StatementUnusable, match="XML with a DTD or entities"):
        read(STATEMENT.replace("?>\n", f"?>\n{doctype}\n", 1))


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camt, "XML_BYTES_MAX", 1_000)
    with pytest.raises(StatementUnusable, match="more than 1,000 bytes"):
        read()


def test_one_entry_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camt, "ENTRY_ELEMENTS_MAX", 30)
    with pytest.raises(StatementUnusable, match="entry 2: more than 30 XML elements in one"):
        read()


def test_a_large_statement_is_not_held_as_a_tree() -> None:
    head, entry = STATEMENT.split("<Ntry>", 1)[0], STATEMENT.split("<Ntry>", 2)[1]
    tail = "</Stmt></BkToCstmrStmt></Document>"
    source = io.BytesIO((head + ("<Ntry>" + entry) * 500 + tail).encode())
    read()  # what is loaded once is no part of it
    tracemalloc.start()
    try:
        found = read_camt(source)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.lines) == 500
    # A tree of it takes more than ten times that.
    assert peak_bytes < 1_500_000
