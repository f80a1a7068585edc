"""The ground of a fault run: a stack of which every part can be struck.

Workers reach Redis and Kafka through proxies, a worker's webhooks come through one; the simulator,
the watch and verify go directly, except that the embedded broker sends everybody to its proxy.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError
from urllib.request import urlopen

from streams.demo.apache import ApacheKafka, jars_directory
from streams.demo.clock import ClockFile
from streams.demo.embedded import EmbeddedBroker
from streams.demo.stack import (
    POLICY,
    READY_TIMEOUT_S,
    SESSION_TIMEOUT_MS,
    GivenKafka,
    Stack,
    StackFailed,
)
from streams.faults.fleet import Fleet, Post
from streams.faults.proxy import Network, Proxy
from streams.faults.redispair import RedisPair

PARTITIONS_APACHE = 8

RETRY_TIMEOUT_S = 20
"""How long workers bear an outage before they end: short, so that some of them do."""

DRAIN_TIMEOUT_S = 10

_WINDOW = re.compile(r"^window_seconds: \d+$", re.MULTILINE)


class Ground(Stack):
    """All parts of a fault run, started by ``with``.

    ``brokers``: of Apache Kafka; 0 for the embedded one, which loses all when it is killed.
    """

    def __init__(
        self,
        *,
        workers: int = 3,
        brokers: int = 0,
        session_timeout_ms: int = SESSION_TIMEOUT_MS,
        window_s: int = 0,
    ) -> None:
        """``window_s``: how long payouts wait for more earnings to join them; 0 pays at once."""
        super().__init__(kafka=GivenKafka(""), session_timeout_ms=session_timeout_ms)
        self.network = Network()
        self.embedded: EmbeddedBroker | None = None
        self.apache: ApacheKafka | None = None
        self.kept = False
        """Whether what the parts wrote is kept at the end."""
        self._workers = workers
        self._brokers = brokers
        self._window_s = window_s
        self.kafka_proxies: list[Proxy] = []
        self.pair: RedisPair
        self.fleet: Fleet
        self.hooks: Proxy

    def __enter__(self) -> Self:
        """Start everything. Raises StackFailed, EmbeddedUnavailable, ApacheUnavailable."""
        self.network.__enter__()
        try:
            self.kafka = self._apache() if self._brokers else self._embedded()
            policy = _WINDOW.sub(f"window_seconds: {self._window_s}", POLICY.read_text("utf-8"))
            self._policy().write_text(policy, "utf-8")
            self.pair = RedisPair(self.directory, self.network)
            self.pair.start()
            self.redis = self.pair.primary
            posts = [self._post(number) for number in range(self._workers)]
            self.fleet = Fleet(posts, self.directory, self._worker_environment)
            self.hooks = self.network.proxy(*(post.webhook_port for post in posts))
            self.webhook_port = self.hooks.port
            return super().__enter__()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop everything; what the parts wrote is kept if wanted, or if an error needs it."""
        self.stop()
        if not (self.kept or isinstance(error, Exception)):
            shutil.rmtree(self.directory, ignore_errors=True)

    def stop(self) -> None:
        """Stop everything, the workers first."""
        if hasattr(self, "fleet"):
            self.fleet.close()
        if self._sandbox is not None:
            self._sandbox.stop()
            self._sandbox = None
        if hasattr(self, "pair"):
            self.pair.stop()
        if self.embedded is not None:
            self.embedded.stop()
        if self.apache is not None:
            self.apache.stop()
        self.network.close()

    def led_by_replica(self) -> None:
        """The replica has taken the primary's place: lead everybody there."""
        self.pair.fail_over()
        self.redis = self.pair.primary
        self.settings = self.settings.model_copy(update={"redis_url": self.redis.url})
        for post in self.fleet.posts:
            post.redis.lead_to(self.redis.port)
            post.redis.reset()

    def befallen(self) -> dict[str, int]:
        """What the rail has really done, by behaviour. Raises StackFailed."""
        return dict(self._summary().get("befallen", {}))

    def webhooks_waiting(self) -> int:
        """Webhooks that the rail has yet to deliver. Raises StackFailed."""
        return int(self._summary()["webhooks"]["waiting"])

    def _summary(self) -> dict[str, Any]:
        try:
            with urlopen(f"{self.sandbox_url}/sandbox/summary", timeout=30) as answer:  # noqa: S310 - our own address
                summary: dict[str, Any] = json.load(answer)
                return summary
        except (URLError, OSError) as error:
            raise StackFailed(f"the rail sandbox does not answer: {error}") from error

    def start_worker(self, **_overrides: object) -> None:  # type: ignore[override]
        """Start all workers."""
        for post in self.fleet.posts:
            self.fleet.start(post)

    def _await_worker(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S * 2
        while not self.fleet.ready():
            for ended in self.fleet.look():
                raise StackFailed(f"worker {ended.post} ended at its start: {ended.log}")
            if time.monotonic() > deadline:
                raise StackFailed("the workers are not ready")
            time.sleep(0.1)

    def _policy(self) -> Path:
        return self.directory / "policy.yaml"

    def _overrides(self, kafka_brokers: str) -> dict[str, object]:
        return {**super()._overrides(kafka_brokers), "policy": self._policy()}

    def _embedded(self) -> GivenKafka:
        proxy = self.network.proxy()
        self.kafka_proxies = [proxy]
        self.embedded = EmbeddedBroker(directory=self.directory / "broker", advertised=proxy.port)
        self.embedded.start()
        proxy.lead_to(self.embedded.port)
        return GivenKafka(self.embedded.bootstrap, f"127.0.0.1:{proxy.port}")

    def _apache(self) -> GivenKafka:
        self.kafka_proxies = [self.network.proxy() for _ in range(self._brokers)]
        self.apache = ApacheKafka(
            jars_directory(),
            brokers=self._brokers,
            directory=self.directory / "kafka",
            advertised=[proxy.port for proxy in self.kafka_proxies],
            brief=True,
        )
        for proxy, port in zip(self.kafka_proxies, self.apache.outside_ports, strict=True):
            proxy.lead_to(port)
        self.apache.start()
        return GivenKafka(
            self.apache.bootstrap,
            self.apache.outside_bootstrap,
            PARTITIONS_APACHE,
            self.apache.replication,
        )

    def _post(self, number: int) -> Post:
        return Post(
            number,
            self.network.proxy(self.redis.port),
            ClockFile(self.directory / f"clock-{number}"),
            self.directory / f"worker-{number}.log",
        )

    def _worker_environment(self, post: Post) -> Mapping[str, str]:
        return self._environment(
            redis_url=f"redis://127.0.0.1:{post.redis.port}/0",
            metrics_port=post.metrics_port,
            webhook_port=post.webhook_port,
            retry_timeout_s=RETRY_TIMEOUT_S,
            drain_timeout_s=DRAIN_TIMEOUT_S,
        )
