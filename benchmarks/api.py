"""Bookings over HTTP: how many a second one process takes, and how long one waits.

Redemptions, and purchases that a till has authorised.

Each is answered once it is booked, in the ledger, and safe from a loss of Redis. The load comes
from this process, on the same machine. ``python -m benchmarks.api`` measures this alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple
from uuid import uuid4

import redis
from rich.console import Console

from benchmarks.events import profiles_and_sales
from benchmarks.ground import Ground, Kafka, new_seal_keys, publish, seal_of
from benchmarks.measure import TIMEOUT_S, Follower, JobFailed, await_done, cpu_s, product
from models.sellers import read_seller
from streams.api.keys import Scope, make, write
from streams.demo.messages import Message
from streams.demo.process import ChildProcess, free_port
from streams.engine.worker import new_loop

CALLERS = 64
"""Requests that are always under way while throughput is measured."""

CALM_PER_S = 50
"""Requests a second while the wait for one is measured, whatever became of those before."""

SALES_PER_S = 500
"""Sales a second that a worker books beside the API."""

LINGER_MS = 20
"""How long their sender gathers them. Sent one by one they would take the embedded broker, for
which each batch costs, as much time as all that is measured."""

WARM_UP_S = 1
"""How long it does before waits count."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What requests of a kind took. Waits in milliseconds, from the intended send to the answer."""

    requests: int
    per_s: float
    api_cpu_us_per_request: float
    busy_p50: float
    busy_p99: float
    calm_p50: float
    calm_p99: float
    beside_sales_p50: float
    beside_sales_p99: float

    @property
    def text(self) -> str:
        """In a sentence."""
        return (
            f"{self.per_s:g}/s of one process, {self.api_cpu_us_per_request:.0f} µs of its CPU "
            f"each; in ms, p50 and p99: {self.calm_p50} and {self.calm_p99} in calm, "
            f"{self.beside_sales_p50} and {self.beside_sales_p99} beside {SALES_PER_S} sales a "
            "second"
        )


class Bookings(NamedTuple):
    """What both kinds of requests took."""

    redeeming: Asking
    authorising: Asking

    @property
    def text(self) -> str:
        """In a line each."""
        return (
            f"redemptions over HTTP: {self.redeeming.text}\n"
            f"authorised purchases over HTTP: {self.authorising.text}"
        )


def measure_bookings(
    seed: int, seal_keys: str, *, seconds: int = 8, kafka: Kafka = "embedded"
) -> Bookings:
    """Grant credit by sales, then spend it beside sales; each kind on a ground of its own."""
    each = 2 * seconds * SALES_PER_S
    profiles, sales = profiles_and_sales(seed, len(_KINDS) * each, seal=seal_of(seal_keys))
    found = []
    for number, kind in enumerate(_KINDS):
        mine = sales[number * each :][:each]
        found.append(_measured_alone(kind, profiles, mine, seal_keys, seconds, kafka))
    return Bookings(*found)


def _measured_alone(  # noqa: PLR0917 - what a run is made of
    kind: _Kind,
    profiles: Sequence[Message],
    sales: Sequence[Message],
    seal_keys: str,
    seconds: int,
    kafka: Kafka,
) -> Asking:
    """One kind on a ground of its own: the embedded broker is slower with each batch it holds."""
    with Ground(seal_keys, kafka=kafka) as ground:
        follower = Follower(ground.settings.kafka_client(), ground.settings.partitions)
        ground.book_profiles(profiles)
        worker = ground.start(product().command)
        first, rest = sales[: len(sales) // 2], sales[len(sales) // 2 :]
        await_done(ground, product(), worker, follower, ground.publish(first))
        follower.stop()
        keys, made = ground.directory / "keys.yaml", make("bench", [Scope.SPEND, Scope.BUY])
        write(keys, [made.key])
        port = free_port()
        api = ground.start(
            (sys.executable, "-m", "streams.cli", "api"),
            api_keys=keys,
            api_port=port,
            metrics_port=free_port(),
            api_requests_per_second=100_000,
            api_burst=1_000_000,
        )
        load = _Load(kind, port, made.token, _with_credit(ground))
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(_measured(ground, load, api, rest, seconds))


async def _measured(
    ground: Ground, load: _Load, api: ChildProcess, sales: Sequence[Message], seconds: int
) -> Asking:
    """Waits first and throughput last, since that leaves the broker many batches."""
    with contextlib.closing(load):
        await load.until_up(api)
        await load.open(WARM_UP_S)
        calm = await load.open(seconds)
        loaded = await _beside(ground, load, sales, seconds)
        await load.closed(WARM_UP_S)
        before_s, began = cpu_s(api.pid), time.perf_counter()
        busy = await load.closed(seconds)
        took_s, used_s = time.perf_counter() - began, cpu_s(api.pid) - before_s
    return Asking(
        requests=len(busy),
        per_s=round(len(busy) / took_s, 1),
        api_cpu_us_per_request=round(used_s / len(busy) * 1e6, 1),
        busy_p50=_percentile(busy, 50), busy_p99=_percentile(busy, 99),
        calm_p50=_percentile(calm, 50), calm_p99=_percentile(calm, 99),
        beside_sales_p50=_percentile(loaded, 50), beside_sales_p99=_percentile(loaded, 99),
    )  # fmt: skip


async def _beside(
    ground: Ground, load: _Load, sales: Sequence[Message], seconds: int
) -> list[float]:
    # A process of its own: in a thread of this one it would hold up the clock of the waits.
    apart = multiprocessing.get_context("spawn")
    flowing = apart.Event()
    beside = apart.Process(
        target=_publish_slowly, args=(ground.settings.kafka_brokers, list(sales), flowing)
    )
    beside.start()
    if not await asyncio.to_thread(flowing.wait, TIMEOUT_S):
        raise JobFailed("no sales are published")
    loaded = await load.open(max(seconds - WARM_UP_S, 1))
    await asyncio.to_thread(beside.join)
    if beside.exitcode:
        raise JobFailed(f"the publisher of sales ended with {beside.exitcode}")
    return loaded


def _redemption(currency: str) -> dict[str, Any]:
    return {"currency": currency, "amount_minor": 1, "order_ref": "bench"}


def _purchase(currency: str) -> dict[str, Any]:
    return {"currency": currency, "amount_minor": 1, "authorisation_id": str(uuid4())}


class _Kind(NamedTuple):
    """What is asked for: where, and with which body for a currency."""

    path: str
    body: Callable[[str], dict[str, Any]]


_KINDS = (_Kind("redemptions", _redemption), _Kind("authorisations", _purchase))
"""As :class:`Bookings` has them."""


class _Connection:
    """A connection to the API that is used again and again, for one request at a time.

    No more than what is measured needs: a client library takes as much CPU as the API itself, on
    the cores that both share.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> _Connection:
        """Connect. Raises OSError."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; status and body of the answer, which has to tell its length."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, *fields = head.decode("ascii").lower().splitlines()
        length = next(int(f[15:]) for f in fields if f.startswith("content-length:"))
        return int(status.split()[1]), await self._reader.readexactly(length)

    def close(self) -> None:
        """Let it go."""
        self._writer.close()


class _Load:
    """Sends requests of one kind, and times them."""

    def __init__(
        self, kind: _Kind, port: int, token: str, sellers: Sequence[tuple[str, str]]
    ) -> None:
        self._kind = kind
        self._port = port
        self._headers = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        self._sellers = cycle(sellers)
        self._idle: list[_Connection] = []

    def close(self) -> None:
        """Close the connections that nobody uses."""
        for connection in self._idle:
            connection.close()

    async def until_up(self, api: ChildProcess) -> None:
        """Wait until the API answers."""
        until = time.monotonic() + TIMEOUT_S
        while True:
            with contextlib.suppress(OSError, EOFError):
                status, _ = await self._answered(f"GET /healthz HTTP/1.1\r\n{self._headers}\r\n")
                if status == 200:
                    return
            if api.exit_code() is not None or time.monotonic() > until:
                raise JobFailed(f"the API did not start: {api.log_tail(12)}")
            await asyncio.sleep(0.05)

    async def closed(self, seconds: float) -> list[float]:
        """So many callers that each send the next when they have an answer; each one's wait."""
        until = time.perf_counter() + seconds
        waits: list[float] = []

        async def caller() -> None:
            while time.perf_counter() < until:
                waits.append(await self._ask(time.perf_counter()))

        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(caller())
        return waits

    async def open(self, seconds: float) -> list[float]:
        """So many a second; each one's wait."""
        began = time.perf_counter()
        calls = []
        for number in range(int(seconds * CALM_PER_S)):
            at = began + number / CALM_PER_S
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            calls.append(asyncio.create_task(self._ask(at)))
        return list(await asyncio.gather(*calls))

    async def _ask(self, at: float) -> float:
        seller, currency = next(self._sellers)
        body = json.dumps(self._kind.body(currency))
        status, answer = await self._answered(
            f"POST /v1/sellers/{seller}/{self._kind.path} HTTP/1.1\r\n{self._headers}"
            f'Idempotency-Key: "{uuid4()}"\r\nContent-Type: application/json\r\n'
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        if status != 201:
            raise JobFailed(f"{status}: {answer.decode()}")
        return (time.perf_counter() - at) * 1000

    async def _answered(self, request: str) -> tuple[int, bytes]:
        connection = self._idle.pop() if self._idle else await _Connection.open(self._port)
        answer = await connection.ask(request.encode())
        self._idle.append(connection)
        return answer


def _with_credit(ground: Ground) -> list[tuple[str, str]]:
    """Sellers who may buy, and currencies in which they have credit left."""
    client: Any = redis.Redis.from_url(ground.redis.url)
    try:
        found = []
        for key in client.scan_iter(match="{s*}:w:*", count=5_000):
            seller = key.decode().partition(":w:")[2]
            profile = client.get(key.replace(b":w:", b":p:"))
            if profile is None or read_seller(seller, profile).suspended:
                continue
            for field, minor in client.hgetall(key).items():
                currency, _, account = field.decode().partition(":")
                if account == "credit" and int(minor) >= 500:
                    found.append((seller, currency))
        return found
    finally:
        client.close()


def _publish_slowly(brokers: str, sales: Sequence[Message], flowing: Event) -> None:
    began = 0.0

    def wait(number: int) -> None:
        nonlocal began
        if number <= 1:
            # The broker has the first by the time of the second: it took a while to connect.
            began = time.perf_counter()
        time.sleep(max(0.0, began + number / SALES_PER_S - time.perf_counter()))
        if number == WARM_UP_S * SALES_PER_S:
            flowing.set()

    try:
        publish(brokers, sales, linger_ms=LINGER_MS, on_each=wait)
    finally:
        flowing.set()


def _percentile(waits: Sequence[float], percent: int) -> float:
    ordered = sorted(waits)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1)


def main() -> None:
    """Measure, and print the figures of each round."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=__doc__)
    parser.add_argument("--seconds", type=int, default=12, help="how long each wait is measured")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=10)
    options = parser.parse_args()
    for number in range(options.rounds):
        found = measure_bookings(options.seed + number, new_seal_keys(), seconds=options.seconds)
        Console(soft_wrap=True).print(found.text)


if __name__ == "__main__":
    main()
