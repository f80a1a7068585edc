"""The doctor on a real Redis Cluster; on single servers see tests/streams/cli/test_servers.py."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from models.shards import SHARDS
from streams.connections import redis_client
from streams.demo.embedded import EmbeddedRedis
from streams.demo.process import free_port
from streams.doctor import Finding, Status, _redis
from streams.settings import Settings, load_settings
from streams.wallets.library import library
from streams.wallets.store import meta_key

SLOTS = 16_384


@pytest.fixture(scope="module")
def cluster() -> Iterator[Settings]:
    """Settings for three nodes that share the slots."""
    with ExitStack() as stack:
        buses = [free_port() for _ in range(3)]
        nodes = [
            stack.enter_context(
                EmbeddedRedis(
                    arguments=("--cluster-enabled", "yes", "--cluster-port", str(bus)),
                    persistent=True,
                )
            )
            for bus in buses
        ]
        clients: list[Any] = [redis.Redis(port=node.port) for node in nodes]
        for number, client in enumerate(clients):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            for node, bus in zip(nodes, buses, strict=True):
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        deadline = time.monotonic() + 30
        while not all(map(_in_order, clients)):
            assert time.monotonic() < deadline, "the nodes did not become a cluster"
            time.sleep(0.1)
        for client in clients:
            client.close()
        yield load_settings(redis_url=nodes[0].url, redis_cluster=True)


def _in_order(client: Any) -> bool:
    return b"cluster_state:ok" in bytes(client.execute_command("CLUSTER", "INFO"))


def found(settings: Settings) -> dict[str, Finding]:
    return {finding.what: finding for finding in _redis(settings)}


def test_a_new_cluster_has_no_wallets_and_no_functions(cluster: Settings) -> None:
    findings = found(cluster)
    assert findings["redis"].status is Status.OK, findings
    assert findings["redis memory"].status is Status.OK
    assert findings["redis persistence"].status is Status.OK
    assert findings["shards"].status is Status.WARN
    assert findings["functions"].status is Status.WARN


def test_shards_and_functions_are_found_on_a_cluster(cluster: Settings) -> None:
    client = redis_client(cluster)
    client.hset(meta_key(0), "shards", SHARDS)
    client.function_load(library().source, replace=True)
    client.close()
    findings = found(cluster)
    assert {finding.status for finding in findings.values()} == {Status.OK}, findings


def test_one_node_that_evicts_is_noticed(cluster: Settings) -> None:
    client = redis_client(cluster)
    node = client.get_primaries()[-1]
    client.config_set("maxmemory-policy", "allkeys-lru", target_nodes=node)
    try:
        assert found(cluster)["redis memory"].status is Status.FAIL
    finally:
        client.config_set("maxmemory-policy", "noeviction", target_nodes=node)
        client.close()


def test_a_single_server_is_not_taken_for_a_cluster(redis_url: str) -> None:
    findings = found(load_settings(redis_url=redis_url, redis_cluster=True))
    assert findings["redis"].status is Status.FAIL
    assert "PAYOUTS_REDIS_CLUSTER" in findings["redis"].advice


def test_a_cluster_is_not_taken_for_a_single_server(cluster: Settings) -> None:
    findings = found(load_settings(redis_url=cluster.redis_url))
    assert findings["redis"].status is Status.FAIL
    assert findings["redis"].advice == "set PAYOUTS_REDIS_CLUSTER=true"
