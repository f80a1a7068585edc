"""The sandbox's own statement: written from its books, and read back."""

from __future__ import annotations

import io

import pytest

from rails.sandbox.books import Books, Entry, Plan
from rails.sandbox.statement import read_sandbox, written
from rails.statement import Line, LineKind, StatementUnusable

PAYOUT = "0a1b2c3d-0000-5000-8000-000000000001"
AT_MS = 1_795_507_200_000
SETTLES: Plan = ((0, 0, "PENDING"), (1000, 0, "SUCCESS"))
RETURNS: Plan = (*SETTLES, (2000, 0, "RETURNED"))


def entry(reference: str, plan: Plan = SETTLES, *, rail: str = "paypal", minor: int = 3_206,
          currency: str = "EUR", item: str = PAYOUT) -> Entry:  # fmt: skip
    return Entry(
        rail, reference, item, item, currency, minor, "anna@example.com", plan, "", AT_MS, 5_000
    )


def statement(*entries: Entry, rail: str = "paypal", now_ms: int = AT_MS + 60_000) -> str:
    books = Books()
    for each in entries:
        books.add(each, guarded=False)
    return "".join(written(books.movements(rail, now_ms)))


def read(text: str) -> tuple[Line, ...]:
    return read_sandbox(io.BytesIO(text.encode())).lines


def test_a_payout_that_left() -> None:
    [line] = read(statement(entry("REF1")))
    assert line == Line(
        "line 2", LineKind.PAYOUT, AT_MS + 5_000, "EUR", -3_206, PAYOUT,
        ("REF1-1", "REF1", PAYOUT),
    )  # fmt: skip


def test_one_that_came_back() -> None:
    out, back = read(statement(entry("REF1", RETURNS)))
    assert (out.amount_minor, back.amount_minor) == (-3_206, 3_206)
    assert (back.kind, back.at_ms) == (LineKind.RETURN, AT_MS + 10_000)
    assert back.references[:2] == ("REF1-2", "REF1")


def test_what_has_not_moved_is_not_on_it() -> None:
    assert read(statement(entry("REF1"), now_ms=AT_MS + 4_999)) == ()
    assert read(statement(entry("REF1", ((0, 0, "PENDING"), (1000, 0, "FAILED"))))) == ()


def test_each_rail_has_its_own() -> None:
    entries = entry("REF1"), entry("REF2", rail="adyen")
    assert [line.references[1] for line in read(statement(*entries, rail="adyen"))] == ["REF2"]


def test_an_attempt_is_of_its_payout() -> None:
    assert read(statement(entry("REF1", item=PAYOUT + ".1")))[0].payout_id == PAYOUT


@pytest.mark.parametrize(
    ("currency", "minor", "text"), [("EUR", 5, "-0.05"), ("JPY", 500, "-500"), ("BHD", 1, "-0.001")]
)
def test_amounts_have_the_currencys_decimals(currency: str, minor: int, text: str) -> None:
    found = statement(entry("REF1", currency=currency, minor=minor))
    assert found.splitlines()[1].endswith(f",{currency},{text}")
    assert read(found)[0].amount_minor == -minor


def test_nobody_is_named() -> None:
    assert "anna" not in statement(entry("REF1"))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("attempt_id", "attempt", "line 1: no column 'attempt_id'"),
        (
            ",payout,",
            ",payment,",
            "line 2: a text of 7 characters is no kind of line",
        ),
        ("-32.06", "-3,2.06", "line 2: 9 columns instead of 8"),
        ("-32.06", '"-3,206"', "line 2: '-3,206' is no plain decimal amount"),
        (",EUR,-32.06\n", "", "line 2: 6 columns instead of 8"),
        ("2026-11-24T08:00:05Z", "2026-11-24", "line 2: '2026-11-24' is no time"),
    ],
)
def test_what_cannot_be_used_is_one_line(old: str, new: str, told: str) -> None:
    text = statement(entry("REF1"))
    assert old in text
    with pytest.raises(StatementUnusable, match=told):
        read(text.replace(old, new))


def test_an_empty_file() -> None:
    with pytest.raises(StatementUnusable, match="the file is empty"):
        read("")
