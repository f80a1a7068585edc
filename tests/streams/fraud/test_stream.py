"""The stream, on a real broker and Redis, decides upon the vectors that a replay comes to."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

from pydantic_core import to_json

from models.conduct import CONDUCT_FEATURES
from models.decisions import read_record
from models.events import SaleCompleted, decode
from models.features import CUSTOMER_FEATURES, FEATURES, Profile, learn, observe
from models.scorer import Scorer
from models.shards import shard_of
from streams.agents.sales import SHARED_STATE_TTL_MS, Sales
from streams.settings import DEFAULTS
from tests.streams.wallets.harness import PARTITIONS, Company

HOUR_MS = 3_600_000

# In one partition, so that the order in which they are taken is the order in which they were sent.
SELLERS = [name for name in (f"seller-{k}" for k in range(60)) if shard_of(name) % PARTITIONS == 0][
    :5
]


def happening(company: Company, chance: random.Random) -> dict[str, Any]:
    """A sale, or a return, some time after the one before."""
    company.clock.now_ms += chance.choice((0, 700, 60_000, 5 * HOUR_MS))
    seller = chance.choice(SELLERS)
    if chance.random() < 0.1:
        return company.return_of(seller, chance.randrange(1, 900), None)
    return company.sale(
        seller,
        chance.choice((900, 1_000, 1_100, 4_000)),
        f"sale-{chance.random()}",
        **{
            name: value
            for name, value in (
                ("instrument_ref", chance.choice((None, "c1", "c2", "c3"))),
                ("device_ref", chance.choice((None, "d1", "d2"))),
                ("customer_ref", chance.choice((None, "k1", "k2", seller))),
            )
            if value
        },
    )


async def tell(company: Company, updates: dict[str, str]) -> None:
    """Write what labels told, as whoever takes labels would."""
    by_shard: dict[int, dict[str, str]] = defaultdict(dict)
    for key, state in updates.items():
        by_shard[shard_of(key)][key] = state
    await company.store.observe(by_shard, SHARED_STATE_TTL_MS)


def _replay(
    states: dict[str, str | None], batch: list[dict[str, Any]], profile: Profile, now_ms: int
) -> list[tuple[SaleCompleted, list[float]]]:
    sold = []
    for body in batch:
        event = decode("sales", to_json(body), now_ms=now_ms, retention_ms=HOUR_MS * 24 * 365)
        row, updates = observe(states, event, profile)
        states.update(updates)
        if row is not None:
            sold.append((event, row))
    return sold


async def test_the_stream_and_a_replay_come_to_the_same_vectors(
    own_broker: str, empty_redis: str
) -> None:
    chance = random.Random(11)
    profile = Profile(country="DE")
    states: dict[str, str | None] = {}
    due: dict[str, list[float]] = {}
    async with Company(own_broker, empty_redis) as company:
        scorer = Scorer.load((DEFAULTS / "model.json").read_text(encoding="ascii"))
        agent: Any = company.agents["sales"]
        company.agents["sales"] = Sales(agent._desk, company.rules, scorer)
        company.publish("sellers", *[company.seller(name) for name in SELLERS])
        await company.work()
        for size in (1, 2, 30, 7, 60):
            batch = [happening(company, chance) for _ in range(size)]
            company.publish("sales", *batch)
            await company.work()
            sold = _replay(states, batch, profile, company.clock.now_ms)
            due.update({event.id: row for event, row in sold})
            # Labels come between batches, of a part of what was sold.
            for event, row in chance.sample(sold, len(sold) // 3):
                told = learn(states, event, row, fraud=chance.random() < 0.5)
                states.update(told)
                await tell(company, told)
        decided = [read_record(sent[2]) for sent in company.sent if sent[0] == "decisions"]
    found = {record.event_id: record.vector for record in decided}
    assert found == {event_id: tuple(row) for event_id, row in due.items()}
    frauds = FEATURES.index("device_frauds_28d")
    assert any(row[frauds] > 0 for row in due.values())  # labels told of something
    for name in CUSTOMER_FEATURES + CONDUCT_FEATURES:  # and each of these had something to tell
        assert len({row[FEATURES.index(name)] for row in due.values()}) > 1, name
