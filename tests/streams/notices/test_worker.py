"""Whole workers against a company whose endpoint hangs, is gone, and is back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis
from aiohttp import web
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner

from models.notices import TOPICS
from streams.cli import app
from streams.demo.embedded import EmbeddedUnavailable
from streams.demo.stack import GivenKafka, Stack
from tests.streams.demo.test_run import broken, go
from tests.streams.notices.harness import SECRET, Company

CONCURRENCY = 4
TIMEOUT_S = 1


class TellingStack(Stack):
    """A stack whose workers tell a company."""

    url = ""

    def _overrides(self, kafka_brokers: str) -> dict[str, object]:
        return super()._overrides(kafka_brokers) | {
            "notices_url": self.url,
            "notices_secret": SECRET,
            "notices_timeout_s": TIMEOUT_S,
            "notices_concurrency": CONCURRENCY,
        }


@pytest.fixture
async def stack(own_broker: str, company: Company) -> AsyncIterator[TellingStack]:
    made = TellingStack(kafka=GivenKafka(own_broker))
    made.url = company.url
    try:
        await asyncio.to_thread(made.__enter__)
    except EmbeddedUnavailable as error:
        pytest.skip(str(error))
    yield made
    await asyncio.to_thread(made.stop)


def run(stack: Stack, seed: int) -> Any:
    """Some sales, until all that follows has happened; blocking."""
    # The company's clock stays right, and takes no notice of another day.
    outcome = go(stack, seed=seed, ahead_ms=0)
    assert broken(outcome) == []
    return outcome


def told(stack: Stack) -> set[str]:
    """The ids of everything that the company is to be told; blocking."""
    config = {"group.id": "reader", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({**stack.settings.kafka_client(), **config})
    left = {(topic, number) for topic in TOPICS for number in range(stack.settings.partitions)}
    consumer.assign([TopicPartition(topic, number, 0) for topic, number in left])
    ids: set[str] = set()
    try:
        while left:
            message = consumer.poll(10)
            assert message is not None
            if message.error() is None:
                ids.add(json.loads(message.value() or b"")["id"])
            else:
                left.discard((str(message.topic()), int(message.partition() or 0)))
    finally:
        consumer.close()
    return ids


async def until(condition: Callable[[], bool], timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def all_due(stack: Stack) -> int:
    """As if the waits were over: everything that is kept is due now; how many notices."""
    client = redis.Redis.from_url(stack.settings.redis_url)
    count = 0
    for key in client.scan_iter("notices*:due"):
        members: list[bytes] = client.zrange(key, 0, -1)  # type: ignore[assignment]
        client.zadd(key, dict.fromkeys(members, 0))
        count += len(members)
    client.close()
    return count


@pytest.mark.timeout(240)
async def test_an_endpoint_that_hangs_delays_no_payout_and_no_notice_is_lost(
    stack: TellingStack, company: Company
) -> None:
    async def hang(number: int, request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    taken = company.behave
    company.behave = hang
    outcome = await asyncio.to_thread(run, stack, 21)
    ids = await asyncio.to_thread(told, stack)
    # Waiting for the company would have taken at least this long.
    waited_s = len(ids) / CONCURRENCY * TIMEOUT_S
    assert len(ids) > 400
    assert outcome.seconds < waited_s / 2
    assert company.events == []

    stack.kill_worker()
    company.behave = taken
    assert all_due(stack) >= len(ids)
    await asyncio.to_thread(stack.start_worker)
    await until(lambda: {event["id"] for event in company.events} >= ids)
    assert {event["id"] for event in company.events} == ids
    assert company.forged == 0
    again = len(company.events) - len(ids)
    assert again <= 2 * CONCURRENCY


@pytest.mark.timeout(240)
async def test_what_a_gone_endpoint_missed_is_replayed(
    stack: TellingStack, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = company.behave
    company.behave = lambda number, request: web.Response(status=410)
    await asyncio.to_thread(run, stack, 22)
    ids = await asyncio.to_thread(told, stack)
    await until(lambda: all_due(stack) == 0)
    assert company.tries <= CONCURRENCY

    company.behave = taken
    stack.kill_worker()
    await asyncio.to_thread(stack.start_worker)
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", stack.settings.kafka_brokers)
    words = ["dead-letters", "replay", "--reason", "notice_undelivered", "--limit", "9999", "--yes"]
    replayed = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert replayed.exit_code == 0, replayed.output
    await until(lambda: {event["id"] for event in company.events} >= ids)
    assert {event["id"] for event in company.events} == ids
