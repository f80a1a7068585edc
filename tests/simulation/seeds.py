"""Many histories, in several processes."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

from tests.simulation.world import SHORT, Scale, run

PORTION = 100
"""Seeds that a process is given at a time."""


class Tally(NamedTuple):
    """What came of some seeds. ``failures``: lines that name the seed, the rule and the detail."""

    seeds: int
    events: int
    faults: int
    failures: tuple[str, ...]
    failed: int
    cpu_s: float


def live(seeds: Sequence[int], scale: Scale = SHORT) -> Tally:
    """Live some histories, one after the other."""
    gc.disable()  # the simulation collects between histories
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # as in run()
        gc.collect()  # or what the portion before has left would stay for ever
    gc.freeze()  # what is loaded by now is never garbage, and need not be looked through for it
    began = time.process_time()
    outcomes = [run(seed, scale) for seed in seeds]
    return Tally(
        len(outcomes),
        sum(outcome.events for outcome in outcomes),
        sum(outcome.faults for outcome in outcomes),
        tuple(f"seed {each.seed}: {text}" for each in outcomes for text in each.violations),
        sum(bool(outcome.violations) for outcome in outcomes),
        time.process_time() - began,
    )


def live_all(seeds: Sequence[int], processes: int, scale: Scale = SHORT) -> Iterator[Tally]:
    """Live many, portion by portion, in processes of their own.

    Not forked ones: they would share what the caller has left behind.
    """
    portions = [seeds[at : at + PORTION] for at in range(0, len(seeds), PORTION)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(live, scale=scale), portions)
