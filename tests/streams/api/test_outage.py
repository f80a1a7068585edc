"""The API when something is away or too much comes, and its process, started and stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import redis

from streams.demo.process import ChildProcess, free_port
from streams.topics import create_topics
from tests.streams.api.harness import RAIL, new_key, shop
from tests.streams.wallets.harness import PARTITIONS, SEAL_KEYS

ROOT = Path(__file__).parents[3]
REDEEM = "/v1/sellers/anna/redemptions"
BODY = {"currency": "EUR", "amount_minor": 1, "order_ref": "order-1"}


async def test_without_redis_nobody_knows_and_the_repeat_is_booked(
    own_broker: str, redis_url: str, client: redis.Redis, tmp_path: Path
) -> None:
    async with shop(own_broker, redis_url, tmp_path, api_timeout_s=1) as made:
        # It refuses every write, as one that has lost its replicas.
        client.config_set("min-replicas-to-write", 1)
        try:
            reply = await made.call("POST", REDEEM, BODY, key="k1")
            assert (reply.status, reply.code) == (503, "unavailable")
            assert int(reply.headers["Retry-After"]) >= 1
        finally:
            client.config_set("min-replicas-to-write", 0)
        assert (await made.call("POST", REDEEM, BODY, key="k1")).status == 201


async def test_a_key_that_sends_too_much_waits(
    own_broker: str, redis_url: str, client: redis.Redis, tmp_path: Path
) -> None:
    limits = {"api_requests_per_second": 1, "api_burst": 2}
    async with shop(own_broker, redis_url, tmp_path, **limits) as made:
        replies = [await made.call("POST", REDEEM, BODY) for _ in range(3)]
        assert [reply.status for reply in replies] == [201, 201, 429]
        assert replies[2].code == "rate_limited"
        assert 1 <= int(replies[2].headers["Retry-After"]) <= 2
        other = new_key(made.keys)
        made.api.keys.refresh()
        made.call.token = other
        assert (await made.call("POST", REDEEM, BODY)).status == 201


async def test_too_many_at_once_are_sent_away(
    own_broker: str, redis_url: str, client: redis.Redis, tmp_path: Path
) -> None:
    async with shop(own_broker, redis_url, tmp_path, api_concurrency=1) as made:
        replies = await asyncio.gather(*(made.call("POST", REDEEM, BODY) for _ in range(10)))
        assert {reply.status for reply in replies} == {201, 503}
        assert {reply.code for reply in replies if reply.status == 503} == {"busy"}


async def test_the_process_starts_answers_and_stops(
    own_broker: str, redis_url: str, client: redis.Redis, tmp_path: Path
) -> None:
    create_topics(own_broker, PARTITIONS)
    keys, port = tmp_path / "keys.yaml", free_port()
    token = new_key(keys)
    settings = {
        "kafka_brokers": own_broker, "redis_url": redis_url, "partitions": PARTITIONS,
        "seal_keys": SEAL_KEYS, "api_keys": keys, "api_port": port, "metrics_port": 0, **RAIL,
    }  # fmt: skip
    ours = {f"PAYOUTS_{name.upper()}": str(value) for name, value in settings.items()}
    own = {name: value for name, value in os.environ.items() if not name.startswith("PAYOUTS_")}
    command = (sys.executable, "-m", "streams.cli", "api")
    child = ChildProcess(command, tmp_path / "api.log", ROOT, environment={**own, **ours})
    try:
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as session:
            await _until_up(session, url, child)
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(f"{url}/v1/sellers/anna/wallet", headers=headers) as answer:
                assert (answer.status, (await answer.json())["accounts"]) == (200, {})
            # Another at the same port says so, and goes.
            second = ChildProcess(command, tmp_path / "two.log", ROOT, environment={**own, **ours})
            assert await asyncio.to_thread(_ended, second) == 1
            assert "in use" in second.log_tail(5)
        os.kill(child.pid, signal.SIGTERM)
        assert await asyncio.to_thread(_ended, child) == 0
        assert token not in (tmp_path / "api.log").read_text()
    finally:
        child.stop()


async def _until_up(session: aiohttp.ClientSession, url: str, child: ChildProcess) -> None:
    async with asyncio.timeout(60):
        while child.exit_code() is None:
            try:
                async with session.get(f"{url}/healthz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise AssertionError(child.log_tail(20))


def _ended(child: ChildProcess) -> int | None:
    import time

    deadline = time.monotonic() + 60
    while (code := child.exit_code()) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return code
