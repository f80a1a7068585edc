"""Expiry: until when a card is good, also one behind a token."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from rails.expiry import expired, expires_ms


def card(expires: str, number: str = "4111 1111 1111 1111") -> str:
    whole = {"kind": "card", "holder": "Anna Muster", "number": number, "expires": expires}
    return json.dumps(whole)


def instrument(expires: str) -> str:
    return json.dumps({"kind": "marqeta_card", "token": "card-1", "expires": expires})


IBAN = json.dumps({"kind": "iban", "holder": "Anna Muster", "iban": "DE89370400440532013000"})


@pytest.mark.parametrize("kind", [card, instrument])
@pytest.mark.parametrize("expires", ["01/2027", "12/2026", "02/2028", "12/2099"])
def test_it_is_good_to_the_end_of_its_month_wherever_that_ends_last(
    kind: Callable[[str], str], expires: str
) -> None:
    month, year = (int(part) for part in expires.split("/"))
    after = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC) + timedelta(hours=12)
    over_ms = round(after.timestamp() * 1000)
    assert expires_ms(kind(expires)) == over_ms
    assert not expired(kind(expires), over_ms - 1)
    assert expired(kind(expires), over_ms)


def test_a_year_of_cards_is_without_gaps() -> None:
    ends = [
        datetime.fromtimestamp(expires_ms(card(f"{month:02}/{year}")) / 1000, UTC)
        for year in (2027, 2028)
        for month in range(1, 13)
    ]
    assert all(end.day == 1 for end in ends)
    for end, after in pairwise(ends):
        assert timedelta(days=28) <= after - end <= timedelta(days=31)


@pytest.mark.parametrize(
    "destination",
    [
        *("anna@example.com", "", IBAN, IBAN.replace("89", "88"), "{}", "[" * 500),
        *(card("13/2027"), card("03/2027", "4111111111111112"), instrument("13/2027")),
    ],
)
def test_what_is_no_card_never_expires(destination: str) -> None:
    assert expires_ms(destination) == 0
    assert not expired(destination, 10**15)
