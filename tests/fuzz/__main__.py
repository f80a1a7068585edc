"""``make fuzz``: many inputs through every reader and the whole line; what became of them."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from streams.demo.embedded import EmbeddedRedis
from tests.fuzz.line import shown
from tests.fuzz.rounds import ROUND_INPUTS, Round, RoundFailed, run_round


def main(arguments: Sequence[str] | None = None) -> int:
    """Run rounds until the inputs are used up or one fails; 0 if none did."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="how many messages in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", type=Path, help="a record of a failure, to see it again")
    parser.add_argument(
        "--records", type=Path, default=Path(tempfile.gettempdir()), help="where failures are kept"
    )
    parser.add_argument("--rounds-after-failure", action="store_true", help="go on, count failures")
    options = parser.parse_args(arguments)
    if options.replay:
        rounds = [Round.read(options.replay)]
    else:
        rounds = _rounds(options.seed, options.inputs)
    counts: Counter[tuple[str, str]] = Counter()
    failed = 0
    started = time.monotonic()
    with EmbeddedRedis() as server:
        for round_ in rounds:
            try:
                counts += run_round(server.url, round_)
                if sys.stderr.isatty():
                    sys.stderr.write(f"\r{counts.total()} inputs ")
            except RoundFailed as failure:
                failed += 1
                path = options.records / f"fuzz-{round_.seed}.json"
                path.write_bytes(failure.record())
                sys.stderr.write(f"{failure.where}\nsee it again: --replay {path}\n")
                if not options.rounds_after_failure:
                    break
    seconds = time.monotonic() - started
    total = counts.total()
    sys.stdout.write(
        f"{shown(counts)}\n{total} inputs in {seconds:.0f} s, {total / seconds:.0f} a second;"
        f" {failed} rounds failed\n"
    )
    return 1 if failed else 0


def _rounds(seed: int, inputs: int) -> list[Round]:
    now_ms = time.time_ns() // 1_000_000
    sizes = [ROUND_INPUTS] * (inputs // ROUND_INPUTS) + [inputs % ROUND_INPUTS]
    return [Round(seed * 1_000_000 + i, size, now_ms) for i, size in enumerate(sizes) if size]


if __name__ == "__main__":
    # Whatever is said of bad messages is said a million times.
    logging.disable(logging.CRITICAL)
    raise SystemExit(main())
