"""Which behaviour befalls a payout, and that chance repeats itself."""

import re
from pathlib import Path

import pytest

from rails.sandbox.behaviours import BEHAVIOURS, NORMAL, UNCLAIMED, UNCLAIMED_MS, Chances, named
from rails.sandbox.notices import EVENTS, Notice, told
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


def test_every_script_goes_forward_and_tells_of_a_word_once() -> None:
    for name, behaviour in BEHAVIOURS.items():
        notices = behaviour.notices or ()
        times = [(one.thousandths, one.extra_ms) for one in notices]
        assert times == sorted(times), name
        # One word, one event: a repeat that differs would be another event under the same id.
        true = {one for one in notices if not one.forged}
        assert len(true) == len({one.word for one in true}), name
        assert all(one.word in EVENTS for one in notices), name


def test_what_follows_the_plan_tells_each_of_its_steps() -> None:
    assert told(UNCLAIMED) == (
        Notice(1000, 0, "UNCLAIMED"),
        Notice(1000, UNCLAIMED_MS, "RETURNED"),
    )


def test_the_page_names_every_behaviour() -> None:
    page = (Path(__file__).parents[3] / "docs" / "rails.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    told_of = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row.split("|")[1])}
    assert set(BEHAVIOURS) <= told_of


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
