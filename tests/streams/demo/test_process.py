"""Ports and child processes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from streams.demo.process import free_port

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(not OUTGOING.exists(), reason="only Linux says which ports are outgoing")
def test_a_port_is_given_once_and_never_one_of_outgoing_connections() -> None:
    ports = [free_port() for _ in range(300)]
    assert len(set(ports)) == len(ports)
    assert max(ports) < int(OUTGOING.read_text().split()[0])


def test_a_port_that_someone_listens_on_is_not_given() -> None:
    with socket.socket() as busy:
        port = free_port()
        busy.bind(("127.0.0.1", port))
        busy.listen()
        assert port not in [free_port() for _ in range(50)]
