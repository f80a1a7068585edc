"""The whole product, end to end, on Apache Kafka: nothing lost, nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.demo.apache import ApacheKafka
from streams.demo.company import Company, day_window
from streams.demo.run import Outcome, Progress, Run
from streams.demo.stack import GivenKafka, Stack
from tests.kafka.conftest import PARTITIONS

EVENTS = 1_200
RATE = 200.0
SEED = 11

Tick = Callable[[Progress], None]


def go(kafka: GivenKafka | None, *, crashes: int = 0, on_progress: Tick | None = None) -> Outcome:
    with Stack(kafka=kafka) as stack:
        company = Company(SEED, 60, seal=stack.seal.seal)
        start_ms, density = day_window(time.time_ns() // 1_000_000, EVENTS)
        return Run(stack, seed=SEED, on_progress=on_progress).go(
            company.profiles(start_ms),
            company.events(EVENTS, start_ms=start_ms, rate=density),
            total=EVENTS,
            rate=RATE,
            crashes=crashes,
        )


def broken(outcome: Outcome) -> list[str]:
    return [f"{check.name}: {check.detail}" for check in outcome.checks if not check.ok]


@pytest.fixture(scope="module")
def undisturbed() -> Iterator[Outcome]:
    """The same events on the embedded broker, in peace: the yardstick."""
    outcome = go(None)
    assert broken(outcome) == []
    assert outcome.crashes == 0
    assert outcome.payouts.get("settled", 0) > 100
    yield outcome


@pytest.mark.timeout(240)
def test_a_killed_worker_changes_nothing_that_was_earned(
    kafka: GivenKafka, undisturbed: Outcome
) -> None:
    disturbed = go(kafka, crashes=2)
    assert broken(disturbed) == []
    assert disturbed.crashes == 2
    assert disturbed.events_in == EVENTS
    assert disturbed.earned_sha256 == undisturbed.earned_sha256


class BrokerCrash:
    """Kills the broker that leads a partition of the sales, and starts it again."""

    def __init__(self, brokers: ApacheKafka, *, at_event: int, down_s: float) -> None:
        self._brokers = brokers
        self._at_event = at_event
        self._down_s = down_s
        self._killed_at = 0.0
        self.victim: int | None = None
        self.led_by: int | None = None
        """Who led the partition before the victim was back, if there was anybody else."""
        self.back = False

    def __call__(self, progress: Progress) -> None:
        """Do what is due; called by the run now and then."""
        now = time.monotonic()
        if self.victim is None and progress.sent >= self._at_event:
            self.victim = self._brokers.leader("sales", 0)
            self._brokers.kill(self.victim)
            self._killed_at = now
        elif self.victim is not None and not self.back and now - self._killed_at > self._down_s:
            if len(self._brokers.alive()) > 1:
                self.led_by = self._brokers.leader("sales", 0)
            self._brokers.start_broker(self.victim)
            self.back = True


@pytest.mark.timeout(240)
def test_the_leader_of_sales_is_killed_with_a_worker(
    cluster: GivenKafka, brokers: ApacheKafka, undisturbed: Outcome
) -> None:
    crash = BrokerCrash(brokers, at_event=EVENTS // 4, down_s=6.0)
    disturbed = go(cluster, crashes=1, on_progress=crash)
    assert crash.back
    assert crash.led_by not in {None, crash.victim}
    assert broken(disturbed) == []
    assert disturbed.crashes == 1
    assert disturbed.earned_sha256 == undisturbed.earned_sha256


@pytest.mark.timeout(240)
def test_the_only_broker_is_killed_and_keeps_what_it_acknowledged(
    jars: Path, undisturbed: Outcome
) -> None:
    with ApacheKafka(jars, brief=True) as alone:
        crash = BrokerCrash(alone, at_event=EVENTS // 4, down_s=1.0)
        disturbed = go(GivenKafka(alone.bootstrap, partitions=PARTITIONS), on_progress=crash)
    assert crash.back
    assert broken(disturbed) == []
    assert disturbed.earned_sha256 == undisturbed.earned_sha256
