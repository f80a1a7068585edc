"""The commission plan: shares, levels, caps, and the plans that are refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import ConfigError, load
from models.money import MINOR_MAX
from models.plan import LEVELS_MAX, CommissionPlan

HEAD = "id: p\nversion: 3\n"


def plan(body: str) -> CommissionPlan:
    return load(HEAD + body, CommissionPlan, "plan.yaml")


def problems(body: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        plan(body)
    return [str(problem) for problem in caught.value.problems]


class TestShares:
    def test_retail_and_each_level(self) -> None:
        found = plan("retail: 25\nupline: [5, 2.5, 0.01]")
        assert (found.id, found.version, found.levels) == ("p", 3, 3)
        assert found.retail(10_000, "EUR") == 2_500
        assert [found.upline(10_000, "EUR", n) for n in (1, 2, 3)] == [500, 250, 1]

    def test_none_past_the_last_level_and_below_the_first(self) -> None:
        found = plan("retail: 25\nupline: [5]")
        assert found.upline(10_000, "EUR", 2) is None
        assert found.upline(10_000, "EUR", 0) is None
        assert found.upline(10_000, "EUR", -1) is None

    def test_without_upline_nobody_above_is_paid(self) -> None:
        assert plan("retail: 25").levels == 0
        assert plan("retail: 25").upline(1, "EUR", 1) is None

    def test_a_share_is_rounded_half_to_even(self) -> None:
        assert [plan("retail: 50").retail(n, "EUR") for n in (1, 3, 5)] == [0, 2, 2]

    def test_caps_hold_in_their_currency_alone(self) -> None:
        found = plan(
            "retail: {percent: 10, cap: {EUR: 100, JPY: 5}}\nupline: [{percent: 5, cap: {EUR: 7}}]"
        )
        assert [found.retail(n, "EUR") for n in (999, 1_000, 1_010, MINOR_MAX)] == [100] * 4
        assert found.retail(990, "EUR") == 99
        assert found.retail(1_000, "JPY") == 5
        assert found.retail(2_000, "USD") == 200
        assert found.upline(1_000, "EUR", 1) == 7
        assert found.upline(1_000, "GBP", 1) == 50

    @given(st.integers(0, MINOR_MAX))
    def test_a_sale_never_pays_out_more_than_a_rounding_above_itself(self, amount: int) -> None:
        found = plan("retail: 60\nupline: [30, 10]")
        paid = found.retail(amount, "EUR")
        paid += sum(found.upline(amount, "EUR", n) or 0 for n in (1, 2))
        assert abs(paid - amount) <= 1


class TestRefused:
    def test_more_than_the_sale(self) -> None:
        assert problems("retail: 95\nupline:\n  - 5\n  - 0.01\n") == [
            "plan.yaml:4: upline: retail and upline pay 100.01 % of a sale; at most 100 %"
        ]
        assert plan("retail: 95\nupline: [5]").levels == 1

    def test_more_levels_than_there_may_be(self) -> None:
        assert plan("retail: 1\nupline:" + "\n- 1" * LEVELS_MAX).levels == LEVELS_MAX
        (problem,) = problems("retail: 1\nupline:" + "\n- 1" * (LEVELS_MAX + 1))
        assert problem.startswith("plan.yaml:4: upline: ")

    def test_every_mistake_is_named_with_its_line(self) -> None:
        body = "retail:\n  percent: 101\n  cap: {EUR: 1.5}\nupline:\n- 5\n- -1\nbonus: 3\n"
        assert problems(body) == [
            "plan.yaml:4: retail.percent: 101 is more than 100 percent",
            "plan.yaml:5: retail.cap.EUR: write an integer of minor units (cents), not 1.5",
            "plan.yaml:8: upline[1].percent: -1 is not a percentage with at most two decimals",
            "plan.yaml:9: bonus: is not known here",
        ]

    def test_a_plan_needs_a_retail_share(self) -> None:
        assert problems("upline: [5]") == ["plan.yaml:1: retail: is missing"]


def test_the_shipped_plan() -> None:
    path = Path(__file__).parents[2] / "streams" / "defaults" / "plan.yaml"
    shipped = load(path.read_text(), CommissionPlan, path.name)
    assert shipped.levels >= 3
    for currency in ("EUR", "GBP", "USD", "JPY", "CAD", "BRL", "BHD"):
        assert currency in shipped.retail_share.cap
        assert shipped.retail(10_000, currency) == 2_500
