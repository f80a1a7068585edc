"""The job on stock Faust and aiokafka, the way Faust's documentation shows: event by event.

``async for event in stream.events()``, one sale looked up, scored and booked at a time through
redis.asyncio, ``await topic.send(...)`` for each message that follows, and its delivery awaited
before the next event, since an event counts as done only when all its effects are.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import faust
from faust.types import EventT, StreamT
from pydantic_core import to_json
from redis.asyncio import Redis

from benchmarks.deciding import Deciding, Source
from models.shards import shard_of
from streams.agents.sales import SHARED_STATE_TTL_MS
from streams.settings import Settings, load_settings
from streams.wallets.library import library
from streams.wallets.server import meta_key
from streams.worker import now_ms

GROUP = "stock-faust"
OUTPUTS = ("ledger", "decisions", "payouts.commands", "spendback.credits")


class Sales:
    """What the agent does with a sale."""

    def __init__(self, app: faust.App, settings: Settings) -> None:
        self._deciding = Deciding(settings)
        self._redis = Redis.from_url(settings.redis_url)
        self._topics = {
            name: app.topic(name, key_serializer="raw", value_serializer="raw") for name in OUTPUTS
        }
        self._epochs: dict[int, int] = {}

    async def handle(self, source: Source) -> None:
        """One sale, to its end."""
        deciding = self._deciding
        [event] = deciding.decode([source])
        profiles: dict[str, bytes] = {}
        states: dict[str, str | None] = {}
        await self._look(deciding.asks([event]), profiles, states)
        await self._look(deciding.asks_around(profiles), profiles, states)
        [operation], shared = deciding.operations([source], [event], profiles, states)
        shard = shard_of(event.seller_id)
        epoch = await self._epoch(shard)
        context = to_json({"now": now_ms(), "known": 0, "epoch": epoch})
        _, [outcome], outbox, _ = await self._call(
            "FCALL", "book", shard, context, to_json([operation]), deciding.static
        )
        if outcome != b"booked":
            raise RuntimeError(f"a sale was not booked: {outcome}")
        for seq, fields in outbox:
            await self._publish(fields)
            await self._call("FCALL", "confirm", shard, str(epoch), seq, "0", seq)
        for other, held in shared.items():
            parts = [part for pair in held.items() for part in pair]
            await self._call("FCALL", "observe", other, str(SHARED_STATE_TTL_MS), *parts)

    async def _look(
        self,
        asks: Mapping[int, tuple[list[str], list[str]]],
        profiles: dict[str, bytes],
        states: dict[str, str | None],
    ) -> None:
        """Read what is asked for."""
        for shard, (sellers, wanted) in asks.items():
            ask = to_json({"sellers": sellers, "states": wanted})
            reply = await self._call("FCALL_RO", "look", shard, ask)
            profiles.update(zip(sellers, reply[0], strict=True))
            for entity, state in zip(wanted, reply[1], strict=False):
                states[entity] = None if state is None else state.decode()

    async def _epoch(self, shard: int) -> int:
        """The epoch that a shard is in; it does not change during a run."""
        if shard not in self._epochs:
            standing = await self._call("FCALL_RO", "stand", shard, "0", "0")
            self._epochs[shard] = standing[2]
        return self._epochs[shard]

    async def _publish(self, fields: Sequence[bytes]) -> None:
        """What follows from the entry, then the entry; wait until the broker has each."""
        sent = [await self._send(fields[i], fields[i + 1]) for i in range(2, len(fields), 2)]
        await asyncio.gather(*sent)
        await (await self._send(fields[0], fields[1]))

    async def _send(self, field: bytes, value: bytes) -> Any:
        topic, key = field.split(b"\t")
        return await self._topics[topic.decode()].send(key=key, value=value)

    async def _call(self, verb: str, name: str, shard: int, *arguments: bytes | str) -> Any:
        return await self._redis.execute_command(  # type: ignore[no-untyped-call]
            verb, library().function(name), 1, meta_key(shard), *arguments
        )


def make_app(settings: Settings) -> faust.App:
    """The app with its one agent."""
    app = faust.App(
        GROUP,
        broker=f"kafka://{settings.kafka_brokers}",
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_session_timeout=settings.session_timeout_ms / 1000,
        broker_heartbeat_interval=0.5,
        # As often as the others, so that nobody is measured while it waits to commit.
        broker_commit_interval=0.2,
        producer_linger=0,
        producer_acks=-1,
        consumer_auto_offset_reset="earliest",
    )
    agent = Sales(app, settings)

    @app.agent(app.topic("sales", key_serializer="raw", value_serializer="raw"))
    async def sales(stream: StreamT[bytes]) -> None:
        event: EventT[bytes]
        async for event in stream.events():
            message = event.message
            await agent.handle(
                Source(message.topic, message.partition, message.offset, message.value or b"")
            )

    return app


def main() -> None:
    """Run with the settings of the environment."""
    app = make_app(load_settings())
    sys.argv = ["stock_faust", "worker", "--loglevel", "warn", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
