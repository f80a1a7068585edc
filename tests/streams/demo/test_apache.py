"""What can be said of Apache Kafka's brokers without running one; tests/kafka runs them."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from streams.demo.apache import VERSION, ApacheKafka, ApacheUnavailable, jars_directory

ROOT = Path(__file__).parents[3]


def properties(kafka: ApacheKafka, broker: int) -> dict[str, str]:
    return dict(kafka._properties(broker))


def test_it_is_the_version_that_maven_gets_and_compose_runs() -> None:
    pom = ElementTree.parse(ROOT / "tests/kafka/pom.xml")
    assert pom.findtext(".//{*}kafka.version") == VERSION
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{VERSION}"


def test_without_jars_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    with pytest.raises(ApacheUnavailable, match=r"make test-kafka.*KAFKA_BOOTSTRAP") as refused:
        jars_directory()
    assert "\n" not in str(refused.value)
    cached = tmp_path / "payout-streams" / f"kafka-{VERSION}"
    cached.mkdir(parents=True)
    with pytest.raises(ApacheUnavailable, match="no Apache Kafka"):
        jars_directory()
    (cached / f"kafka_2.13-{VERSION}.jar").touch()
    assert jars_directory() == cached


def test_without_java_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ApacheUnavailable, match="no java"):
        jars_directory()


def test_three_brokers_keep_three_copies_and_write_to_two(tmp_path: Path) -> None:
    three = ApacheKafka(tmp_path, brokers=3, directory=tmp_path)
    told = properties(three, 2)
    assert told["node.id"] == "2"
    assert told["default.replication.factor"] == told["offsets.topic.replication.factor"] == "3"
    assert told["min.insync.replicas"] == "2"
    assert told["unclean.leader.election.enable"] == "false"
    assert three.replication == 3
    alone = properties(ApacheKafka(tmp_path, directory=tmp_path), 0)
    assert alone["min.insync.replicas"] == alone["offsets.topic.replication.factor"] == "1"


def test_workers_are_told_of_the_ports_in_front_of_the_brokers(tmp_path: Path) -> None:
    kafka = ApacheKafka(tmp_path, brokers=3, directory=tmp_path, advertised=[7001, 7002, 7003])
    assert kafka.outside_bootstrap == "127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003"
    told = properties(kafka, 1)
    assert f"OUTSIDE://127.0.0.1:{kafka.outside_ports[1]}," in told["listeners"]
    assert told["advertised.listeners"].endswith("OUTSIDE://127.0.0.1:7002")
    assert f"DIRECT://127.0.0.1:{kafka.ports[1]}" in told["advertised.listeners"]
    plain = ApacheKafka(tmp_path, brokers=2, directory=tmp_path)
    assert plain.advertised == plain.outside_ports
    with pytest.raises(ValueError, match="advertised ports"):
        ApacheKafka(tmp_path, brokers=3, directory=tmp_path, advertised=[7001])


def test_a_broker_that_does_not_run_cannot_be_frozen(tmp_path: Path) -> None:
    kafka = ApacheKafka(tmp_path, directory=tmp_path)
    assert kafka.alive() == []
    with pytest.raises(ApacheUnavailable, match="broker 0 does not run"):
        kafka.pause(0)
