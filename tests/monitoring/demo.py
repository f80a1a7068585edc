"""A demo that a real Prometheus watches, and what Prometheus answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from streams.demo.company import Company, day_window
from streams.demo.process import ChildProcess, free_port
from streams.demo.run import Run
from streams.demo.stack import Stack
from streams.soundings import INTERVAL_S

RULES = Path(__file__).parents[2] / "prometheus" / "alerts.yml"
READY_S_MAX = 15.0
SCRAPE_S = 1

VARIABLES = {"$namespace": ".*", "$__rate_interval": "15s"}
"""What Grafana fills in."""


class Series(NamedTuple):
    """One line: its labels, and its points as (time in s, value)."""

    labels: Mapping[str, str]
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Watched:
    """A demo that is over, and the Prometheus that has seen it."""

    url: str
    began_s: float
    ended_s: float

    def ask(self, expression: str) -> list[Series]:
        """The series of an expression over the whole demo."""
        for name, value in VARIABLES.items():
            expression = expression.replace(name, value)
        asked = {"query": expression, "start": self.began_s, "end": self.ended_s, "step": SCRAPE_S}
        return [
            Series(each["metric"], [(float(at), float(value)) for at, value in each["values"]])
            for each in self._result("query_range", asked)
        ]

    def now(self, expression: str) -> list[Any]:
        """What an expression has now."""
        return self._result("query", {"query": expression})

    def _result(self, what: str, asked: Mapping[str, object]) -> list[Any]:
        with urlopen(f"{self.url}/api/v1/{what}?{urlencode(asked)}", timeout=10) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
        return found


@contextmanager
def watched_demo(
    prometheus: Path, directory: Path, *, events: int, rate: float, seed: int = 7
) -> Iterator[Watched]:
    """Run a demo under the eyes of Prometheus, which goes on until the context ends."""
    port, stack = free_port(), Stack()
    # It takes five seconds until it looks for its targets: meanwhile the stack comes up.
    watcher = _start(prometheus, directory, port, stack.metrics_port)
    try:
        with stack:
            seen = Watched(f"http://127.0.0.1:{port}", time.time(), 0.0)
            _await(lambda: bool(seen.now("up == 1")), "Prometheus finds no worker")
            _run(stack, seed, events, rate)
            # Soundings come by the clock, and the last scrape has to see them.
            left_s = seen.began_s + INTERVAL_S + 2 * SCRAPE_S - time.time()
            time.sleep(max(0.0, left_s) + 2 * SCRAPE_S)
            yield replace(seen, ended_s=time.time())
    finally:
        watcher.stop()


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + READY_S_MAX
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.1)


def _start(prometheus: Path, directory: Path, port: int, metrics_port: int) -> ChildProcess:
    target = {"targets": [f"127.0.0.1:{metrics_port}"], "labels": {"component": "worker"}}
    config = {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "payout-streams", "static_configs": [target]}],
    }
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    command = [
        str(prometheus),
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    child = ChildProcess(command, directory / "prometheus.log", directory)
    try:
        _await(lambda: _answers(f"http://127.0.0.1:{port}/-/ready"), "Prometheus is not ready")
    except RuntimeError as error:
        child.stop()
        raise RuntimeError(f"{error}: {child.log_tail(8)}") from error
    return child


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=1):
            return True
    except (URLError, OSError):
        return False


def _run(stack: Stack, seed: int, events: int, rate: float) -> None:
    company = Company(seed, 60, seal=stack.seal.seal)
    start_ms, density = day_window(time.time_ns() // 1_000_000, events)
    outcome = Run(stack, seed=seed).go(
        company.profiles(start_ms),
        company.events(events, start_ms=start_ms, rate=density),
        total=events,
        rate=rate,
    )
    if not outcome.ok:
        raise RuntimeError("the demo's own checks do not hold")
