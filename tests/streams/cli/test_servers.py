"""Commands against a real broker and a real Redis: topics, dead-letters, doctor."""

import base64
import json
from collections.abc import Iterator

import pytest
import redis
from confluent_kafka import Producer
from typer.testing import CliRunner

from models.compiled import RUN, form
from models.refusals import Reason
from streams.cli import app
from streams.deadletters import dead_letter
from streams.demo.embedded import EmbeddedBroker, EmbeddedRedis
from streams.demo.process import free_port
from streams.engine import RawMessage
from streams.topics import ALL_TOPICS
from streams.wallets.library import library
from streams.wallets.store import meta_key

runner = CliRunner()


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture(scope="module")
def wallets() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(persistent=True) as running:
        yield running


@pytest.fixture(autouse=True)
def settings(
    server: EmbeddedBroker, wallets: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", server.bootstrap)
    monkeypatch.setenv("PAYOUTS_REDIS_URL", wallets.url)
    monkeypatch.setenv("PAYOUTS_PARTITIONS", "2")


@pytest.fixture(scope="module")
def topics(server: EmbeddedBroker) -> None:
    environment = {"PAYOUTS_KAFKA_BROKERS": server.bootstrap, "PAYOUTS_PARTITIONS": "2"}
    made = runner.invoke(app, ["topics", "create"], env=environment)
    assert made.exit_code == 0, made.output
    assert f"{len(ALL_TOPICS)} created, 0 were there" in made.stdout


@pytest.fixture(scope="module")
def letters(server: EmbeddedBroker, topics: None) -> None:
    producer = Producer({"bootstrap.servers": server.bootstrap})
    for offset, reason in enumerate((Reason.NOT_JSON, Reason.NOT_JSON, Reason.EMPTY)):
        raw = RawMessage("sales", 0, offset, b"s1", b"{broken %d" % offset, 0)
        sent = dead_letter(raw, reason, f"detail {offset}", 1_764_000_000_000 + offset)
        producer.produce(sent.topic, sent.value, sent.key, headers=list(sent.headers or ()))
    assert producer.flush(20) == 0


def findings() -> tuple[int, dict[str, dict[str, str]]]:
    result = runner.invoke(app, ["doctor", "--json"])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, {line["check"]: line for line in lines}


def test_topics_are_made_once(topics: None) -> None:
    again = runner.invoke(app, ["topics", "create"])
    assert again.exit_code == 0
    assert f"0 created, {len(ALL_TOPICS)} were there" in again.stdout


def test_other_partition_counts_are_refused(topics: None) -> None:
    other = runner.invoke(app, ["topics", "create", "--partitions", "4"])
    assert other.exit_code == 1
    assert "sales has 2 partitions, wanted 4" in other.stderr
    assert other.stderr.count("\n") == 1


def test_the_list_shows_where_from_and_why_but_no_contents(letters: None) -> None:
    result = runner.invoke(app, ["dead-letters", "list"])
    assert result.exit_code == 0
    assert result.stdout.count("not_json") == 2
    assert "sales:0:2" in result.stdout
    assert "broken" not in result.stdout


def test_the_list_is_filtered_and_limited(letters: None) -> None:
    words = ["dead-letters", "list", "--format", "json"]
    by_reason = runner.invoke(app, [*words, "--reason", "not_json"])
    assert [json.loads(line)["source"] for line in by_reason.stdout.splitlines()] == [
        "sales:0:0",
        "sales:0:1",
    ]
    newest = runner.invoke(app, [*words, "--limit", "1"])
    assert json.loads(newest.stdout)["reason"] == "empty"
    assert runner.invoke(app, [*words, "--since", "2030-01-01"]).stdout == ""
    assert runner.invoke(app, [*words, "--topic", "commissions"]).stdout == ""


def test_a_wrong_filter_is_bad_use() -> None:
    for words in (["--reason", "nope"], ["--since", "yesterday"]):
        assert runner.invoke(app, ["dead-letters", "list", *words]).exit_code == 2


def test_one_is_shown_with_its_bytes(letters: None) -> None:
    shown = runner.invoke(app, ["dead-letters", "show", "sales:0:1"])
    assert shown.exit_code == 0
    assert "{broken 1" in shown.stdout
    bare = runner.invoke(app, ["dead-letters", "show", "sales:0:1", "--raw"])
    assert bare.stdout_bytes == b"{broken 1"
    assert runner.invoke(app, ["dead-letters", "show", "sales:0:99"]).exit_code == 1
    assert runner.invoke(app, ["dead-letters", "show", "sales"]).exit_code == 2


def test_replay_asks_and_sends(letters: None) -> None:
    words = ["dead-letters", "replay", "--reason", "not_json"]
    declined = runner.invoke(app, words, input="n\n")
    assert declined.exit_code == 1
    assert "sent again" not in declined.stdout
    assert "2 sent again" in runner.invoke(app, words, input="y\n").stdout
    by_place = runner.invoke(app, ["dead-letters", "replay", "sales:0:2", "--yes"])
    assert "1 sent again" in by_place.stdout


def test_replay_of_everything_has_to_be_said() -> None:
    result = runner.invoke(app, ["dead-letters", "replay", "--yes"])
    assert result.exit_code == 2
    assert "say which" in result.stderr


def test_a_new_installation_warns_only(topics: None, wallets: EmbeddedRedis) -> None:
    redis.Redis.from_url(wallets.url).flushall()
    code, found = findings()
    assert code == 0, found
    assert {found[name]["status"] for name in ("kafka", "topics", "redis", "model", "plan")} == {
        "ok"
    }
    assert found["redis persistence"]["status"] == "ok"
    assert found["redis memory"]["status"] == "ok"
    assert found["features"]["detail"] == f"they and decisions run {RUN[form()]}"
    assert found["shards"]["status"] == "warn"
    assert found["functions"]["status"] == "warn"
    assert found["seal keys"]["status"] == "warn"


def test_a_running_installation_is_well(
    topics: None, wallets: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = redis.Redis.from_url(wallets.url)
    client.hset(meta_key(0), "shards", 64)
    client.function_load(library().source, replace=True)
    monkeypatch.setenv("PAYOUTS_SEAL_KEYS", "k1:" + base64.b64encode(bytes(32)).decode())
    for name in ("CLIENT_ID", "CLIENT_SECRET", "WEBHOOK_ID"):
        monkeypatch.setenv(f"PAYOUTS_PAYPAL_{name}", "x")
    code, found = findings()
    assert (code, {line["status"] for line in found.values()}) == (0, {"ok"}), found
    client.flushall()


def test_what_would_lose_money_fails(topics: None, wallets: EmbeddedRedis) -> None:
    client = redis.Redis.from_url(wallets.url)
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("appendonly", "no")
    client.hset(meta_key(0), "shards", 32)
    try:
        code, found = findings()
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "yes")
        client.flushall()
    assert code == 1
    assert found["redis memory"]["status"] == "fail"
    assert found["redis memory"]["advice"] == "set maxmemory-policy noeviction on every node"
    assert found["redis persistence"]["status"] == "warn"
    assert found["shards"]["status"] == "fail"


def test_every_broken_file_and_key_fails(
    topics: None, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYOUTS_MODEL", "/nowhere/model.json")
    monkeypatch.setenv("PAYOUTS_PLAN", __file__)
    monkeypatch.setenv("PAYOUTS_SEAL_KEYS", "k1:abc=")
    monkeypatch.setenv("PAYOUTS_PAYPAL_BASE_URL", "http://example.com")
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKER", "x")
    code, found = findings()
    assert code == 1
    failed = {name for name, line in found.items() if line["status"] == "fail"}
    assert failed == {"model", "plan", "seal keys", "paypal"}
    assert all(found[name]["advice"] for name in failed)
    assert found["environment"]["advice"] == "did you mean PAYOUTS_KAFKA_BROKERS?"


def test_topics_with_other_partitions_fail(topics: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYOUTS_PARTITIONS", "16")
    code, found = findings()
    assert (code, found["partitions"]["status"]) == (1, "fail")


def test_missing_servers_fail_in_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("PAYOUTS_REDIS_URL", f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    monkeypatch.setattr("streams.doctor._TIMEOUT_S", 1.0)
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "PAYOUTS_KAFKA_BROKERS" in result.stdout
    assert "PAYOUTS_REDIS_URL" in result.stdout
    assert "hunter2" not in result.output
    assert "checks failed" in result.stderr
