"""Real servers for the tests: one embedded broker and one embedded Redis a session.

`KAFKA_BOOTSTRAP` and `PAYOUTS_TEST_REDIS_URL` point the same tests at other servers, and
`--kafka apache` at an Apache Kafka that is started for them. tests/kafka, which needs one, is left
out unless it is named.
"""

import itertools
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from streams.demo.apache import ApacheKafka, ApacheUnavailable, jars_directory
from streams.demo.embedded import EmbeddedBroker, EmbeddedRedis, EmbeddedUnavailable
from streams.topics import ALL_TOPICS

_SESSION_TIMEOUT_S_MAX = 15.0
_APACHE_TESTS = Path(__file__).parent / "kafka"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--kafka`: which broker is started where none is given; with tests/kafka, always Apache."""
    parser.addoption("--kafka", choices=["embedded", "apache"], default="embedded")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what needs Java, unless it is named on the command line."""
    if collection_path != _APACHE_TESTS:
        return None
    return None if _names_apache_tests(config) else True


def _names_apache_tests(config: pytest.Config) -> bool:
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return any(_APACHE_TESTS in (path, *path.parents) for path in named)


def _on_apache(config: pytest.Config) -> bool:
    return config.getoption("kafka") == "apache" or _names_apache_tests(config)


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


def _unavailable(error: EmbeddedUnavailable | ApacheUnavailable) -> None:
    # Locally a platform without a build is no reason to fail; in CI it would hide every test.
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def broker(pytestconfig: pytest.Config) -> Iterator[str]:
    """host:port of a Kafka-protocol broker that lives as long as the session."""
    given = os.environ.get("KAFKA_BOOTSTRAP")
    if given:
        yield given
        return
    try:
        if _on_apache(pytestconfig):
            server: ApacheKafka | EmbeddedBroker = ApacheKafka(jars_directory(), brief=True)
        else:
            server = EmbeddedBroker()
        server.start()
    except (EmbeddedUnavailable, ApacheUnavailable) as error:
        _unavailable(error)
        return
    yield server.bootstrap
    server.stop()


@pytest.fixture
def own_broker(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Iterator[str]:
    """host:port of a broker without any of the product's topics, which this test may make.

    An embedded one is started for it; a real one is shared, and the topics deleted afterwards.
    """
    if os.environ.get("KAFKA_BOOTSTRAP") or _on_apache(pytestconfig):
        bootstrap: str = request.getfixturevalue("broker")
        with lent_topics(bootstrap):
            yield bootstrap
        return
    try:
        server = EmbeddedBroker().start()
    except EmbeddedUnavailable as error:
        _unavailable(error)
        return
    yield server.bootstrap
    # It waits for every connection to close if asked; nothing here is worth that.
    server.kill()
    server.stop()


@contextmanager
def lent_topics(bootstrap: str) -> Iterator[None]:
    """The product's topic names for a while; what was made under them is deleted afterwards."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    # Somebody's events and wallets may be in them: what was there before is never touched.
    if found := _product_topics(admin):
        pytest.fail(f"the Kafka at {bootstrap} has {', '.join(found)}: give the tests an empty one")
    try:
        yield
    finally:
        _delete_topics(admin)
        _forget_groups(admin)


def _delete_topics(admin: AdminClient) -> None:
    # What was made or deleted a moment ago need not be known to the broker that is asked.
    deadline = time.monotonic() + _SESSION_TIMEOUT_S_MAX
    while (made := _product_topics(admin)) and time.monotonic() < deadline:
        for deletion in admin.delete_topics(made).values():
            deletion.exception(timeout=10)
        time.sleep(0.05)


def _forget_groups(admin: AdminClient) -> None:
    # Offsets of deleted topics would make the next test's workers skip its first messages. A
    # killed worker is a member until its session ends.
    deadline = time.monotonic() + _SESSION_TIMEOUT_S_MAX
    while time.monotonic() < deadline:
        groups = admin.list_consumer_groups(request_timeout=10).result(timeout=10).valid
        ours = [group.group_id for group in groups if group.group_id.startswith("payouts")]
        deletions = admin.delete_consumer_groups(ours).values() if ours else []
        if all(deletion.exception(timeout=10) is None for deletion in deletions):
            return
        time.sleep(0.2)


def _product_topics(admin: AdminClient) -> list[str]:
    existing = admin.list_topics(timeout=10).topics
    return [topic.name for topic in ALL_TOPICS if topic.name in existing]


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
