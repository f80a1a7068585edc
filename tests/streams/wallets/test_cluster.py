"""The wallets on a real Redis Cluster of three nodes."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest
import redis
from redis.cluster import RedisCluster

from models.ids import shard_of_payout
from models.shards import SHARDS, shard_of
from streams.demo.embedded import EmbeddedRedis
from streams.wallets.evidence import read_shards
from streams.wallets.statement import read_statement
from streams.wallets.store import Store, meta_key
from tests.streams.wallets.harness import DAY_MS, NOW_MS, PAY, Shard

SLOTS = 16_384
PROFILE = '{"country":"DE","zone":"UTC","status":"active","occurred":1}'
READY_MAX_S = 10.0
CONTEXT = {"now": NOW_MS, "known": 0}
STATIC = json.dumps(
    {"retention_ms": DAY_MS, "wait_ms": DAY_MS, "ask_ms": 1_000, "campaigns": []}
).encode()


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """redis:// address of a node of a cluster whose three nodes share the slots."""
    arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
    nodes = [EmbeddedRedis(arguments=arguments).start() for _ in range(3)]
    clients = [redis.Redis(port=node.port) for node in nodes]
    bounds = [0, SLOTS // 3, 2 * SLOTS // 3, SLOTS]
    for number, client in enumerate(clients):
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
    deadline = time.monotonic() + READY_MAX_S
    while not all(map(_is_whole, clients)):
        assert time.monotonic() < deadline, "the cluster did not come together"
        time.sleep(0.05)
    yield f"redis://127.0.0.1:{nodes[0].port}"
    for client in clients:
        client.close()
    for node in nodes:
        node.kill()
        node.stop()


def _is_whole(client: redis.Redis) -> bool:
    info: dict[str, str] = client.execute_command("CLUSTER INFO")
    return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3"


async def test_every_call_works_over_all_nodes(cluster: str) -> None:
    store = Store(cluster, cluster=True)
    client = RedisCluster.from_url(cluster)
    assert len({client.keyslot(meta_key(s)) * 3 // SLOTS for s in range(SHARDS)}) == 3
    await store.load()
    sellers = [f"seller-{n}" for n in range(200)]
    batches = {}
    for seller in sellers:
        source = Shard(redis.Redis(), seller)
        source._ids = int(seller[7:]) * 100
        operations = batches.setdefault(shard_of(seller), (CONTEXT, STATIC, []))[2]
        sale = source.sale(1_000, pay=PAY, partition=source._ids)
        operations += [
            {**source.event("profile", "seller.updated", rev=0, release=[], profile=PROFILE),
             "partition": source._ids + 1},
            {**sale, "rev": 1},
        ]  # fmt: skip
    booked = await store.book(batches)
    assert {outcome for one in booked.values() for outcome in one.outcomes} == {"booked"}

    asks = {s: ([x for x in sellers if shard_of(x) == s], ["s:none"]) for s in batches}
    looks = await store.look(asks)
    assert {seller for one in looks.values() for seller in one.profiles} == set(sellers)

    due = await store.due(list(batches), ["ask"], NOW_MS + DAY_MS, 100)
    assert sum(len(standing.timers) for standing in due.values()) == 200
    assert sum(standing.outbox_length for standing in due.values()) == 400

    await store.observe({shard_of("i:1"): {"i:1": "state"}}, 60_000)
    entries = await store.leftovers(shard_of(sellers[0]))
    assert entries[0].messages[0].topic == "ledger"
    payout = json.loads(entries[1].messages[1].value)["payout_id"]
    stored = await store.payout(shard_of_payout(payout), payout)
    assert stored is not None

    shards = await asyncio.to_thread(read_shards, client)
    assert sum(state.seq for state in shards.values()) == 400
    assert all(state.steady for state in shards.values())
    in_flight = sum(v for s in shards.values() for (a, _), v in s.balances.items()
                    if a.endswith("/in_flight"))  # fmt: skip
    assert in_flight == 200_000
    statement = await asyncio.to_thread(read_statement, client, sellers[0])
    assert statement is not None
    assert len(statement["payouts"]) == 1

    # An emptied node comes back with its functions and its shards redone.
    lost = shard_of(sellers[0])
    values = [entry.messages[0].value for entry in await store.leftovers(lost)]
    before = await store.standing(lost)
    client.delete(*client.keys(f"{{s{lost}}}:*"))
    client.function_flush()
    await store.load()
    assert await store.apply(lost, values, retention_ms=DAY_MS, journal=7) == before[0]
    assert await store.standing(lost) == (before[0], 7)
    client.close()
    await store.close()
