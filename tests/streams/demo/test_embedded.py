"""The embedded servers come up, go down with their parent, and keep what they promise."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from streams.demo import embedded
from streams.demo.embedded import EmbeddedBroker, EmbeddedRedis, EmbeddedUnavailable
from streams.demo.process import accepts_connections

_PARENT = """
import sys, time
from pathlib import Path
from streams.demo.embedded import EmbeddedRedis
server = EmbeddedRedis(directory=Path(sys.argv[1])).start()
print(server.port, server.pid, flush=True)
time.sleep(60)
"""


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().split(")")[1].split()[0] == "Z"


def test_redis_never_evicts_and_is_reachable_from_this_machine_only(redis_url: str) -> None:
    with EmbeddedRedis() as server:
        client = redis.Redis.from_url(server.url, decode_responses=True)
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        assert client.config_get("appendonly") == {"appendonly": "no"}
        client.close()
        assert server.url != redis_url


def test_a_persistent_redis_finds_its_data_after_being_killed(tmp_path: Path) -> None:
    with EmbeddedRedis(directory=tmp_path, persistent=True) as server:
        client = redis.Redis.from_url(server.url)
        client.set("balance", 7)
        client.execute_command("WAITAOF", 1, 0, 5_000)
        client.close()
        server.restart()
        client = redis.Redis.from_url(server.url)
        assert client.get("balance") == b"7"
        client.close()
    assert tmp_path.exists()


def test_a_redis_that_is_not_persistent_is_empty_after_a_restart() -> None:
    with EmbeddedRedis() as server:
        client = redis.Redis.from_url(server.url)
        client.set("balance", 7)
        client.close()
        server.restart()
        client = redis.Redis.from_url(server.url)
        assert client.get("balance") is None
        client.close()


def test_stop_leaves_neither_process_nor_directory() -> None:
    server = EmbeddedBroker().start()
    pid, directory = server.pid, server.directory
    assert accepts_connections(server.port)
    server.stop()
    assert gone(pid)
    assert not directory.exists()
    with pytest.raises(EmbeddedUnavailable, match="not running"):
        _ = server.pid


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does it on Linux only")
def test_the_server_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    _, pid = map(int, parent.stdout.readline().split())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(pid)


def test_a_fixed_port_that_is_taken_is_reported() -> None:
    with EmbeddedRedis() as first, pytest.raises(EmbeddedUnavailable, match="is taken"):
        EmbeddedRedis(port=first.port).start()


def test_a_server_that_refuses_its_arguments_is_reported_in_its_own_words() -> None:
    with pytest.raises(EmbeddedUnavailable, match=r"did not start: .*no-such-option"):
        EmbeddedRedis(arguments=["--no-such-option", "1"]).start()


def test_without_a_build_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_packaged_binary", lambda *_: None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CALF_TANSU_BIN", raising=False)
    with pytest.raises(EmbeddedUnavailable, match=r"docker compose up.*PAYOUTS_KAFKA_BROKERS"):
        EmbeddedBroker()
    with pytest.raises(EmbeddedUnavailable, match=r"docker compose up.*PAYOUTS_REDIS_URL"):
        EmbeddedRedis()
