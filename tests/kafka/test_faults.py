"""Fault runs on three brokers of Apache Kafka: every kind there is, and what once failed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from streams.faults.ground import Ground
from streams.faults.kinds import KINDS, Part, possible
from streams.faults.plan import plan
from streams.faults.report import Round
from streams.faults.run import FaultRun

RATE = 500.0


class Seed(NamedTuple):
    """A run that failed once, and why."""

    seed: int
    faults: int
    events: int
    kinds: tuple[str, ...]
    was: str


SEEDS: tuple[Seed, ...] = ()
"""Runs that found something, kept so that it does not come back."""


def run(seed: int, faults: int, events: int, kinds: list[str], *, window_s: int) -> Round:
    planned = plan(seed, faults, kinds, events)
    with Ground(workers=3, brokers=3, window_s=window_s) as ground:
        return FaultRun(ground, seed=seed, events=events, rate=RATE).go(planned)


@pytest.mark.timeout(420)
def test_forty_faults_of_all_kinds_lose_nothing_and_double_nothing(jars: Path) -> None:
    kinds = possible(3)
    report = run(1, 44, 6_000, kinds, window_s=1)
    assert report.violations == []
    assert report.by_kind().total() >= 40
    struck = {kind for kind in kinds if KINDS[kind].part is not Part.RAIL}
    assert struck <= set(report.by_kind())


@pytest.mark.timeout(420)
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"{seed.seed}-{seed.was}")
def test_what_failed_once_does_not_again(jars: Path, seed: Seed) -> None:
    report = run(seed.seed, seed.faults, seed.events, list(seed.kinds), window_s=0)
    assert report.violations == []
