"""Unknowns: payouts that their rail is silent about, for somebody who asks the provider."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from models.ids import shard_of_payout
from models.payouts import PayoutState
from models.shards import SHARDS

PAGE_TIMERS = 500
"""Timers of a shard that are read in one round trip."""


@dataclass(frozen=True, slots=True, order=True)
class Unknown:
    """A payout in the state ``unknown``. Times in milliseconds since the epoch, minor units."""

    since_ms: int
    """When its attempt under way was handed to the rail."""
    payout_id: str
    seller_id: str
    rail: str
    currency: str
    amount_minor: int
    fee_minor: int
    attempts: int
    asked: int
    """How often its rail was asked since there was news."""
    ask_at_ms: int
    """When its rail is asked next."""
    reference: str | None
    """The provider's, if it ever gave one."""
    reason: str | None
    """What the rail's last answer said, or why there was none."""


@dataclass(frozen=True, slots=True)
class Unknowns:
    """The oldest of them, and how many there are."""

    oldest: list[Unknown]
    count: int


def unknown_payouts(
    client: Any, *, limit: int, rail: str | None = None, before_ms: int | None = None
) -> Unknowns:
    """The payouts that are unknown, those that have been with their rail the longest first.

    ``client`` is a blocking redis client. ``before_ms``: only those that were handed over by then.
    Goes by the timers of payouts under way, of which there are far fewer than payouts, and keeps no
    more than ``limit`` and what one shard has.
    """
    oldest: list[Unknown] = []
    count = 0
    for shard in range(SHARDS):
        mine = {
            one.payout_id: one
            for one in _of_shard(client, shard)
            if rail in {None, one.rail} and (before_ms is None or one.since_ms <= before_ms)
        }
        count += len(mine)
        oldest = heapq.nsmallest(limit, [*oldest, *mine.values()])
    return Unknowns(oldest, count)


def ask_at(client: Any, payout_id: str) -> int | None:
    """When a payout's rail is asked about it next, in milliseconds; None for never."""
    due: Any = client.zscore(f"{{s{shard_of_payout(payout_id)}}}:e", payout_id)
    return None if due is None else int(due)


def _of_shard(client: Any, shard: int) -> Iterator[Unknown]:
    """Those of a shard; one whose timer is set anew meanwhile may come twice."""
    prefix, cursor = f"{{s{shard}}}:", 0
    while True:
        cursor, timers = client.zscan(f"{prefix}e", cursor, count=PAGE_TIMERS)
        pipe = client.pipeline(transaction=False)
        for payout_id, _ in timers:
            pipe.get(f"{prefix}y:{payout_id.decode()}")
        for (_, ask_at_ms), stored in zip(timers, pipe.execute(), strict=True):
            payout = from_json(stored) if stored else {}
            if payout.get("state") == PayoutState.UNKNOWN:
                yield _unknown(payout, int(ask_at_ms))
        if cursor == 0:
            return


def _unknown(payout: dict[str, Any], ask_at_ms: int) -> Unknown:
    return Unknown(
        payout.get("submitted_ms", payout["reserved_ms"]), payout["payout_id"],
        payout["seller_id"], payout["rail"], payout["currency"], payout["amount_minor"],
        payout["fee_minor"], payout["attempt"] + 1, payout["asked"], ask_at_ms,
        payout.get("provider_ref"), payout.get("reason"),
    )  # fmt: skip
