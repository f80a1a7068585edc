"""Probes and metrics over real sockets, whatever the event loop does."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from streams.health import REQUESTS_MAX, Health, HealthServer
from streams.metrics import Metrics


@pytest.fixture
def health() -> Health:
    return Health(heartbeat_timeout_s=0.3)


@pytest.fixture
def server(health: Health) -> Iterator[HealthServer]:
    with HealthServer(Metrics(), health, "127.0.0.1", 0) as running:
        yield running


def get(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urlopen(server.url + path, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_are_served(server: HealthServer) -> None:
    status, body = get(server, "/metrics")
    assert status == 200
    assert "payouts_build_info{" in body


def test_another_path_is_not_found(server: HealthServer) -> None:
    assert get(server, "/")[0] == 404


def test_ready_when_assigned_and_healed(server: HealthServer, health: Health) -> None:
    assert get(server, "/readyz")[0] == 503
    health.set("assigned", True)
    status, body = get(server, "/readyz")
    assert (status, json.loads(body)["healed"]) == (503, False)
    health.set("healed", True)
    assert get(server, "/readyz")[0] == 200
    health.set("assigned", False)
    assert get(server, "/readyz")[0] == 503


def test_an_unknown_condition_is_refused(health: Health) -> None:
    with pytest.raises(KeyError):
        health.set("asigned", True)


async def test_a_blocked_loop_fails_the_probe_while_metrics_answer(
    server: HealthServer, health: Health
) -> None:
    beating = asyncio.create_task(health.keep_beating(0.02))
    await asyncio.sleep(0.1)
    assert (await asyncio.to_thread(get, server, "/healthz"))[0] == 200
    asked = asyncio.create_task(asyncio.to_thread(_ask_while_blocked, server))
    await asyncio.sleep(0.05)
    time.sleep(0.9)  # noqa: ASYNC251 - what the test is about: the loop stands still
    metrics, probe = await asked
    assert metrics == 200
    assert probe == 503
    await asyncio.sleep(0.1)
    assert (await asyncio.to_thread(get, server, "/healthz"))[0] == 200
    beating.cancel()


def _ask_while_blocked(server: HealthServer) -> tuple[int, int]:
    time.sleep(0.6)
    return get(server, "/metrics")[0], get(server, "/healthz")[0]


def test_silent_clients_are_bounded_and_the_next_is_told(server: HealthServer) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(REQUESTS_MAX)]
    try:
        time.sleep(0.3)
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as further:
            assert further.recv(100).startswith(b"HTTP/1.0 503")
    finally:
        for connection in silent:
            connection.close()
    time.sleep(0.3)
    assert get(server, "/metrics")[0] == 200


def test_the_port_is_free_after_stop(health: Health) -> None:
    server = HealthServer(Metrics(), health, "127.0.0.1", 0).start()
    port = server.port
    started = time.monotonic()
    server.stop()
    server.stop()
    assert time.monotonic() - started < 2
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_port_in_use_is_an_error_at_start(server: HealthServer, health: Health) -> None:
    with pytest.raises(OSError, match="in use"):
        HealthServer(Metrics(), health, "127.0.0.1", server.port).start()
