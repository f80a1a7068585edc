"""The oracle against sums done by hand."""

import json
from typing import Any

import pytest

from models.plan import CommissionPlan
from streams.demo.company import Company
from streams.demo.messages import Kind, Message
from streams.demo.oracle import expected

PLAN = CommissionPlan.model_validate(
    {"id": "test", "version": 1, "retail": 20, "upline": [5, {"percent": 2, "cap": {"EUR": 100}}]}
)


def message(kind: str, seller: str, number: int, **fields: Any) -> Message:
    event = {"id": f"e{number}", "type": kind, "seller_id": seller, **fields}
    return Message("t", seller.encode(), json.dumps(event).encode(), 0, None, f"e{number}")


def sale(number: int, seller: str, amount: int, currency: str = "EUR") -> Message:
    return message(
        "sale.completed", seller, number, sale_id=f"s{number}", currency=currency,
        amount_minor=amount,
    )  # fmt: skip


def back(number: int, seller: str, amount: int, of: int | None) -> Message:
    extra = {} if of is None else {"sale_id": f"s{of}"}
    return message(
        "sale.returned", seller, number, currency="EUR", amount_minor=amount, **extra
    )  # fmt: skip


TREE = [
    message("seller.updated", "anna", 901),
    message("seller.updated", "bert", 902, sponsor_id="anna"),
    message("seller.updated", "cora", 903, sponsor_id="bert"),
    message("seller.updated", "dora", 904, sponsor_id="cora"),
]


class TestExpected:
    def test_a_sale_pays_as_many_levels_as_the_plan_has(self) -> None:
        earned = expected([*TREE, sale(1, "dora", 1_000)], PLAN)
        assert earned == {"dora": {"EUR": 200}, "cora": {"EUR": 50}, "bert": {"EUR": 20}}

    def test_a_cap_holds(self) -> None:
        assert expected([*TREE, sale(1, "cora", 100_000)], PLAN)["anna"] == {"EUR": 100}

    def test_returns_take_back_in_proportion_of_each_share(self) -> None:
        # 20 % of 999 is 200, 5 % is 50; a third comes back: 66.7 → 67, 16.7 → 17.
        earned = expected([*TREE, sale(1, "bert", 999), back(2, "bert", 333, of=1)], PLAN)
        assert earned == {"bert": {"EUR": 133}, "anna": {"EUR": 33}}

    def test_many_small_returns_take_back_what_one_large_does(self) -> None:
        many = [back(2 + i, "bert", 100, of=1) for i in range(7)]
        one = [back(2, "bert", 700, of=1)]
        start = [*TREE, sale(1, "bert", 1_003)]
        assert expected(start + many, PLAN) == expected(start + one, PLAN)

    def test_a_whole_return_leaves_nothing(self) -> None:
        assert expected([*TREE, sale(1, "dora", 1_001), back(2, "dora", 1_001, of=1)], PLAN) == {}

    def test_order_does_not_matter(self) -> None:
        stream = [*TREE, sale(1, "dora", 1_000), back(2, "dora", 300, of=1)]
        assert expected(stream[::-1], PLAN) == expected(stream, PLAN)

    def test_a_return_whose_sale_never_comes_counts_for_nothing(self) -> None:
        assert expected([*TREE, back(1, "dora", 300, of=77)], PLAN) == {}

    def test_a_return_without_receipt_takes_back_what_a_sale_would_earn(self) -> None:
        earned = expected([*TREE, back(1, "bert", 1_000, of=None)], PLAN)
        assert earned == {"bert": {"EUR": -200}, "anna": {"EUR": -50}}

    def test_outside_commissions_and_reversals(self) -> None:
        stream = [
            message("commission.earned", "anna", 1, commission_id="c1", currency="JPY",
                    amount_minor=500),
            message("commission.reversed", "anna", 2, commission_id="c1", currency="JPY",
                    amount_minor=120),
            message("commission.earned", "anna", 3, commission_id="c2", currency="BHD",
                    amount_minor=70),
            message("commission.reversed", "anna", 4, commission_id="c2", currency="BHD",
                    amount_minor=99),
        ]  # fmt: skip
        assert expected(stream, PLAN) == {"anna": {"JPY": 380}}

    def test_repeats_and_bad_messages_count_for_nothing(self) -> None:
        bad = sale(2, "anna", 5_000)
        bad.kind = Kind.BAD
        assert expected([sale(1, "anna", 100), sale(1, "anna", 100), bad], PLAN) == {
            "anna": {"EUR": 20}
        }

    def test_an_unknown_event_is_an_error(self) -> None:
        strange = message("sale.imagined", "anna", 1, currency="EUR", amount_minor=1)
        with pytest.raises(ValueError, match=r"sale\.imagined"):
            expected([strange], PLAN)

    def test_a_company_earns_the_same_whenever_it_starts(self) -> None:
        company = Company(2, sellers=60)

        def earned(start_ms: int, rate: float) -> object:
            profiles = company.profiles(start_ms)
            return expected([*profiles, *company.events(3_000, start_ms=start_ms, rate=rate)], PLAN)

        first = earned(0, 10.0)
        assert first == earned(10**12, 777.0)
        assert first
