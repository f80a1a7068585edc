"""API keys: who may ask what. Only their SHA-256 is kept, in a file of their own.

A file, since Redis is a projection of the journal and may be made again from it: what the journal
does not have does not belong there. A key is 256 random bits, so that a plain hash is as good as a
slow one: there is nothing to guess.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated, NamedTuple

import yaml
from pydantic import Field, field_validator

from models.config import Section, load

TOKEN = re.compile(r"pk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")

SECRET_BYTES = 32
KEYS_MAX = 1_000


class Scope(StrEnum):
    """What a key may be used for."""

    READ = "wallets.read"
    HISTORY = "history.read"
    SPEND = "credit.spend"
    BUY = "purchases.write"
    REFUND = "purchases.refund"
    PAY = "payouts.write"
    EXCHANGE = "conversions.write"
    PROFILE = "sellers.write"


class Key(Section):
    """A key, as it is kept."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    client: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    """Whose it is. Keys of one client share their idempotency keys, so that a request may be
    repeated with the next key while one is replaced."""
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Keys(Section):
    """The file of keys."""

    keys: Annotated[tuple[Key, ...], Field(max_length=KEYS_MAX)] = ()

    @field_validator("keys")
    @classmethod
    def _apart(cls, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        if len({key.id for key in keys}) < len(keys):
            raise ValueError("two keys have the same id")
        return keys


class Made(NamedTuple):
    """A new key: what is kept of it, and what its client is told, once."""

    key: Key
    token: str


def make(client: str, scopes: Sequence[Scope]) -> Made:
    """A new key. Raises pydantic's ValidationError for a client's name that cannot be used."""
    id_, secret = secrets.token_hex(6), secrets.token_urlsafe(SECRET_BYTES)
    key = Key(id=id_, client=client, scopes=tuple(scopes), sha256=_hash(secret))
    return Made(key, f"pk_{id_}_{secret}")


def read(path: Path) -> tuple[Key, ...]:
    """The keys in a file; none if it is not there yet. Raises ConfigError, OSError."""
    if not path.exists():
        return ()
    return load(path.read_text(encoding="utf-8"), Keys, path.name).keys


def write(path: Path, keys: Sequence[Key]) -> None:
    """Replace the file as a whole; a new one is for its owner's eyes only. Raises OSError."""
    rows = [key.model_dump(mode="json") for key in keys]
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    if path.exists():
        # The process that serves may be another user, whom somebody let read it.
        os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yaml.safe_dump({"keys": rows}, file, sort_keys=False)
    part.replace(path)


class KeyRing:
    """Finds the key of a token. The file is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError, OSError."""
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}
        self.refresh()

    def refresh(self) -> bool:
        """Read the file if it has changed; whether it had. Raises ConfigError, OSError."""
        status = self._path.stat()
        seen = (status.st_mtime_ns, status.st_ino)
        if seen == self._seen:
            return False
        self._keys = {key.id: key for key in read(self._path)}
        self._seen = seen
        return True

    def find(self, authorization: str) -> Key | None:
        """The key that an Authorization header proves to have; None if it proves nothing."""
        scheme, _, token = authorization.partition(" ")
        found = TOKEN.fullmatch(token.strip())
        if scheme.lower() != "bearer" or found is None:
            return None
        key = self._keys.get(found[1])
        # An unknown id takes as long as a wrong secret.
        fine = hmac.compare_digest(_hash(found[2]), key.sha256 if key else "0" * 64)
        return key if fine else None


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
