"""Asking Redis: what a command that only looks reads there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from streams.cli.errors import CommandError

T = TypeVar("T")


def asked(ask: Callable[[Any], T]) -> T:
    """What Redis has; ``ask`` is given a blocking client. Raises CommandError."""
    from redis.exceptions import RedisError

    from streams.connections import redis_client
    from streams.settings import load_settings

    settings = load_settings()
    client = redis_client(settings)
    try:
        return ask(client)
    except (RedisError, OSError) as error:
        raise CommandError(f"{settings.redis_address}: {error}") from error
    finally:
        client.close()
