"""Accounts and cards: what is no account is refused by name, and nothing of it is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rails.accounts import (
    IBAN_CHARS,
    DestinationInvalid,
    card_invalid,
    iban_invalid,
    read_account,
    routing_invalid,
)


def text(kind: str, holder: str = "Anna Muster", **fields: str) -> str:
    return json.dumps({"kind": kind, "holder": holder, **fields})


# Examples of the SWIFT registry and of the schemes' own documents.
GOOD = {
    text("iban", iban="DE89 3704 0044 0532 0130 00"): ("DE", "iban", "DE89370400440532013000"),
    text("iban", iban="gb29nwbk60161331926819"): ("GB", "iban", "GB29NWBK60161331926819"),
    text("us", routing="011000138", account="123456789"): ("US", "routing", "011000138"),
    text("uk", sort_code="12-34-56", account="12345678"): ("GB", "sort_code", "123456"),
    text("ca", institution="001", transit="12345", account="1234567"): ("CA", "transit", "12345"),
    text("card", number="4111 1111 1111 1111", expires="03/2030"): (None, "expires", "03/2030"),
}


@pytest.mark.parametrize("destination", GOOD)
def test_an_account_is_read(destination: str) -> None:
    country, name, value = GOOD[destination]
    account = read_account(destination)
    assert (account.country, account.fields[name]) == (country, value)
    assert value not in repr(account)
    assert "Muster" not in repr(account)


@pytest.mark.parametrize(
    ("destination", "reason"),
    [
        ("", "destination_invalid"),
        ("anna@example.com", "destination_invalid"),
        ("[]", "destination_invalid"),
        ('{"kind": 5}', "destination_invalid"),
        ("[" * 900, "destination_invalid"),
        ("x" * 5_000, "destination_invalid"),
        (text("sepa", iban="DE89370400440532013000"), "destination_invalid"),
        (text("iban"), "destination_invalid"),
        (text("iban", iban="DE89370400440532013000", bic="X"), "destination_invalid"),
        (text("iban", "", iban="DE89370400440532013000"), "holder_invalid"),
        (text("iban", "A\x00", iban="DE89370400440532013000"), "holder_invalid"),
        (text("iban", "A" * 141, iban="DE89370400440532013000"), "holder_invalid"),
        (text("iban", iban="DE88370400440532013000"), "iban_check_digits_invalid"),
        (text("iban", iban="DE8937040044053201300"), "iban_length_invalid"),
        (text("iban", iban="ZZ89370400440532013000"), "iban_length_invalid"),
        (text("iban", iban="DE"), "iban_invalid"),
        (text("us", routing="011000139", account="123456789"), "routing_check_digit_invalid"),
        (text("us", routing="000000000", account="123456789"), "routing_check_digit_invalid"),
        (text("us", routing="01100013", account="123456789"), "routing_number_invalid"),
        (text("us", routing="011000138", account="12"), "account_number_invalid"),
        (text("uk", sort_code="12345", account="12345678"), "sort_code_invalid"),
        (text("ca", institution="1", transit="12345", account="123456"),
         "institution_number_invalid"),
        (text("card", number="4111111111111112", expires="03/2030"), "card_check_digit_invalid"),
        (text("card", number="41111111111111111111", expires="03/2030"), "card_number_invalid"),
        (text("card", number="4111111111111111", expires="13/2030"), "card_expiry_invalid"),
    ],
)  # fmt: skip
def test_what_is_none_is_refused_by_name(destination: str, reason: str) -> None:
    with pytest.raises(DestinationInvalid) as caught:
        read_account(destination)
    assert str(caught.value) == reason
    assert caught.value.__cause__ is None


@given(st.text(max_size=80) | st.dictionaries(st.text(max_size=8), st.text(max_size=40)).map(str))
def test_rubbish_is_refused_and_nothing_else_happens(destination: str) -> None:
    with pytest.raises(DestinationInvalid):
        read_account(destination)


@given(st.sampled_from(sorted(IBAN_CHARS)), st.data())
def test_every_wrong_digit_of_an_iban_is_noticed(country: str, data: st.DataObject) -> None:
    digits = st.text(
        "0123456789", min_size=IBAN_CHARS[country] - 4, max_size=IBAN_CHARS[country] - 4
    )
    body = data.draw(digits)
    number = int("".join(str(int(char, 36)) for char in body + country + "00"))
    iban = f"{country}{98 - number % 97:02d}{body}"
    assert iban_invalid(iban) is None
    at = data.draw(st.integers(2, len(iban) - 1))
    other = str((int(iban[at]) + data.draw(st.integers(1, 9))) % 10)
    assert iban_invalid(iban[:at] + other + iban[at + 1 :]) == "iban_check_digits_invalid"


@given(st.text("0123456789", min_size=11, max_size=18), st.data())
def test_every_wrong_digit_of_a_card_is_noticed(body: str, data: st.DataObject) -> None:
    good = [d for d in "0123456789" if card_invalid(body + d) is None]
    assert len(good) == 1
    number = body + good[0]
    at = data.draw(st.integers(0, len(number) - 1))
    other = str((int(number[at]) + data.draw(st.integers(1, 9))) % 10)
    assert card_invalid(number[:at] + other + number[at + 1 :]) == "card_check_digit_invalid"


def test_a_routing_number_has_one_check_digit() -> None:
    assert [d for d in "0123456789" if routing_invalid("01100013" + d) is None] == ["8"]
