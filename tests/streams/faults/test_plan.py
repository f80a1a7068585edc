"""The plan: the same from the same seed, every kind in it, spread over the events."""

from __future__ import annotations

from itertools import pairwise

import pytest

from streams.faults.kinds import KINDS, Needs, Part, UnknownKind, chosen, possible
from streams.faults.plan import Fault, PlanImpossible, plan

EVENTS = 20_000


def planned(seed: int = 7, faults: int = 200) -> list[Fault]:
    return plan(seed, faults, possible(3), EVENTS)


def test_the_same_seed_makes_the_same_plan_and_another_another() -> None:
    assert planned() == planned()
    assert planned() != planned(8)


def test_a_plan_does_not_hang_on_which_kinds_are_asked_for_in_which_run() -> None:
    only = plan(7, 5, ["redis-killed"], EVENTS)
    assert {fault.kind for fault in only} == {"redis-killed"}
    assert [fault.number for fault in only] == [1, 2, 3, 4, 5]


def test_every_kind_comes_when_there_are_faults_enough() -> None:
    kinds = possible(3)
    assert {fault.kind for fault in plan(1, len(kinds), kinds, EVENTS)} == set(kinds)
    assert {fault.kind for fault in planned()} == set(kinds)
    assert len({fault.kind for fault in plan(1, 5, kinds, EVENTS)}) == 5


def test_faults_strike_in_order_away_from_both_ends_and_some_together() -> None:
    moments = [fault.at for fault in planned()]
    assert moments == sorted(moments)
    assert moments[0] >= EVENTS * 0.04
    assert moments[-1] <= EVENTS * 0.96
    together = sum(a == b for a, b in pairwise(moments))
    assert 30 <= together <= 90


def test_each_lasts_as_long_as_its_kind_may() -> None:
    for fault in planned():
        shortest, longest = KINDS[fault.kind].lasts_ms
        assert shortest <= fault.lasts_ms <= longest
        assert 0 <= fault.chance < 1


def test_a_pick_is_one_of_what_there_is() -> None:
    assert [Fault(1, "redis-cut", 0, 0, chance).pick(3) for chance in (0, 0.34, 0.67, 1.0)] == [
        0, 1, 2, 2,
    ]  # fmt: skip
    assert Fault(1, "clock-jump", 0, 0, 1.0).between(-5, 5) == 5


@pytest.mark.parametrize(
    ("faults", "kinds", "events"), [(1, [], 100), (101, ["redis-cut"], 100), (-1, ["redis-cut"], 9)]
)
def test_what_cannot_be_planned(faults: int, kinds: list[str], events: int) -> None:
    with pytest.raises(PlanImpossible):
        plan(1, faults, kinds, events)


def test_brokers_that_forget_are_not_killed() -> None:
    assert not {"broker-killed", "leader-killed", "broker-frozen"} & set(possible(0))
    assert "leader-killed" not in possible(1)
    assert set(possible(3)) == set(KINDS)
    assert all(kind.needs is Needs.ANY for kind in KINDS.values() if kind.part is not Part.KAFKA)


def test_what_is_asked_for() -> None:
    assert chosen(["redis-cut", "redis-cut", "worker-killed"], 0) == ["redis-cut", "worker-killed"]
    assert chosen([], 1) == possible(1)
    with pytest.raises(UnknownKind, match="no fault is called flood"):
        chosen(["flood"], 3)
    with pytest.raises(UnknownKind, match="three brokers"):
        chosen(["leader-killed"], 1)


def test_each_kind_says_what_it_does() -> None:
    assert len({kind.sentence for kind in KINDS.values()}) == len(KINDS)
    assert all(len(kind.sentence) > 3 for kind in KINDS.values())
