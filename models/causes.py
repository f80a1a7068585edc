"""Causes: the journal entry that a message follows from.

What follows from an entry is published before it, so it may be there without it: Redis lost the
booking, and the shard was healed without it. Then the event is taken again, and may come to
something else, since others came in between. So what moves money in another shard names the entry
that it follows from, and counts only if that entry does.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from models.shards import SHARDS

CAUSE = "cause"
"""The header that names the entry, as ``<shard>.<epoch>.<seq>``."""

_TEXT = re.compile(rb"([0-9]{1,3})\.([0-9]{1,15})\.([0-9]{1,15})")


class Cause(NamedTuple):
    """An entry by its place in its shard's history (:mod:`models.timeline`); of several that are of
    one event the last."""

    shard: int
    epoch: int
    seq: int

    def text(self) -> bytes:
        """The header's value."""
        return b"%d.%d.%d" % self


def read_cause(value: bytes | None) -> Cause | None:
    """The entry that a header names; None of what names none."""
    found = _TEXT.fullmatch(value or b"")
    if found is None:
        return None
    cause = Cause(*map(int, found.groups()))
    return cause if cause.shard < SHARDS else None
