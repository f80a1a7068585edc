"""Fixtures of the wallets' tests: an empty Redis with the functions, and an empty broker."""

from collections.abc import Iterator

import pytest
import redis

from streams.demo.embedded import EmbeddedBroker
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


@pytest.fixture
def own_broker() -> Iterator[str]:
    """host:port of a broker of this test's own: topics have their real names."""
    server = EmbeddedBroker().start()
    yield server.bootstrap
    # It waits for every connection to close if asked; nothing here is worth that.
    server.kill()
    server.stop()
