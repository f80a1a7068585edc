"""Gates: never more inside than there are places, nobody waits for ever, and nothing gets lost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.payouts import FailureCategory, PayoutState
from rails.breaker import CALLS_JUDGED, CALLS_MIN, OPEN_MS_MAX, OPEN_MS_MIN, PROBES_MAX, Breaker
from rails.gate import Gate, open_gates
from rails.pace import BURST_S, Pace
from rails.paypal.settings import PayPalSettings
from rails.rail import Outcome, failed, unknown
from tests.rails.idle import IdleRail, capabilities
from tests.rails.virtual import Deadlock, now_ms, now_s, run

GOOD = Outcome(PayoutState.ACCEPTED)
SILENT = unknown("no_answer")
BUSY = failed(FailureCategory.RETRYABLE, "busy")
CLOSED_ACCOUNT = failed(FailureCategory.METHOD, "account_closed")
NO_FUNDS = failed(FailureCategory.TREASURY, "no_funds")

AT_ONCE_S = 0.001

RAIL = IdleRail("bank", capabilities("EUR"))


def open_gate(concurrency_max: int, per_minute_max: int | None = None) -> Gate:
    """One by the running loop's time."""
    return Gate(RAIL, Breaker(now_ms), Pace(per_minute_max, now_s), concurrency_max, now_s)


async def trip(gate: Gate) -> None:
    for _ in range(CALLS_MIN):
        assert await gate.enter(1) == 1
        gate.leave(SILENT)
    assert gate.breaker.why_not() == "breaker_open"


async def settle() -> None:
    """Until all others wait."""
    for _ in range(5):
        await asyncio.sleep(0)


class TestPlaces:
    @pytest.mark.parametrize(("wanted", "entered"), [(1, 1), (3, 3), (4, 4), (5, 4), (999, 4)])
    def test_as_many_enter_as_there_are_places(self, wanted: int, entered: int) -> None:
        async def main() -> None:
            assert await open_gate(4).enter(wanted) == entered
            assert now_s() < AT_ONCE_S

        run(main())

    def test_whoever_finds_it_full_waits_for_one_to_leave(self) -> None:
        async def main() -> None:
            gate = open_gate(2)
            assert await gate.enter(5) == 2
            waiting = asyncio.create_task(gate.enter(5))
            await settle()
            assert not waiting.done()
            gate.leave(GOOD)
            assert await waiting == 1

        run(main())

    def test_if_nobody_leaves_nobody_enters(self) -> None:
        async def main() -> None:
            gate = open_gate(1)
            await gate.enter(1)
            await gate.enter(1)

        with pytest.raises(Deadlock):
            run(main())

    def test_several_that_leave_at_once_make_room_for_several(self) -> None:
        async def main() -> None:
            gate = open_gate(3)
            assert await gate.enter(3) == 3
            waiting = [asyncio.create_task(gate.enter(1)) for _ in range(3)]
            await settle()
            for outcome in (GOOD, None, SILENT):
                gate.leave(outcome)
            assert await asyncio.gather(*waiting) == [1, 1, 1]

        run(main())

    def test_one_place_serves_all_who_wait_one_after_the_other(self) -> None:
        async def main() -> list[int]:
            gate, served = open_gate(1), []

            async def pass_through(number: int) -> None:
                assert await gate.enter(1) == 1
                served.append(number)
                await asyncio.sleep(1)
                gate.leave(GOOD)

            await asyncio.gather(*(pass_through(number) for number in range(20)))
            assert now_s() == pytest.approx(20, abs=AT_ONCE_S)
            return served

        assert sorted(run(main())) == list(range(20))

    def test_one_who_gives_up_waiting_takes_no_place_with_him(self) -> None:
        async def main() -> None:
            gate = open_gate(1)
            assert await gate.enter(1) == 1
            quitter, waiting = (asyncio.create_task(gate.enter(1)) for _ in range(2))
            await settle()
            quitter.cancel()
            gate.leave(GOOD)
            assert await waiting == 1
            assert quitter.cancelled()
            gate.leave(GOOD)
            assert await gate.enter(9) == 1

        run(main())


class TestBreaker:
    def test_a_rail_that_is_not_used_lets_nobody_in_and_nobody_wait(self) -> None:
        async def main() -> None:
            gate = open_gate(4)
            await trip(gate)
            assert await gate.enter(4) == 0
            assert now_s() < AT_ONCE_S

        run(main())

    @pytest.mark.parametrize(
        ("outcomes", "why"), [([SILENT] * 10, "breaker_open"), ([NO_FUNDS], "rail_paused")]
    )
    def test_whoever_waits_for_a_place_is_told_when_the_rail_is_used_no_more(
        self, outcomes: list[Outcome], why: str
    ) -> None:
        async def main() -> None:
            gate = open_gate(10)
            assert await gate.enter(10) == 10
            waiting = [asyncio.create_task(gate.enter(1)) for _ in range(3)]
            await settle()
            for outcome in outcomes:
                gate.leave(outcome)
            assert await asyncio.gather(*waiting) == [0, 0, 0]
            assert gate.breaker.why_not() == why
            assert now_s() < AT_ONCE_S

        run(main())

    def test_whoever_waits_for_the_pace_is_told_as_well(self) -> None:
        async def main() -> None:
            gate = open_gate(10, per_minute_max=1)
            assert await gate.enter(9) == 1
            waiting = asyncio.create_task(gate.enter(1))
            await asyncio.sleep(1)
            gate.leave(NO_FUNDS)
            assert await waiting == 0
            assert now_s() == pytest.approx(1, abs=AT_ONCE_S)

        run(main())

    def test_a_rested_rail_gets_three_probes_and_the_others_do_not_wait_for_them(self) -> None:
        async def main() -> None:
            gate = open_gate(10)
            await trip(gate)
            await asyncio.sleep(OPEN_MS_MIN / 1000)
            assert await gate.enter(9) == PROBES_MAX
            assert await gate.enter(6) == 0
            gate.leave(GOOD)
            assert await gate.enter(9) == 8

        run(main())

    def test_a_probe_that_was_not_submitted_after_all_leaves_its_place_to_another(self) -> None:
        async def main() -> None:
            gate = open_gate(10)
            await trip(gate)
            await asyncio.sleep(OPEN_MS_MIN / 1000)
            assert await gate.enter(9) == PROBES_MAX
            gate.leave(None)
            assert await gate.enter(9) == 1
            assert await gate.enter(9) == 0

        run(main())

    def test_a_probe_that_the_pace_does_not_let_through_yet_is_none(self) -> None:
        async def main() -> None:
            gate = open_gate(10, per_minute_max=1)
            for _ in range(CALLS_MIN):
                assert await gate.enter(1) == 1
                gate.leave(SILENT)
            await asyncio.sleep(60)
            assert await gate.enter(9) == 1
            assert gate.breaker.places(9) == PROBES_MAX - 1

        run(main())


class TestPace:
    def test_a_burst_goes_at_once_and_then_one_after_the_other(self) -> None:
        async def main() -> list[float]:
            gate, times = open_gate(99, per_minute_max=60), []
            waiting = 8
            while waiting:
                entered = await gate.enter(waiting)
                waiting -= entered
                times += [now_s()] * entered
            return times

        assert run(main()) == pytest.approx([0, 0, 0, 1, 2, 3, 4, 5], abs=AT_ONCE_S)

    def test_what_was_not_submitted_costs_no_request(self) -> None:
        async def main() -> None:
            gate = open_gate(99, per_minute_max=60)
            for _ in range(50):
                entered = await gate.enter(99)
                assert entered == 60 / 60 * BURST_S
                for _ in range(entered):
                    gate.leave(None)
            assert now_s() < AT_ONCE_S

        run(main())

    def test_a_request_given_back_wakes_whoever_waits_for_one(self) -> None:
        async def main() -> None:
            gate = open_gate(99, per_minute_max=1)
            assert await gate.enter(1) == 1
            waiting = asyncio.create_task(gate.enter(1))
            await settle()
            gate.leave(None)
            assert await waiting == 1
            assert now_s() < AT_ONCE_S

        run(main())

    def test_places_free_while_the_pace_is_waited_for(self) -> None:
        async def main() -> None:
            gate = open_gate(1, per_minute_max=20)
            for number in range(4):
                assert await gate.enter(1) == 1
                assert now_s() == pytest.approx(3 * number, abs=AT_ONCE_S)
                await asyncio.sleep(0.5)
                gate.leave(GOOD)

        run(main())


class TestShare:
    def test_whoever_waits_is_woken_when_the_share_grows(self) -> None:
        async def main() -> None:
            gate = open_gate(99, per_minute_max=60)
            gate.share(1, 16)
            assert await gate.enter(9) == 1
            waiting = asyncio.create_task(gate.enter(1))
            await settle()
            gate.share(16, 16)
            assert await waiting == 1
            assert now_s() == pytest.approx(1.0, abs=AT_ONCE_S)

        run(main())


class TestQueue:
    def test_tells_how_many_wait_and_how_long_the_first_has(self) -> None:
        async def main() -> None:
            gate = open_gate(1)
            assert gate.queue() == (0, 0)
            gate.line_up(["a", "b"])
            await asyncio.sleep(5)
            gate.line_up(["b", "c"])
            await asyncio.sleep(2)
            assert gate.queue() == (3, pytest.approx(7))
            gate.step_out(["a"])
            assert gate.queue() == (2, pytest.approx(7))
            gate.step_out(["a", "b"])
            assert gate.queue() == (1, pytest.approx(2))
            gate.step_out(["c"])
            assert gate.queue() == (0, 0)

        run(main())


@dataclass
class Crowd:
    """Callers at one gate, each as the cashier is: they enter, work and leave in any order."""

    gate: Gate
    places: int
    random: Random
    outcomes: list[Outcome | None]
    inside: int = 0
    most: int = 0
    put_off: int = 0
    done: int = 0
    made_at: list[float] = field(default_factory=list)

    async def caller(self, payouts: int) -> None:
        await asyncio.sleep(self.random.choice([0, 0, 1, 20, 60]))
        async with asyncio.TaskGroup() as calls:
            while payouts:
                entered = await self.gate.enter(payouts)
                assert 0 <= entered <= payouts
                if entered == 0:
                    self.put_off += payouts
                    return
                assert self.gate.breaker.why_not() is None
                self.inside += entered
                self.most = max(self.most, self.inside)
                payouts -= entered
                for _ in range(entered):
                    calls.create_task(self.call())

    async def call(self) -> None:
        outcome = self.random.choice(self.outcomes)
        if outcome is not None:
            self.made_at.append(now_s())
            await asyncio.sleep(self.random.choice([0, 0.001, 0.5, 7, 30, 90]))
        self.inside -= 1
        self.done += 1
        self.gate.leave(outcome)

    async def empty(self) -> None:
        """Once all are gone every place is free again."""
        assert self.inside == 0
        for _ in range(CALLS_JUDGED):
            await asyncio.sleep(OPEN_MS_MAX / 1000)
            assert await self.gate.enter(1) == 1
            self.gate.leave(GOOD)
        for _ in range(self.places):
            assert await self.gate.enter(1) == 1
        self.inside = self.places


GOOD_DAYS = [GOOD, GOOD, GOOD, CLOSED_ACCOUNT, None]
BAD_DAYS = [GOOD, SILENT, BUSY, None]
DAYS = st.sampled_from([GOOD_DAYS, BAD_DAYS, [SILENT], [None], [GOOD, NO_FUNDS], [None, SILENT]])


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 12),
    st.sampled_from([None, 1, 30, 60, 400, 6_000]),
    st.lists(st.integers(1, 30), min_size=1, max_size=12),
    DAYS,
    st.integers(0, 2**32),
)
def test_no_crowd_overfills_a_gate_or_gets_stuck(
    places: int,
    per_minute_max: int | None,
    payouts: list[int],
    outcomes: list[Outcome | None],
    seed: int,
) -> None:
    async def main() -> Crowd:
        crowd = Crowd(open_gate(places, per_minute_max), places, Random(seed), outcomes)
        async with asyncio.TaskGroup() as callers:
            for some in payouts:
                callers.create_task(crowd.caller(some))
        await crowd.empty()
        return crowd

    crowd = run(main())
    assert crowd.most <= places
    assert crowd.done + crowd.put_off == sum(payouts)
    if per_minute_max is not None:
        most = per_minute_max + max(1, per_minute_max / 60 * BURST_S)
        for start in crowd.made_at:
            assert sum(start <= at <= start + 60 for at in crowd.made_at) <= most + 1e-6


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6),
    st.lists(st.integers(1, 10), min_size=2, max_size=8),
    st.lists(st.floats(0, 40), min_size=1, max_size=8),
    st.integers(0, 2**32),
)
def test_callers_that_are_cancelled_at_the_gate_leave_no_place_taken(
    places: int, payouts: list[int], cancelled_at_s: list[float], seed: int
) -> None:
    async def main() -> None:
        gate = open_gate(places, 600)
        random = Random(seed)

        async def call() -> None:
            outcome: Outcome | None = None
            try:
                await asyncio.sleep(random.choice([0, 1, 20]))
                outcome = GOOD
            finally:
                gate.leave(outcome)

        async def caller(waiting: int) -> None:
            while waiting and (entered := await gate.enter(waiting)):
                waiting -= entered
                for _ in range(entered):
                    calls.add(asyncio.create_task(call()))

        calls: set[asyncio.Task[None]] = set()
        callers = [asyncio.create_task(caller(some)) for some in payouts]
        for at_s in sorted(cancelled_at_s):
            await asyncio.sleep(max(0.0, at_s - now_s()))
            random.choice(callers).cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        await asyncio.gather(*calls)
        await asyncio.sleep(60)
        assert await gate.enter(99) == places

    run(main())


class TestOpenGates:
    async def test_each_rail_has_its_own(self) -> None:
        limits = {"slow": 60, "quick": None, "narrow": None, "slower_by_us": 400}
        rails = {
            name: IdleRail(name, capabilities("EUR", requests_per_minute_max=limit))
            for name, limit in limits.items()
        }
        own = {
            "narrow": PayPalSettings(concurrency=2),
            "slow": PayPalSettings(),
            "slower_by_us": PayPalSettings(requests_per_minute=100),
        }
        gates = open_gates(rails, own, lambda: 0.0)
        assert {name: gate.rail for name, gate in gates.items()} == rails
        entered = {name: await gate.enter(999) for name, gate in gates.items()}
        assert entered == {"slow": 3, "quick": 48, "narrow": 1, "slower_by_us": 5}

    @pytest.mark.parametrize(
        ("concurrency", "submissions", "enquiries"), [(1, 1, 1), (2, 1, 1), (7, 6, 1), (64, 48, 16)]
    )
    async def test_enquiries_have_places_that_submissions_cannot_take(
        self, concurrency: int, submissions: int, enquiries: int
    ) -> None:
        own = {"a": PayPalSettings(concurrency=concurrency)}
        gate = open_gates({"a": IdleRail("a", capabilities("EUR"))}, own)["a"]
        assert await gate.enter(999) == submissions
        for _ in range(enquiries):
            assert not gate.enquiries.locked()
            await gate.enquiries.acquire()
        assert gate.enquiries.locked()

    async def test_the_trouble_of_one_rail_is_not_the_others(self) -> None:
        rails = {name: IdleRail(name, capabilities("EUR")) for name in ("a", "b")}
        gates = open_gates(rails, {})
        await trip(gates["a"])
        assert await gates["a"].enter(1) == 0
        assert await gates["b"].enter(1) == 1
