"""Worker processes that are stopped, killed, frozen or fail, on a real broker."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from streams.demo.embedded import EmbeddedBroker
from streams.engine import ExitCode
from tests.conftest import Names
from tests.streams.engine.harness import (
    PARTITIONS,
    WorkerProcess,
    committed,
    fill,
    make_topic,
    read_values,
)

StartWorker = Callable[..., WorkerProcess]


def contiguous_end(done: set[tuple[int, int]], partition: int) -> int:
    """The offset after the last one done without a gap, from the partition's start."""
    offset = 0
    while (partition, offset) in done:
        offset += 1
    return offset


def test_sigterm_finishes_the_batch_in_hand_and_commits_exactly_that(
    broker: str, topic: str, group: str, worker: StartWorker
) -> None:
    fill(broker, topic, 400)
    running = worker(batch_s=1.0, settings={"batch_messages_max": 50})
    running.until(lambda: len(running.notes("begin")) == 2)

    running.send(signal.SIGTERM)
    asked_at = time.monotonic()

    assert running.exit_code(timeout_s=10) == ExitCode.OK
    assert time.monotonic() - asked_at < 4
    begun, ended = running.offsets("begin"), running.offsets("end")
    assert begun == ended
    assert len(ended) == 100
    stored = committed(broker, group, topic)
    for partition in range(PARTITIONS):
        assert stored.get(partition, 0) == contiguous_end(set(ended), partition)


def test_a_stop_is_bounded_when_the_batch_never_ends(
    broker: str, topic: str, group: str, worker: StartWorker
) -> None:
    fill(broker, topic, 20)
    running = worker(batch_s=600, settings={"drain_timeout_s": 0.5, "stop_timeout_s": 5})
    running.until(lambda: running.notes("begin"))
    running.send(signal.SIGINT)
    assert running.exit_code(timeout_s=6) in (ExitCode.OK, ExitCode.STOP_TIMED_OUT)
    assert committed(broker, group, topic) == {}


def test_a_stop_is_bounded_when_the_event_loop_is_blocked(
    broker: str, topic: str, worker: StartWorker
) -> None:
    fill(broker, topic, 20)
    bounds = {"drain_timeout_s": 0.5, "stop_timeout_s": 1, "progress_timeout_s": 2}
    running = worker(batch_s=600, blocks=True, settings=bounds)
    running.until(lambda: running.notes("begin"))
    # The loop never sees the signal: only the watchdog's thread is left to act.
    running.send(signal.SIGTERM)
    assert running.exit_code(timeout_s=8) == ExitCode.STALLED


def test_kill_9_loses_nothing_and_repeats_only_what_was_not_committed(
    broker: str, topic: str, group: str, worker: StartWorker
) -> None:
    fill(broker, topic, 2_400)
    killed = worker("killed", batch_s=0.02, settings={"batch_messages_max": 40})
    survivor = worker("survivor", batch_s=0.02, settings={"batch_messages_max": 40})
    killed.until(lambda: len(killed.offsets("end")) > 200)
    survivor.until(lambda: len(survivor.offsets("end")) > 200)

    killed.send(signal.SIGKILL)
    killed.exit_code(timeout_s=5)
    stored = committed(broker, group, topic)
    begun = len(survivor.notes("begin"))
    done = lambda: set(killed.offsets("end")) | set(survivor.offsets("end"))  # noqa: E731
    survivor.until(lambda: len(done()) == 2_400, timeout_s=30)

    assert done() == {(p, o) for p in range(PARTITIONS) for o in range(600)}
    later = [pair for entry in survivor.notes("begin")[begun:] for pair in entry["offsets"]]
    assert [pair for pair in later if pair[1] < stored.get(pair[0], 0)] == []


def test_an_agent_that_raises_ends_the_process_and_its_batch_comes_again(
    broker: str, topic: str, group: str, worker: StartWorker
) -> None:
    fill(broker, topic, 200)
    failing = worker("failing", raise_on="150", settings={"batch_messages_max": 20})

    assert failing.exit_code(timeout_s=15) == ExitCode.AGENT_RAISED
    finished = set(failing.offsets("end"))
    unfinished = set(failing.offsets("begin")) - finished
    assert unfinished
    for partition, offset in committed(broker, group, topic).items():
        assert offset == contiguous_end(finished, partition)
    assert "an agent that raises" in failing.log.read_text()

    second = worker("second")
    second.until(lambda: len(finished | set(second.offsets("end"))) == 200)
    assert not finished & set(second.offsets("begin"))
    assert unfinished <= set(second.offsets("end"))


def test_work_that_never_finishes_ends_the_process(
    broker: str, topic: str, group: str, worker: StartWorker
) -> None:
    fill(broker, topic, 20)
    running = worker(never_acks=True, settings={"progress_timeout_s": 2})
    assert running.exit_code(timeout_s=15) == ExitCode.STALLED
    assert "none was finished" in running.log.read_text()
    assert committed(broker, group, topic) == {}


@pytest.mark.skipif(bool(os.environ.get("KAFKA_BOOTSTRAP")), reason="needs a broker to freeze")
def test_a_broker_that_is_gone_for_seconds_is_ridden_out(names: Names, worker: StartWorker) -> None:
    with EmbeddedBroker() as own:
        source = make_topic(own.bootstrap, names.topic())
        output = make_topic(own.bootstrap, names.topic("output"))
        fill(own.bootstrap, source, 800)
        running = worker(
            brokers=own.bootstrap,
            topic=source,
            output=output,
            batch_s=0.05,
            settings={"batch_messages_max": 50, "fetch_wait_max_ms": 50},
        )
        running.until(lambda: len(running.offsets("end")) > 150)
        own.pause()
        time.sleep(3.0)  # longer than the session timeout
        own.resume()
        fill(own.bootstrap, source, 100, first=800)
        running.until(lambda: len(set(running.offsets("end"))) == 900, timeout_s=40)
        running.send(signal.SIGTERM)
        assert running.exit_code(timeout_s=10) == ExitCode.OK
        expected = {str(number).encode() for number in range(900)}
        assert read_values(own.bootstrap, output, expected) == expected
