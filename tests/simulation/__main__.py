"""Run seeds: ``python -m tests.simulation --seed 7 --trace``, or ``--first 0 --seeds 100000``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable

from tests.simulation.seeds import Tally, live_all
from tests.simulation.world import LONG, SHORT, Scale, run

TOLD_EVERY = 10
"""Portions between two lines about how far it is."""


def main() -> int:
    """Run what was asked for; 1 if a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, help="one seed")
    parser.add_argument("--trace", action="store_true", help="tell every step of it")
    parser.add_argument("--long", action="store_true", help="longer histories, twice the time")
    parser.add_argument("--first", type=int, default=0, help="the first of many seeds")
    parser.add_argument("--seeds", type=int, default=10_000, help="how many")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    scale = LONG if args.long else SHORT
    if args.seed is not None:
        return _one(args.seed, scale, tracing=args.trace)
    return _many(live_all(range(args.first, args.first + args.seeds), args.processes, scale))


def _one(seed: int, scale: Scale, *, tracing: bool) -> int:
    outcome = run(seed, scale, tracing=tracing)
    if tracing:
        sys.stdout.write("\n".join(outcome.trace) + f"\ndigest {outcome.digest}\n")
    for violation in outcome.violations:
        sys.stdout.write(f"seed {seed}: {violation}\n")
    sys.stdout.write(f"{outcome.events} events, {outcome.faults} faults\n")
    return 1 if outcome.violations else 0


def _many(tallies: Iterable[Tally]) -> int:
    began = time.perf_counter()
    total = Tally(0, 0, 0, (), 0, 0.0)
    for number, tally in enumerate(tallies, 1):
        for failure in tally.failures:
            sys.stdout.write(failure + "\n")
        sums = (a + b for a, b in zip(total, tally, strict=True))
        total = Tally(*sums)._replace(failures=())
        if number % TOLD_EVERY == 0:
            _tell(total, time.perf_counter() - began)
    _tell(total, time.perf_counter() - began)
    return 1 if total.failed else 0


def _tell(total: Tally, seconds: float) -> None:
    sys.stdout.write(
        f"{total.seeds:,} seeds, {total.events:,} events, {total.faults:,} faults, "
        f"{total.failed:,} failed, {seconds:.0f} s, {total.cpu_s * 1000 / total.seeds:.1f} ms of "
        "CPU a seed\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
