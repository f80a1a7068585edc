"""Which behaviour befalls a payout, and that chance repeats itself."""

import pytest

from rails.sandbox.behaviours import BEHAVIOURS, NORMAL, Chances, named
from rails.sandbox.server import serve


@pytest.mark.parametrize("name", list(BEHAVIOURS))
def test_by_receiver_or_header(name: str) -> None:
    assert named(f"{name}+anna@example.com", None) is BEHAVIOURS[name]
    assert named("anna@example.com", name) is BEHAVIOURS[name]
    assert named("closed+anna@example.com", name) is BEHAVIOURS[name]


@pytest.mark.parametrize(
    "receiver", ["closed@example.com", "anna+closed@example.com", "", "+49151"]
)
def test_nothing_asked_for(receiver: str) -> None:
    assert named(receiver, None) is None


def test_every_plan_begins_pending_and_goes_forward() -> None:
    for name, behaviour in {**BEHAVIOURS, "": NORMAL}.items():
        assert behaviour.plan[0] == (0, 0, "PENDING"), name
        times = [(thousandths, extra_ms) for thousandths, extra_ms, _ in behaviour.plan]
        assert times == sorted(times), name


def test_chances_are_as_told() -> None:
    chances = Chances({"closed": 100, "slow": 50})
    drawn = [chances.draw(number) for number in range(10_000)]
    assert drawn.count("closed") == 100
    assert drawn.count("slow") == 50
    assert drawn.count("") == 9_850


@pytest.mark.parametrize(
    "fault_bp", [{"pigeon": 1}, {"closed": -1}, {"closed": 9_000, "slow": 1_001}]
)
async def test_chances_that_cannot_be(fault_bp: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"unknown behaviours|basis points"):
        await serve(fault_bp=fault_bp)
