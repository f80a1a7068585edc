"""The stack: broker, Redis, rail sandbox and worker in child processes, on free ports.

For the demo, the replay and the tests; everything ends with this process, but for a broker that
was given to it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import Request, urlopen

from rails.destination import Seal
from rails.sandbox.server import PROVIDERS
from streams.demo.clock import ClockFile
from streams.demo.embedded import EmbeddedBroker, EmbeddedRedis
from streams.demo.process import ChildProcess, free_port
from streams.demo.ways import RAILS
from streams.settings import Settings, load_settings
from streams.topics import PARTITIONS_EMBEDDED, create_topics

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 40.0
"""Longer than a worker takes to drain and to leave its group."""

SESSION_TIMEOUT_MS = 3_000
"""The embedded broker waits half a session for a group to form, and a whole one
for a dead member."""


EXPLORE_KEY = "what a demo draws by"
ACCOUNT_KEY = "how a demo tells accounts"

POLICY = Path(__file__).parent / "policy.yaml"
"""The simulated company's terms for all its rails."""

CALL_TIMEOUT_S = 3
"""How long all that a rail is asked for one payout may take: short, so that a payout whose worker
was killed in the middle is soon asked about."""

BREAKER_OPEN_S = 0.5
"""Short, because what befalls the rail here is ordered and over at once."""


class StackFailed(RuntimeError):
    """A part of the stack did not come up, or ended by itself; one line with the end of its log."""


@dataclass(frozen=True, slots=True)
class GivenKafka:
    """A Kafka that serves already; whoever started it also stops it."""

    bootstrap: str
    workers: str = ""
    """Where workers reach it, if elsewhere: a proxy that a test can cut."""
    partitions: int = PARTITIONS_EMBEDDED
    replication: int = 1


class Stack:
    """All parts, started in order by ``with``; a worker can be killed and started again."""

    def __init__(
        self,
        *,
        retention_days: int | None = None,
        settle_delay_ms: int = 200,
        kafka: GivenKafka | None = None,
        session_timeout_ms: int = SESSION_TIMEOUT_MS,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="payouts-demo-"))
        self.broker = None if kafka else EmbeddedBroker(directory=self.directory / "broker")
        self.kafka = kafka
        self.redis = EmbeddedRedis(directory=self.directory / "redis")
        self.seal_keys = "demo:" + b64encode(os.urandom(32)).decode()
        self.seal = Seal.parse(self.seal_keys)
        self._retention_days = retention_days
        self._settle_delay_ms = settle_delay_ms
        self._session_timeout_ms = session_timeout_ms
        self._sandbox: ChildProcess | None = None
        self._children: list[ChildProcess] = []
        self.sandbox_port = free_port()
        self.webhook_port = free_port()
        self.metrics_port = free_port()
        self.settings: Settings
        self.clock = ClockFile(self.directory / "clock")

    @property
    def sandbox_url(self) -> str:
        """Where the rail sandbox listens."""
        return f"http://127.0.0.1:{self.sandbox_port}"

    @property
    def workers(self) -> Sequence[ChildProcess]:
        """The workers that should be at work, in the order in which they were started."""
        return self._children

    @property
    def worker_log(self) -> Path:
        """What the worker wrote."""
        return self.directory / "worker.log"

    def __enter__(self) -> Self:
        """Start everything. Raises StackFailed, EmbeddedUnavailable."""
        try:
            if self.broker is not None:
                self.kafka = GivenKafka(self.broker.start().bootstrap)
            self.redis.start()
            self.settings = load_settings(**self._overrides(self._given().bootstrap))
            self._start_sandbox()
            create_topics(
                self._given().bootstrap,
                self._given().partitions,
                replication=self._given().replication,
            )
            self.start_worker()
            self._await_sandbox()
            self._await_worker()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop everything; what the parts wrote is kept if it may explain an error."""
        self.stop()
        if not isinstance(error, Exception):
            shutil.rmtree(self.directory, ignore_errors=True)

    def stop(self) -> None:
        """Stop everything, the worker first."""
        for child in [*self._children, *([self._sandbox] if self._sandbox else [])]:
            child.stop()
        self.redis.stop()
        if self.broker is not None:
            self.broker.stop()

    def start_worker(self, *, code: Path | None = None, **overrides: object) -> ChildProcess:
        """Start a worker process, with settings of its own beside the stack's.

        ``code``: a directory with another version of the product.
        """
        environment = self._environment(**overrides)
        child = ChildProcess(
            [sys.executable, "-m", "streams.demo.clock", str(self.clock.path), "worker"],
            self.worker_log,
            self.directory,
            environment=environment if code is None else {**environment, "PYTHONPATH": str(code)},
        )
        self._children.append(child)
        return child

    def stop_worker(self, child: ChildProcess) -> int | None:
        """Ask a worker to end in order; its exit code."""
        self._children.remove(child)
        child.stop(STOP_TIMEOUT_S)
        return child.exit_code()

    def _await_worker(self) -> None:
        self.await_worker(self._children[-1], self.metrics_port)

    def await_worker(self, child: ChildProcess, metrics_port: int) -> None:
        """Wait until a worker has its partitions. Raises StackFailed if it ends before."""
        self._await(child, f"http://127.0.0.1:{metrics_port}/readyz", "worker")

    def kill_worker(self) -> None:
        """End the worker as a power cut would."""
        self._children.pop().kill()

    def order(self, **wish: object) -> None:
        """Tell the rail sandbox something. Raises StackFailed if it refuses or is gone."""
        request = Request(  # noqa: S310 - our own address
            f"{self.sandbox_url}/sandbox/control",
            data=json.dumps(wish).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urlopen(request, timeout=10):  # noqa: S310 - our own address
                return
        except (URLError, OSError) as error:
            raise StackFailed(f"the rail sandbox refuses {wish}: {error}") from error

    def put_ahead(self, ahead_ms: int) -> None:
        """Set the clocks of the worker and of the rail so far ahead. Only once: a clock of the
        rail's cannot be put back. Raises StackFailed."""
        self.order(advance_ms=ahead_ms)
        self.clock.set(ahead_ms)

    def webhooks_waiting(self) -> int:
        """Webhooks that the rail sandbox has yet to deliver; 0 if it does not answer."""
        try:
            with urlopen(f"{self.sandbox_url}/sandbox/summary", timeout=5) as answer:  # noqa: S310 - our own address
                return int(json.load(answer)["webhooks"]["waiting"])
        except (URLError, OSError):
            return 0

    def check(self) -> None:
        """Raise StackFailed if the worker has ended by itself."""
        for child in self._children:
            code = child.exit_code()
            if code is not None:
                raise StackFailed(
                    f"the worker ended with {code}, see {self.worker_log}: {child.log_tail(1)}"
                )

    def _given(self) -> GivenKafka:
        if self.kafka is None:
            raise StackFailed("the stack is not started")
        return self.kafka

    def _overrides(self, kafka_brokers: str) -> dict[str, object]:
        overrides: dict[str, object] = {
            "kafka_brokers": kafka_brokers,
            "redis_url": self.redis.url,
            "partitions": self._given().partitions,
            "session_timeout_ms": self._session_timeout_ms,
            "assignment_strategy": "range",
            "fetch_wait_ms": 10,
            "seal_keys": self.seal_keys,
            "explore_key": EXPLORE_KEY,
            "account_key": ACCOUNT_KEY,
            "metrics_port": self.metrics_port,
            "webhook_port": self.webhook_port,
            "policy": POLICY,
        }
        for rail in RAILS:
            overrides |= {
                f"{rail}_{field}": value for field, value in self._rail_fields(rail).items()
            }
        if self._retention_days is not None:
            overrides["event_retention_days"] = self._retention_days
        return overrides

    def _rail_fields(self, rail: str) -> dict[str, object]:
        return {
            # Circle is asked twice for a payout, with a wait of this length each.
            "timeout_s": CALL_TIMEOUT_S / 2 if rail == "circle" else CALL_TIMEOUT_S,
            "breaker_open_s": BREAKER_OPEN_S,
            # The sandbox takes what comes; PayPal itself takes 400 a minute.
            "requests_per_minute": 1_000_000,
            **PROVIDERS[rail].rail_fields(self.sandbox_url),
        }

    def _environment(self, **own_overrides: object) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("PAYOUTS_")}
        brokers = self._given().workers or self._given().bootstrap
        overrides = {**self._overrides(brokers), **own_overrides}
        ours = {f"PAYOUTS_{name.upper()}": str(value) for name, value in overrides.items()}
        return {**own, **ours, "OMP_NUM_THREADS": "1"}

    def _start_sandbox(self) -> None:
        command = [sys.executable, "-m", "streams.cli", "sandbox"]
        command += ["--port", str(self.sandbox_port)]
        command += ["--settle-delay-ms", str(self._settle_delay_ms)]
        for rail in RAILS:
            webhook_url = f"http://127.0.0.1:{self.webhook_port}/webhooks/{rail}"
            command += ["--webhook-url", f"{rail}={webhook_url}"]
        log = self.directory / "sandbox.log"
        self._sandbox = ChildProcess(command, log, self.directory, environment=self._environment())

    def _await_sandbox(self) -> None:
        if self._sandbox is not None:
            self._await(self._sandbox, f"{self.sandbox_url}/sandbox/summary", "sandbox")

    def _await(self, child: ChildProcess, url: str, noun: str) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if child.exit_code() is not None:
                raise StackFailed(f"the {noun} ended at its start: {child.log_tail(8)}")
            try:
                with urlopen(url, timeout=1):  # noqa: S310 - our own address
                    return
            except (URLError, OSError):
                time.sleep(0.05)
        raise StackFailed(f"the {noun} is not ready after {READY_TIMEOUT_S:.0f} s")
