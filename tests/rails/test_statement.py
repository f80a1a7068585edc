"""What the readers of statements share: amounts, ids, rows of CSV."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rails import statement
from rails.statement import (
    LINES_MAX,
    Line,
    LineKind,
    Lines,
    StatementUnusable,
    cells_of,
    columns_of,
    minor_of,
    moment_ms,
    payout_in,
    references_of,
    rows_of,
    shown,
)

PAYOUT = "0a1b2c3d-0000-5000-8000-000000000001"


class TestAmounts:
    @pytest.mark.parametrize(
        ("text", "currency", "minor"),
        [
            ("12.34", "EUR", 1_234), ("-12.3", "EUR", -1_230), ("7", "EUR", 700),
            ("0.00", "EUR", 0), ("1200", "JPY", 1_200), ("1.234", "BHD", 1_234),
            ("10000000000.00", "EUR", 10**12),
        ],
    )  # fmt: skip
    def test_a_decimal_is_exact(self, text: str, currency: str, minor: int) -> None:
        assert minor_of(text, currency, "line 2") == minor

    def test_more_than_any_payment(self) -> None:
        with pytest.raises(StatementUnusable, match=r"line 2: .* more than any payment"):
            minor_of("-10000000000.01", "EUR", "line 2")

    @pytest.mark.parametrize(
        "text",
        ["1,234.50", "1.234,50", "12,34", "1 234", "1'234.00", "+1", "--1", "1.", ".5", "", "1e3",
         "NaN", "1_000", "٣", "12.345", "12.340", "1.2.3"],
    )  # fmt: skip
    def test_what_might_mean_something_else_is_refused_with_its_line(self, text: str) -> None:
        with pytest.raises(StatementUnusable, match=r"^line 7: "):
            minor_of(text, "EUR", "line 7")

    @pytest.mark.parametrize("currency", ["", "eur", "XXX", "EURO", "€"])
    def test_what_is_no_currency(self, currency: str) -> None:
        with pytest.raises(StatementUnusable, match=r"line 7: .* is no currency of ISO 4217"):
            minor_of("1.00", currency, "line 7")

    @given(st.integers(-(10**12), 10**12), st.sampled_from(["EUR", "JPY", "BHD"]))
    def test_any_amount_comes_back(self, minor: int, currency: str) -> None:
        places = {"EUR": 2, "JPY": 0, "BHD": 3}[currency]
        digits = str(abs(minor)).rjust(places + 1, "0")
        text = ("-" if minor < 0 else "") + (
            f"{digits[:-places]}.{digits[-places:]}" if places else digits
        )
        assert minor_of(text, currency, "line 1") == minor


class TestIds:
    @pytest.mark.parametrize(
        "text",
        [PAYOUT, PAYOUT.upper(), PAYOUT.replace("-", ""), f" {PAYOUT} ", PAYOUT + ".1",
         PAYOUT.replace("-", "") + ".12"],
    )  # fmt: skip
    def test_a_payout_is_told_by_its_form(self, text: str) -> None:
        assert payout_in(text) == PAYOUT

    @pytest.mark.parametrize(
        "text",
        [None, "", "NOTPROVIDED", "Anna Muster", PAYOUT[:-1], PAYOUT + "0", "x" + PAYOUT,
         PAYOUT.replace("-5", "-4"), PAYOUT + " and a sentence about somebody"],
    )  # fmt: skip
    def test_nothing_else_is(self, text: str | None) -> None:
        assert payout_in(text) is None

    def test_only_references_are_kept_each_once(self) -> None:
        found = references_of("A-1", None, "", "Anna Muster", "a@b.de", "A-1", "x" * 81, "B/2")
        assert found == ("A-1", "B/2")


class TestShown:
    @pytest.mark.parametrize("text", ["EUX", "12,34", "24.11.2026", "2026/11/24 08:00:02 +0000"])
    def test_what_helps_to_find_the_mistake(self, text: str) -> None:
        assert shown(text) == repr(text)

    @pytest.mark.parametrize("text", ["Anna Muster", "a@b.de", "DE89370400440532013000", "Anna"])
    def test_never_what_might_be_a_person(self, text: str) -> None:
        assert shown(text) == f"a text of {len(text)} characters"


class TestRows:
    def rows(self, data: bytes, delimiter: str = ",") -> list[tuple[int, list[str]]]:
        return list(rows_of(io.BytesIO(data), delimiter))

    def test_rows_have_the_lines_they_begin_at(self) -> None:
        found = self.rows(b'\xef\xbb\xbfa,b\r\n\r\n"x\ny",2\r\n3,4\r\n')
        assert found == [(1, ["a", "b"]), (3, ["x\ny", "2"]), (5, ["3", "4"])]

    @pytest.mark.parametrize(
        ("data", "told"),
        [
            (b'a,b\n1,"2\n', "line 2: not CSV: .* is the file whole"),
            (b'a,b\n1,"2"3\n', "line 2: not CSV"),
            (b"a,b\n\xff\xfe\x00", "not UTF-8 text"),
            (b"a," + b"x" * 200_000, "line 1: not CSV: field larger than field limit"),
        ],
    )
    def test_what_is_no_csv(self, data: bytes, told: str) -> None:
        with pytest.raises(StatementUnusable, match=told):
            self.rows(data)

    def test_size_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(statement, "CSV_BYTES_MAX", 10)
        with pytest.raises(StatementUnusable, match="more than 10 bytes; split"):
            self.rows(b"aaaa\nbbbb\ncccc\n")

    def test_columns_are_found_by_name(self) -> None:
        columns = columns_of(["b", "a  c"], ["a c"], "line 1")
        assert cells_of(["1", " 2 "], columns, "line 2") == {"b": "1", "a c": "2"}
        with pytest.raises(StatementUnusable, match="line 1: no column 'd'; is it another report"):
            columns_of(["b"], ["d"], "line 1")
        with pytest.raises(StatementUnusable, match="'d' is there twice"):
            columns_of(["d", "d"], ["d"], "line 1")
        for row in (["1"], ["1", "2", "3"]):
            with pytest.raises(StatementUnusable, match=r"line 2: . columns instead of 2"):
                cells_of(row, columns, "line 2")
        assert cells_of(["1", "2", ""], columns, "line 2")["b"] == "1"

    def test_a_time_needs_its_form(self) -> None:
        assert moment_ms("2026-11-24 00:00:01 +0100", "%Y-%m-%d %H:%M:%S %z", "") == 1795474801000
        with pytest.raises(StatementUnusable, match=r"line 3: '24.11.2026' is no time"):
            moment_ms("24.11.2026", "%Y-%m-%d %H:%M:%S %z", "line 3")

    def test_lines_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert LINES_MAX >= 100_000
        monkeypatch.setattr(statement, "LINES_MAX", 1)
        lines = Lines()
        line = Line("line 2", LineKind.FEE, 0, "EUR", -1)
        lines.add(line)
        with pytest.raises(StatementUnusable, match="more than 1 lines"):
            lines.add(line)
