"""What the two jobs without the product's agents share with it: the models, applied in order.

The product has its own agent and desk for this (:mod:`streams.agents.sales`); the models, rules and
Redis functions are the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from models.decisions import decide, standing_of
from models.events import SaleCompleted, body_hash, decode
from models.features import entities, observe
from models.scorer import Scorer
from models.sellers import Seller, read_seller
from models.shards import shard_of
from streams.settings import Settings
from streams.wallets.store import Operation
from streams.wallets.wallets import Terms
from streams.worker import ASK_AFTER_MS, company_rules, now_ms


class Source(NamedTuple):
    """A message of ``sales``: where it is, and its bytes."""

    topic: str
    partition: int
    offset: int
    value: bytes


class Deciding:
    """The company's rules and model; from sales and what is known to operations."""

    def __init__(self, settings: Settings) -> None:
        self.rules = company_rules(settings)
        self.retention_ms = settings.event_retention_ms
        terms = Terms(
            settings.event_retention_ms, settings.waiting_ms, ASK_AFTER_MS, self.rules.context()
        )
        self.static = terms.json()
        self._scorer = Scorer.load(settings.model.read_text(encoding="utf-8"))

    def decode(self, sources: Iterable[Source]) -> list[SaleCompleted]:
        """The sales in messages. The jobs are given good ones only."""
        at_ms = now_ms()
        return [
            decode(source.topic, source.value, now_ms=at_ms, retention_ms=self.retention_ms)
            for source in sources
        ]

    def asks(self, events: Iterable[SaleCompleted]) -> dict[int, tuple[list[str], list[str]]]:
        """What to read for them: ``{shard: (sellers, entities)}``."""
        sellers: dict[int, dict[str, None]] = defaultdict(dict)
        wanted: dict[int, dict[str, None]] = defaultdict(dict)
        for event in events:
            first, *others = entities(event)
            shard = shard_of(event.seller_id)
            sellers[shard][event.seller_id] = None
            wanted[shard][first] = None
            for other in others:
                wanted[shard_of(other)][other] = None
        return {
            shard: (list(sellers.get(shard, ())), list(wanted.get(shard, ()))) for shard in wanted
        }

    def operations(
        self,
        sources: Sequence[Source],
        events: Sequence[SaleCompleted],
        profiles: Mapping[str, bytes],
        states: dict[str, str | None],
    ) -> tuple[list[Operation], dict[int, dict[str, str]]]:
        """An operation for each sale, and the states of cards and devices by shard."""
        rows: list[list[float]] = []
        sellers: list[Seller] = []
        shared: dict[int, dict[str, str]] = defaultdict(dict)
        own: list[str] = []
        for event in events:
            seller = read_seller(event.seller_id, profiles[event.seller_id])
            row, updates = observe(states, event, seller.profile)
            states.update(updates)
            rows.append(row or [])
            sellers.append(seller)
            own.append(updates.pop("s:" + event.seller_id))
            for entity, state in updates.items():
                shared[shard_of(entity)][entity] = state
        scores = self._scorer.score(rows).tolist()
        operations = [
            self._operation(source, event, seller, row, score, state)
            for source, event, seller, row, score, state in zip(
                sources, events, sellers, rows, scores, own, strict=True
            )
        ]
        return operations, dict(shared)

    def _operation(  # noqa: PLR0917 - what one sale is decided from
        self,
        source: Source,
        event: SaleCompleted,
        seller: Seller,
        row: list[float],
        score: float,
        state: str,
    ) -> Operation:
        rules, scorer = self.rules, self._scorer
        amount = rules.plan.retail(event.amount_minor, event.currency)
        decision = decide(
            score,
            amount,
            event.currency,
            rules.policy.fraud,
            profile=seller.profile,
            explain=lambda: scorer.reasons(row),
        )
        operation: dict[str, Any] = rules.sale(
            event, seller, amount, decision.tier, score, decision.share_bp
        )
        record = decision.record(
            event_id=event.id,
            seller_id=event.seller_id,
            topic=source.topic,
            partition=source.partition,
            offset=source.offset,
            vector=row,
            model=scorer.digest,
            at_ms=event.occurred_ms,
            amount_minor=amount,
            currency=event.currency,
            standing=standing_of(seller.profile),
            policy=rules.policy.fraud.digest,
        )
        operation["state"] = state
        operation["decision"] = record.decode()
        operation["hash"] = body_hash(source.value)
        operation["topic"] = source.topic
        operation["partition"] = source.partition
        operation["offset"] = source.offset
        return operation
