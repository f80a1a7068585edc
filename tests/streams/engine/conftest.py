"""Fixtures of the engine's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Names
from tests.streams.engine.harness import WorkerProcess, make_topic


@pytest.fixture
def topic(broker: str, names: Names) -> str:
    """An empty topic of this test's own."""
    return make_topic(broker, names.topic())


@pytest.fixture
def group(names: Names) -> str:
    """A consumer group of this test's own."""
    return names.group()


@pytest.fixture
def worker(
    broker: str, topic: str, group: str, tmp_path: Path
) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts worker processes on the test's topic; they end with the test."""
    started: list[WorkerProcess] = []

    def start(name: str = "one", **orders: Any) -> WorkerProcess:
        common = {"brokers": broker, "topic": topic, "group": group}
        process = WorkerProcess(tmp_path, name, **{**common, **orders})
        started.append(process)
        return process

    yield start
    for process in started:
        process.end()
