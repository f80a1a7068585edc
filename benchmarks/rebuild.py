"""How long it takes to make an emptied Redis again: from the whole journal, and from a snapshot.

    python -m benchmarks.rebuild --entries 1000000

The journal is a company's, booked by the product's own functions: sales that are paid out, with the
entries of each payout's life. It lies on Apache Kafka. Redis before and after are compared key by
key. Prints the figures, and writes them with ``--output``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from redis import Redis
from rich.console import Console

from benchmarks.deciding import Deciding, Source
from benchmarks.events import profiles_and_sales
from benchmarks.ground import new_seal_keys, seal_of
from models.events import body_hash, decode
from models.payouts import PayoutState
from models.rules import transition
from models.shards import SHARDS, shard_of
from rails.inspection import Inspector
from rails.registry import refusals
from streams.demo.apache import ApacheKafka, jars_directory
from streams.demo.embedded import EmbeddedRedis
from streams.demo.messages import Message
from streams.settings import Settings, load_settings
from streams.topics import create_topics
from streams.wallets.healing import Healer
from streams.wallets.journal import LEDGER, Journal
from streams.wallets.rebuild import Rebuilt, Sender, rebuild
from streams.wallets.server import RedisServer
from streams.wallets.snapshots import Snapshots
from streams.wallets.store import Booked, Confirming, Operation, Store
from streams.worker import now_ms

PARTITIONS = 16
BATCH = 500
TAIL = 20
"""One part in so many of the journal comes behind the snapshot."""

EPHEMERAL = (b"journal", b"journaled", b"epoch", b"run", b"ended")
"""What of a shard's state says how Redis stands to the journal, not what it holds."""


class Books:
    """Books a company's sales and publishes the journal."""

    def __init__(self, settings: Settings, seal_keys: str) -> None:
        self._settings = settings
        self._seal = seal_of(seal_keys)
        self._deciding = Deciding(settings)
        self._inspector = Inspector(self._seal, refusals(settings.rails()))
        self._store = Store(RedisServer(settings.redis_url))
        self._producer = Producer(
            {**settings.kafka_client(), "partitioner": "murmur2_random", "linger.ms": 5,
             "queue.buffering.max.messages": 1_000_000}
        )  # fmt: skip
        self._epochs: dict[int, int] = {}
        self._offset = 0
        self._last: dict[int, int] = {}
        self.entries = 0

    async def open(self) -> None:
        """Open the shards."""
        await self._store.load()
        healer = Healer(
            self._store,
            Journal(self._settings.kafka_client()),
            Sender(self._settings.kafka_client()).send,
            partitions=PARTITIONS,
            clock=now_ms,
            retention_ms=self._settings.event_retention_ms,
        )
        healed = await healer.heal(dict.fromkeys(range(SHARDS), (0, 0)))
        self._epochs = {shard: at.epoch for shard, at in healed.standings.items()}

    async def close(self) -> None:
        """Give the connections back."""
        await self._store.close()

    async def profiles(self, profiles: Sequence[Message]) -> None:
        """Book the sellers' profiles."""
        operations = []
        for message in profiles:
            event = decode("sellers", message.value, now_ms=now_ms(), retention_ms=10**12)
            methods = self._inspector.methods(event)
            operation = self._deciding.rules.profile(event, methods, None, ())
            operations.append(operation | self._source("sellers", message.value))
        await self._book(operations)

    async def sales(self, messages: Sequence[Message]) -> None:
        """Book some sales, and see their payouts through."""
        sources = [Source("sales", 0, self._next(), message.value) for message in messages]
        deciding = self._deciding
        events = deciding.decode(sources)
        profiles: dict[str, bytes] = {}
        states: dict[str, str | None] = {}
        for look in (await self._store.look(deciding.asks(events))).values():
            profiles.update(look.profiles)
            states.update(look.states)
        for look in (await self._store.look(deciding.asks_around(profiles))).values():
            states.update(look.states)
        operations, shared = deciding.operations(sources, events, profiles, states)
        await self._store.observe(shared, 90 * 86_400_000)
        payouts = await self._book(operations)
        for state in (PayoutState.SUBMITTED, PayoutState.ACCEPTED, PayoutState.SETTLED):
            await self._book([transition(f"{p}/{state}", p, state) for p in payouts])

    def _next(self) -> int:
        self._offset += 1
        return self._offset

    def _source(self, topic: str, value: bytes) -> Operation:
        return {"hash": body_hash(value), "topic": topic, "partition": 0, "offset": self._next()}

    async def _book(self, operations: Sequence[Operation]) -> list[str]:
        """Book, publish the entries, and take them out of the outboxes; the payouts reserved."""
        by_shard: dict[int, list[Operation]] = defaultdict(list)
        for operation in operations:
            named = operation.get("shard")
            by_shard[shard_of(operation["seller"]) if named is None else named].append(operation)
        booked = await self._store.book(
            {
                shard: (
                    {"now": now_ms(), "known": 0, "epoch": self._epochs[shard]},
                    self._deciding.static,
                    group,
                )
                for shard, group in by_shard.items()
            }
        )
        payouts = [
            json.loads(message.value or b"")["payout_id"]
            for reply in booked.values()
            for entry in reply.outbox
            for message in entry.messages
            if message.topic == "payouts.commands"
        ]
        await self._publish(booked)
        return payouts

    def produce(self, booked: dict[int, Booked]) -> None:
        """Put the entries into the ledger."""
        for reply in booked.values():
            for entry in reply.outbox:
                _, key, value, _ = entry.messages[0]
                self._producer.produce(LEDGER, value, key, on_delivery=self._delivered)
                self.entries += 1
        self._producer.flush(60.0)

    async def _publish(self, booked: dict[int, Booked]) -> None:
        self.produce(booked)
        await self._store.confirm(
            {
                shard: Confirming(
                    self._epochs[shard],
                    reply.seq,
                    self._last.get(shard % PARTITIONS, 0),
                    [entry.seq for entry in reply.outbox],
                )
                for shard, reply in booked.items()
            }
        )

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            raise RuntimeError(error.str())
        self._last[message.partition()] = message.offset()


def contents(client: Redis) -> dict[bytes, bytes]:
    """A digest of every key that the journal makes: value and expiry."""
    found: dict[bytes, bytes] = {}
    for page in _pages(client):
        kinds = client.pipeline(transaction=False)
        for key in page:
            kinds.type(key)
        pipe = client.pipeline(transaction=False)
        for key, kind in zip(page, kinds.execute(), strict=True):
            _READ[kind](pipe, key)
            pipe.execute_command("PEXPIRETIME", key)  # type: ignore[no-untyped-call]
        replies = iter(pipe.execute())
        for key, value, expires in zip(page, replies, replies, strict=False):
            if isinstance(value, dict):
                ephemeral = EPHEMERAL if key.endswith(b"}:m") else ()
                value = sorted((k, v) for k, v in value.items() if k not in ephemeral)  # noqa: PLW2901
            text = repr((value, expires)).encode()
            found[key] = blake2b(text, digest_size=8).digest()
    return found


_READ: dict[bytes, Callable[[Any, bytes], object]] = {
    b"hash": lambda pipe, key: pipe.hgetall(key),
    b"zset": lambda pipe, key: pipe.zrange(key, 0, -1, withscores=True),
    b"list": lambda pipe, key: pipe.lrange(key, 0, -1),
    b"string": lambda pipe, key: pipe.get(key),
}
"""How to read a key, by its type."""


def _pages(client: Redis) -> Iterator[list[bytes]]:
    page: list[bytes] = []
    for key in client.scan_iter(match="{s*}:*", count=2_000):
        rest = key.partition(b"}:")[2]
        # Feature states of cards, devices and customers are no money and not in the journal.
        if rest != b"o" and not rest.startswith((b"x:i:", b"x:d:", b"x:c:", b"x:b:", b"x:u:")):
            page.append(key)
        if len(page) >= 2_000:
            yield page
            page = []
    yield page


def apart(before: dict[bytes, bytes], after: dict[bytes, bytes]) -> int:
    """How many keys differ."""
    return sum(before.get(key) != after.get(key) for key in before.keys() | after.keys())


async def fill(
    settings: Settings, seal_keys: str, options: argparse.Namespace
) -> tuple[int, float]:
    """Book until the journal has its entries; a snapshot is taken before the tail."""
    books = Books(settings, seal_keys)
    await books.open()
    profiles, sales = profiles_and_sales(
        options.seed, options.entries // 3 + BATCH, seal=seal_of(seal_keys)
    )
    await books.profiles(profiles)
    snapshot_s = 0.0
    for first in range(0, len(sales), BATCH):
        await books.sales(sales[first : first + BATCH])
        if not snapshot_s and books.entries >= options.entries * (TAIL - 1) // TAIL:
            client = Redis.from_url(settings.redis_url)
            snapshots = Snapshots(settings.kafka_client(), PARTITIONS)
            snapshot_s = (await asyncio.to_thread(snapshots.take, client)).seconds
        if books.entries >= options.entries:
            break
    await books.close()
    return books.entries, snapshot_s


def timed(settings: Settings, *, from_empty: bool) -> Rebuilt:
    """Empty Redis and make it again."""
    client = Redis.from_url(settings.redis_url)
    client.flushall()
    client.close()
    return rebuild(settings, from_empty=from_empty)


def redis_cpu_s(client: Redis) -> float:
    """What Redis has worked since its start."""
    cpu: dict[str, float] = client.info("cpu")
    return cpu["used_cpu_user"] + cpu["used_cpu_sys"]


def main() -> None:
    """Fill, empty, rebuild, compare; twice."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rebuild", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000, help="entries of the journal")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", type=Path, help="write the figures as JSON to this file")
    options = parser.parse_args()
    console = Console()
    keys = new_seal_keys()
    with (
        tempfile.TemporaryDirectory() as directory,
        ApacheKafka(jars_directory(), directory=Path(directory) / "kafka") as kafka,
        EmbeddedRedis(directory=Path(directory) / "redis") as server,
    ):
        settings = load_settings(
            kafka_brokers=kafka.bootstrap, redis_url=server.url, partitions=PARTITIONS,
            seal_keys=keys,
        )  # fmt: skip
        create_topics(kafka.bootstrap, PARTITIONS)
        began = time.monotonic()
        entries, snapshot_s = asyncio.run(fill(settings, keys, options))
        console.print(f"[dim]{entries:,} entries booked in {time.monotonic() - began:.0f} s[/]")
        client = Redis.from_url(settings.redis_url)
        before = contents(client)
        own, redis = time.process_time(), redis_cpu_s(client)
        whole = timed(settings, from_empty=True)
        own, redis = time.process_time() - own, redis_cpu_s(client) - redis
        whole_apart = apart(before, contents(client))
        tail = timed(settings, from_empty=False)
        tail_apart = apart(before, contents(client))
        figures = {
            "entries": entries,
            "keys": len(before),
            "redis_mb": round(int(client.info("memory")["used_memory"]) / 1e6),
            "from_journal_s": round(whole.seconds, 1),
            "entries_per_s": round(whole.entries / whole.seconds),
            "command_cpu_us_per_entry": round(own / whole.entries * 1e6, 1),
            "redis_cpu_us_per_entry": round(redis / whole.entries * 1e6, 1),
            "from_journal_keys_apart": whole_apart,
            "snapshot_taken_s": round(snapshot_s, 1),
            "from_snapshot_s": round(tail.seconds, 1),
            "from_snapshot_entries": tail.entries,
            "from_snapshot_keys_apart": tail_apart,
            "cores": os.cpu_count(),
        }
        client.close()
    console.print_json(data=figures)
    if options.output is not None:
        options.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
