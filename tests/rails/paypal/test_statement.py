"""PayPal's Settlement and Transaction Detail Report."""

from __future__ import annotations

import io

import pytest

from rails.paypal.statement import read_paypal
from rails.statement import LineKind, Statement, StatementUnusable
from tests.rails.statements import text

REPORT = text("paypal-settlement.csv")
PAYOUT = "0a1b2c3d-0000-5000-8000-000000000001"


def read(report: str = REPORT) -> Statement:
    return read_paypal(io.BytesIO(report.encode()))


def test_each_line_about_payouts() -> None:
    found = read()
    assert [(line.place, line.kind, line.currency, line.amount_minor) for line in found.lines] == [
        ("line 6", LineKind.PAYOUT, "EUR", -3_206),
        ("line 6", LineKind.FEE, "EUR", -25),
        ("line 8", LineKind.PAYOUT, "HUF", -120_000),
        ("line 9", LineKind.RETURN, "EUR", 3_206),
        ("line 10", LineKind.FEE, "USD", -100),
    ]
    assert found.others == 3


def test_ids_and_references() -> None:
    payout, _, other, back, _ = read().lines
    assert payout.payout_id == PAYOUT
    assert payout.references == ("8AA00000000000002", "9HOLD000000000001")
    assert other.payout_id == PAYOUT[:-1] + "2"
    assert (back.payout_id, back.references[1]) == (None, payout.references[0])


def test_the_period_is_the_sections() -> None:
    found = read()
    assert (found.since_ms, found.until_ms) == (1795478400000, 1795564800000)
    assert found.lines[0].at_ms == 1795507202000


def test_nothing_of_a_person_is_kept() -> None:
    assert "example.com" not in repr(read())


def test_of_a_transaction_detail_report_only_what_is_complete() -> None:
    def with_status(line: str) -> str:
        if line.startswith('"CH"'):
            return line + ',"Transactional Status"'
        pending = "000000002" in line.split(",")[1]
        return line + (',"P"' if pending else ',"S"') * line.startswith('"SB"')

    found = read("\n".join(map(with_status, REPORT.splitlines())))
    assert [line.place for line in found.lines] == ["line 8", "line 9", "line 10"]
    assert found.others == 4


def test_a_payout_that_somebody_sent_here_is_none_of_ours() -> None:
    found = read(REPORT.replace('"DR",1200', '"CR",1200'))
    assert [line.place for line in found.lines] == ["line 6", "line 6", "line 9", "line 10"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"FF",7\n', "", r"no file footer \(FF\) at the end; the file is not whole"),
        ('"SC",7', '"SC",8', "line 13: the section says '8' rows and has 7"),
        ('"Custom Field"', '"Custom"', "line 4: no column 'Custom Field'"),
        (',"T0001",', ',"T0001","extra",', "line 6: '3206' is no currency"),
        ('"DR",3206', '"DR",32.06', "line 6: '32.06' is no amount of this report"),
        ('"DR",3206', '"DR","3,206"', "line 6: '3,206' is no amount"),
        ('"DR",3206', '"DX",3206', "line 6: 'DX' is neither DR nor CR"),
        ("2026/11/24 08:00:02 +0000", "24/11/2026", "line 6: '24/11/2026' is no time"),
        ('3206,"EUR"', '3206,"EURO"', "line 6: a text of 4 characters is no currency"),
        ('"RH"', '"Date"', "line 1: a row of type a text of 4 characters"),
        ('"CH"', '"CX"', "line 4: a row of type 'CX'"),
    ],
)
def test_what_cannot_be_used_is_one_line(old: str, new: str, told: str) -> None:
    with pytest.raises(StatementUnusable, match=told) as caught:
        read(REPORT.replace(old, new, 1))
    assert "\n" not in str(caught.value)


def test_a_body_before_its_columns() -> None:
    lines = [line for line in REPORT.splitlines() if not line.startswith('"CH"')]
    with pytest.raises(StatementUnusable, match="line 4: a transaction before its column headers"):
        read("\n".join(lines))


def test_a_file_without_a_section() -> None:
    with pytest.raises(StatementUnusable, match="no section"):
        read('"RH",2026/11/25 02:10:00 +0000\n"FF",0\n')
