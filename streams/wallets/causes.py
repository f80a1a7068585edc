"""Causes that never came: what follows from an entry that does not count must not be booked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from models.causes import Cause
from streams.wallets.store import Worth
from streams.wallets.wallets import (
    CONFIRM_LOOK_GROWTH,
    CONFIRM_LOOK_S,
    CONFIRM_PATIENCE_S,
    Wallets,
)

HEALS_MAX = 3
"""How often shards are healed to learn of their entries. After one they are known, unless what
names them is made up."""


async def void(wallets: Wallets, causes: Iterable[Cause]) -> frozenset[Cause]:
    """Those entries that never count; waits until that is known of each.

    One that is on its way to the ledger is there within milliseconds. If whoever booked it is
    silent for a second, it is published from here. One of so long ago that nobody knows counts.
    Raises what :meth:`Wallets.heal` raises.
    """
    loop = asyncio.get_running_loop()
    left, never = set(causes), set[Cause]()
    began, pause, heals = loop.time(), CONFIRM_LOOK_S, 0
    while left:
        worths = await wallets.worths(sorted(left))
        never |= {cause for cause, worth in worths.items() if worth is Worth.VOID}
        left = {cause for cause, worth in worths.items() if worth in _OPEN}
        ill = {cause for cause, worth in worths.items() if worth is Worth.UNHEALED}
        if ill and heals == HEALS_MAX:
            return frozenset(never | ill)
        if ill:
            heals += 1
            await wallets.heal_behind(ill)
        elif left:
            await asyncio.sleep(pause)
            pause = min(pause * CONFIRM_LOOK_GROWTH, CONFIRM_PATIENCE_S)
            if loop.time() - began > CONFIRM_PATIENCE_S:
                await wallets.republish({cause.shard for cause in left})
    return frozenset(never)


_OPEN = frozenset({Worth.WAITS, Worth.UNHEALED})
