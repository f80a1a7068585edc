"""Terms of a rail: its own limits, its limit of a day, and the fee of a payout."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import ConfigError, load
from models.policy import PayoutPolicy, Terms

GOOD = """\
currencies:
  EUR: {min: 500, max: 500000}
  JPY: {min: 100, max: 900}
fee_bearer: seller
rails:
  bank:
    currencies: [EUR, JPY]
    limits:
      EUR: {min: 1000, max: 2000}
    day_max: {EUR: 6000}
  wide:
    currencies: [EUR]
    limits:
      EUR: {min: 1, max: 900000}
fraud:
  hold_score: 0.35
"""


def terms(currency: str, rail: str, old: str = "", new: str = "") -> Terms:
    assert old in GOOD
    text = GOOD.replace(old, new, 1) if old else GOOD
    found = load(text, PayoutPolicy, "policy.yaml").terms(currency, rail)
    assert found is not None
    return found


def problem(old: str, new: str) -> str:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load(GOOD.replace(old, new, 1), PayoutPolicy, "policy.yaml")
    (only,) = caught.value.problems
    return str(only)


class TestLimits:
    def test_a_rails_own_are_narrower(self) -> None:
        found = terms("EUR", "bank")
        assert (found.min_minor, found.max_minor) == (1_000, 2_000)

    def test_a_rails_own_widen_nothing(self) -> None:
        found = terms("EUR", "wide")
        assert (found.min_minor, found.max_minor) == (500, 500_000)

    def test_a_currency_without_has_the_policys(self) -> None:
        found = terms("JPY", "bank")
        assert (found.min_minor, found.max_minor) == (100, 900)

    def test_terms_name_their_rail_and_currency(self) -> None:
        found = terms("JPY", "bank")
        assert (found.rail, found.currency) == ("bank", "JPY")

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("{min: 1000,", "{min: 2001,", "9: rails.bank.limits.EUR.min: the minimum 2001 is"),
            ("{min: 1000,", "{min: 0,", "9: rails.bank.limits.EUR.min: must be more than 0"),
            ("      EUR: {min: 1000", "      USD: {min: 1000", "9: rails.bank.limits.USD: USD is"),
            ("{EUR: 6000}", "{EUR: 0}", "10: rails.bank.day_max.EUR: must be more than 0"),
            ("{EUR: 6000}", "{EUR: 60.5}", "10: rails.bank.day_max.EUR: write an integer"),
            ("{EUR: 6000}", "{USD: 6000}", "10: rails.bank.day_max.USD: USD is not one of"),
        ],
    )
    def test_refused_with_the_line(self, old: str, new: str, expected: str) -> None:
        assert problem(old, new).startswith("policy.yaml:" + expected)

    @pytest.mark.parametrize("limits", ["{min: 1, max: 499}", "{min: 500001, max: 500002}"])
    def test_those_that_leave_nothing_to_pay_are_refused(self, limits: str) -> None:
        assert "rails.bank.limits.EUR" in problem("{min: 1000, max: 2000}", limits)


class TestDay:
    def test_a_day_has_its_limit_where_there_is_one(self) -> None:
        assert terms("EUR", "bank").day_max_minor == 6_000
        assert terms("JPY", "bank").day_max_minor == 0
        assert terms("EUR", "wide").day_max_minor == 0


def of_fee(fixed: int, bp: int, cap: int) -> Terms:
    return Terms("bank", "EUR", 1, 10**12, fixed, bp, cap, 0)


class TestFee:
    @pytest.mark.parametrize(
        ("fee", "principal", "expected"),
        [
            ((0, 0, 0), 10_000, 0),
            ((10, 0, 0), 10_000, 10),
            ((10, 150, 0), 10_000, 160),
            ((10, 150, 0), 66, 10),  # 0.99 of a cent is none
            ((10, 150, 0), 67, 11),
            ((10, 150, 100), 5_999, 99),
            ((10, 150, 100), 6_000, 100),
            ((10, 150, 100), 6_100, 100),
            ((10, 150, 100), 10**9, 100),
            ((0, 10_000, 0), 123, 123),
            ((10, 150, 0), 0, 10),
        ],
    )
    def test_is_a_fixed_part_and_a_share_up_to_a_cap(
        self, fee: tuple[int, int, int], principal: int, expected: int
    ) -> None:
        assert of_fee(*fee).fee(principal) == expected

    @given(
        st.integers(0, 10**6),
        st.integers(0, 10_000),
        st.integers(0, 10**6),
        st.integers(0, 10**12),
        st.integers(0, 10**6),
    )
    def test_grows_with_the_principal_and_is_rounded_down(
        self, fixed: int, bp: int, cap: int, principal: int, more: int
    ) -> None:
        found = of_fee(fixed, bp, cap)
        exact = fixed + Fraction(principal * bp, 10_000)
        exact = min(exact, Fraction(cap)) if cap else exact
        assert 0 <= exact - found.fee(principal) < 1
        assert found.fee(principal) <= found.fee(principal + more)
