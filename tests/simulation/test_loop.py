"""Virtual time: in order, at once, and never stuck without saying so."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.simulation.dice import Dice
from tests.simulation.loop import NothingHappens, VirtualLoop


def test_a_year_takes_no_time_and_timers_come_in_order() -> None:
    loop = VirtualLoop(Dice(1))
    came: list[str] = []

    async def wait(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        came.append(name)

    async def all_of_them() -> None:
        await asyncio.gather(wait(31_536_000, "year"), wait(0.5, "half"), wait(60, "minute"))

    began = time.monotonic()
    loop.run_until_complete(all_of_them())
    loop.close()
    assert came == ["half", "minute", "year"]
    assert time.monotonic() - began < 5


def test_blocking_work_is_done_in_one_step_a_little_later() -> None:
    loop = VirtualLoop(Dice(1))

    async def work() -> tuple[int, float]:
        before = loop.time()
        found = await loop.run_in_executor(None, max, 3, 4)
        return found, loop.time() - before

    found, took_s = loop.run_until_complete(work())
    with pytest.raises(ZeroDivisionError):
        loop.run_until_complete(loop.run_in_executor(None, divmod, 1, 0))
    loop.close()
    assert found == 4
    assert 0 < took_s < 0.1


def test_tasks_that_wait_for_one_another_are_told_of() -> None:
    loop = VirtualLoop(Dice(1))

    async def wait() -> None:
        await loop.create_future()

    task = loop.create_task(wait())
    with pytest.raises(NothingHappens):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
