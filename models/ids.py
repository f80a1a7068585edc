"""Ids that derive from their cause, so that a replay makes the same ones (RFC 4122, version 5)."""

from __future__ import annotations

import re
from hashlib import sha1
from uuid import UUID

from models.shards import SHARDS

NAMESPACE = UUID("5b1e9a70-3c4d-4f5e-8a11-7061796f7574")
"""The namespace of every derived id; the Redis functions use the same."""


_SPACE = NAMESPACE.bytes
_SHARD = re.compile("[0-9a-f]{2}")


def derived(name: str) -> str:
    """The id that follows from a name, such as ``derived(f"{event_id}/payout")``."""
    # uuid.uuid5 gives the same and takes five times as long.
    text = sha1(_SPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def shard_of_payout(payout_id: str) -> int:
    """The shard a payout lives in: the first byte of its id.

    Raises ValueError for what is no payout id.
    """
    # int() alone would take a sign, blanks and capitals, and name a shard that does not exist.
    if not _SHARD.match(payout_id) or (shard := int(payout_id[:2], 16)) >= SHARDS:
        raise ValueError("not the id of a payout")
    return shard
