"""Labels: from what became known of a sale to the operations that book it.

Pure. What is held is known where it is, inside Redis; by which terms it goes on if the sale is
genuine is decided here, from the record of what the sale earned and its seller's profile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json, to_json

from models.events import CommissionLabelled, FraudLabelled, FraudTaught
from models.ids import derived
from models.labelled import labelled
from models.lineage import Lineage, lineage_of
from models.rules import Operation, Rules
from models.sellers import Seller
from models.shards import shard_of
from models.verdicts import taught

KEPT_MS = 180 * 86_400_000
"""How long what labels tell of a card or device is kept after the last one, in milliseconds."""


def sale_label(
    event: FraudLabelled, stored: bytes | None, seller: Seller | None, rules: Rules
) -> Operation:
    """A label of a sale. ``stored``: the record of what it earned, if it has come."""
    lineage = Lineage(event.sale_id, event.seller_id, 0)
    record = _read(stored)
    operation = _label(event, "s:" + event.sale_id, record, seller, rules, lineage)
    of = None if record is None else record.get("subject")
    if record is not None and of is not None:
        operation["lessons"] = _lessons(event, of, record["occurred"])
    return operation


def commission_label(
    event: CommissionLabelled, stored: bytes | None, seller: Seller | None, rules: Rules
) -> Operation:
    """The label of a sale, of a commission above it."""
    record, name = _read(stored), "c:" + event.commission_id
    return _label(event, name, record, seller, rules, lineage_of(event.source))


def learn(event: FraudTaught, state: str | None) -> Operation:
    """What a label tells of a card or device. ``state``: what labels told of it before."""
    return {
        "op": "learn",
        "id": event.id,
        "shard": shard_of(event.entity),
        "seller": "",
        "kind": event.type,
        "entity": event.entity,
        "state": labelled(state, event.sold_at_ms // 1000, fraud=event.fraud),
        "ttl_ms": KEPT_MS,
    }


def _read(stored: bytes | None) -> Mapping[str, Any] | None:
    """A record that is one; only returns and labels that are early may stand in its place."""
    record: Mapping[str, Any] | None = None if stored is None else from_json(stored)
    return None if record is None or "early" in record else record


def _label(  # noqa: PLR0917 - one call each from a sale and a commission
    event: FraudLabelled | CommissionLabelled,
    name: str,
    record: Mapping[str, Any] | None,
    seller: Seller | None,
    rules: Rules,
    lineage: Lineage,
) -> Operation:
    operation: Operation = {
        "op": "label",
        "id": event.id,
        "seller": event.seller_id,
        "kind": event.type,
        "record": name,
        "verdict": event.verdict.value,
        "by": event.by,
        "reason": event.reason,
        "rev": seller.rev if seller else 0,
        "found": record is not None,
    }
    if record is None:
        operation["again"] = _again(event)
    elif not event.verdict.fraud and seller is not None:
        operation["release"] = rules.release(_item(record, lineage), seller)
    return operation


def _item(record: Mapping[str, Any], lineage: Lineage) -> Mapping[str, Any]:
    """A record as what has waited for its seller's profile, and need not be held."""
    occurred_ms: int = record["occurred"]
    return {
        "currency": record["currency"],
        "base": record["base"],
        "occurred": occurred_ms,
        "occurred_at": datetime.fromtimestamp(occurred_ms / 1000, UTC).isoformat(),
        "sale": lineage.sale_id,
        "origin": lineage.origin,
        "level": lineage.level,
        "held": False,
        "sold": record.get("sold"),
    }


def _again(event: FraudLabelled | CommissionLabelled) -> str:
    """The same label under another id, for when its sale has come."""
    body = event.model_dump(mode="json") | {"id": derived(f"{event.id}/again")}
    return to_json(body).decode()


def _lessons(event: FraudLabelled, of: str, sold_at_ms: int) -> Sequence[tuple[str, str]]:
    """Key and body of the messages that say what a label tells of card and device."""
    lessons = []
    for entity in taught(of, fraud=event.verdict.fraud):
        lesson = FraudTaught(
            id=derived(f"{event.id}/{entity}"), occurred_at=event.occurred_at,
            seller_id=event.seller_id, entity=entity, sold_at_ms=sold_at_ms,
            fraud=event.verdict.fraud,
        )  # fmt: skip
        lessons.append((entity, lesson.model_dump_json()))
    return lessons
