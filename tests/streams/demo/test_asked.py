"""What was asked for, held against ledgers made by hand."""

import json
from typing import Any

import pytest

from models.ledger import Fold, Purchase
from models.plan import CommissionPlan
from models.quotes import Quote
from streams.demo.asked import conversions_apart, purchases_apart, reinvestments_apart
from streams.demo.messages import Kind, Message

PLAN = CommissionPlan.model_validate({"id": "test", "version": 1, "retail": 20, "upline": [5]})


def told(number: int, kind: str, **fields: Any) -> Message:
    topic = "sellers" if kind == "seller.updated" else "redemptions"
    topic = "sales" if kind.startswith("sale.") else topic
    event = {"id": f"e{number}", "type": kind, "seller_id": "anna", "currency": "EUR", **fields}
    return Message(topic, b"anna", json.dumps(event).encode(), 0, None, f"e{number}")


def till(number: int, verb: str, minor: int = 0, **fields: Any) -> Message:
    amount = {"amount_minor": minor} if minor else {}
    return told(number, f"purchase.{verb}", authorisation_id="a", **amount, **fields)


ASKED = till(1, "authorised", 100)


def ledger(*figures: int, booked: str = "e1 e2 e3 e4") -> Fold:
    """A ledger with one purchase: authorised, captured, refunded, released."""
    fold = Fold(booked=set(booked.split()))
    if figures:
        fold.purchases["anna", "a"] = Purchase("EUR", *figures)
    return fold


class TestPurchases:
    @pytest.mark.parametrize(
        ("stream", "figures"),
        [
            ([ASKED], (100, 0, 0, 0)),
            ([ASKED], (100, 0, 0, 100)),
            ([ASKED, till(2, "captured", 60)], (100, 60, 0, 0)),
            ([ASKED, till(2, "captured", 60)], (100, 60, 0, 40)),
            ([ASKED, till(2, "captured", 60), till(3, "captured", 40)], (100, 100, 0, 0)),
            ([ASKED, till(2, "captured", 60, final=True)], (100, 60, 0, 40)),
            ([ASKED, till(2, "voided")], (100, 0, 0, 100)),
            ([ASKED, till(2, "captured", 60), till(3, "refunded", 10)], (100, 60, 10, 0)),
            ([till(1, "authorised", 100, partial=True)], (30, 0, 0, 0)),
        ],
    )
    def test_what_was_asked(self, stream: list[Message], figures: tuple[int, ...]) -> None:
        assert list(purchases_apart(stream, ledger(*figures))) == []

    @pytest.mark.parametrize(
        ("stream", "figures"),
        [
            ([ASKED], ()),
            ([], (100, 0, 0, 0)),
            ([ASKED], (99, 0, 0, 0)),
            ([ASKED], (100, 1, 0, 0)),
            ([ASKED], (100, 0, 0, 50)),
            ([ASKED, till(2, "captured", 60)], (100, 0, 0, 0)),
            ([ASKED, till(2, "captured", 60, final=True)], (100, 60, 0, 0)),
            ([ASKED, till(2, "captured", 60), till(3, "refunded", 10)], (100, 60, 11, 0)),
            ([till(1, "authorised", 100, partial=True)], (101, 0, 0, 0)),
        ],
    )
    def test_something_else(self, stream: list[Message], figures: tuple[int, ...]) -> None:
        assert len(list(purchases_apart(stream, ledger(*figures)))) == 1

    def test_what_was_refused_bad_or_a_repeat_counts_for_nothing(self) -> None:
        bad = till(4, "captured", 7)
        bad.kind = Kind.BAD
        capture = till(2, "captured", 60)
        stream = [ASKED, capture, capture, till(3, "captured", 41), bad]
        assert list(purchases_apart(stream, ledger(100, 60, 0, 0, booked="e1 e2 e4"))) == []


class TestReinvestments:
    EARNED = told(2, "sale.completed", sale_id="s", amount_minor=1_000)  # 200 of it hers
    WANTS = told(3, "seller.updated", reinvest={"EUR": {"percent": 25}})
    ONCE = told(1, "earnings.reinvested", amount_minor=70)
    ALL = told(4, "earnings.reinvested")

    @pytest.mark.parametrize(
        ("stream", "minor", "right"),
        [
            ([EARNED], 0, True),
            ([EARNED], 1, False),
            ([EARNED, ONCE], 70, True),
            ([EARNED, ONCE], 69, False),
            ([EARNED, ONCE], 71, False),
            ([EARNED, WANTS], 50, True),
            ([EARNED, WANTS], 0, True),
            ([EARNED, WANTS], -1, False),
            ([EARNED, WANTS], 60, False),
            ([EARNED, WANTS, ONCE], 120, True),
            ([EARNED, WANTS, ONCE], 130, False),
            ([EARNED, ONCE, ALL], 180, True),
            ([EARNED, ONCE, ALL], 60, False),
        ],
    )
    def test_at_most_what_was_asked(self, stream: list[Message], minor: int, right: bool) -> None:
        fold = Fold(booked={"e1", "e2", "e3", "e4"})
        fold.reinvested["anna", "EUR"] = minor
        assert (list(reinvestments_apart(stream, PLAN, fold)) == []) == right


DOLLARS = {"source_currency": "BRL", "target_currency": "USD", "quote_id": "q"}


class TestConversions:
    SELLS = told(1, "conversion.quoted", source_minor=1_000, **DOLLARS)
    BUYS = told(1, "conversion.quoted", target_minor=170, **DOLLARS)
    MADE = told(2, "conversion.made", quote_id="q")
    QUOTED = Quote("q", "quoted", "BRL", "USD", 1_000, 170, 1, 0, "r", 17, 100, 100, 0)

    @pytest.mark.parametrize(
        ("stream", "changed", "right"),
        [
            ([SELLS], {}, True),
            ([BUYS], {"step": "expired"}, True),
            ([SELLS, MADE], {"step": "converted"}, True),
            ([SELLS], {"step": "converted"}, False),
            ([SELLS, MADE], {"step": "expired"}, False),
            ([SELLS], {"sold": 999}, False),
            ([BUYS], {"bought": 171}, False),
            ([BUYS], {"target": "EUR"}, False),
            ([], {}, False),
        ],
    )
    def test_as_asked(self, stream: list[Message], changed: dict[str, Any], right: bool) -> None:
        fold = Fold(booked={"e1", "e2"})
        fold.conversions.quotes["anna", "q"] = self.QUOTED._replace(**changed)
        assert (list(conversions_apart(stream, fold)) == []) == right

    def test_a_quote_that_the_ledger_lacks(self) -> None:
        assert len(list(conversions_apart([self.SELLS], Fold(booked={"e1"})))) == 1
        assert list(conversions_apart([self.SELLS], Fold())) == []
