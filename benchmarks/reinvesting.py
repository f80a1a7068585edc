"""What a reinvesting earning costs beside a plain one, of the worker's and Valkey's CPU.

The product books the same sales: of sellers who want nothing reinvested, of the same with a fifth
of each earning, and with the policy's bonus on that. They take turns, and of each the least counts:
whatever else a machine does only adds.

``python -m benchmarks.reinvesting`` measures this alone, in more rounds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic_core import from_json, to_json
from rich.console import Console

from benchmarks.events import PAID_CURRENCIES, Workload, workload
from benchmarks.ground import Kafka, new_seal_keys, seal_of
from benchmarks.measure import Figures, measure, product
from streams.demo.messages import Message
from streams.settings import DEFAULTS

PERCENT = 20
BONUS = {"  bonus: 0": "  bonus: 5", "  bonus_days: 0": "  bonus_days: 90"}


@dataclass(frozen=True, slots=True)
class Reinvesting:
    """CPU of worker and Valkey together, in microseconds a sale: the least of the rounds."""

    plain_us: float
    reinvesting_us: float
    with_bonus_us: float

    @property
    def percent(self) -> float:
        """How much more a reinvesting sale takes than a plain one, in percent."""
        return round(100 * (self.reinvesting_us / self.plain_us - 1), 1)

    @property
    def bonus_percent(self) -> float:
        """The same with a bonus."""
        return round(100 * (self.with_bonus_us / self.plain_us - 1), 1)

    @property
    def text(self) -> str:
        """In a sentence."""
        return (
            f"reinvesting: {self.plain_us:.0f} µs of worker and Valkey for a plain sale, "
            f"{self.reinvesting_us:.0f} µs for one that reinvests ({self.percent:+g} %), "
            f"{self.with_bonus_us:.0f} µs with a bonus ({self.bonus_percent:+g} %)"
        )


def measure_reinvesting(
    work: Workload, seal_keys: str, *, rounds: int, kafka: Kafka = "embedded"
) -> Reinvesting:
    """Book the sales in each way, round after round."""
    profiles, warm_up, sales = work
    wanting = [_wanting(message) for message in profiles]
    taken: dict[str, list[float]] = {"plain": [], "reinvesting": [], "bonus": []}
    with tempfile.TemporaryDirectory(prefix="payouts-bench-") as directory:
        policy = Path(directory) / "policy.yaml"
        text = (DEFAULTS / "policy.yaml").read_text(encoding="utf-8")
        for before, after in BONUS.items():
            if before not in text:
                raise ValueError(f"the packaged policy has no {before.strip()!r}")
            text = text.replace(before, after)
        policy.write_text(text, encoding="utf-8")
        ways: tuple[tuple[str, Sequence[Message], Mapping[str, object]], ...] = (
            ("plain", profiles, {}),
            ("reinvesting", wanting, {}),
            ("bonus", wanting, {"policy": policy}),
        )
        for _ in range(rounds):
            for name, sellers, changes in ways:
                run = measure(
                    product(), sellers, warm_up, sales, seal_keys, kafka=kafka, changes=changes
                )
                taken[name].append(_cpu_us(run))
    return Reinvesting(*(min(taken[name]) for name in taken))


def _wanting(message: Message) -> Message:
    body = from_json(message.value)
    body["reinvest"] = {currency: {"percent": PERCENT} for currency in sorted(PAID_CURRENCIES)}
    return replace(message, value=to_json(body))


def _cpu_us(run: Figures) -> float:
    return round(run.worker_cpu_us_per_event + run.redis_cpu_us_per_event, 1)


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reinvesting", description=__doc__)
    parser.add_argument("--events", type=int, default=6_000, help="sales in a run")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    keys = new_seal_keys()
    work = workload(options.seed, options.events, seal=seal_of(keys))
    found = measure_reinvesting(work, keys, rounds=options.rounds)
    Console().print(found.text)


if __name__ == "__main__":
    main()
