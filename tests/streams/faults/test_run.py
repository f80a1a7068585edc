"""A fault run on the embedded servers: it holds what is promised, and sees what does not hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streams.demo.embedded import EmbeddedUnavailable
from streams.faults import strikes
from streams.faults.ground import Ground
from streams.faults.kinds import possible
from streams.faults.plan import Fault, plan
from streams.faults.report import Report, Round
from streams.faults.run import UNGROUPED, FaultRun
from streams.faults.strikes import Field, Strike

RATE = 300.0


@pytest.fixture
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """Three workers, or as many as a test asks for."""
    try:
        with Ground(workers=getattr(request, "param", 3)) as ground:
            yield ground
    except EmbeddedUnavailable as error:
        pytest.skip(str(error))


def run(ground: Ground, planned: list[Fault], *, seed: int, events: int) -> Round:
    return FaultRun(ground, seed=seed, events=events, rate=RATE, sellers=60).go(planned)


@pytest.mark.timeout(450)
def test_nothing_is_lost_and_nothing_doubled(ground: Ground) -> None:
    kinds = possible(0)
    report = run(ground, plan(1, len(kinds), kinds, 2_500), seed=1, events=2_500)
    if [violation.check for violation in report.violations] == [UNGROUPED]:
        with Ground(workers=3) as another:  # the embedded broker gave up, not the product
            report = run(another, plan(2, len(kinds), kinds, 2_500), seed=2, events=2_500)
    assert report.violations == []
    told = Report([report]).json()
    assert told["violations"] == 0
    assert told["events"] >= 2_500
    assert told["faults"] == sum(told["by_kind"].values())
    # A rail's fault counts only if a payout really met it; the others strike without fail.
    assert set(told["by_kind"]) >= {kind for kind in kinds if not kind.startswith(("rail", "web"))}
    assert told["faults"] >= len(kinds) - 3
    assert told["recovery_s"]["max"] > 0


def thief(field: Field, _: Fault) -> Strike:
    """Money that comes from nowhere, in a wallet."""
    key = b"".join(sorted(field.ground.pair.told("KEYS", "{s*}:w:*"))[:1])
    account, *_rest = field.ground.pair.told("HKEYS", key)
    field.ground.pair.told("HINCRBY", key, account, 1)
    yield from ()


@pytest.mark.parametrize("ground", [1], indirect=True)
@pytest.mark.timeout(180)
def test_what_does_not_hold_is_seen(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    done = {**strikes.STRIKES, "redis-flushed": thief}
    monkeypatch.setattr("streams.faults.run.STRIKES", done)
    report = run(ground, [Fault(1, "redis-flushed", 400, 0, 0.5)], seed=2, events=600)
    assert "wallets equal the journal" in {violation.check for violation in report.violations}
    assert Report([report]).json()["violations"] == len(report.violations)
    assert ground.kept


@pytest.mark.parametrize("ground", [2], indirect=True)
@pytest.mark.timeout(180)
def test_a_worker_that_ends_without_a_fault_is_seen(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stab(field: Field, _: Fault) -> Strike:
        child = field.ground.fleet.posts[0].child
        assert child is not None
        child.kill()  # behind the supervisor's back
        yield from ()

    monkeypatch.setattr("streams.faults.run.STRIKES", {**strikes.STRIKES, "producer-repeats": stab})
    report = run(ground, [Fault(1, "producer-repeats", 200, 0, 0.5)], seed=3, events=400)
    assert [v.check for v in report.violations] == ["workers end for a reason"]
    assert "worker 0 ended with -9" in report.violations[0].detail


@pytest.mark.parametrize("ground", [1], indirect=True)
def test_a_group_that_never_forms_is_told_apart_from_a_product_that_is_stuck(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not ground.fleet.ungrouped()
    monkeypatch.setattr("streams.faults.run.UNGROUPED_MAX_S", 1.0)
    monkeypatch.setattr(type(ground.fleet), "ungrouped", lambda _: True)
    fault_run = FaultRun(ground, seed=3, events=50, rate=RATE, sellers=60)
    monkeypatch.setattr(fault_run, "_moved", (0, 0.0))
    report = fault_run.go([])
    assert [violation.check for violation in report.violations] == [UNGROUPED]
