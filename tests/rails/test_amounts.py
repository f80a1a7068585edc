"""Amounts of every provider, there and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.money import exponent
from rails.amounts import (
    PLACES,
    AmountInvalid,
    amount_text,
    json_with_amount,
    minor_of_number,
    minor_of_text,
    places,
    step,
    value_of,
)
from rails.registry import PROVIDERS

CARRIED = [
    (name, currency)
    for name, one in PROVIDERS.items()
    for currency in sorted(one.capabilities.currencies)
]


@pytest.mark.parametrize(
    ("provider", "amount_minor", "currency", "text", "value"),
    [
        ("paypal", 1, "EUR", "0.01", 1),
        ("paypal", 99, "USD", "0.99", 99),
        ("paypal", 100, "EUR", "1.00", 100),
        ("paypal", 1050, "EUR", "10.50", 1050),
        ("paypal", 10_000, "JPY", "10000", 10_000),
        ("paypal", 1, "JPY", "1", 1),
        ("paypal", 100, "HUF", "1", 1),
        ("paypal", 1_000_000, "HUF", "10000", 10_000),
        ("paypal", 500, "TWD", "5", 5),
        ("paypal", 10**12, "USD", "10000000000.00", 10**12),
        ("adyen", 100, "CLP", "100.00", 10_000),
        ("adyen", 100, "ISK", "100.00", 10_000),
        ("adyen", 100, "IDR", "1", 1),
        ("adyen", 1005, "KWD", "1.005", 1005),
        ("visa", 1050, "KWD", "1.05", 105),
        ("visa", 7, "JPY", "7", 7),
        ("another", 1050, "EUR", "10.50", 1050),
    ],
)
def test_what_a_provider_is_sent(
    provider: str, amount_minor: int, currency: str, text: str, value: int
) -> None:
    assert amount_text(provider, amount_minor, currency) == text
    assert value_of(provider, amount_minor, currency) == value
    assert minor_of_text(text, currency) == amount_minor
    # A provider answers with a JSON number, read as an integer or, with a fraction, as its text.
    number = json.loads(json_with_amount({}, text), parse_float=str)["amount"]
    assert minor_of_number(number, currency) == amount_minor


@pytest.mark.parametrize(
    ("provider", "amount_minor", "currency"),
    [
        ("paypal", 0, "EUR"),
        ("paypal", -1, "EUR"),
        ("paypal", 101, "HUF"),
        ("paypal", 99, "TWD"),
        ("paypal", -100, "HUF"),
        ("adyen", 150, "IDR"),
        ("visa", 1005, "KWD"),
    ],
)
def test_what_cannot_be_written(provider: str, amount_minor: int, currency: str) -> None:
    with pytest.raises(AmountInvalid):
        amount_text(provider, amount_minor, currency)
    with pytest.raises(AmountInvalid):
        value_of(provider, amount_minor, currency)


@given(st.integers(1, 10**12), st.sampled_from(CARRIED))
def test_there_and_back(amount_minor: int, carried: tuple[str, str]) -> None:
    provider, currency = carried
    amount_minor -= amount_minor % step(provider, currency)
    if amount_minor:
        text = amount_text(provider, amount_minor, currency)
        assert minor_of_text(text, currency) == amount_minor


def test_what_is_carried_says_so_before_it_is_written() -> None:
    for provider, currency in CARRIED:
        capabilities = PROVIDERS[provider].capabilities
        assert capabilities.amount_minor_step.get(currency, 1) == step(provider, currency)


def test_every_row_differs_from_iso_4217() -> None:
    same = {row for row, own in PLACES.items() if own == exponent(row[1])}
    # That PayPal takes no decimals of JPY is said all the same.
    assert same == {("paypal", "JPY")}


@pytest.mark.parametrize(
    "text",
    [None, 10.5, 1050, "", "1e3", "-1", "+1", " 1", "1,00", "1.005", "NaN", "1" * 40, "٣"],
)
def test_what_is_no_amount(text: object) -> None:
    assert minor_of_text(text, "EUR") is None


@pytest.mark.parametrize(
    ("number", "amount_minor"),
    [
        (10, 1000),
        ("10.5", 1050),
        ("10.500", 1050),
        ("1.05E1", 1050),
        ("1E+3", 100_000),
        ("105e-1", 1050),
        (True, None),
        (-1, None),
        (10.5, None),
        ("1.005", None),
        ("1e99", None),
        ("1e-99", None),
        ("NaN", None),
        ("", None),
        (None, None),
    ],
)
def test_numbers(number: object, amount_minor: int | None) -> None:
    assert minor_of_number(number, "EUR") == amount_minor


def test_the_same_amount_written_otherwise() -> None:
    assert {minor_of_text(text, "EUR") for text in ("10.5", "10.50", "10.500")} == {1050}


def test_of_no_currency() -> None:
    assert minor_of_text("1", "XXX") is None
    with pytest.raises(KeyError):
        places("paypal", "XXX")


def test_a_number_is_written_as_it_stands() -> None:
    assert json_with_amount({"a": "é"}, "10.50") == b'{"amount":10.50,"a":"\\u00e9"}'
    assert json_with_amount({}, "7") == b'{"amount":7}'
