"""Hundreds of histories, and that each can be told again bit for bit. ``make simulate``: thousands.

``SIMULATION_SEEDS`` and ``SIMULATION_FIRST`` choose others; two processes share the work. A failing
seed is run alone, with every step of it told, by ``python -m tests.simulation --seed N --trace``;
a long history with ``--long``.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.seeds import live_all
from tests.simulation.world import LONG, run

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "500"))
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
PROCESSES = 2

ONCE_FAILED = (
    11, 38, 144, 229, 284, 324, 340, 360, 1295, 2151, 2366, 10679, 20279, 101093, 200541,
)  # fmt: skip
"""Seeds of long histories that have found something."""


@pytest.mark.timeout(1_200)
def test_no_history_breaks_a_promise() -> None:
    seeds = range(FIRST, FIRST + SEEDS)
    failures = [text for tally in live_all(seeds, PROCESSES) for text in tally.failures]
    assert not failures, "\n".join(
        [*failures[:10], "each alone: python -m tests.simulation --seed N --trace"]
    )


@pytest.mark.parametrize("seed", ONCE_FAILED)
def test_what_once_failed_does_not_any_more(seed: int) -> None:
    assert run(seed, LONG).violations == []


@pytest.mark.parametrize("seed", [3, 17, 229])
def test_the_same_seed_is_the_same_history(seed: int) -> None:
    first, second = run(seed, tracing=True), run(seed, tracing=True)
    assert first.trace == second.trace
    assert first.digest == second.digest
    assert len(first.trace) > 100


def test_to_trace_changes_nothing() -> None:
    assert run(17).summary == run(17, tracing=True).summary


def test_histories_differ_and_are_shaken() -> None:
    outcomes = [run(seed) for seed in range(40)]
    assert len({outcome.summary for outcome in outcomes}) == 40
    assert sum(outcome.faults for outcome in outcomes) > 80
    assert sum(outcome.events for outcome in outcomes) > 300
