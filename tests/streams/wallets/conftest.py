"""Fixtures of the wallets' tests: an empty Redis with the functions."""

from collections.abc import Iterator

import pytest
import redis

from streams.wallets.library import library
from tests.streams.wallets.harness import Shard


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of a Redis that is empty but for the functions, of this version only."""
    connection = redis.Redis.from_url(redis_url)
    connection.flushall()
    connection.function_flush()
    connection.function_load(library().source)
    yield connection
    connection.flushall()
    connection.close()


@pytest.fixture
def shard(client: redis.Redis) -> Shard:
    """An empty shard."""
    return Shard(client)
