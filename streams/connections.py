"""From settings to what the engine, the broker's admin client and Redis clients take."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import redis

from streams.engine.settings import EngineSettings
from streams.settings import Settings
from streams.wallets.server import RedisServer

_STOP_MARGIN_S = 10.0

PAGE_KEYS = 5_000
"""Keys that a walk through the key space reads in one round trip."""


def engine_settings(settings: Settings, **changes: Any) -> EngineSettings:
    """The engine's settings; `changes` win."""
    sasl = settings.kafka_security_protocol.startswith("SASL")
    files = {
        "ssl_ca_location": settings.kafka_ssl_ca,
        "ssl_certificate_location": settings.kafka_ssl_cert,
        "ssl_key_location": settings.kafka_ssl_key,
    }
    fields: dict[str, Any] = {
        "brokers": settings.kafka_brokers,
        "group_id": settings.group,
        "instance_id": settings.group_instance_id or None,
        "assignment": settings.assignment_strategy,
        "session_timeout_ms": settings.session_timeout_ms,
        "heartbeat_ms": min(500, settings.session_timeout_ms // 3),
        "poll_interval_max_ms": max(
            300_000, settings.session_timeout_ms * 2, settings.drain_timeout_s * 2_000
        ),
        "fetch_wait_max_ms": settings.fetch_wait_ms,
        "fetch_min_bytes": settings.fetch_min_bytes,
        "batch_messages_max": settings.batch_max,
        "message_bytes_max": settings.message_bytes_max,
        "drain_timeout_s": settings.drain_timeout_s,
        "delivery_timeout_ms": settings.retry_timeout_s * 1000,
        "stop_timeout_s": settings.drain_timeout_s + _STOP_MARGIN_S,
        "progress_timeout_s": settings.stall_timeout_s,
        "security_protocol": settings.kafka_security_protocol,
        **{name: str(path) for name, path in files.items() if path is not None},
    }
    if settings.kafka_ssl_key_password.get_secret_value():
        fields["ssl_key_password"] = settings.kafka_ssl_key_password
    if sasl:
        fields["sasl_mechanism"] = settings.kafka_sasl_mechanism
        fields["sasl_username"] = settings.kafka_sasl_username
        fields["sasl_password"] = settings.kafka_sasl_password
    return EngineSettings(**{**fields, **changes})


def redis_client(settings: Settings, timeout_s: float = 5.0) -> Any:
    """A blocking client of the configured Redis or Redis Cluster, for commands, not for workers."""
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        **settings.redis_options(),
    }
    if settings.redis_cluster:
        return redis.RedisCluster.from_url(settings.redis_url, **options)
    return redis.Redis.from_url(settings.redis_url, **options)


def stored(client: Any, match: str) -> Iterator[tuple[bytes, bytes]]:
    """The keys that match, and their texts, page by page; by a blocking client.

    A walk through the key space: what is there from its beginning to its end comes, perhaps twice.
    """
    keys = client.scan_iter(match=match, count=PAGE_KEYS)
    while page := list(islice(keys, PAGE_KEYS)):
        pipe = client.pipeline(transaction=False)
        for key in page:
            pipe.get(key)
        for key, value in zip(page, pipe.execute(), strict=True):
            if value is not None:
                yield key, value


def redis_server(settings: Settings) -> RedisServer:
    """The configured Redis or Redis Cluster, for what runs on an event loop."""
    return RedisServer(
        settings.redis_url, cluster=settings.redis_cluster, **settings.redis_options()
    )
