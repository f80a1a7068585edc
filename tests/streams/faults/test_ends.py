"""Which ends of a worker are explained by a fault, and which are violations."""

from __future__ import annotations

import pytest

from streams.engine.errors import ExitCode
from streams.faults.ends import unexplained
from streams.faults.fleet import Ended
from streams.faults.kinds import Part


def ended(code: int, log: str = "stopping: Redis was away for 21 s") -> Ended:
    return Ended(2, code, False, 30.4, log)


@pytest.mark.parametrize(
    "code",
    [
        ExitCode.AGENT_RAISED,
        ExitCode.HEAL_FAILED,
        ExitCode.STOP_TIMED_OUT,
        ExitCode.STALLED,
    ],
)
def test_an_outage_explains_that_a_worker_gives_up(code: ExitCode) -> None:
    assert unexplained(ended(code), {Part.REDIS}) == ""
    assert unexplained(ended(code), {Part.RAIL, Part.PRODUCER, Part.CLOCK})
    assert unexplained(ended(code), ())


def test_a_consumer_fails_for_kafka_only() -> None:
    assert unexplained(ended(ExitCode.CONSUMER_FAILED), {Part.KAFKA_NETWORK}) == ""
    assert unexplained(ended(ExitCode.CONSUMER_FAILED), {Part.REDIS})


@pytest.mark.parametrize("code", [ExitCode.START_FAILED, ExitCode.OK, -9, -11, 3])
def test_nothing_explains_a_failed_start_a_crash_or_a_signal(code: int) -> None:
    told = unexplained(ended(code), set(Part))
    assert f"worker 2 ended with {code}" in told
    assert "Redis was away" in told


@pytest.mark.parametrize(
    "log",
    [
        "critical: BookingFailed('error: negative')",
        "ShardMismatch: Redis holds 32 shards",
        "ResponseError: GAP {s17}:m is at 93, the next entry is 137",
        "Traceback (most recent call last): |   File x | KeyError: 'tier'",
    ],
)
def test_nothing_explains_what_is_broken(log: str) -> None:
    assert "something is broken" in unexplained(ended(ExitCode.AGENT_RAISED, log), set(Part))


def test_a_worker_that_is_asked_to_end_while_it_starts_may_die_of_the_signal() -> None:
    assert unexplained(Ended(0, -15, True, 0.4, ""), ()) == ""
    assert unexplained(Ended(0, -15, False, 0.4, ""), set(Part))


def test_a_worker_bears_an_outage_before_it_ends() -> None:
    at_once = "the worker crashed: ExceptionGroup('x', [RedisGone('Connection closed by server.')])"
    assert "at once" in unexplained(ended(ExitCode.AGENT_RAISED, at_once), {Part.REDIS})
    borne = (
        'raise RedisGone(f"Redis was away for {away_s:.0f} s") | the worker crashed: '
        "RedisGone('Redis was away for 20 s: Connection refused')"
    )
    assert unexplained(ended(ExitCode.AGENT_RAISED, borne), {Part.REDIS}) == ""
