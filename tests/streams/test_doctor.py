"""The doctor on a real Redis Cluster; on single servers see tests/streams/cli/test_servers.py."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from models.shards import SHARDS
from streams.connections import redis_client
from streams.demo.embedded import EmbeddedRedis
from streams.demo.process import free_port
from streams.doctor import Finding, Status, _notices, _policy_rails, _rails, _redis
from streams.settings import DEFAULTS, Settings, load_settings
from streams.wallets.library import library
from streams.wallets.store import meta_key
from tests.streams.notices.harness import SECRET

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


def test_a_rail_of_the_policy_that_is_not_set_up_fails(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    text = (DEFAULTS / "policy.yaml").read_text(encoding="utf-8")
    policy.write_text(text.replace("rails:\n", "rails:\n  adyen: {currencies: [EUR]}\n"))
    [finding] = _policy_rails(load_settings(policy=policy))
    assert (finding.what, finding.status) == ("adyen", Status.FAIL)
    assert finding.advice == "set PAYOUTS_ADYEN_API_KEY"
    assert list(_policy_rails(load_settings(policy=policy, adyen_api_key="k"))) == []
    assert list(_policy_rails(load_settings())) == []


def test_adyen_is_told_of_where_it_is_used() -> None:
    assert [finding.what for finding in _rails(load_settings())] == ["paypal"]
    half, _ = _rails(load_settings(adyen_api_key="k"))
    assert half.status is Status.WARN
    assert half.advice == "set PAYOUTS_ADYEN_BALANCE_ACCOUNT, PAYOUTS_ADYEN_WEBHOOK_KEY"
    wrong, _ = _rails(load_settings(adyen_api_key="k", adyen_webhook_key="no"))
    assert wrong.status is Status.FAIL
    whole, _ = _rails(
        load_settings(adyen_api_key="k", adyen_balance_account="BA1", adyen_webhook_key="ab" * 32)
    )
    assert whole.status is Status.OK


def test_notices_are_told_of_where_they_are_sent() -> None:
    url = "https://company.example/token"
    assert list(_notices(load_settings())) == []
    [half] = _notices(load_settings(notices_url=url))
    assert half.status is Status.FAIL
    assert "PAYOUTS_NOTICES_SECRET: must be whsec_" in half.detail
    [plain] = _notices(load_settings(notices_url="http://company.example", notices_secret=SECRET))
    assert "PAYOUTS_NOTICES_URL: must be https" in plain.detail
    [wrong] = _notices(
        load_settings(notices_url=url, notices_secret=SECRET, notices_secret_next="whsec_x")
    )
    assert "PAYOUTS_NOTICES_SECRET_NEXT" in wrong.detail
    [whole] = _notices(load_settings(notices_url=url, notices_secret=SECRET))
    assert (whole.status, whole.detail) == (Status.OK, "https://company.example")
    [absent] = _notices(load_settings(notices_url=url, notices_secret=SECRET, roles="book"))
    assert absent.status is Status.WARN
