"""Sealed destinations: only the right seller's opens, and only unchanged."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rails.destination import (
    PLAINTEXT_BYTES_MAX,
    KeysInvalid,
    KeyUnknown,
    Seal,
    SealBroken,
    SealError,
)

KEY_A = bytes(range(32))
KEY_B = bytes(range(100, 132))
SEAL = Seal({"a": KEY_A})


@given(st.text(min_size=1, max_size=64), st.text(min_size=1, max_size=200))
def test_opens_what_it_sealed(seller_id: str, plaintext: str) -> None:
    try:
        sealed = SEAL.seal(seller_id, plaintext)
    except SealError:
        assert any("\ud800" <= char <= "\udfff" for char in seller_id + plaintext)
        return
    assert SEAL.open(seller_id, sealed) == plaintext
    assert sealed.startswith("v1.a.")


def test_sealing_twice_gives_two_texts() -> None:
    assert SEAL.seal("s", "anna@example.com") != SEAL.seal("s", "anna@example.com")


def test_another_sellers_does_not_open() -> None:
    sealed = SEAL.seal("s-1", "anna@example.com")
    with pytest.raises(SealBroken):
        SEAL.open("s-2", sealed)


def test_every_changed_character_is_noticed() -> None:
    sealed = SEAL.seal("s-1", "anna@example.com")
    start = len("v1.a.")
    for at in range(start, len(sealed) - 1):
        other = "A" if sealed[at] != "A" else "B"
        with pytest.raises(SealBroken):
            SEAL.open("s-1", sealed[:at] + other + sealed[at + 1 :])


@pytest.mark.parametrize(
    "sealed",
    [
        "",
        "anna@example.com",
        "v1.a",
        "v2.a.AAAA",
        "v1.a.",
        "v1.a.AAAA",
        "v1.a.!!!",
        "v1.a.é",
        "v1.a." + "A" * 5000,
        "v1..AAAA",
        "v1.a.AAAA.AAAA",
    ],
)
def test_what_is_no_sealed_text(sealed: str) -> None:
    with pytest.raises(SealBroken):
        SEAL.open("s-1", sealed)


def test_rotation_seals_with_the_first_key_and_opens_with_all() -> None:
    old = SEAL.seal("s-1", "anna@example.com")
    both = Seal({"b": KEY_B, "a": KEY_A})
    assert both.open("s-1", old) == "anna@example.com"
    new = both.seal("s-1", "anna@example.com")
    assert new.startswith("v1.b.")
    with pytest.raises(KeyUnknown) as caught:
        SEAL.open("s-1", new)
    assert caught.value.key_id == "b"


def test_the_same_key_under_another_id_is_another_key() -> None:
    with pytest.raises(KeyUnknown):
        Seal({"b": KEY_A}).open("s-1", SEAL.seal("s-1", "x"))


def test_parse() -> None:
    one, two = base64.b64encode(KEY_A).decode(), base64.urlsafe_b64encode(KEY_B).decode()
    seal = Seal.parse(f" b:{two} , a:{one},")
    assert seal.open("s", SEAL.seal("s", "x")) == "x"
    assert seal.seal("s", "x").startswith("v1.b.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "a",
        "a:",
        "a:%%%",
        "a:c2hvcnQ=",
        "a b:" + base64.b64encode(KEY_A).decode(),
        f"a:{base64.b64encode(KEY_A).decode()},a:{base64.b64encode(KEY_B).decode()}",
    ],
)
def test_keys_that_cannot_be_used(text: str) -> None:
    with pytest.raises(KeysInvalid) as caught:
        Seal.parse(text)
    for secret in ("c2hvcnQ", base64.b64encode(KEY_A).decode()[:8]):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("plaintext", "fine"),
    [("", False), ("x" * PLAINTEXT_BYTES_MAX, True), ("x" * (PLAINTEXT_BYTES_MAX + 1), False)],
)
def test_size_of_a_destination(plaintext: str, fine: bool) -> None:
    if fine:
        assert SEAL.open("s", SEAL.seal("s", plaintext)) == plaintext
    else:
        with pytest.raises(SealError):
            SEAL.seal("s", plaintext)


def test_nothing_secret_is_shown() -> None:
    assert repr(SEAL) == "Seal(keys=['a'])"
    with pytest.raises(SealBroken) as caught:
        SEAL.open("s-2", SEAL.seal("s-1", "anna@example.com"))
    assert "anna" not in str(caught.value)
    assert caught.value.__cause__ is None
