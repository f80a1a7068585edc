"""What counting costs: the share of a worker's CPU that goes into metrics.

``python -m benchmarks.counting`` has a worker book sales and looks 250 times a second of its CPU at
what it does. That is a sample: so many looks, of which so many found the code of the metrics.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from urllib.request import urlopen

from rich.console import Console

from benchmarks.events import workload
from benchmarks.ground import Ground, new_seal_keys, seal_of
from benchmarks.measure import Follower, await_done, cpu_s, product

LOOK_S = 0.004
"""CPU time between two looks; the kernel's clock has no finer ticks everywhere."""

WRITE_EVERY = 100
SCRAPES = 50

OURS = ("streams/metrics/", "prometheus_client/", "streams/wallets/movements.py",
        "streams/soundings.py", "streams/engine/lag.py")  # fmt: skip
"""Where the code of the metrics is."""

OURS_ELSEWHERE = ("reinvested", "settled", "_credit_word")
"""Functions for the metrics alone, in modules that have others."""


def main() -> None:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counting", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="sales")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    keys = new_seal_keys()
    profiles, warm_up, sales = workload(options.seed, options.events, seal=seal_of(keys))
    with tempfile.TemporaryDirectory() as directory, Ground(keys) as ground:
        looks = Path(directory) / "looks.json"
        follower = Follower(ground.settings.kafka_client(), ground.settings.partitions)
        ground.book_profiles(profiles)
        child = ground.start((sys.executable, "-m", __spec__.name, "worker", str(looks)))
        ends = ground.publish(warm_up)
        await_done(ground, product(), child, follower, ends)
        before = Counter(json.loads(looks.read_text()))
        cpu = cpu_s(child.pid)
        ends |= ground.publish(sales)
        await_done(ground, product(), child, follower, ends)
        cpu = cpu_s(child.pid) - cpu
        time.sleep(1)
        found = Counter(json.loads(looks.read_text())) - before
        scrape_ms, series = _scrapes(child.pid, ground.settings.metrics_port)
        follower.stop()
    counting = {verb: count for verb, count in found.most_common() if verb}
    share = sum(counting.values()) / max(1, found.total())
    console = Console()
    console.print(
        f"{sum(counting.values())} of {found.total()} looks found metrics: {share:.2%} of the "
        f"worker's {cpu / options.events * 1e6:.0f} µs an event; a scrape of {series} series "
        f"takes {scrape_ms:.1f} ms"
    )
    console.print(", ".join(f"{verb} {count}" for verb, count in counting.items()))


def _scrapes(pid: int, port: int) -> tuple[float, int]:
    """CPU of a scrape, in milliseconds, and how many series it has."""
    page, cpu, began = b"", cpu_s(pid), time.monotonic()
    for _ in range(SCRAPES):
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            page = answer.read()
    spent, took_s = cpu_s(pid) - cpu, time.monotonic() - began
    # What the worker does anyway in that time is not the scrapes'.
    cpu = cpu_s(pid)
    time.sleep(took_s)
    spent -= cpu_s(pid) - cpu
    return spent / SCRAPES * 1e3, sum(not line.startswith(b"#") for line in page.splitlines())


def work() -> None:
    """Be a worker that looks at itself."""
    file, looks = Path(sys.argv[2]), Counter[str]()

    def look(_: int, frame: FrameType | None) -> None:
        looks[_verb(frame)] += 1
        if looks.total() % WRITE_EVERY == 0:
            file.write_text(json.dumps(looks))

    file.write_text("{}")
    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, LOOK_S, LOOK_S)
    from streams.cli import app  # noqa: PLC0415 - not what only measures

    app(["worker"])


def _verb(frame: FrameType | None) -> str:
    """The outermost function of the metrics that is at work; empty if none is."""
    verb = ""
    while frame is not None:
        code = frame.f_code
        if code.co_name in OURS_ELSEWHERE or any(each in code.co_filename for each in OURS):
            verb = code.co_name
        frame = frame.f_back
    return verb


if __name__ == "__main__":
    work() if sys.argv[1:2] == ["worker"] else main()
