"""Payouts a second: one worker of role ``pay`` hands what is reserved to the sandbox.

Each payout is marked in Redis, submitted over HTTP, its answer booked and published, and, as no
webhook reports here, enquired about once, until it is settled or has failed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

import redis
from pydantic_core import from_json

from benchmarks.ground import Ground, Kafka
from benchmarks.measure import TIMEOUT_S, Follower, JobFailed, await_done, cpu_s, product
from models.payouts import IN_FLIGHT, PayoutState
from rails.sandbox.provider import CLIENT_ID, SECRET
from streams.demo.messages import Message
from streams.demo.process import ChildProcess, free_port


@dataclass(frozen=True, slots=True)
class Paying:
    """What paying took. CPU in microseconds a payout, until it is settled."""

    payouts: int
    submitted_per_s: float
    settled_per_s: float
    worker_cpu_us_per_payout: float
    connections: int
    """How many the worker opened to the sandbox for all its calls."""


def measure_paying(
    profiles: Sequence[Message],
    sales: Sequence[Message],
    seal_keys: str,
    *,
    kafka: Kafka = "embedded",
) -> Paying:
    """Reserve a payout for each sale, then pay them all as fast as one worker can."""
    with Ground(seal_keys, kafka=kafka) as ground:
        reserved = _reserve(ground, profiles, sales)
        url = f"http://127.0.0.1:{free_port()}"
        sandbox = ground.start(
            (
                *(sys.executable, "-m", "streams.cli", "sandbox", "--settle-delay-ms", "0"),
                *("--port", url.rpartition(":")[2]),
            )
        )
        _until(lambda: _answers(url), sandbox, "the sandbox did not start")
        worker = ground.start(
            product().command,
            roles="pay",
            paypal_base_url=url,
            paypal_client_id=CLIENT_ID,
            paypal_client_secret=SECRET,
            paypal_requests_per_minute=1_000_000,
        )
        _until(lambda: _submitted(url) > 0, worker, "no payout was submitted")
        first, began, before_s = _submitted(url), time.monotonic(), cpu_s(worker.pid)
        _until(lambda: _submitted(url) == reserved, worker, "not every payout was submitted")
        submitted_s = time.monotonic() - began
        _until(lambda: _settled(ground) == reserved, worker, "not every payout was settled")
        settled_s, used_s = time.monotonic() - began, cpu_s(worker.pid) - before_s
        connections = _summary(url)["connections"]
    count = reserved - first
    return Paying(
        payouts=reserved,
        submitted_per_s=round(count / submitted_s, 1),
        settled_per_s=round(count / settled_s, 1),
        worker_cpu_us_per_payout=round(used_s / count * 1e6, 1),
        connections=connections,
    )


def _reserve(ground: Ground, profiles: Sequence[Message], sales: Sequence[Message]) -> int:
    """Book the sales with a worker that pays nothing; how many payouts wait then."""
    follower = Follower(ground.settings.kafka_client(), ground.settings.partitions)
    ground.book_profiles(profiles)
    job = product()
    child = ground.start(job.command)
    await_done(ground, job, child, follower, ground.publish(sales))
    child.stop()
    return len(follower.stop().payouts)


UNDER_WAY = IN_FLIGHT - {PayoutState.UNCLAIMED}
"""Of what the simulated company pays, some fails, comes back or is never claimed."""

LOOK_S = 0.3
"""How often the sandbox and Redis are asked how far it is: that costs them as well."""


def _until(reached: Callable[[], bool], child: ChildProcess, otherwise: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not reached():
        if (code := child.exit_code()) is not None:
            raise JobFailed(f"a process ended with {code}: {child.log_tail(12)}")
        if time.monotonic() > deadline:
            raise JobFailed(f"{otherwise} within {TIMEOUT_S:.0f} s: {child.log_tail(12)}")
        time.sleep(LOOK_S)


def _answers(url: str) -> bool:
    try:
        _summary(url)
    except OSError:
        return False
    return True


def _summary(url: str) -> dict[str, Any]:
    with urlopen(f"{url}/sandbox/summary", timeout=5) as response:  # noqa: S310 - our own
        summary: dict[str, Any] = from_json(response.read())
    return summary


def _submitted(url: str) -> int:
    return int(_summary(url)["payouts"])


def _settled(ground: Ground) -> int:
    """How many payouts the rail has said the truth about."""
    client = redis.Redis.from_url(ground.redis.url)
    try:
        keys = list(client.scan_iter(match="{s*}:y:*", count=5_000))
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.get(key)
        return sum(from_json(value)["state"] not in UNDER_WAY for value in pipe.execute() if value)
    finally:
        client.close()
