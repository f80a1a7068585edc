"""What tracing costs: a worker's CPU a sale with it off, at 1 % of the sales, and at all of them.

``python -m benchmarks.tracing`` runs the product's worker against a collector of its own, in turns,
and tells the median of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from rich.console import Console

from benchmarks.events import workload
from benchmarks.ground import new_seal_keys, seal_of
from benchmarks.measure import measure, product

RATIOS = (0.0, 0.01, 1.0)


def main() -> None:
    """Measure, and print a line a ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracing", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="sales")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    keys = new_seal_keys()
    profiles, warm_up, sales = workload(options.seed, options.events, seal=seal_of(keys))
    found: dict[float, list[float]] = {ratio: [] for ratio in RATIOS}
    with _collector() as url:
        for _ in range(options.rounds):
            for ratio in RATIOS:
                changes = {"traces_ratio": ratio, "traces_url": url}
                run = measure(product(), profiles, warm_up, sales, keys, changes=changes)
                found[ratio].append(run.worker_cpu_us_per_event)
    console = Console()
    off = statistics.median(found[0.0])
    for ratio, figures in found.items():
        cpu = statistics.median(figures)
        console.print(
            f"{ratio:.0%} traced: {cpu:.1f} µs of the worker's CPU a sale, {cpu / off - 1:+.1%} "
            f"({min(figures):.1f} to {max(figures):.1f} in {len(figures)} rounds)"
        )


@contextmanager
def _collector() -> Iterator[str]:
    """Takes spans and forgets them; the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Forgetful) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Forgetful(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    main()
