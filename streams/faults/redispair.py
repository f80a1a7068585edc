"""Two Redis servers: a primary with an append-only file, and a replica that can be left behind."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import redis

from models.shards import SHARDS
from streams.demo.embedded import EmbeddedRedis
from streams.faults.proxy import Network
from streams.wallets.server import meta_key

SYNC_TIMEOUT_S = 20.0
"""How long a replica may take to be level with its primary."""

# Replication at once: the default waits five seconds for more replicas to come.
_ARGUMENTS = ("--repl-diskless-sync-delay", "0", "--repl-timeout", "10")


class PairFailed(RuntimeError):
    """The pair is not what it should be; one line."""


class RedisPair:
    """A primary and its replica, whose link goes through a proxy."""

    def __init__(self, directory: Path, network: Network) -> None:
        self.primary, self.replica = (
            EmbeddedRedis(directory=directory / name, persistent=True, arguments=_ARGUMENTS)
            for name in ("redis-a", "redis-b")
        )
        self.link = network.proxy()

    def start(self) -> None:
        """Start both, and return when the replica is level. Raises PairFailed."""
        self.primary.start()
        self._follow()
        deadline = time.monotonic() + SYNC_TIMEOUT_S
        while not self.follows():
            if time.monotonic() > deadline:
                raise PairFailed(f"the replica does not follow after {SYNC_TIMEOUT_S:.0f} s")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop both."""
        self.replica.stop()
        self.primary.stop()

    def told(self, *command: object) -> Any:
        """What the primary answers to a command. Raises redis.RedisError."""
        return _told(self.primary, *command)

    def empty_primary(self) -> None:
        """Start the primary, which was killed, as if on a new disk."""
        _wipe(self.primary)
        self.primary.start()

    def fail_over(self) -> None:
        """Put the replica, as it is, in the place of the primary, which was killed."""
        _told(self.replica, "REPLICAOF", "NO", "ONE")
        self.primary, self.replica = self.replica, self.primary

    def rejoin(self) -> None:
        """Start the primary of before as a replica, empty; it follows some time later."""
        _wipe(self.replica)
        self._follow()

    def numbered(self, *, replica: bool = False) -> int:
        """The sum of the shards' numbers of entries: by how much it falls, so many were lost."""
        server = self.replica if replica else self.primary
        client: Any = redis.Redis(port=server.port, socket_timeout=5.0)
        with client, client.pipeline(transaction=False) as pipe:
            for shard in range(SHARDS):
                pipe.hget(meta_key(shard), "seq")
            return sum(int(seq or 0) for seq in pipe.execute())

    def level(self) -> bool:
        """Whether the replica has all that the primary has."""
        try:
            primary = self.told("INFO", "replication")
            replica = _told(self.replica, "INFO", "replication")
        except redis.RedisError:
            return False
        return bool(
            replica.get("master_link_status") == "up"
            and replica.get("master_replid") == primary.get("master_replid")
            and replica.get("slave_repl_offset") == primary.get("master_repl_offset")
        )

    def follows(self) -> bool:
        """Whether the replica is connected and takes what comes."""
        try:
            replica = _told(self.replica, "INFO", "replication")
        except redis.RedisError:
            return False
        return bool(replica.get("master_link_status") == "up")

    def _follow(self) -> None:
        self.link.mend()
        self.link.reset()
        self.link.lead_to(self.primary.port)
        self.replica.start()
        _told(self.replica, "REPLICAOF", "127.0.0.1", self.link.port)


def _told(server: EmbeddedRedis, *command: object) -> Any:
    client: Any = redis.Redis(port=server.port, socket_timeout=5.0, socket_connect_timeout=5.0)
    try:
        return client.execute_command(*command)
    finally:
        client.close()


def _wipe(server: EmbeddedRedis) -> None:
    for left in ("appendonlydir", "dump.rdb"):
        path = server.directory / left
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
