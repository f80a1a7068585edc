"""Statements: periods, and balances that follow from one another."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import statement as module
from models.ledger import Entry, Posting
from models.money import decimal, grouped
from models.statement import (
    Period,
    PeriodInvalid,
    StatementBroken,
    StatementTooLong,
    company_statement,
    month,
    seller_statement,
    year,
)

PERIOD = Period("p", 100, 200, "UTC")


class Books:
    """Entries of one shard, each told what is behind it."""

    def __init__(self) -> None:
        self.entries: list[tuple[Entry, int]] = []
        self._at: dict[tuple[str, str], int] = {}

    def move(self, at_ms: int, seller: str = "anna", currency: str = "EUR", **moves: int) -> None:
        """``available=5, commissions=-5``: names without a seller's account are the house's."""
        postings = []
        for name, minor in moves.items():
            account = f"{seller}/{name}" if name in module.SELLER_ACCOUNTS else f"/{name}"
            after = self._at.get((account, currency), 0) + minor
            self._at[account, currency] = after
            postings.append(Posting(account, currency, minor, after))
        number = len(self.entries) + 1
        entry = Entry(3, number, "sale.completed", f"e{number}", seller, at_ms, tuple(postings))
        self.entries.append((entry, at_ms))


def ms(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1000


class TestPeriod:
    def test_a_month_of_utc(self) -> None:
        assert month("2026-10")[:3] == ("2026-10", ms(2026, 10, 1), ms(2026, 11, 1))

    def test_a_month_of_a_zone_with_a_change_of_the_clocks(self) -> None:
        found = month("2026-10", "Europe/Berlin")
        assert (found.since_ms, found.until_ms) == (ms(2026, 9, 30, 22), ms(2026, 10, 31, 23))

    def test_december_ends_with_the_year(self) -> None:
        assert month("2026-12").until_ms == year("2026").until_ms == ms(2027, 1, 1)
        assert year("2026").since_ms == ms(2026, 1, 1)

    def test_months_join(self) -> None:
        for zone in ("UTC", "Europe/Berlin", "Pacific/Apia", "America/Sao_Paulo"):
            ends = [month(f"2026-{n:02}", zone) for n in range(1, 13)]
            assert all(a.until_ms == b.since_ms for a, b in pairwise(ends))
            assert (ends[0].since_ms, ends[-1].until_ms) == year("2026", zone)[1:3]

    @pytest.mark.parametrize(
        "text", ["2026", "2026-00", "2026-13", "2026-1", "26-01", "2026-10-01", "", "２026-10"]
    )
    def test_what_is_no_month(self, text: str) -> None:
        with pytest.raises(PeriodInvalid, match="a month is written like 2026-10"):
            month(text)

    @pytest.mark.parametrize("text", ["26", "2026-10", "0000", "9999", "x"])
    def test_what_is_no_year(self, text: str) -> None:
        with pytest.raises(PeriodInvalid, match="a year is written like 2026"):
            year(text)

    @pytest.mark.parametrize("zone", ["Mars", "Europe", "../etc/passwd", ""])
    def test_what_is_no_zone(self, zone: str) -> None:
        with pytest.raises(PeriodInvalid, match="no time zone"):
            month("2026-10", zone)


class TestSeller:
    def test_opening_movements_closing(self) -> None:
        books = Books()
        books.move(99, available=500, commissions=-500)
        books.move(100, available=-500, in_flight=500)
        books.move(199, in_flight=-500, **{"clearing:paypal": 480, "fees": 20})
        books.move(200, available=7, commissions=-7)
        found = seller_statement("anna", PERIOD, books.entries)
        assert found is not None
        assert found.opening == {"EUR": {"available": 500}}
        assert [movement.seq for movement in found.movements] == [2, 3]
        assert found.closing == {"EUR": {"available": 0, "in_flight": 0}}
        assert found.accounts("EUR") == ["available", "in_flight"]

    def test_currencies_are_apart(self) -> None:
        books = Books()
        books.move(50, available=5, commissions=-5)
        books.move(150, currency="JPY", available=700, commissions=-700)
        found = seller_statement("anna", PERIOD, books.entries)
        assert found is not None
        assert found.currencies() == ["EUR", "JPY"]
        assert found.closing == {"EUR": {"available": 5}, "JPY": {"available": 700}}

    def test_a_seller_that_comes_later_has_an_empty_one(self) -> None:
        books = Books()
        books.move(300, available=5, commissions=-5)
        found = seller_statement("anna", PERIOD, books.entries)
        assert found is not None
        assert (found.opening, found.movements, found.closing) == ({}, [], {})

    def test_a_seller_that_nobody_knows_has_none(self) -> None:
        assert seller_statement("anna", PERIOD, []) is None

    @pytest.mark.parametrize("place", [0, 1])
    def test_a_journal_that_contradicts_itself_makes_none(self, place: int) -> None:
        books = Books()
        books.move(50, available=5, commissions=-5)
        books.move(150, available=5, commissions=-5)
        entry, at_ms = books.entries[place]
        wrong = entry.postings[0]._replace(minor=6)
        books.entries[place] = (Entry(3, 9, "sale.completed", "e", "anna", 1, (wrong,)), at_ms)
        with pytest.raises(StatementBroken, match="contradicts itself at shard 3 seq 9"):
            seller_statement("anna", PERIOD, books.entries)

    def test_a_movement_that_is_left_out_makes_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        books = Books()
        books.move(150, available=5, commissions=-5)
        monkeypatch.setattr(module, "movement_of", lambda entry, at_ms: None)
        with pytest.raises(StatementBroken, match="do not make the closing"):
            seller_statement("anna", PERIOD, books.entries)

    def test_too_many_movements_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MOVEMENTS_MAX", 2)
        books = Books()
        for _ in range(3):
            books.move(150, available=1, commissions=-1)
        with pytest.raises(StatementTooLong, match="more than 2 movements of anna in p"):
            seller_statement("anna", PERIOD, books.entries)

    @given(
        st.lists(st.tuples(st.integers(0, 400), st.integers(-50, 50)), max_size=30),
        st.lists(st.integers(0, 400), min_size=3, max_size=3).map(sorted),
    )
    def test_one_period_closes_where_the_next_opens(
        self, moves: list[tuple[int, int]], ends: list[int]
    ) -> None:
        books = Books()
        for at_ms, minor in sorted(moves):
            books.move(at_ms, available=minor, held=-minor)
        first, second, both = (
            seller_statement("anna", Period("p", since, until, "UTC"), books.entries)
            for since, until in ((ends[0], ends[1]), (ends[1], ends[2]), (ends[0], ends[2]))
        )
        if first and second and both:
            assert first.closing == second.opening
            assert (first.opening, second.closing) == (both.opening, both.closing)
            assert first.movements + second.movements == both.movements


class TestCompany:
    def books(self) -> Books:
        books = Books()
        books.move(50, available=500, commissions=-500)
        books.move(150, "bert", available=30, commissions=-30)
        books.move(150, available=-500, in_flight=500)
        books.move(150, in_flight=-500, **{"clearing:paypal": 480, "fees": 20})
        books.move(250, available=1, commissions=-1)
        return books

    def test_accounts_by_kind(self) -> None:
        found = company_statement(PERIOD, self.books().entries)
        lines = {line.account: line for line in found.of("EUR")}
        assert list(lines) == [
            *("/clearing:paypal", "/commissions", "/fees", "sellers:available"),
            "sellers:in_flight",
        ]
        commissions = lines["/commissions"]
        assert (commissions.opening_minor, commissions.closing_minor) == (-500, -530)
        assert commissions.totals() == [("sale.completed", 1, -30)]
        assert lines["sellers:in_flight"].totals() == [("sale.completed", 2, 0)]
        assert sum(line.closing_minor for line in lines.values()) == 0

    def test_accounts_that_do_not_sum_to_zero_make_none(self) -> None:
        books = Books()
        books.move(150, available=5, commissions=-4)
        with pytest.raises(StatementBroken, match="sum to 1 and not to zero"):
            company_statement(PERIOD, books.entries)

    def test_a_journal_that_contradicts_itself_makes_none(self) -> None:
        entries = self.books().entries
        with pytest.raises(StatementBroken, match="contradicts itself"):
            company_statement(PERIOD, entries[1:])


@pytest.mark.parametrize(
    ("minor", "currency", "people", "machine"),
    [
        (-123456, "EUR", "-1,234.56", "-1234.56"),
        (5, "EUR", "0.05", "0.05"),
        (1234567, "JPY", "1,234,567", "1234567"),
        (1, "BHD", "0.001", "0.001"),
        (0, "EUR", "0.00", "0.00"),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(
    minor: int, currency: str, people: str, machine: str
) -> None:
    assert (grouped(minor, currency), decimal(minor, currency)) == (people, machine)
