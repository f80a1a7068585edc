"""Together: single items are carried out in batches, none waits for company, and none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from streams.together import Together

SOON_S = 0.05


class Works:
    """Doubles numbers, one batch at a time; held up while ``open`` is not set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.under_way = 0
        self.error: BaseException | None = None

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.under_way += 1
        assert self.under_way == 1, "two batches at once"
        self.batches.append(list(items))
        try:
            await self.open.wait()
            if self.error is not None:
                raise self.error
        finally:
            self.under_way -= 1
        return [item * 2 for item in items]


@pytest.fixture
def works() -> Works:
    return Works()


def ask(together: Together[int, int], *items: int) -> list[asyncio.Task[int]]:
    async def one(item: int) -> int:
        return await together(item)

    return [asyncio.create_task(one(item)) for item in items]


async def settle() -> None:
    """Until all others wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_alone_goes_at_once(works: Works) -> None:
    works.open.set()
    together = Together(works)
    assert await together(21) == 42
    assert await together(4) == 8
    assert works.batches == [[21], [4]]


async def test_each_gets_its_own_result_and_items_keep_their_order(works: Works) -> None:
    works.open.set()
    together = Together(works)
    assert await asyncio.gather(*ask(together, *range(100))) == [2 * n for n in range(100)]
    assert [item for batch in works.batches for item in batch] == list(range(100))


async def test_what_comes_while_a_batch_is_under_way_is_the_next_batch(works: Works) -> None:
    together = Together(works)
    tasks = ask(together, 1)
    await settle()
    tasks += ask(together, 2, 3)
    await settle()
    tasks += ask(together, 4)
    await settle()
    assert works.batches == [[1]]
    works.open.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    assert works.batches == [[1], [2, 3, 4]]


async def test_equal_items_are_not_one(works: Works) -> None:
    works.open.set()
    together = Together(works)
    assert await asyncio.gather(*ask(together, 7, 7, 7)) == [14, 14, 14]
    assert sum(map(len, works.batches)) == 3


async def test_an_error_is_told_to_all_of_its_batch_and_to_no_other() -> None:
    async def work(items: Sequence[int]) -> list[int]:
        await asyncio.sleep(0.001)
        if 2 in items:
            raise ConnectionError("no wallets")
        return [item * 2 for item in items]

    together = Together(work)
    first = ask(together, 1, 2, 3)
    await settle()
    second = ask(together, 4, 5)
    told = await asyncio.gather(*first, return_exceptions=True)
    assert [str(one) for one in told] == ["no wallets"] * 3
    assert await asyncio.gather(*second) == [8, 10]


async def test_after_an_error_the_next_goes_well(works: Works) -> None:
    together = Together(works)
    works.open.set()
    works.error = ConnectionError("no wallets")
    for _ in range(2):
        with pytest.raises(ConnectionError, match="no wallets"):
            await together(1)
    works.error = None
    assert await together(2) == 4


async def test_one_who_no_longer_waits_disturbs_nobody(works: Works) -> None:
    together = Together(works)
    first, second, third = ask(together, 1, 2, 3)
    await settle()
    behind = ask(together, 4, 5)
    await settle()
    first.cancel()
    behind[0].cancel()
    works.open.set()
    assert await asyncio.gather(second, third, behind[1]) == [4, 6, 10]
    assert first.cancelled()
    assert behind[0].cancelled()


async def test_one_who_no_longer_waits_is_not_told_of_the_error(works: Works) -> None:
    together = Together(works)
    first, second = ask(together, 1, 2)
    await settle()
    first.cancel()
    works.error = ConnectionError("no wallets")
    works.open.set()
    with pytest.raises(ConnectionError):
        await second
    assert first.cancelled()
    works.error = None
    assert await together(3) == 6


async def test_when_the_work_is_cancelled_nobody_waits_for_ever(works: Works) -> None:
    together = Together(works)
    first = ask(together, 1, 2)
    await settle()
    behind = ask(together, 3)
    await settle()
    works.error = asyncio.CancelledError()
    works.open.set()
    await asyncio.wait([*first, *behind], timeout=SOON_S)
    assert all(task.cancelled() for task in (*first, *behind))


async def test_what_was_cancelled_is_not_carried_out_later(works: Works) -> None:
    together = Together(works)
    first = ask(together, 1)
    await settle()
    behind = ask(together, 2)
    await settle()
    works.error = asyncio.CancelledError()
    works.open.set()
    await asyncio.wait([*first, *behind], timeout=SOON_S)
    works.error = None
    assert await together(3) == 6
    assert works.batches == [[1], [3]]


@pytest.mark.parametrize("results", [[], [1], [1, 2, 3, 4]])
async def test_work_that_gives_the_wrong_number_of_results_leaves_nobody_waiting(
    results: list[int],
) -> None:
    async def wrong(_items: Sequence[int]) -> list[int]:
        return results

    tasks = ask(Together(wrong), 1, 2, 3)
    done, waiting = await asyncio.wait(tasks, timeout=SOON_S)
    for task in waiting:
        task.cancel()
    assert not waiting
    assert all(isinstance(task.exception(), ValueError) for task in done)


async def test_work_goes_on_however_callers_come_and_go(works: Works) -> None:
    works.open.set()
    together = Together(works)

    async def many(start: int) -> list[int]:
        results = []
        for item in range(start, start + 50):
            if item % 7 == 0:
                await asyncio.sleep(0)
            results.append(await together(item))
        return results

    for start, results in zip(
        range(0, 1_000, 100),
        await asyncio.gather(*(many(start) for start in range(0, 1_000, 100))),
        strict=True,
    ):
        assert results == [2 * item for item in range(start, start + 50)]
