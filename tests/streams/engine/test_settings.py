"""Settings become librdkafka's, wrong ones are refused, secrets stay secret."""

from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from pydantic import ValidationError

from streams.engine import EngineSettings


def settings(**changes: Any) -> EngineSettings:
    return EngineSettings(**{"brokers": "127.0.0.1:1", "group_id": "group", **changes})


def test_librdkafka_knows_every_setting() -> None:
    chosen = settings(
        instance_id="worker-1",
        compression="lz4",
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="payouts",
        sasl_password="secret",
        ssl_key_password="secret",
        client_config={"broker.address.family": "v4", "log_level": 0},
    )
    Consumer(chosen.consumer()).close()
    assert Producer(chosen.producer()) is not None


def test_offsets_are_never_committed_by_librdkafka_itself() -> None:
    config = settings().consumer()
    assert config["enable.auto.commit"] is False
    assert config["enable.auto.offset.store"] is False


def test_the_producer_is_idempotent_partitions_like_java_and_does_not_compress() -> None:
    config = settings().producer()
    assert config["enable.idempotence"] is True
    assert config["partitioner"] == "murmur2_random"
    assert config["compression.type"] == "none"


def test_secrets_are_not_shown() -> None:
    chosen = settings(
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="payouts",
        sasl_password="hunter2",
    )
    assert "hunter2" not in repr(chosen)
    assert chosen.connection()["sasl.password"] == "hunter2"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heartbeat_ms": 2_001, "session_timeout_ms": 6_000}, "third of session_timeout_ms"),
        ({"inbox_messages_max": 499, "batch_messages_max": 500}, "one batch"),
        ({"stop_timeout_s": 10, "drain_timeout_s": 10}, "longer than drain_timeout_s"),
        ({"session_timeout_ms": 300_000}, "longer than session_timeout_ms"),
        ({"poll_interval_max_ms": 10_000, "session_timeout_ms": 6_000}, "drain_timeout_s"),
        ({"security_protocol": "SASL_SSL"}, "needs sasl_mechanism"),
        ({"brokers": ""}, "brokers"),
        ({"assignment": "sticky"}, "assignment"),
        ({"bach_messages_max": 1}, "bach_messages_max"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**changes)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings().group_id = "other"  # type: ignore[misc]


def test_the_embedded_broker_gets_a_short_session() -> None:
    chosen = EngineSettings.embedded("127.0.0.1:1", "group")
    assert (chosen.session_timeout_ms, chosen.heartbeat_ms) == (6_000, 500)
    assert EngineSettings.embedded("127.0.0.1:1", "group", session_timeout_ms=3_000)
