"""Destinations are sealed: whoever reads a topic, a log or Redis learns no account number.

A seal is AES-256-GCM with the seller's id as associated data, so a sealed destination copied to
another seller does not open. Sealed text: ``v1.<key id>.<base64url of nonce and ciphertext>``.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = "v1"
KEY_BYTES = 32
NONCE_BYTES = 12
PLAINTEXT_BYTES_MAX = 2048
SEALED_CHARS_MAX = 4096

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class SealError(ValueError):
    """Something is wrong with keys or with a sealed text. Never holds a key or a plaintext."""


class KeysInvalid(SealError):
    """The configured keys cannot be used."""


class KeyUnknown(SealError):
    """A text was sealed with a key this process does not have."""

    def __init__(self, key_id: str) -> None:
        """Name the missing key by its id."""
        super().__init__(f"no key {key_id!r} to open this destination; is it still configured?")
        self.key_id = key_id


class SealBroken(SealError):
    """A sealed text is malformed, was changed, or belongs to another seller."""


class Seal:
    """Seals with the first key, opens with any: put a new key first to rotate."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Take keys by id, 32 bytes each. Raises KeysInvalid."""
        if not keys:
            raise KeysInvalid("no key to seal destinations with")
        for key_id, key in keys.items():
            if not _KEY_ID.fullmatch(key_id):
                raise KeysInvalid(f"key id {key_id!r} must be 1 to 32 of A-Z a-z 0-9 _ -")
            if len(key) != KEY_BYTES:
                raise KeysInvalid(f"key {key_id!r} has {len(key)} bytes instead of {KEY_BYTES}")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._sealing_id = next(iter(keys))

    @classmethod
    def parse(cls, text: str) -> Seal:
        """Read ``id:base64key,id2:base64key``. Raises KeysInvalid, which never quotes a key."""
        keys: dict[str, bytes] = {}
        for position, entry in enumerate(filter(None, map(str.strip, text.split(","))), 1):
            key_id, colon, encoded = entry.partition(":")
            if not colon:
                raise KeysInvalid(f"entry {position} is not of the form id:base64key")
            if key_id in keys:
                raise KeysInvalid(f"key id {key_id!r} is there twice")
            try:
                keys[key_id] = (
                    base64.b64decode(encoded, altchars=b"-_", validate=True)
                    if ("-" in encoded or "_" in encoded)
                    else base64.b64decode(encoded, validate=True)
                )
            except (binascii.Error, ValueError):
                raise KeysInvalid(f"entry {position} is not base64") from None
        return cls(keys)

    def seal(self, seller_id: str, plaintext: str) -> str:
        """Seal a seller's destination. Raises SealError for an empty or oversized one."""
        try:
            data, owner = plaintext.encode(), seller_id.encode()
        except UnicodeEncodeError:
            raise SealError("a destination and a seller's id must be Unicode text") from None
        if not data or len(data) > PLAINTEXT_BYTES_MAX:
            raise SealError(f"a destination has 1 to {PLAINTEXT_BYTES_MAX} bytes, not {len(data)}")
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._sealing_id].encrypt(nonce, data, owner)
        encoded = base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()
        return f"{VERSION}.{self._sealing_id}.{encoded}"

    def open(self, seller_id: str, sealed: str) -> str:
        """Open a seller's destination. Raises KeyUnknown or SealBroken."""
        parts = sealed.split(".") if len(sealed) <= SEALED_CHARS_MAX else []
        if len(parts) != 3 or parts[0] != VERSION or not _KEY_ID.fullmatch(parts[1]):
            raise SealBroken("not a sealed destination of version v1")
        cipher = self._ciphers.get(parts[1])
        if cipher is None:
            raise KeyUnknown(parts[1])
        try:
            data = base64.b64decode(
                parts[2] + "=" * (-len(parts[2]) % 4), altchars=b"-_", validate=True
            )
            plain = cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], seller_id.encode())
            return plain.decode()
        except (binascii.Error, ValueError, InvalidTag):
            raise SealBroken("the destination was changed or belongs to another seller") from None

    def seal_bytes(self, owner: str, data: bytes) -> bytes:
        """Seal what is no destination, of any size; it opens for the same owner only."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._sealing_id].encrypt(nonce, data, owner.encode())
        return f"{VERSION}.{self._sealing_id}.".encode() + nonce + sealed

    def open_bytes(self, owner: str, sealed: bytes) -> bytes:
        """Open what :meth:`seal_bytes` has sealed. Raises KeyUnknown or SealBroken."""
        version, _, rest = sealed.partition(b".")
        key_id, _, data = rest.partition(b".")
        name = key_id.decode("ascii", errors="replace")
        if version != VERSION.encode() or not _KEY_ID.fullmatch(name):
            raise SealBroken("not sealed data of version v1")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise KeyUnknown(name)
        try:
            return cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], owner.encode())
        except (ValueError, InvalidTag):
            raise SealBroken("the data was changed or belongs to another owner") from None

    def __repr__(self) -> str:
        """Key ids only."""
        return f"Seal(keys={list(self._ciphers)!r})"
