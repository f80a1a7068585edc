"""Cards behind a provider's token: what is one, and what is none."""

import json

import pytest

from rails.accounts import DestinationInvalid
from rails.instruments import read_instrument


def instrument(**changes: object) -> str:
    whole = {"kind": "marqeta_card", "token": "card-1", "expires": "03/2027"}
    return json.dumps({**whole, **changes})


def test_what_it_says() -> None:
    found = read_instrument(instrument())
    assert (found.kind, found.token, found.expires) == ("marqeta_card", "card-1", "03/2027")
    assert "card-1" not in repr(found)


@pytest.mark.parametrize(
    ("destination", "refusal"),
    [
        (instrument(token="x" * 36), None),
        (instrument(token="7c1d8a52-55f7-4f43-8a5a-4a3a6d3d8a11"), None),
        (instrument(token="x" * 37), "card_token_invalid"),
        (instrument(token=""), "card_token_invalid"),
        (instrument(token="../cards"), "card_token_invalid"),
        (instrument(token="card-1\n"), "card_token_invalid"),
        (instrument(expires="13/2027"), "card_expiry_invalid"),
        (instrument(expires="0327"), "card_expiry_invalid"),
        (instrument(expires=""), "card_expiry_invalid"),
        (instrument(expires=None), "destination_invalid"),
        (instrument(token=7), "destination_invalid"),
        (instrument(holder="Anna"), "destination_invalid"),
        (instrument(kind="card"), "destination_invalid"),
        (instrument(kind="another_card"), "destination_invalid"),
        ('{"kind": "marqeta_card", "token": "card-1"}', "destination_invalid"),
        ("card-1", "destination_invalid"),
        ("", "destination_invalid"),
        ("[]", "destination_invalid"),
        ("[" * 500, "destination_invalid"),
    ],
)
def test_what_is_refused(destination: str, refusal: str | None) -> None:
    if refusal is None:
        read_instrument(destination)
        return
    with pytest.raises(DestinationInvalid, match=f"^{refusal}$"):
        read_instrument(destination)
