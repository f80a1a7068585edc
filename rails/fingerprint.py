"""Fingerprints: whether two sellers are paid to the same account, without keeping the account.

A keyed hash of what identifies an account, and not of who is said to hold it: of a bank account
its numbers, of a card its number but not when it expires, of a wallet on a chain its address, on
whatever chain. Account numbers can be counted through: the key is why nobody can tell from a
fingerprint what it is of.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import blake2b

from rails.accounts import DestinationInvalid, read_account
from rails.addresses import read_address
from rails.instruments import read_instrument

FINGERPRINT_CHARS = 16
"""Length of a fingerprint: 96 bits in base64."""


def fingerprint(destination: str, key: bytes) -> str:
    """The fingerprint of an opened destination. ``key``: 16 to 64 bytes."""
    if not 16 <= len(key) <= blake2b.MAX_KEY_SIZE:
        raise ValueError("a key is of 16 to 64 bytes")
    size = FINGERPRINT_CHARS * 3 // 4
    digest = blake2b(_identity(destination).encode(), digest_size=size, key=key).digest()
    return urlsafe_b64encode(digest).decode()


def _identity(destination: str) -> str:
    """What is the same in all ways to write one account."""
    try:
        account = read_account(destination)
        numbers = {**account.fields}
        numbers.pop("expires", None)
        return json.dumps([account.kind, numbers], sort_keys=True)
    except DestinationInvalid:
        pass
    try:
        address = read_address(destination)
        # Of an address in hexadecimal the case is a check digit; elsewhere it is part of it.
        text = address.address
        return json.dumps(["crypto", text.lower() if text.startswith("0x") else text, address.tag])
    except DestinationInvalid:
        pass
    try:
        instrument = read_instrument(destination)
        return json.dumps([instrument.kind, instrument.token])
    except DestinationInvalid:
        # A provider's own name of an account. Of a mail address the case says nothing.
        name = destination.strip()
        return name.casefold() if "@" in name else name
