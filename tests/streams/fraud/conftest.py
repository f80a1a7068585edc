"""Fixtures of the fraud tests: an empty Redis."""

from collections.abc import Iterator

import pytest
import redis


@pytest.fixture
def empty_redis(redis_url: str) -> Iterator[str]:
    """The address of a Redis that knows nothing of an earlier test's events."""
    connection = redis.Redis.from_url(redis_url)
    connection.flushall()
    yield redis_url
    connection.flushall()
    connection.close()
