"""Blockchain addresses as payout destinations: one JSON object, opened only to be paid.

``{"kind": "crypto", "chain": "ETH", "address": "0x…", "holder": "Anna Muster", "country": "DE"}``,
and where they apply ``tag`` (a Stellar memo), ``hosted`` (true: at an exchange or another provider;
false: the holder's own wallet) and ``control_proven`` (true: the holder has shown that such a
wallet is hers). What is checked here is what needs no network: forms and checksums. A payment to a
wrong address is lost for good.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from rails.accounts import DestinationInvalid, read_holder, read_object
from rails.keccak import keccak_256

TAG_BYTES_MAX = 28
"""Longest text memo of Stellar (CAP-3: 28 bytes). A hash memo is 64 hexadecimal digits."""

_EVM = re.compile(r"0x[0-9A-Fa-f]{40}")
_BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
_BASE58_DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_STELLAR = re.compile(r"G[A-Z2-7]{55}")
_STELLAR_VERSION = 6 << 3
"""The version byte of an account's key, the letter G."""

_HASH_TAG = re.compile(r"[0-9a-f]{64}")
_TEXT_TAG = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_COUNTRY = re.compile(r"[A-Z]{2}")
_FIELDS: Mapping[str, type] = {
    "kind": str,
    "chain": str,
    "address": str,
    "holder": str,
    "country": str,
    "tag": str,
    "hosted": bool,
    "control_proven": bool,
}
_NEEDED = frozenset({"kind", "chain", "address", "holder", "country"})


@dataclass(frozen=True, slots=True)
class CryptoAddress:
    """Where tokens go. ``hosted`` is None where nobody has said whose keys they are.

    ``address`` is as it was given: its capitals are its checksum.
    """

    chain: str
    address: str = field(repr=False)
    holder: str = field(repr=False)
    country: str
    tag: str = field(default="", repr=False)
    hosted: bool | None = None
    control_proven: bool = False

    @property
    def same(self) -> str:
        """What is equal of two spellings of one address: those of Ethereum differ in capitals."""
        address = self.address.lower() if CHAINS[self.chain] is evm_invalid else self.address
        return f"{self.chain}/{address}/{self.tag}"


def evm_checksummed(address: str) -> str:
    """An address of Ethereum's kind, its letters in the case that ERC-55 makes their checksum."""
    digits = address[2:].lower()
    digest = keccak_256(digits.encode()).hex()
    capitals = (
        char.upper() if int(nibble, 16) >= 8 else char
        for char, nibble in zip(digits, digest, strict=False)
    )
    return "0x" + "".join(capitals)


def evm_invalid(address: str) -> str | None:
    """Why a text is no address of Ethereum's kind (ERC-55); None if it is one.

    Of one case alone it has no checksum, and passes. The zero address belongs to nobody.
    """
    if not _EVM.fullmatch(address) or not int(address, 16):
        return "address_invalid"
    digits = address[2:]
    if digits in {digits.lower(), digits.upper()}:
        return None
    return None if evm_checksummed(address) == address else "address_checksum_invalid"


def solana_invalid(address: str) -> str | None:
    """Why a text is no address of Solana: base58 of 32 bytes; None if it is one.

    It has no checksum, so a slip may pass. 32 zeros are the system program, nobody's account.
    """
    if not _BASE58.fullmatch(address):
        return "address_invalid"
    number = 0
    for char in address:
        number = number * 58 + _BASE58_DIGITS.index(char)
    zeros = len(address) - len(address.lstrip("1"))
    size = zeros + (number.bit_length() + 7) // 8
    return None if number and size == 32 else "address_invalid"


def stellar_invalid(address: str) -> str | None:
    """Why a text is no account of Stellar (SEP-23: version, 32 bytes, CRC-16); None if it is one.

    The checksum is CRC-16/XMODEM, low byte first.
    """
    if not _STELLAR.fullmatch(address):
        return "address_invalid"
    data = base64.b32decode(address)
    if data[0] != _STELLAR_VERSION:
        return "address_invalid"
    expected = binascii.crc_hqx(data[:-2], 0).to_bytes(2, "little")
    return None if data[-2:] == expected else "address_checksum_invalid"


CHAINS: Mapping[str, Callable[[str], str | None]] = MappingProxyType(
    {
        "ARB": evm_invalid,
        "AVAX": evm_invalid,
        "BASE": evm_invalid,
        "CELO": evm_invalid,
        "ETH": evm_invalid,
        "OP": evm_invalid,
        "POLY": evm_invalid,
        "ZKS": evm_invalid,
        "SOL": solana_invalid,
        "XLM": stellar_invalid,
    }
)
"""Chains whose addresses can be checked here, under Circle's names for them."""

TAGGED = frozenset({"XLM"})
"""Chains with a tag beside the address. Many holders share an account of a provider there, and the
tag alone tells them apart."""


def read_address(destination: str) -> CryptoAddress:
    """An opened destination as an address.

    Raises DestinationInvalid with a reason that the company can show: ``destination_invalid``,
    ``holder_invalid``, ``country_invalid``, ``chain_not_carried``, ``address_invalid``,
    ``address_checksum_invalid``, ``address_tag_invalid``, ``address_tag_missing``,
    ``address_tag_not_carried``.
    """
    raw = _fields(destination)
    holder, chain = read_holder(raw["holder"]), raw["chain"]
    if not _COUNTRY.fullmatch(raw["country"]):
        raise DestinationInvalid("country_invalid")
    if chain not in CHAINS:
        raise DestinationInvalid("chain_not_carried")
    address = raw["address"].strip()
    if (refusal := CHAINS[chain](address)) is not None:
        raise DestinationInvalid(refusal)
    hosted, tag = raw.get("hosted"), raw.get("tag", "")
    if (refusal := _tag_refusal(chain, tag, hosted=hosted is True)) is not None:
        raise DestinationInvalid(refusal)
    return CryptoAddress(
        chain, address, holder, raw["country"], tag, hosted, raw.get("control_proven", False)
    )


def _fields(destination: str) -> dict[str, Any]:
    """The fields of the object, each of its type. Raises DestinationInvalid."""
    raw = read_object(destination)
    if not raw.keys() >= _NEEDED or raw["kind"] != "crypto":
        raise DestinationInvalid("destination_invalid")
    if any(type(value) is not _FIELDS.get(name) for name, value in raw.items()):
        raise DestinationInvalid("destination_invalid")
    return raw


def _tag_refusal(chain: str, tag: str, *, hosted: bool) -> str | None:
    if chain not in TAGGED:
        return "address_tag_not_carried" if tag else None
    if not tag:
        # A provider credits what comes without a memo to nobody.
        return "address_tag_missing" if hosted else None
    text = len(tag) <= TAG_BYTES_MAX and _TEXT_TAG.fullmatch(tag)
    return None if text or _HASH_TAG.fullmatch(tag) else "address_tag_invalid"
