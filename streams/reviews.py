"""Reviews: the earnings that are held, for somebody who decides about them.

What is held is in Redis; why, and by which score, is in the topic ``decisions``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import from_json

from models.decisions import Record, read_record
from models.sellers import read_seller
from models.shards import SHARDS, shard_of
from streams.reading import read_topic

PAGE_KEYS = 1_000
"""Keys that are read in one round trip."""

LEVELS_MAX = 64
"""Sellers above a sale that are looked at: no plan has more levels."""

EARLIER_MS = 10 * 60_000
"""How much earlier than its booking a decision is looked for: clocks differ."""


@dataclass(frozen=True, slots=True)
class Item:
    """What a sale or a commission earned, as far as a review looks at it. Minor units, ms."""

    seller_id: str
    name: str
    """Of its record: ``s:<sale>`` or ``c:<commission>``."""
    currency: str
    base_minor: int
    earned_minor: int
    returned_minor: int
    """Of what was earned, what came back."""
    held_minor: int
    occurred_ms: int
    since_ms: int | None
    """Since when it is held; None if nothing is."""
    waits: bool
    """Whether her profile has not come."""
    verdict: str | None
    """Of the last label, if there was one."""

    @property
    def sale_id(self) -> str | None:
        """The sale; None of a commission."""
        return self.name[2:] if self.name.startswith("s:") else None


def held_items(client: Any) -> list[Item]:
    """Everything that is held, the longest first; ``client`` is a blocking redis client."""
    pipe = client.pipeline(transaction=False)
    for shard in range(SHARDS):
        pipe.zrange(f"{{s{shard}}}:H", 0, -1, withscores=True)
    listed = [
        (shard, member.decode().partition("/")[2], int(since_ms))
        for shard, members in enumerate(pipe.execute())
        for member, since_ms in members
    ]
    found = []
    for first in range(0, len(listed), PAGE_KEYS):
        some = listed[first : first + PAGE_KEYS]
        pipe = client.pipeline(transaction=False)
        for shard, name, _ in some:
            pipe.get(f"{{s{shard}}}:r:{name}")
        for (_, name, since_ms), stored in zip(some, pipe.execute(), strict=True):
            # One that was decided between the two reads is no longer of interest.
            item = _item(name, stored, since_ms)
            if item is not None and item.held_minor:
                found.append(item)
    return sorted(found, key=lambda item: (item.since_ms or 0, item.name))


def items_of(client: Any, sale_id: str) -> list[Item]:
    """What the sale of this id earned, held or not; of each seller who has one."""
    pipe = client.pipeline(transaction=False)
    for shard in range(SHARDS):
        pipe.get(f"{{s{shard}}}:r:s:{sale_id}")
    items = [_item(f"s:{sale_id}", stored, None) for stored in pipe.execute()]
    return [_since(client, item) for item in items if item is not None]


def _since(client: Any, item: Item) -> Item:
    member = f"{item.seller_id}/{item.name}"
    since = client.zscore(f"{{s{shard_of(item.seller_id)}}}:H", member)
    return item if since is None else replace(item, since_ms=int(since))


def _item(name: str, stored: bytes | None, since_ms: int | None) -> Item | None:
    raw: dict[str, Any] = from_json(stored) if stored else {"early": ()}
    if "early" in raw:
        return None
    return Item(
        raw["seller"], name, raw["currency"], raw["base"], raw["amount"], raw["reversed"],
        raw["held"], raw["occurred"], since_ms, bool(raw.get("waiting")), raw.get("verdict"),
    )  # fmt: skip


def earners(client: Any, seller_id: str) -> Iterator[str]:
    """A seller, and everyone above her, by the profiles as they are: all who earn by her sales."""
    seen: set[str] = set()
    above: str | None = seller_id
    while above is not None and above not in seen and len(seen) <= LEVELS_MAX:
        seen.add(above)
        yield above
        stored = client.get(f"{{s{shard_of(above)}}}:p:{above}")
        above = read_seller(above, stored).sponsor_id if stored else None


def decisions_of(
    kafka: Mapping[str, Any], items: Iterable[Item]
) -> dict[tuple[str, str | None], Record]:
    """The last decision on each of some sales, by seller and sale; one that is gone is not there.

    ``kafka`` is librdkafka's configuration. Reads the topic from when the first of them was held.
    Raises :class:`~streams.reading.TopicUnreadable`.
    """
    wanted = {(item.seller_id, item.sale_id): item for item in items if item.sale_id is not None}
    if not wanted:
        return {}
    since_ms = min(item.since_ms or item.occurred_ms for item in wanted.values()) - EARLIER_MS
    found: dict[tuple[str, str | None], Record] = {}
    for message in read_topic(kafka, "decisions", since_ms=since_ms):
        try:
            record = read_record(message.value() or b"")
        except ValueError:
            continue
        key = (record.seller_id, record.sale_id)
        if key in wanted:
            found[key] = record
    return found
