"""When waiting counts as stalled, and that the process is ended then."""

import threading

from streams.engine import ExitCode
from streams.engine.watchdog import Deadline, Progress, Watchdog


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_waiting_work_is_stalled_after_the_bound_and_not_before() -> None:
    clock = Clock()
    progress = Progress(10.0, clock)
    clock.now = 110.0
    assert progress.stalled_for_s(True, progress_at=100.0) is None
    clock.now = 110.1
    assert progress.stalled_for_s(True, progress_at=100.0) is not None


def test_a_quiet_hour_is_not_held_against_new_work() -> None:
    clock = Clock()
    progress = Progress(10.0, clock)
    clock.now = 3_700.0
    assert progress.stalled_for_s(False, progress_at=100.0) is None
    clock.now = 3_705.0
    assert progress.stalled_for_s(True, progress_at=100.0) is None
    clock.now = 3_710.1
    assert progress.stalled_for_s(True, progress_at=100.0) is not None


def test_finished_work_starts_the_wait_anew() -> None:
    clock = Clock()
    progress = Progress(10.0, clock)
    clock.now = 120.0
    assert progress.stalled_for_s(True, progress_at=115.0) is None


def test_the_process_ends_with_the_code_for_a_stall() -> None:
    ended: list[int] = []
    done = threading.Event()
    dog = Watchdog(lambda: "nothing moves", 0.1, lambda code: (ended.append(code), done.set())[0])
    dog.start()
    assert done.wait(2)
    assert ended == [ExitCode.STALLED]


def test_a_watchdog_that_was_finished_ends_nothing() -> None:
    ended: list[int] = []
    dog = Watchdog(lambda: "nothing moves", 1.0, ended.append)
    dog.finish()
    dog.start()
    dog.join(2)
    assert ended == []


def test_a_deadline_expires_unless_cancelled() -> None:
    ended: list[int] = []
    done = threading.Event()
    kept = Deadline(0.05, ExitCode.STOP_TIMED_OUT, lambda code: (ended.append(code), done.set())[0])
    cancelled = Deadline(0.05, ExitCode.AGENT_RAISED, ended.append)
    cancelled.cancel()
    assert done.wait(2)
    assert ended == [ExitCode.STOP_TIMED_OUT]
    kept.cancel()
