"""The wallets on a real Redis Cluster of three nodes."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster

from models.ids import shard_of_payout
from models.shards import SHARDS, shard_of
from streams.demo.embedded import EmbeddedRedis
from streams.fraud.accounts import shared_accounts
from streams.notices.pending import Pending, PendingNotices
from streams.wallets.server import RedisServer, meta_key
from streams.wallets.shardstate import read_shards
from streams.wallets.statement import read_statement
from streams.wallets.store import Redo, Standing, Store, Timers, Unhealed
from tests.streams.notices.harness import raw, update
from tests.streams.wallets.harness import DAY_MS, NOW_MS, PAY, Shard, opened

SLOTS = 16_384
PROFILE = '{"country":"DE","zone":"UTC","status":"active","occurred":1}'
READY_MAX_S = 10.0
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
    store = Store(RedisServer(cluster, cluster=True))
    client = RedisCluster.from_url(cluster)
    assert len({client.keyslot(meta_key(s)) * 3 // SLOTS for s in range(SHARDS)}) == 3
    await store.load()
    sellers = [f"seller-{n}" for n in range(200)]
    batches: dict[int, Any] = {}
    for seller in sellers:
        source = Shard(redis.Redis(), seller)
        source._ids = int(seller[7:]) * 100
        shard = shard_of(seller)
        if shard not in batches:
            context = {"now": NOW_MS, "known": 0, "epoch": await opened(store, shard)}
            batches[shard] = (context, STATIC, [])
        operations = batches[shard][2]
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

    due = await store.due(list(batches), Timers.RAIL, NOW_MS + DAY_MS, 100)
    assert sum(len(standing.timers) for standing in due.values()) == 200
    assert sum(standing.outbox_length for standing in due.values()) == 400

    await store.observe({shard_of("i:1"): {"i:1": "state"}}, 60_000)
    lost = shard_of(sellers[0])
    entries = (await store.leftovers([lost]))[lost]
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

    sharing = await asyncio.to_thread(shared_accounts, client)
    assert (sharing.profiles, sharing.known, sharing.shared) == (200, 0, [])

    # An emptied node comes back with its functions and its shards redone.
    values = [entry.messages[0].value for entry in entries]
    before = (await store.stand({lost: (0, 0)}))[lost]
    assert before.sound
    client.delete(*client.keys(f"{{s{lost}}}:*"))
    client.function_flush()
    await store.load()
    assert not (await store.stand({lost: (0, 0)}))[lost].sound
    with pytest.raises(Unhealed):
        await store.payout(shard_of_payout(payout), payout)
    await store.suspend([lost], "me", {})
    assert await store.apply(lost, values, Redo("me", DAY_MS, 7, 1)) == before.seq
    await store.open({lost: (9, before.seq)}, {lost: ()}, "me")
    assert (await store.stand({lost: (before.seq, 1)}))[lost] == Standing(
        True, before.seq, 9, 9, before.seq, ""
    )
    assert await store.payout(shard_of_payout(payout), payout) == stored
    client.close()
    await store.close()


async def test_notices_lie_on_the_node_of_their_shard(cluster: str) -> None:
    server = RedisServer(cluster, cluster=True)
    await server.load()
    pending = PendingNotices(server)
    kept = {shard: [Pending(raw(shard, update(shard)))] for shard in range(SHARDS)}
    assert await pending.keep(kept, NOW_MS) == {shard: [True] for shard in kept}
    claimed, backlog = await pending.claim(range(SHARDS), NOW_MS, NOW_MS + 1_000, 5)
    assert (len(claimed), backlog.count, backlog.oldest_ms) == (SHARDS, SHARDS, NOW_MS)
    for one in claimed:
        await pending.again(one, NOW_MS + 5_000)
    assert await pending.claim(range(SHARDS), NOW_MS, NOW_MS + 1_000, 5) == ([], backlog)
    again, _ = await pending.claim(range(SHARDS), NOW_MS + 5_000, NOW_MS + 9_000, 5)
    assert [one.pending.tries for one in again if one.pending] == [1] * SHARDS
    for one in again:
        await pending.done(one)
    _, left = await pending.claim(range(SHARDS), NOW_MS, NOW_MS, 0)
    assert (left.count, left.oldest_ms) == (0, None)
    await server.close()


async def test_payouts_under_way_are_found_on_every_node(cluster: str) -> None:
    store = Store(RedisServer(cluster, cluster=True))
    await store.load()
    for shard in range(SHARDS):
        await opened(store, shard)
    pages = await store.ages(dict.fromkeys(range(SHARDS), 0), 50)
    assert set(pages) == set(range(SHARDS))
    assert {page.cursor for page in pages.values()} == {0}
    await store.close()
