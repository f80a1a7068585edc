"""Money: exact integers, half to even, nothing lost in a split."""

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.money import (
    BALANCE_MAX,
    MINOR_MAX,
    exponent,
    is_currency,
    ratio,
    share,
    split,
    text,
)

amounts = st.integers(0, MINOR_MAX)


@pytest.mark.parametrize(
    ("code", "places"),
    [("EUR", 2), ("USD", 2), ("JPY", 0), ("BHD", 3), ("KWD", 3), ("CLP", 0), ("ISK", 0)],
)
def test_exponents_are_those_of_iso_4217(code: str, places: int) -> None:
    assert exponent(code) == places


@pytest.mark.parametrize(
    "code",
    [
        "",
        "eur",
        "EU",
        "EURO",
        "ZZZ",
        "XXX",
        "XTS",
        "XAU",
        "CLF",
        "UYW",
        "CHE",
        "978",
        " EUR",
        "Euro",
    ],
)
def test_what_one_cannot_pay_in_is_no_currency(code: str) -> None:
    assert not is_currency(code)
    with pytest.raises(KeyError):
        exponent(code)


@pytest.mark.parametrize(
    ("amount", "rate_bp", "expected"),
    [
        (10_000, 2500, 2500),
        (1, 5000, 0),  # 0.5 → even
        (3, 5000, 2),  # 1.5 → even
        (5, 5000, 2),  # 2.5 → even
        (7, 5000, 4),  # 3.5 → even
        (1, 5001, 1),
        (1, 4999, 0),
        (0, 10_000, 0),
        (MINOR_MAX, 10_000, MINOR_MAX),
        (999_999_999_999, 1, 100_000_000),
    ],
)
def test_share_rounds_half_to_even(amount: int, rate_bp: int, expected: int) -> None:
    assert share(amount, rate_bp) == expected


@given(amounts, st.integers(0, 10_000))
def test_share_equals_decimal_arithmetic(amount: int, rate_bp: int) -> None:
    exact = (Decimal(amount) * rate_bp / 10_000).quantize(Decimal(1), ROUND_HALF_EVEN)
    assert share(amount, rate_bp) == int(exact)


@given(amounts, st.integers(0, 10**15), st.integers(1, 10**15))
def test_ratio_is_the_nearest_integer(amount: int, numerator: int, denominator: int) -> None:
    exact = Fraction(amount * numerator, denominator)
    assert ratio(amount, numerator, denominator) == round(exact)


@pytest.mark.parametrize(("amount", "rate"), [(-1, 100), (100, -1)])
def test_share_refuses_what_is_negative(amount: int, rate: int) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        share(amount, rate)


@given(amounts, st.lists(st.integers(0, 10**6), min_size=1, max_size=12))
def test_split_loses_nothing_and_is_fair(amount: int, weights: list[int]) -> None:
    if not sum(weights):
        weights[0] = 1
    parts = split(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert abs(Fraction(amount * weight, sum(weights)) - part) < 1


def test_split_gives_the_rest_to_the_largest_remainders_first_come_on_a_tie() -> None:
    assert split(100, [1, 1, 1]) == [34, 33, 33]
    assert split(10, [1, 5, 4]) == [1, 5, 4]
    assert split(7, [1, 2]) == [2, 5]


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [1, -1], [-1, 2]])
def test_split_refuses_weights_that_share_nothing(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        split(10, weights)


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (-1234, "EUR", "-12.34 EUR"),
        (5, "EUR", "0.05 EUR"),
        (-5, "EUR", "-0.05 EUR"),
        (0, "EUR", "0.00 EUR"),
        (1234567, "JPY", "1,234,567 JPY"),
        (1234567, "BHD", "1,234.567 BHD"),
        (7, "BHD", "0.007 BHD"),
    ],
)
def test_text_for_people(minor: int, currency: str, shown: str) -> None:
    assert text(minor, currency) == shown


def test_balances_are_exact_in_lua() -> None:
    # Lua's numbers in Redis are doubles: exact up to 2**53.
    assert int(float(BALANCE_MAX)) == BALANCE_MAX
    assert int(float(BALANCE_MAX + 2)) != BALANCE_MAX + 2
    assert MINOR_MAX * 1_000 < BALANCE_MAX
