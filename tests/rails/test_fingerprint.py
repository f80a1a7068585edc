"""Fingerprints: one account has one, however it is written and whoever is said to hold it."""

from __future__ import annotations

import json

import pytest

from rails.accounts import read_account
from rails.addresses import read_address
from rails.fingerprint import FINGERPRINT_CHARS, fingerprint

KEY = b"0123456789abcdef"
IBAN = "DE89370400440532013000"
ETH = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def told(kind: str, **fields: object) -> str:
    return json.dumps({"kind": kind, "holder": "Anna Muster", **fields})


def crypto(address: str, chain: str = "ETH", **fields: object) -> str:
    return told("crypto", address=address, chain=chain, country="DE", hosted=True, **fields)


SAME = {
    "blanks in a number": (
        told("iban", iban=IBAN),
        told("iban", iban="DE89 3704 0044 0532 0130 00"),
    ),
    "another holder": (told("iban", iban=IBAN), told("iban", iban=IBAN, holder="Ben Muster")),
    "a card that was renewed": (
        told("card", number="4111111111111111", expires="12/2030"),
        told("card", number="4111 1111 1111 1111", expires="12/2033"),
    ),
    "a token that was renewed": (
        json.dumps({"kind": "marqeta_card", "token": "card-1", "expires": "12/2030"}),
        json.dumps({"kind": "marqeta_card", "token": "card-1", "expires": "12/2033"}),
    ),
    "an address without check digits": (crypto(ETH), crypto(ETH.lower())),
    "an address on another chain": (crypto(ETH), crypto(ETH, "BASE")),
    "a mail address in capitals": ("anna@example.com", " Anna@Example.com "),
}

APART = {
    "two accounts": (told("iban", iban=IBAN), told("iban", iban="FR1420041010050500013M02606")),
    "one number at two banks": (
        told("us", routing="011000015", account="12345678"),
        told("us", routing="021000021", account="12345678"),
    ),
    "a number in two countries": (
        told("uk", sort_code="200000", account="12345678"),
        told("us", routing="011000015", account="12345678"),
    ),
    "names of a provider's that differ in case": ("user-a", "user-A"),
}


def test_the_accounts_here_are_ones_that_a_rail_reads() -> None:
    for pair in (*SAME.values(), *APART.values()):
        for destination in pair:
            if destination.startswith("{") and '"crypto"' in destination:
                read_address(destination)
            elif destination.startswith("{") and "marqeta" not in destination:
                read_account(destination)


@pytest.mark.parametrize("name", SAME)
def test_one_account_has_one_fingerprint(name: str) -> None:
    one, other = SAME[name]
    assert one != other
    assert fingerprint(one, KEY) == fingerprint(other, KEY)


@pytest.mark.parametrize("name", APART)
def test_two_accounts_have_two(name: str) -> None:
    one, other = APART[name]
    assert fingerprint(one, KEY) != fingerprint(other, KEY)


def test_another_key_makes_another() -> None:
    made = fingerprint("anna@example.com", KEY)
    assert len(made) == FINGERPRINT_CHARS
    assert "anna" not in made
    assert made != fingerprint("anna@example.com", KEY[::-1])


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 65])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="16 to 64"):
        fingerprint("anna@example.com", key)
