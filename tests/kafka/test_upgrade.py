"""A new version replaces the old one, worker by worker, under load: nothing lost, nothing twice."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from streams.demo.company import Company, day_window
from streams.demo.messages import Message
from streams.demo.process import free_port
from streams.demo.run import Progress, Run
from streams.demo.stack import GivenKafka, Stack

EVENTS = 1_200
RATE = 100.0
SEED = 12
ROOT = Path(__file__).parents[2]


def next_version(directory: Path) -> Path:
    """The product as it is, but for a comment in the Redis functions: a library of another name."""
    for package in ("models", "rails", "streams"):
        shutil.copytree(ROOT / package, directory / package)
    lua = directory / "streams" / "wallets" / "functions" / "shard.lua"
    lua.write_text(lua.read_text() + "\n-- The next version.\n")
    return directory


class Upgrade:
    """Once events flow, replaces two workers one by one, in a thread of its own."""

    def __init__(self, stack: Stack, code: Path) -> None:
        self._stack = stack
        self._code = code
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._sent = 0
        self.codes: list[int | None] = []
        self.sent: list[int] = []
        """Events that were sent when each of the old ones was asked to end."""
        self._last = threading.Event()

    def __call__(self, progress: Progress) -> None:
        """Begin when it is time; called by the run now and then."""
        self._sent = progress.sent
        if progress.booked > EVENTS // 20 and self._thread.ident is None:
            self._thread.start()

    def _go(self) -> None:
        # The first one's webhooks go to its successor, as behind a service's address: what is sent
        # to a port where nobody listens any more, the rail gives up after a while.
        webhook_ports = (self._stack.webhook_port, free_port())
        for old, webhook_port in zip(list(self._stack.workers), webhook_ports, strict=True):
            self.sent.append(self._sent)
            if len(self.sent) == 2:
                self._last.set()
            self.codes.append(self._stack.stop_worker(old))
            port = free_port()
            new = self._stack.start_worker(
                code=self._code, metrics_port=port, webhook_port=webhook_port
            )
            self._stack.await_worker(new, port)

    def held_back(self, messages: Iterable[Message]) -> Iterator[Message]:
        """The messages; the last third not before the second worker is asked to end."""
        for number, message in enumerate(messages):
            if number == EVENTS * 2 // 3:
                assert self._last.wait(60.0)
            yield message

    def join(self) -> None:
        """Wait until all are replaced."""
        self._thread.join(60.0)
        assert not self._thread.is_alive()


def libraries(stack: Stack) -> int:
    """Versions of the functions that Redis has."""
    client = Redis.from_url(stack.redis.url)
    try:
        return len(client.function_list(library="payouts_*"))
    finally:
        client.close()


@pytest.mark.timeout(240)
def test_workers_are_replaced_one_by_one_by_a_new_version_under_load(
    kafka: GivenKafka, tmp_path: Path
) -> None:
    code = next_version(tmp_path)
    with Stack(kafka=kafka) as stack:
        port = free_port()
        stack.await_worker(stack.start_worker(metrics_port=port, webhook_port=free_port()), port)
        upgrade = Upgrade(stack, code)
        company = Company(SEED, 60, seal=stack.seal.seal)
        start_ms, density = day_window(time.time_ns() // 1_000_000, EVENTS)
        outcome = Run(stack, seed=SEED, on_progress=upgrade).go(
            company.profiles(start_ms),
            upgrade.held_back(company.events(EVENTS, start_ms=start_ms, rate=density)),
            total=EVENTS,
            rate=RATE,
        )
        upgrade.join()
        assert libraries(stack) == 2
    # Each of the old ones ended in order, and events came all the while.
    assert upgrade.codes == [0, 0]
    assert max(upgrade.sent) < EVENTS
    assert [f"{check.name}: {check.detail}" for check in outcome.checks if not check.ok] == []
    assert outcome.events_in == EVENTS
    assert outcome.payouts.get("settled", 0) > 100
