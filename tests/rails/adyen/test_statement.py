"""Adyen's Balance Platform Accounting Report."""

from __future__ import annotations

import io

import pytest

from rails.adyen.statement import read_adyen
from rails.statement import LineKind, Statement, StatementUnusable
from tests.rails.statements import text

REPORT = text("adyen-accounting.csv")
PAYOUT = "0a1b2c3d-0000-5000-8000-000000000001"


def read(report: str = REPORT) -> Statement:
    return read_adyen(io.BytesIO(report.encode()))


def test_only_what_moved_money_to_others_and_back() -> None:
    found = read()
    assert [(line.place, line.kind, line.currency, line.amount_minor) for line in found.lines] == [
        ("line 4", LineKind.PAYOUT, "EUR", -3_206),
        ("line 5", LineKind.RETURN, "EUR", 3_206),
        ("line 6", LineKind.PAYOUT, "USD", -500),
        ("line 7", LineKind.FEE, "EUR", -10),
    ]
    assert found.others == 5
    assert (found.since_ms, found.until_ms) == (None, None)


def test_ids_and_references() -> None:
    payout, back, card, _ = read().lines
    assert (payout.payout_id, payout.references) == (PAYOUT, ("EVAA1", "3JY1AAAAAAAAAAAA"))
    assert (back.payout_id, back.references) == (None, ("EVAA2", "3JY1AAAAAAAAAAAA"))
    assert card.payout_id == PAYOUT[:-1] + "2"


def test_times_are_in_the_zone_that_is_named() -> None:
    winter, _, summer, _ = read().lines
    assert winter.at_ms == 1795507201000
    assert summer.at_ms == 1782889200000


def test_tabs_divide_as_well() -> None:
    assert read(REPORT.replace(",", "\t")) == read()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("Balance (PC)", "Balance", r"line 1: no column 'Balance \(PC\)'"),
        (",32.06,-32.06,0a", ',32.06,"-3,206.00",0a', "line 4: '-3,206.00' is no plain decimal"),
        (",32.06,-32.06,0a", ",32.06,-32.060,0a", "line 4: '-32.060' has 3 decimal places"),
        ("2026-11-24 09:00:01,CET", "2026-11-24 09:00:01,XYZ", "line 4: time zone 'XYZ'"),
        ("2026-11-24 09:00:01", "24.11.2026", "line 4: "),
        ("EUR,0,32.06", "EURO,0,32.06", "line 4: a text of 4 characters is no currency"),
        (REPORT, "", "the file is empty"),
        (",,,,,,\nCompany,AH1,BA1,3JY1B", "\nCompany,AH1,BA1,3JY1B", "line 5: 21 columns"),
    ],
)
def test_what_cannot_be_used_is_one_line(old: str, new: str, told: str) -> None:
    assert old in REPORT
    with pytest.raises(StatementUnusable, match=told) as caught:
        read(REPORT.replace(old, new, 1))
    assert "\n" not in str(caught.value)
