"""What a sale costs two workers beside one, where few sellers sell most.

    python -m benchmarks.sharing

The product books the same sales on Apache Kafka, by one worker and by two that share the
partitions. The sales are dealt out to sellers by Zipf's law: in each currency the first sells twice
what the second does, and three times what the third does. One way and the other take turns; of each
the least counts, since whatever else a machine does only adds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json
from rich.console import Console

from benchmarks.events import WARM_UP_SALES, profiles_and_sales
from benchmarks.ground import new_seal_keys, seal_of
from benchmarks.measure import Figures, measure, product
from models.shards import partition_of
from streams.demo.messages import Message
from streams.topics import PARTITIONS_EMBEDDED

WORKERS = (1, 2)


def uneven(sales: Sequence[Message], seed: int) -> list[Message]:
    """The sales, dealt out to their sellers by Zipf's law."""
    dealer = random.Random(seed)
    sellers: dict[str, list[bytes]] = {}
    for sale in sales:
        mine = sellers.setdefault(from_json(sale.value)["currency"], [])
        if sale.key not in mine:
            mine.append(sale.key)
    dealt = []
    for sale in sales:
        body = from_json(sale.value)
        mine = sellers[body["currency"]]
        (key,) = dealer.choices(mine, [1 / rank for rank in range(1, len(mine) + 1)])
        dealt.append(replace(sale, key=key, value=to_json(body | {"seller_id": key.decode()})))
    return dealt


def shares(sales: Sequence[Message]) -> dict[str, float]:
    """The part of the sales that the busiest seller and the busiest partition have."""
    sellers = Counter(sale.key for sale in sales)
    partitions = Counter(partition_of(sale.key.decode(), PARTITIONS_EMBEDDED) for sale in sales)
    return {
        "busiest_seller": round(max(sellers.values()) / len(sales), 3),
        "busiest_partition": round(max(partitions.values()) / len(sales), 3),
    }


def figures_of(runs: Sequence[tuple[int, Figures]]) -> dict[str, Any]:
    """The least of the rounds for one worker and for two, in microseconds a sale."""
    found: dict[str, Any] = {}
    for workers in WORKERS:
        mine = [run for count, run in runs if count == workers]
        found[f"by_{workers}"] = {
            "worker_us": round(min(run.worker_cpu_us_per_event for run in mine), 1),
            "redis_us": round(min(run.redis_cpu_us_per_event for run in mine), 1),
            "sales_per_s": round(max(run.events_per_s for run in mine)),
        }
    one, two = found["by_1"], found["by_2"]
    found["two_to_one"] = round(two["worker_us"] / one["worker_us"], 3)
    found["same_earnings"] = len({run.earned_sha256 for _, run in runs}) == 1
    return found


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharing", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="sales in a run")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", type=Path, help="write the figures as JSON to this file")
    options = parser.parse_args()
    keys = new_seal_keys()
    count = WARM_UP_SALES + options.events
    profiles, sales = profiles_and_sales(options.seed, count, seal=seal_of(keys))
    sales = uneven(sales, options.seed)
    warm_up, measured = sales[:WARM_UP_SALES], sales[WARM_UP_SALES:]
    runs = [
        (
            workers,
            measure(product(), profiles, warm_up, measured, keys, kafka="apache", workers=workers),
        )
        for _ in range(options.rounds)
        for workers in WORKERS
    ]
    figures = {**shares(measured), **figures_of(runs), "cores": os.cpu_count()}
    Console().print_json(data=figures)
    if options.output is not None:
        options.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
