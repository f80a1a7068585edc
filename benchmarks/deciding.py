"""What the two jobs without the product's agents share with it: the models, applied in order.

The product has its own agent and desk for this (:mod:`streams.agents.sales`); the models, rules and
Redis functions are the same.

``python -m benchmarks.deciding`` tells what features, score and decision cost a sale, without and
with the decision's record and without Redis, by the number of sales in a batch.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import process_time
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.events import profiles_and_sales
from benchmarks.ground import new_seal_keys, seal_of
from models.compiled import form
from models.decisions import Decision, decide, facts_of, standing_of
from models.events import SaleCompleted, body_hash, decode
from models.features import entities, observe
from models.fraudrules import fired
from models.scorer import Scorer
from models.sellers import Method, Seller, read_seller, stored_profile
from models.shards import shard_of
from rails.fingerprint import fingerprint
from streams.settings import Settings, load_settings
from streams.wallets.store import Operation
from streams.wallets.terms import Terms
from streams.worker import ASK_AFTER_MS, company_rules, now_ms, spare_garbage_collection

BATCHES = (1, 200, 1_000)
"""Sales in the batches that are measured."""

_ACCOUNT_KEY = b"accounts of benchmarks"


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

    def asks_around(self, profiles: Mapping[str, bytes]) -> dict[int, tuple[list[str], list[str]]]:
        """What to read then: of those around the sellers, whom their profiles name."""
        wanted: dict[int, dict[str, None]] = defaultdict(dict)
        for seller_id, stored in profiles.items():
            for key in read_seller(seller_id, stored).profile.around:
                wanted[shard_of(key)][key] = None
        return {shard: ([], list(keys)) for shard, keys in wanted.items()}

    def operations(
        self,
        sources: Sequence[Source],
        events: Sequence[SaleCompleted],
        profiles: Mapping[str, bytes],
        states: dict[str, str | None],
    ) -> tuple[list[Operation], dict[int, dict[str, str]]]:
        """An operation for each sale, and the states of cards, devices and customers by shard."""
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
        amount, decision, record = self.decide(source, event, seller, row, score)
        operation: dict[str, Any] = self.rules.sale(
            event, seller, amount, decision.tier, score, decision.share_bp
        )
        operation["state"] = state
        operation["decision"] = record
        operation["hash"] = body_hash(source.value)
        operation["topic"] = source.topic
        operation["partition"] = source.partition
        operation["offset"] = source.offset
        return operation

    def decide(
        self,
        source: Source,
        event: SaleCompleted,
        seller: Seller,
        row: list[float],
        score: float,
    ) -> tuple[int, Decision, str]:
        """What a sale earns, its decision, and the record of that."""
        amount = self._earned(event)
        decision = self._decision(event, amount, seller, row, score)
        return amount, decision, self._record(source, event, amount, seller, row, decision)

    def _earned(self, event: SaleCompleted) -> int:
        return self.rules.plan.retail(event.amount_minor, event.currency)

    def _record(  # noqa: PLR0917 - what a record tells
        self,
        source: Source,
        event: SaleCompleted,
        amount: int,
        seller: Seller,
        row: list[float],
        decision: Decision,
    ) -> str:
        return decision.record(
            event_id=event.id,
            seller_id=event.seller_id,
            topic=source.topic,
            partition=source.partition,
            offset=source.offset,
            vector=row,
            model=self._scorer.digest,
            at_ms=event.occurred_ms,
            amount_minor=amount,
            currency=event.currency,
            standing=standing_of(seller.profile),
            policy=self.rules.policy.fraud.digest,
            sale_id=event.sale_id,
        )

    def _decision(
        self, event: SaleCompleted, amount: int, seller: Seller, row: list[float], score: float
    ) -> Decision:
        policy, scorer = self.rules.policy.fraud, self._scorer
        fits = fired(policy.rules, facts_of(event, row, seller.profile)) if policy.rules else ()
        return decide(
            score,
            amount,
            event.currency,
            policy,
            profile=seller.profile,
            explain=lambda: scorer.reasons(row),
            fits=fits,
        )

    def sellers(self, profiles: Iterable[bytes]) -> dict[str, Seller]:
        """Sellers by id, from messages of ``sellers``; each has an account, none can be paid."""
        found = {}
        for value in profiles:
            event = decode("sellers", value, now_ms=now_ms(), retention_ms=self.retention_ms)
            method = Method("v1.nowhere", (), account=fingerprint(event.seller_id, _ACCOUNT_KEY))
            stored = f"1|{stored_profile(event, (method,), None)}"
            found[event.seller_id] = read_seller(event.seller_id, stored.encode())
        return found

    def measured(
        self,
        sales: Sequence[SaleCompleted],
        sellers: Mapping[str, Seller],
        batch: int,
        *,
        recorded: bool,
    ) -> float:
        """CPU microseconds a sale, of features, score, and decision; of its record, if recorded.

        What a sale earns is no part of it: a decision is about so much.
        """
        states: dict[str, str | None] = {}
        source = Source("sales", 0, 0, b"")
        amounts = list(map(self._earned, sales))
        started = process_time()
        for first in range(0, len(sales), batch):
            some = sales[first : first + batch]
            rows = []
            for event in some:
                row, updates = observe(states, event, sellers[event.seller_id].profile)
                states.update(updates)
                rows.append(row or [])
            scores = self._scorer.score(rows).tolist()
            earned = amounts[first : first + batch]
            for event, amount, row, score in zip(some, earned, rows, scores, strict=True):
                seller = sellers[event.seller_id]
                decision = self._decision(event, amount, seller, row, score)
                if recorded:
                    self._record(source, event, amount, seller, row, decision)
        return (process_time() - started) / len(sales) * 1e6


@dataclass(frozen=True, slots=True)
class Cost:
    """What deciding costs a sale, in CPU microseconds."""

    batch: int
    """Sales in a batch."""
    decided: float
    """Features, score and decision."""
    recorded: float
    """The same, and the decision's record."""


def measure_deciding(*, seed: int, events: int, rounds: int) -> list[Cost]:
    """The least of some rounds, for each size of a batch, with garbage collected as by a worker."""
    keys = new_seal_keys()
    profiles, sales = profiles_and_sales(seed, events, seal=seal_of(keys), upline=True)
    deciding = Deciding(load_settings(seal_keys=keys))
    decoded = deciding.decode(Source("sales", 0, i, sale.value) for i, sale in enumerate(sales))
    sellers = deciding.sellers(profile.value for profile in profiles)
    spare_garbage_collection()  # as a worker does

    def least(batch: int, *, recorded: bool) -> float:
        measured = partial(deciding.measured, decoded, sellers, batch, recorded=recorded)
        return round(min(measured() for _ in range(rounds)), 1)

    return [
        Cost(batch, least(batch, recorded=False), least(batch, recorded=True)) for batch in BATCHES
    ]


def main() -> None:
    """Measure, and print a line for each size of a batch."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deciding", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000, help="sales")
    parser.add_argument("--rounds", type=int, default=5, help="the best counts")
    options = parser.parse_args()
    console = Console()
    console.print(f"features and decisions: {form()}")
    for cost in measure_deciding(seed=7, events=options.events, rounds=options.rounds):
        console.print(
            f"{cost.batch:>5} in a batch: {cost.decided:.1f} us a sale for features, score and "
            f"decision, {cost.recorded:.1f} with its record"
        )


if __name__ == "__main__":
    main()
