"""A clock of its own for a process, changed while it runs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from streams.demo.clock import ClockFile

CHILD = """
import sys, time
from pathlib import Path
from streams.demo.clock import ClockFile, set_off
set_off(ClockFile(Path(sys.argv[1])))
from streams.worker import now_ms
for _ in sys.stdin:
    print(now_ms(), int(time.time() * 1000), flush=True)
"""


def test_a_process_follows_its_file(tmp_path: Path) -> None:
    clock = ClockFile(tmp_path / "clock")
    command = [sys.executable, "-c", CHILD, str(clock.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for ahead_ms in (0, 500_000, -500_000, 0):
            clock.set(ahead_ms)
            child.stdin.write("?\n")
            for told in child.stdout.readline().split():
                assert abs(int(told) - time.time_ns() // 1_000_000 - ahead_ms) < 5_000
        child.stdin.close()


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    ClockFile(tmp_path / "clock").set(-7)
    assert ClockFile(tmp_path / "clock").ahead_ms() == -7
