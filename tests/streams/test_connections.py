"""From settings to the engine's settings and to a Redis client."""

import pytest
import redis

from streams.connections import engine_settings, redis_client
from streams.settings import load_settings


def test_the_engine_gets_what_is_set() -> None:
    engine = engine_settings(
        load_settings(
            kafka_brokers="a:1",
            group_id="g",
            group_instance_id="w-0",
            assignment_strategy="range",
            session_timeout_ms=6_000,
            batch_max=123,
            drain_timeout_s=7,
            stall_timeout_s=33,
            fetch_wait_ms=10,
            fetch_min_bytes=100_000,
        )
    )
    assert (engine.brokers, engine.group_id, engine.instance_id) == ("a:1", "g", "w-0")
    assert (engine.assignment, engine.session_timeout_ms) == ("range", 6_000)
    assert (engine.batch_messages_max, engine.progress_timeout_s) == (123, 33)
    assert (engine.drain_timeout_s, engine.stop_timeout_s) == (7, 17)
    assert engine.consumer()["fetch.min.bytes"] == 100_000
    assert engine.consumer()["fetch.wait.max.ms"] == 10


def test_changes_win() -> None:
    assert engine_settings(load_settings(), batch_messages_max=9).batch_messages_max == 9


def test_security_reaches_librdkafka_as_the_admin_client_has_it() -> None:
    settings = load_settings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-256",
        kafka_sasl_username="user",
        kafka_sasl_password="word",
        kafka_ssl_ca="/ca.pem",
        kafka_ssl_cert="/cert.pem",
        kafka_ssl_key="/key.pem",
        kafka_ssl_key_password="key-word",
    )
    engine = engine_settings(settings).connection()
    for name, value in settings.kafka_client().items():
        assert engine.get(name, engine.get(name + "s")) == value, name


@pytest.mark.parametrize("session_timeout_ms", [1_000, 10_000, 1_800_000])
@pytest.mark.parametrize("drain_timeout_s", [1, 600])
def test_every_allowed_timeout_suits_the_engine(
    session_timeout_ms: int, drain_timeout_s: int
) -> None:
    settings = load_settings(
        session_timeout_ms=session_timeout_ms, drain_timeout_s=drain_timeout_s, batch_max=10_000
    )
    assert engine_settings(settings).session_timeout_ms == session_timeout_ms


def test_the_redis_client_logs_in(redis_url: str) -> None:
    admin = redis.Redis.from_url(redis_url)
    admin.acl_setuser("operator", enabled=True, passwords=["+word"], commands=["+ping"])
    try:
        client = redis_client(
            load_settings(redis_url=redis_url, redis_username="operator", redis_password="word")
        )
        assert client.ping()
        client.close()
        wrong = redis_client(
            load_settings(redis_url=redis_url, redis_username="operator", redis_password="x")
        )
        with pytest.raises(redis.AuthenticationError):
            wrong.ping()
        wrong.close()
    finally:
        admin.acl_deluser("operator")
        admin.close()
