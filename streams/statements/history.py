"""History: a seller's movements, page by page, oldest first.

A cursor says up to which number of the seller's shard the journal was read, so that a page stays
the same however often it is asked for, and where on the topic to go on. To whoever keeps it, it is
an opaque text.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import NamedTuple

from models.movements import Movement, movement_of
from models.shards import shard_of
from models.timeline import Timeline
from streams.statements.ledger import Ledger, ShardReading
from streams.wallets.journal import BehindTheEnd

LIMIT_DEFAULT = 50
LIMIT_MAX = 1_000
"""Movements in one page."""

_CURSOR = re.compile(r"(\d{1,3})-(\d{1,16})-(\d{1,16})-(\d{1,16})-(\d{1,16})")


class CursorInvalid(ValueError):
    """No cursor that a page came with; one line."""


class Page(NamedTuple):
    """Some movements, and where the next page begins. An empty page may be asked for again later.

    ``known`` is whether the journal has anything at all of the seller: of a later page it is True.
    """

    movements: tuple[Movement, ...]
    cursor: str
    more: bool
    known: bool


def history(
    ledger: Ledger,
    seller_id: str,
    *,
    after: str | None = None,
    limit: int = LIMIT_DEFAULT,
    messages_max: int | None = None,
) -> Page:
    """The movements behind a cursor, or the first ones. Blocking.

    ``messages_max``: ledger messages to read, of all sellers on the partition. Where that ends a
    page it has fewer movements, or none, and there may be more.

    Raises CursorInvalid, JournalUnreadable, and ValueError for a limit out of bounds.
    """
    if not 1 <= limit <= LIMIT_MAX:
        raise ValueError(f"a page has 1 to {LIMIT_MAX} movements, not {limit}")
    shard = shard_of(seller_id)
    reading = ShardReading() if after is None else _reading(after, shard)
    found: list[Movement] = []
    cursor, known = _cursor(shard, reading), after is not None
    try:
        found_in = ledger.of_seller(seller_id, reading, messages_max=messages_max)
        with closing(found_in) as entries:
            for entry, at_ms in entries:
                known = True
                movement = movement_of(entry, at_ms)
                if movement is None:
                    continue
                if len(found) == limit:  # one more is read to tell that there is one
                    return Page(tuple(found), cursor, True, known)
                found.append(movement)
                cursor = _cursor(shard, reading)
    except BehindTheEnd:
        raise CursorInvalid(f"cursor {after!r} is of another journal") from None
    return Page(tuple(found), _cursor(shard, reading), reading.cut, known)


def _cursor(shard: int, reading: ShardReading) -> str:
    timeline = reading.timeline
    return f"{shard}-{timeline.seq}-{timeline.epoch}-{reading.offset}-{reading.at_ms}"


def _reading(cursor: str, shard: int) -> ShardReading:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise CursorInvalid(f"{cursor!r} is no cursor; take the one that a page came with")
    of, seq, epoch, offset, at_ms = map(int, found.groups())
    if of != shard:
        raise CursorInvalid(f"cursor {cursor!r} is of another seller's history")
    return ShardReading(Timeline(epoch, seq), at_ms, offset)
