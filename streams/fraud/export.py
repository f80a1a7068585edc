"""Export: decisions and labels, from their topics to a training set.

Nothing is computed again: a sale's vector is the one it was decided by.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

from models.decisions import Record, read_record
from streams.fraud.dataset import WEIGHT_MAX, Example, Label
from streams.reading import read_topic

DECISIONS, LABELS = "decisions", "fraud.labels"

LABEL_DELAY_DAYS = 120
"""A sale of which nothing was heard for so long is taken to be genuine: chargebacks come up to
120 days later."""

_PAID = ("instant", "partial")

Known = Mapping[tuple[str, str], Label]
"""What labels say, by seller and sale."""


def known_labels(client: Mapping[str, Any]) -> dict[tuple[str, str], Label]:
    """The last label of each sale. Raises TopicUnreadable."""
    known: dict[tuple[str, str], Label] = {}
    for message in read_topic(client, LABELS):
        # Labels of a seller lie in one partition, in the order in which they were given.
        told = _told(message.value())
        if told is not None:
            seller, sale, label = told
            known[seller, sale] = label
    return known


def exported(
    values: Iterable[bytes | None],
    known: Known,
    *,
    now_ms: int,
    label_delay_ms: int,
    since_ms: int = 0,
    until_ms: int | None = None,
    left_out: Counter[str] | None = None,
) -> Iterator[Example]:
    """A line for each decided sale of a time, once, however often its decision was published.

    ``left_out`` counts what cannot be learnt from: sales that had no score, and messages that are
    no decision by the features of today.
    """
    seen: set[bytes] = set()
    left_out = Counter() if left_out is None else left_out
    for value in values:
        try:
            record = read_record(value or b"")
        except ValueError:
            left_out["unreadable or of other features"] += 1
            continue
        if record.at_ms < since_ms or (until_ms is not None and record.at_ms >= until_ms):
            continue
        name = blake2b(f"{record.seller_id}/{record.event_id}".encode(), digest_size=12).digest()
        if name in seen:
            continue
        seen.add(name)
        score = record.decision.score
        if record.vector is None or record.model is None or score is None:
            left_out["without a score"] += 1
            continue
        label = known.get((record.seller_id, record.sale_id))
        if label is None:
            # Silence speaks for a sale that was paid. One that was held was never put to the test.
            heard = record.at_ms <= now_ms - label_delay_ms and record.decision.tier in _PAID
            label = Label.GENUINE if heard else Label.UNKNOWN
        yield Example(
            event_id=record.event_id,
            at_ms=record.at_ms,
            label=label,
            weight=_weight(record),
            score=score,
            model=record.model,
            vector=record.vector,
            challenger=record.challenger,
        )


def decisions(client: Mapping[str, Any]) -> Iterator[bytes | None]:
    """All there are. Raises TopicUnreadable."""
    return (message.value() for message in read_topic(client, DECISIONS))


def _told(value: bytes | None) -> tuple[str, str, Label] | None:
    """Seller, sale and label that a message of ``fraud.labels`` tells; None if it tells none."""
    try:
        body = json.loads(value or b"")
        if body["type"] != "fraud.labelled":
            return None
        label = Label.GENUINE if body["verdict"] == "cleared" else Label.FRAUD
        return str(body["seller_id"]), str(body["sale_id"]), label
    except (ValueError, TypeError, LookupError):
        return None


def _weight(record: Record) -> float:
    """How many sales a decided one stands for: of those let through as a sample, more than one."""
    decision = record.decision
    return min(1.0 / decision.propensity, WEIGHT_MAX) if decision.explored else 1.0
