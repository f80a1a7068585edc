"""Which format a file is in, and several files as one statement."""

from __future__ import annotations

from pathlib import Path

import pytest

from rails.statement import Line, LineKind, Statement, StatementUnusable
from streams.reconcile.formats import FORMATS, format_of, merged, read_statement
from tests.rails.statements import HERE


@pytest.mark.parametrize(
    ("name", "format_"),
    [("camt.xml", "camt"), ("paypal-settlement.csv", "paypal"), ("adyen-accounting.csv", "adyen")],
)
def test_the_format_is_told_from_the_file(name: str, format_: str) -> None:
    path = HERE / name
    assert format_of(path.read_bytes()[:4096]) == format_
    assert format_of(b"\xef\xbb\xbf" + path.read_bytes()[:4096]) == format_
    assert read_statement(path) == read_statement(path, format_)


def test_the_sandboxs_is_told_by_a_column() -> None:
    assert format_of(b"transaction_id,booked_at,kind,rail,reference,attempt_id\n") == "sandbox"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"PK\x03\x04", "a packed file; unpack it first"),
        (b"\x1f\x8b\x08", "a packed file; unpack it first"),
        (b"Date,Time,Gross\n", "no statement that is known; say which of camt, paypal, adyen"),
        (b"%PDF-1.7", "no statement that is known"),
    ],
)
def test_a_file_of_no_format_is_named_with_what_to_do(
    data: bytes, told: str, tmp_path: Path
) -> None:
    (tmp_path / "november.csv").write_bytes(data)
    with pytest.raises(StatementUnusable, match=rf"^november\.csv: {told}"):
        read_statement(tmp_path / "november.csv")


@pytest.mark.parametrize("name", FORMATS)
def test_the_wrong_reader_says_so(name: str) -> None:
    for path in HERE.glob("*.[cx][sm][vl]"):
        if format_of(path.read_bytes()[:4096]) != name:
            with pytest.raises(StatementUnusable, match=path.name):
                read_statement(path, name)


def line(number: int, reference: str, minor: int = -100) -> Line:
    return Line(f"line {number}", LineKind.PAYOUT, 5_000, "EUR", minor, None, (reference,))


class TestMerged:
    def test_one_is_itself(self) -> None:
        one = Statement((line(2, "A"),), 3, 1, 2)
        assert merged([("a.csv", one)]) is one

    def test_a_movement_on_two_statements_is_one(self) -> None:
        first = Statement((line(2, "A"), line(3, "B")), 1, 0, 10)
        second = Statement((line(2, "B"), line(3, "C")), 2, 5, 20)
        found = merged([("a.csv", first), ("b.csv", second)])
        assert [each.place for each in found.lines] == [
            "a.csv line 2",
            "a.csv line 3",
            "b.csv line 3",
        ]
        assert (found.others, found.since_ms, found.until_ms) == (3, 0, 20)

    def test_the_same_line_twice_in_one_statement_stays_twice(self) -> None:
        one = Statement((line(2, "A"), line(3, "A")))
        assert len(merged([("a.csv", one), ("b.csv", Statement(()))]).lines) == 2

    def test_without_every_period_there_is_none(self) -> None:
        found = merged([("a.csv", Statement((), 0, 0, 10)), ("b.csv", Statement(()))])
        assert (found.since_ms, found.until_ms) == (None, None)
