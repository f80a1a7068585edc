"""Addresses of blockchains: what can be told wrong without a network is refused by its name."""

import json
from random import Random
from string import ascii_letters, digits

import pytest

from rails.accounts import DestinationInvalid
from rails.addresses import (
    CHAINS,
    CryptoAddress,
    evm_checksummed,
    evm_invalid,
    read_address,
    solana_invalid,
    stellar_invalid,
)

# Published in ERC-55.
CHECKSUMMED = (
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
)
ONE_CASE = (
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
)
# The token program and the mint of USDC, both well known.
SOLANA = (
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
    "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
)
# Published in SEP-23, and the issuer of USDC.
STELLAR = (
    "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ",
    "GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN",
)


def destination(**fields: object) -> str:
    plain = {"kind": "crypto", "chain": "ETH", "address": CHECKSUMMED[0], "country": "DE"}
    return json.dumps({**plain, "holder": "Anna Muster", **fields})


def refusal(text: str) -> str:
    with pytest.raises(DestinationInvalid) as caught:
        read_address(text)
    return str(caught.value)


@pytest.mark.parametrize("address", CHECKSUMMED)
def test_checksums_of_capitals(address: str) -> None:
    assert evm_invalid(address) is None
    assert evm_checksummed(address.lower()) == address
    for other in (address.lower(), "0x" + address[2:].upper()):
        assert evm_invalid(other) is None
    letter = next(at for at, char in enumerate(address) if char in "abcdefABCDEF")
    swapped = address[:letter] + address[letter].swapcase() + address[letter + 1 :]
    assert evm_invalid(swapped) == "address_checksum_invalid"


@pytest.mark.parametrize("address", ONE_CASE)
def test_of_one_case_there_is_no_checksum(address: str) -> None:
    assert evm_invalid(address) is None
    assert evm_checksummed(address) == address


@pytest.mark.parametrize(
    "address",
    [
        *("", "0x", CHECKSUMMED[0][:-1], CHECKSUMMED[0] + "0", CHECKSUMMED[0][2:], SOLANA[0]),
        *("0X" + CHECKSUMMED[0][2:], "0x" + "0" * 40, "0x" + "g" * 40, "0x" + "\u0661" * 40),
    ],
)
def test_what_is_no_address_of_ethereums_kind(address: str) -> None:
    assert evm_invalid(address) == "address_invalid"


@pytest.mark.parametrize("address", SOLANA)
def test_addresses_of_solana(address: str) -> None:
    assert solana_invalid(address) is None
    for other in (address[:-4], address + "1", "1" + address, address[:5] + "0" + address[6:]):
        assert solana_invalid(other) == "address_invalid"


def test_the_program_that_nobody_spends_from() -> None:
    assert solana_invalid("1" * 32) == "address_invalid"
    assert solana_invalid("1" * 31 + "2") is None


@pytest.mark.parametrize("address", STELLAR)
def test_accounts_of_stellar(address: str) -> None:
    assert stellar_invalid(address) is None
    for at in range(1, len(address)):
        other = "A" if address[at] != "A" else "B"
        changed = address[:at] + other + address[at + 1 :]
        assert stellar_invalid(changed) in {"address_checksum_invalid", "address_invalid"}
    assert stellar_invalid("S" + address[1:]) == "address_invalid"
    assert stellar_invalid(address[:-1]) == "address_invalid"


def test_what_is_read() -> None:
    read = read_address(
        destination(chain="XLM", address=STELLAR[0], tag="4711", hosted=True, holder=" A  B ")
    )
    assert read == CryptoAddress("XLM", STELLAR[0], "A B", "DE", "4711", True, False)
    assert read_address(destination()).hosted is None
    assert "Muster" not in repr(read_address(destination()))
    assert CHECKSUMMED[0] not in repr(read_address(destination()))


def test_two_spellings_of_one_address() -> None:
    one, other = (
        read_address(destination(address=text)) for text in (CHECKSUMMED[0], CHECKSUMMED[0].lower())
    )
    assert one.same == other.same
    assert one.address != other.address
    assert read_address(destination(chain="BASE")).same != one.same
    solana = [read_address(destination(chain="SOL", address=text)).same for text in SOLANA]
    assert solana[0] == f"SOL/{SOLANA[0]}/"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"chain": "BTC"}, "chain_not_carried"),
        ({"chain": "eth"}, "chain_not_carried"),
        ({"address": "anna"}, "address_invalid"),
        ({"address": CHECKSUMMED[0].replace("A", "a")}, "address_checksum_invalid"),
        ({"chain": "SOL"}, "address_invalid"),
        ({"holder": ""}, "holder_invalid"),
        ({"holder": "x" * 141}, "holder_invalid"),
        ({"country": "Germany"}, "country_invalid"),
        ({"tag": "4711"}, "address_tag_not_carried"),
        ({"chain": "XLM", "address": STELLAR[0], "hosted": True}, "address_tag_missing"),
        ({"chain": "XLM", "address": STELLAR[0], "tag": "x" * 29}, "address_tag_invalid"),
        ({"chain": "XLM", "address": STELLAR[0], "tag": " x"}, "address_tag_invalid"),
        ({"chain": "XLM", "address": STELLAR[0], "tag": "é"}, "address_tag_invalid"),
        ({"hosted": "true"}, "destination_invalid"),
        ({"hosted": 1}, "destination_invalid"),
        ({"control_proven": None}, "destination_invalid"),
        ({"kind": "iban"}, "destination_invalid"),
        ({"more": "x"}, "destination_invalid"),
        ({"address": 5}, "destination_invalid"),
        ({"holder": "x" * 1_000}, "destination_invalid"),
    ],
)
def test_refusals(fields: dict[str, object], reason: str) -> None:
    assert refusal(destination(**fields)) == reason


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 1_000, '{"kind":"crypto"}'])
def test_what_is_no_destination(text: str) -> None:
    assert refusal(text) == "destination_invalid"


@pytest.mark.parametrize("tag", ["a", "4711", "a b", "x" * 28, "0f" * 32])
def test_memos(tag: str) -> None:
    assert read_address(destination(chain="XLM", address=STELLAR[0], tag=tag)).tag == tag


def test_garbage_is_refused_and_never_raises_anything_else() -> None:
    random = Random(1)
    letters = ascii_letters + digits + "0x-_ é\u0663"
    for _ in range(3_000):
        text = "".join(random.choices(letters, k=random.randrange(64)))
        assert refusal(destination(chain=random.choice(list(CHAINS)), address=text))
