"""The report: what a run and its rounds are reduced to."""

from __future__ import annotations

import json

from streams.faults.report import Report, Round, StruckFault, Violation
from streams.wallets.verify import Check


def struck(
    number: int, kind: str, recovered_s: float | None, *, alone: bool = False
) -> StruckFault:
    return StruckFault(number, kind, 100 * number, 1.0, 0.5, recovered_s, alone, 7)


def round_(seed: int, *violations: Violation) -> Round:
    return Round(
        seed=seed,
        kafka="embedded",
        events=1_000,
        seconds=10.0,
        violations=violations,
        checks=[Check("postings sum to zero", True, "5 entries")],
        payouts={"settled": 3},
        by_rail={"adyen": {"settled": 1}, "paypal": {"settled": 2}},
        failed_over={"adyen paypal": 1},
        befallen={"timeout-after": 1},
        restarts=2,
        ends=["worker 1: 70"],
        struck=[
            struck(1, "redis-killed", 4.0, alone=True),
            struck(2, "redis-killed", 9.0),
            struck(3, "rail-timeout-after", None),
            struck(4, "rail-timeout-after", None),
            struck(5, "webhook-lost", None),
        ],
    )


def test_a_fault_of_the_rail_counts_only_if_a_payout_met_it() -> None:
    assert round_(1).by_kind() == {"redis-killed": 2, "rail-timeout-after": 1}


def test_rounds_add_up() -> None:
    broken = Violation(2, "postings sum to zero", "USD 1")
    told = Report([round_(1), round_(2, broken)]).json()
    assert told["seed"] == 1
    assert told["faults"] == 6
    assert told["by_kind"] == {"redis-killed": 4, "rail-timeout-after": 2}
    assert told["events"] == 2_000
    assert told["violations"] == 1
    assert told["violated"] == [{"seed": 2, "check": "postings sum to zero", "detail": "USD 1"}]
    assert told["entries_lost_by_redis"] == 70
    assert told["payouts_by_rail"] == {"adyen": 2, "paypal": 4}
    assert told["failed_over"] == {"adyen paypal": 2}
    times = {"faults": 4, "p50": 4.0, "max": 9.0}
    assert told["recovery_s"] == {
        **times,
        "by_kind": {"redis-killed": times},
        "alone": {"redis-killed": {"faults": 2, "p50": 4.0, "max": 4.0}},
    }
    assert [one["violations"] for one in told["rounds"]] == [0, 1]
    json.dumps(told)
