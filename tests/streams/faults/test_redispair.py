"""The pair, on real servers: what is lost when, and what is not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from streams.demo.embedded import EmbeddedUnavailable
from streams.faults.proxy import Network
from streams.faults.redispair import RedisPair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[RedisPair]:
    with Network() as network:
        pair = RedisPair(tmp_path, network)
        try:
            pair.start()
        except EmbeddedUnavailable as error:
            pytest.skip(str(error))
        yield pair
        pair.stop()


def soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_failover_behind_a_cut_link_loses_what_was_acknowledged(pair: RedisPair) -> None:
    pair.told("SET", "before", "1")
    soon(pair.level)
    first = pair.primary.port
    pair.link.cut()
    pair.told("SET", "lost", "1")
    pair.primary.kill()
    pair.fail_over()
    assert pair.primary.port != first
    assert pair.told("GET", "before") == b"1"
    assert pair.told("GET", "lost") is None
    pair.told("SET", "after", "1")
    pair.rejoin()
    soon(pair.level)
    assert pair.replica.port == first
    with redis.Redis(port=first) as replica:
        assert set(replica.keys()) == {
            b"before",
            b"after",
        }


def test_a_primary_on_a_new_disk_is_empty_and_its_replica_too(pair: RedisPair) -> None:
    pair.told("SET", "before", "1")
    soon(pair.level)
    pair.primary.kill()
    pair.empty_primary()
    assert pair.told("DBSIZE") == 0
    soon(pair.level)
    with redis.Redis(port=pair.replica.port) as replica:
        assert replica.dbsize() == 0


def test_a_killed_primary_has_its_file(pair: RedisPair) -> None:
    pair.told("SET", "before", "1")
    time.sleep(1.3)  # the file is written every second
    pair.primary.kill()
    pair.primary.start()
    assert pair.told("GET", "before") == b"1"
    soon(pair.follows)
