"""Any number of random sequences through both ledgers: ``python -m tests.streams.wallets``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import redis

from streams.demo.embedded import EmbeddedRedis
from streams.wallets.library import library

KEPT_MAX = 200
"""Sequences behind which the server is emptied, so that it stays small."""


def main(arguments: Sequence[str]) -> int:
    """Go through them; 1 where the ledgers part ways, with the seed that shows it."""
    from tests.streams.wallets.test_sequences import STEPS, live

    parser = argparse.ArgumentParser(prog="python -m tests.streams.wallets", description=__doc__)
    parser.add_argument("--sequences", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first; the next has the next")
    parser.add_argument("--operations", type=int, default=STEPS, help="of each sequence")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    seeds = range(given.seed, given.seed + given.sequences)
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as client:
        client.function_load(library().source)
        for seed in seeds:
            try:
                live(client, seed, given.operations)
            except AssertionError as error:
                sys.stderr.write(f"{error}\n")
                return 1
            if (seed - given.seed) % KEPT_MAX == KEPT_MAX - 1:
                client.flushdb()
    took = f"{time.monotonic() - began:.0f} s"
    told = f"{len(seeds):,} sequences of {given.operations} operations"
    sys.stdout.write(f"{told}, seeds {seeds[0]} to {seeds[-1]}: equal, {took}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
