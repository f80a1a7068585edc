"""Fixtures of the API's tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from tests.streams.api.harness import Shop, shop


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of a Redis that is empty."""
    connection = redis.Redis.from_url(redis_url)
    connection.flushall()
    yield connection
    connection.flushall()
    connection.close()


@pytest.fixture
async def open_shop(
    own_broker: str, redis_url: str, client: redis.Redis, tmp_path: Path
) -> AsyncIterator[Shop]:
    """A running company and API."""
    async with shop(own_broker, redis_url, tmp_path) as made:
        yield made
