"""Real servers for the tests: one embedded broker and one embedded Redis a session.

`KAFKA_BOOTSTRAP` and `PAYOUTS_TEST_REDIS_URL` point the same tests at other servers.
"""

import itertools
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from streams.demo.embedded import EmbeddedBroker, EmbeddedRedis, EmbeddedUnavailable


@dataclass
class Names:
    """Names no other test uses, so that tests share one broker and do not meet."""

    prefix: str
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def topic(self, stem: str = "topic") -> str:
        """A topic name."""
        return f"{stem}.{self.prefix}.{next(self._numbers)}"

    def group(self, stem: str = "group") -> str:
        """A consumer group name."""
        return f"{stem}-{self.prefix}-{next(self._numbers)}"


def _unavailable(error: EmbeddedUnavailable) -> None:
    # Locally a platform without a build is no reason to fail; in CI it would hide every test.
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """host:port of a Kafka-protocol broker that lives as long as the session."""
    given = os.environ.get("KAFKA_BOOTSTRAP")
    if given:
        yield given
        return
    try:
        server = EmbeddedBroker().start()
    except EmbeddedUnavailable as error:
        _unavailable(error)
        return
    yield server.bootstrap
    server.stop()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """redis:// address of a server that lives as long as the session."""
    given = os.environ.get("PAYOUTS_TEST_REDIS_URL")
    if given:
        yield given
        return
    try:
        server = EmbeddedRedis().start()
    except EmbeddedUnavailable as error:
        _unavailable(error)
        return
    yield server.url
    server.stop()


@pytest.fixture
def names() -> Names:
    """Topic and group names of this test's own."""
    return Names(uuid.uuid4().hex[:8])
