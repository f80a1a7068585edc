"""Proxies, with real sockets at both ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from streams.demo.process import free_port
from streams.faults.proxy import Network, Proxy


class Echo:
    """Answers every piece of bytes with a name and the piece."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while piece := connection.recv(65_536):
                connection.sendall(self._name + piece)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo(b"a:")
    yield server
    server.close()


def dial(proxy: Proxy, timeout_s: float = 5.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=timeout_s)


def asked(connection: socket.socket, piece: bytes) -> bytes:
    connection.sendall(piece)
    return connection.recv(65_536)


def test_it_carries_both_ways(network: Network, echo: Echo) -> None:
    proxy = network.proxy(echo.port)
    with dial(proxy) as connection:
        assert asked(connection, b"one") == b"a:one"
        assert asked(connection, b"two") == b"a:two"
        assert proxy.connections() == 1


def test_it_carries_more_than_any_buffer_holds(network: Network, echo: Echo) -> None:
    proxy = network.proxy(echo.port)
    sent = b"x" * 20_000_000
    with dial(proxy, 20) as connection:
        threading.Thread(target=connection.sendall, args=(sent,), daemon=True).start()
        got = bytearray()
        while got.count(b"x") < len(sent):
            got += connection.recv(1_000_000)
    assert bytes(got).replace(b"a:", b"") == sent


def test_cut_resets_what_is_open_and_what_comes_until_it_is_mended(
    network: Network, echo: Echo
) -> None:
    proxy = network.proxy(echo.port)
    with dial(proxy) as connection:
        assert asked(connection, b"one") == b"a:one"
        proxy.cut()
        with pytest.raises(OSError):
            connection.sendall(b"two")
            if not connection.recv(10):
                raise ConnectionResetError
    with suppress(OSError), dial(proxy) as refused:
        assert refused.recv(10) == b""
    proxy.mend()
    with dial(proxy) as connection:
        assert asked(connection, b"three") == b"a:three"


def test_a_stall_keeps_connections_and_loses_nothing(network: Network, echo: Echo) -> None:
    proxy = network.proxy(echo.port)
    with dial(proxy) as connection:
        assert asked(connection, b"one") == b"a:one"
        proxy.stall()
        connection.sendall(b"two")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(10)
        proxy.mend()
        connection.settimeout(5)
        assert connection.recv(10) == b"a:two"


def test_delay_holds_each_direction_back_and_keeps_the_order(network: Network, echo: Echo) -> None:
    proxy = network.proxy(echo.port)
    with dial(proxy) as connection:
        assert asked(connection, b"one") == b"a:one"
        proxy.delay(150)
        began = time.monotonic()
        connection.sendall(b"first ")
        time.sleep(0.05)
        connection.sendall(b"second")
        got = b""
        while not got.endswith(b"second"):
            got += connection.recv(100)
        assert time.monotonic() - began >= 0.3
        assert got.replace(b"a:", b"") == b"first second"
        proxy.mend()
        began = time.monotonic()
        assert asked(connection, b"soon") == b"a:soon"
        assert time.monotonic() - began < 0.14


def test_what_the_other_side_closes_is_closed(network: Network) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = network.proxy(listener.getsockname()[1])
    with dial(proxy) as connection:
        accepted, _ = listener.accept()
        accepted.sendall(b"bye")
        accepted.close()
        assert connection.recv(10) == b"bye"
        assert connection.recv(10) == b""
    listener.close()


def test_it_leads_new_connections_elsewhere_and_passes_over_who_refuses(
    network: Network, echo: Echo
) -> None:
    other = Echo(b"b:")
    proxy = network.proxy(echo.port)
    with dial(proxy) as before:
        assert asked(before, b"1") == b"a:1"
        proxy.lead_to(free_port(), other.port)
        for number in (b"2", b"3", b"4"):
            with dial(proxy) as after:
                assert asked(after, number) == b"b:" + number
        assert asked(before, b"5") == b"a:5"
    other.close()
