"""Rounds: a run is cut into rounds that each begin with an empty Redis and follow from one number.

A failing round is written down with its seed and clock, and runs again alone.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import redis
from pydantic_core import from_json, to_json

from streams.demo.embedded import EmbeddedBroker
from streams.engine import RawMessage
from tests.fuzz.inputs import Inputs
from tests.fuzz.line import Judge, Line, lapse
from tests.fuzz.readers import Readers
from tests.streams.wallets.harness import PARTITIONS

ROUND_INPUTS = 10_000
READERS_SHARE = 10
"""One of so many inputs goes to a reader beside the line."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round follows from: ``inputs`` messages of ``seed``, at ``now_ms`` since the epoch."""

    seed: int
    inputs: int
    now_ms: int

    @classmethod
    def read(cls, path: Path) -> Round:
        """The round that a record of a failure names."""
        return cls(**from_json(path.read_bytes())["round"])


class RoundFailed(Exception):
    """A round found something; holds what is needed to see it again."""

    def __init__(self, round_: Round, where: str, input_: object) -> None:
        super().__init__(f"seed {round_.seed}: {where.splitlines()[-1][:400]}")
        self.round = round_
        self.where = where
        self.input = input_

    def record(self) -> bytes:
        """Round, trace and input as JSON."""
        return to_json(
            {"round": asdict(self.round), "where": self.where, "input": repr(self.input)}, indent=2
        )


def run_round(redis_url: str, round_: Round) -> Counter[tuple[str, str]]:
    """One round on a broker of its own; what became of its inputs. Raises RoundFailed.

    The Redis is emptied.
    """
    counts = _readers(round_)
    broker = EmbeddedBroker().start()
    try:
        return counts + asyncio.run(_line(broker.bootstrap, redis_url, round_))
    finally:
        # It waits for every connection to close if asked; nothing here is worth that.
        broker.kill()
        broker.stop()


def _readers(round_: Round) -> Counter[tuple[str, str]]:
    readers = Readers(round_.seed, round_.now_ms)
    try:
        for _ in range(round_.inputs // READERS_SHARE):
            readers.one()
    except Exception as error:
        raise RoundFailed(round_, traceback.format_exc(), readers.input) from error
    finally:
        readers.close()
    return readers.counts


async def _line(brokers: str, redis_url: str, round_: Round) -> Counter[tuple[str, str]]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        async with Line(brokers, redis_url, round_.now_ms) as line:
            return await _batches(line, client, round_)


async def _batches(line: Line, client: redis.Redis, round_: Round) -> Counter[tuple[str, str]]:
    retention = timedelta(milliseconds=line.settings.event_retention_ms)
    inputs = Inputs(round_.seed, round_.now_ms, retention, PARTITIONS)
    judge = Judge(line)
    left = round_.inputs - round_.inputs // READERS_SHARE
    batch: list[RawMessage] = []
    try:
        while left > 0:
            batch = inputs.batch(judge.own, left)
            left -= len(batch)
            await line.take(batch)
            judge.batch(batch)
            inputs.grammar.payouts.extend(judge.reserved)
            judge.reserved.clear()
        batch = []
        judge.wallets(client)
        await lapse(line)
        judge.lapsed()
        judge.wallets(client)
    except Exception as error:
        shown: Any = [(m.topic, m.partition, m.offset, m.key, m.value) for m in batch]
        raise RoundFailed(round_, traceback.format_exc(), shown) from error
    return judge.counts
