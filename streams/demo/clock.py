"""A worker whose wall clock is wrong: ``python -m streams.demo.clock FILE worker``.

Runs the command line with the wall clock set off by what FILE says, which may change at any moment.
The monotonic clock stays as it is, as it does on a machine whose time is corrected.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

_FORMAT = struct.Struct("<q")


class ClockFile:
    """A file of eight bytes: how far a clock is ahead, in milliseconds."""

    def __init__(self, path: Path) -> None:
        """Make the file if there is none."""
        self.path = path
        if not path.exists():
            path.write_bytes(_FORMAT.pack(0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _FORMAT.size)

    def ahead_ms(self) -> int:
        """How far the clock is ahead; negative: behind."""
        ahead_ms: int = _FORMAT.unpack_from(self._memory)[0]
        return ahead_ms

    def set(self, ahead_ms: int) -> None:
        """Set the clock of whoever reads the file."""
        _FORMAT.pack_into(self._memory, 0, ahead_ms)


def set_off(clock: ClockFile) -> None:
    """Make this process's wall clock follow a file, for good."""
    real_ns, real = time.time_ns, time.time
    # By setattr: the clock is nobody's to assign to, and this process's only purpose is to do so.
    setattr(time, "time_ns", lambda: real_ns() + clock.ahead_ms() * 1_000_000)  # noqa: B010
    setattr(time, "time", lambda: real() + clock.ahead_ms() / 1000)  # noqa: B010


def main() -> None:
    """Run the command line of the product on a clock of its own."""
    set_off(ClockFile(Path(sys.argv[1])))
    sys.argv = ["payouts", *sys.argv[2:]]
    from streams.cli import main as payouts  # noqa: PLC0415 - after the clock

    payouts()


if __name__ == "__main__":
    main()
