"""Ids that derive from their cause, so that a replay makes the same ones (RFC 4122, version 5)."""

from __future__ import annotations

from uuid import UUID, uuid5

NAMESPACE = UUID("5b1e9a70-3c4d-4f5e-8a11-7061796f7574")
"""The namespace of every derived id; the Redis functions use the same."""


def derived(name: str) -> str:
    """The id that follows from a name, such as ``derived(f"{event_id}/payout")``."""
    return str(uuid5(NAMESPACE, name))


def shard_of_payout(payout_id: str) -> int:
    """The shard a payout lives in: the first byte of its id.

    Raises ValueError for what is no payout id.
    """
    return int(payout_id[:2], 16)
