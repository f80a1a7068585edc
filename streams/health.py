"""Metrics and probes over HTTP, from threads of their own.

A busy event loop must not be taken for a dead process, nor hide what it counts; so nothing here
runs on the loop. The loop beats (`Health.beat`), and `/healthz` fails when it has not for a while.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from time import monotonic
from types import TracebackType
from typing import Any, Self

from prometheus_client import CONTENT_TYPE_LATEST

from streams.metrics import Metrics

CONDITIONS = ("assigned", "healed")
"""What must hold before a worker is ready."""

REQUESTS_MAX = 8
"""Requests answered at a time; a further one is refused with 503."""

REQUEST_TIMEOUT_S = 5.0
"""Longest wait for one read or write of a client."""

_BEAT_INTERVAL_S = 1.0


class Health:
    """What is known of the process's condition. Every method may be called from any thread."""

    def __init__(
        self,
        heartbeat_timeout_s: float = 15.0,
        conditions: tuple[str, ...] = CONDITIONS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._timeout_s = heartbeat_timeout_s
        self._clock = clock
        self._beat_s = clock()
        self._conditions = dict.fromkeys(conditions, False)
        self._lock = threading.Lock()

    def beat(self) -> None:
        """The event loop is alive."""
        self._beat_s = self._clock()

    async def keep_beating(self, interval_s: float = _BEAT_INTERVAL_S) -> None:
        """Beat from the event loop until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(interval_s)

    def set(self, condition: str, holds: bool) -> None:
        """Say whether a condition of readiness holds. Raises KeyError for an unknown one."""
        with self._lock:
            if condition not in self._conditions:
                raise KeyError(condition)
            self._conditions[condition] = holds

    def alive(self) -> tuple[bool, dict[str, Any]]:
        """Whether the event loop beats, and the figures."""
        age_s = self._clock() - self._beat_s
        return age_s <= self._timeout_s, {
            "heartbeat_age_s": round(age_s, 3),
            "heartbeat_timeout_s": self._timeout_s,
        }

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether every condition holds, and each."""
        with self._lock:
            conditions: dict[str, Any] = dict(self._conditions)
        return all(conditions.values()), conditions


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A probe's thread may sit in a read of a silent client; stopping does not wait for it.
    block_on_close = False
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], metrics: Metrics, health: Health) -> None:
        self.metrics = metrics
        self.health = health
        self._slots = threading.BoundedSemaphore(REQUESTS_MAX)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.settimeout(REQUEST_TIMEOUT_S)
            request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """A client that went away is no event of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "payouts"
    sys_version = ""
    timeout = REQUEST_TIMEOUT_S

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        status, content_type, body = self._page(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _page(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, self.server.metrics.exposition()
        probes = {"/healthz": self.server.health.alive, "/readyz": self.server.health.ready}
        if path in probes:
            holds, details = probes[path]()
            status = HTTPStatus.OK if holds else HTTPStatus.SERVICE_UNAVAILABLE
            text = json.dumps({"status": "ok" if holds else "failing", **details})
            return status, "application/json", text.encode()
        return HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /healthz and /readyz are here\n"

    def log_message(self, format: str, *args: Any) -> None:
        """Probes every few seconds would drown the log."""


class HealthServer:
    """Serves /metrics, /healthz and /readyz until stopped. Port 0 takes a free one."""

    def __init__(self, metrics: Metrics, health: Health, host: str, port: int) -> None:
        self._metrics = metrics
        self._health = health
        self._address = (host, port)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        if self._server is None:
            return self._address[1]
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """http://host:port of it."""
        return f"http://{self._address[0]}:{self.port}"

    def start(self) -> Self:
        """Listen, and return when requests are answered. Raises OSError for a port in use."""
        if self._server is None:
            self._server = _Server(self._address, self._metrics, self._health)
            self._thread = threading.Thread(
                target=self._server.serve_forever,
                kwargs={"poll_interval": 0.1},
                name="health",
                daemon=True,
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening; waits for the accepting thread, not for slow clients."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=REQUEST_TIMEOUT_S)
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
