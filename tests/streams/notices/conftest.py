"""Fixtures of the notices' tests: a company, and a Redis that is empty."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from tests.streams.notices.harness import Company


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty Redis."""
    connection = redis.Redis.from_url(redis_url)
    connection.flushall()
    yield connection
    connection.flushall()
    connection.close()


@pytest.fixture
async def company() -> AsyncIterator[Company]:
    """A company that takes everything."""
    async with Company() as made:
        yield made
