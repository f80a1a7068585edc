"""What a million sellers take in Redis, and whether a sale costs more among so many.

    python -m benchmarks.sellers --sellers 1000000

Each seller has a profile and one sale, booked by the product's own functions; the entries are not
put into Kafka. At each tenfold number of sellers some thousand sales of sellers taken at random are
booked on top, and timed. Prints the figures, and writes them with ``--output``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json
from redis import Redis
from rich.console import Console
from rich.table import Table

from benchmarks.events import profiles_and_sales
from benchmarks.ground import new_seal_keys, seal_of
from benchmarks.rebuild import BATCH, PARTITIONS, Books, redis_cpu_s
from streams.demo.embedded import EmbeddedBroker, EmbeddedRedis
from streams.demo.messages import Message
from streams.settings import Settings, load_settings
from streams.topics import create_topics
from streams.wallets.store import Booked

TEMPLATES = 2_000
"""Sales that the others are made of: of other sellers, with other ids, cards and devices."""

TIMED_SALES = 20_000
_OWN = ("customer_ref", "instrument_ref", "device_ref")


class Standing(NamedTuple):
    """How things are with so many sellers; CPU in microseconds a sale, its payout included."""

    sellers: int
    mb: int
    profile_bytes: int
    """What a profile takes, of those that came since the last standing."""
    sale_bytes: int
    """What one sale takes: wallet, lots and totals, features, record and payout."""
    sale_redis_us: float
    sale_us: float
    ledger_bytes: int
    """Entries of a sale and its payout."""
    decision_bytes: int


class _Unpublished(Books):
    """Books whose entries nobody reads."""

    def __init__(self, settings: Settings, seal_keys: str) -> None:
        super().__init__(settings, seal_keys)
        self.topic_bytes: Counter[str] = Counter()
        """What would have been produced, by topic."""

    def produce(self, booked: dict[int, Booked]) -> None:
        """Only count."""
        for reply in booked.values():
            for entry in reply.outbox:
                for message in entry.messages:
                    self.topic_bytes[message.topic] += len(message.value or b"")


class Population:
    """Profiles and sales of as many sellers as are asked for, each like one of a few."""

    def __init__(self, seed: int, keys: str) -> None:
        profiles, sales = profiles_and_sales(seed, TEMPLATES, seal=seal_of(keys))
        bodies = {body["seller_id"]: body for body in (from_json(p.value) for p in profiles)}
        self._sales = [from_json(message.value) for message in sales]
        self._profiles = [bodies[sale["seller_id"]] for sale in self._sales]
        self.seed = seed
        self._made = 0

    def profiles(self, numbers: Sequence[int]) -> list[Message]:
        """The profiles of sellers, by number."""
        made = []
        for number in numbers:
            body = self._profiles[number % TEMPLATES]
            made.append(_message("sellers", number, body, f"profile-{number}"))
        return made

    def sales(self, numbers: Sequence[int]) -> list[Message]:
        """A sale of each seller, by number, with a card and a device of her customer."""
        made = []
        for number in numbers:
            self._made += 1
            body = self._sales[number % TEMPLATES]
            own = {name: f"{name}-{number}" for name in _OWN if name in body}
            made.append(_message("sales", number, body | own, f"sale-{self._made}"))
        return made


def _message(topic: str, number: int, body: dict[str, Any], id_: str) -> Message:
    seller = f"seller-{number:08}"
    body = body | {"id": id_, "seller_id": seller}
    if "sale_id" in body:
        body["sale_id"] = id_
    return Message(topic, seller.encode(), to_json(body), 0, None, id_)


async def fill(books: _Unpublished, population: Population, numbers: range) -> None:
    """Give sellers their profiles."""
    for first in range(numbers.start, numbers.stop, BATCH):
        await books.profiles(population.profiles(numbers[first - numbers.start :][:BATCH]))


async def sell(books: _Unpublished, population: Population, numbers: Sequence[int]) -> None:
    """A sale of each."""
    for first in range(0, len(numbers), BATCH):
        await books.sales(population.sales(numbers[first : first + BATCH]))


async def measure(
    books: _Unpublished, client: Redis, population: Population, sellers: int
) -> list[Standing]:
    """Fill Redis step by step."""
    await books.open()
    random_numbers = random.Random(population.seed)
    found: list[Standing] = []
    before = 0
    for step in steps(sellers):
        new = range(before, step)
        empty = memory(client)
        await fill(books, population, new)
        with_profiles = memory(client)
        await sell(books, population, new)
        sold = memory(client)
        timed = random_numbers.choices(range(step), k=TIMED_SALES)
        books.topic_bytes.clear()
        own_s, redis_s = time.process_time(), redis_cpu_s(client)
        await sell(books, population, timed)
        own_s, redis_s = time.process_time() - own_s, redis_cpu_s(client) - redis_s
        found.append(
            Standing(
                step,
                round(sold / 1e6),
                round((with_profiles - empty) / len(new)),
                round((sold - with_profiles) / len(new)),
                round(redis_s / TIMED_SALES * 1e6, 1),
                round(own_s / TIMED_SALES * 1e6, 1),
                round(books.topic_bytes["ledger"] / TIMED_SALES),
                round(books.topic_bytes["decisions"] / TIMED_SALES),
            )
        )
        before = step
    await books.close()
    return found


def memory(client: Redis) -> int:
    """What Redis uses, in bytes."""
    return int(client.info("memory")["used_memory"])


def steps(sellers: int) -> Iterator[int]:
    """1,000, 10,000 and so on, and the number asked for."""
    step = 1_000
    while step < sellers:
        yield step
        step *= 10
    yield sellers


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sellers", description=__doc__)
    parser.add_argument("--sellers", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", type=Path, help="write the figures as JSON to this file")
    options = parser.parse_args()
    keys = new_seal_keys()
    with (
        tempfile.TemporaryDirectory() as directory,
        EmbeddedBroker(directory=Path(directory) / "broker") as broker,
        EmbeddedRedis(directory=Path(directory) / "redis") as server,
    ):
        settings = load_settings(
            kafka_brokers=broker.bootstrap,
            redis_url=server.url,
            partitions=PARTITIONS,
            seal_keys=keys,
        )
        create_topics(broker.bootstrap, PARTITIONS)
        books = _Unpublished(settings, keys)
        client = Redis.from_url(server.url)
        population = Population(options.seed, keys)
        found = asyncio.run(measure(books, client, population, options.sellers))
        client.close()
    show(found)
    if options.output is not None:
        figures = {"cores": os.cpu_count(), "steps": [each._asdict() for each in found]}
        options.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def show(found: Sequence[Standing]) -> None:
    """Print a row a step."""
    table = Table()
    for heading in (
        "sellers", "Valkey MB", "bytes a profile", "bytes a sale", "Valkey µs a sale",
        "own µs a sale", "ledger bytes", "decision bytes",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for each in found:
        table.add_row(*(f"{value:,}" for value in each))
    Console().print(table)


if __name__ == "__main__":
    main()
