"""A child process that never outlives its parent and logs to a file."""

import atexit
import contextlib
import ctypes
import random
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_STOP_TIMEOUT_S = 5.0
_TAIL_BYTES_MAX = 64 * 1024

_OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_PORT_MIN = 12_000
_PORT_ATTEMPTS_MAX = 100
_given_ports: set[int] = set()

_running: weakref.WeakSet["ChildProcess"] = weakref.WeakSet()


def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago; another process may still take it.

    It is none that the system gives to outgoing connections, so that a server which is killed and
    started again finds it free: while the server is down, a client of it that tries again and
    again would sooner or later be given that port, and be connected to itself.
    """
    for _ in range(_PORT_ATTEMPTS_MAX):
        port = random.randrange(_PORT_MIN, _outgoing_port_min())
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in _given_ports:
                _given_ports.add(port)
                return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        taken: int = probe.getsockname()[1]
        return taken


def _outgoing_port_min() -> int:
    # Elsewhere than on Linux they begin higher.
    with contextlib.suppress(OSError, ValueError):
        least = int(_OUTGOING_PORTS.read_text(encoding="ascii").split()[0])
        return max(least, _PORT_MIN + 1)
    return 32_768


def accepts_connections(port: int) -> bool:
    """Whether something listens on 127.0.0.1:`port`."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False


def _death_with_parent() -> Callable[[], None] | None:
    # Linux ties the signal to the *thread* that forked, so a child started from a short-lived
    # thread would die with that thread: only the main thread may ask for it.
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask


class ChildProcess:
    """One child process in a session of its own: Ctrl-C reaches the parent, not the child.

    The child's output is appended to `log`. It ends with `stop`, `kill`, the parent's exit and,
    on Linux, the parent's sudden death.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the command is our own
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=environment,
                start_new_session=True,
                preexec_fn=_death_with_parent(),  # noqa: PLW1509 - only calls prctl
            )
        _running.add(self)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """How the child ended, None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send one signal, if the child still runs."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """Ask the child to end and kill it when it has not after `timeout_s`."""
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        _running.discard(self)

    def kill(self) -> None:
        """End the child at once (SIGKILL)."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        _running.discard(self)

    def log_tail(self, lines: int = 5) -> str:
        """The last lines the child wrote, on one line, for an error message."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _TAIL_BYTES_MAX))
            text = log.read().decode(errors="replace")
        return " | ".join(text.strip().splitlines()[-lines:])


def _kill_all() -> None:
    for child in list(_running):
        child.kill()


atexit.register(_kill_all)
