"""Rules against fraud: each condition at both ends of its boundary, and all of them together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.debts import DAY_MS
from models.decisions import facts_of
from models.events import SaleCompleted
from models.features import FEATURES, Profile, observe
from models.fraudrules import Facts, FraudRule, fired

FACTS = Facts("s-1", "c-1", "d-1", "DE", "EUR", 1_000, 5.0, 3.0, 2 * DAY_MS, 10 * DAY_MS)


def rule(**conditions: Any) -> FraudRule:
    return FraudRule.model_validate({"reason": "why", **conditions})


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({"sellers": ["s-0", "s-1"]}, True),
        ({"sellers": ["s-0"]}, False),
        ({"cards": ["c-1"]}, True),
        ({"cards": ["c-2"]}, False),
        ({"devices": ["d-1"]}, True),
        ({"devices": ["c-1"]}, False),
        ({"countries": ["DE"]}, True),
        ({"countries": ["FR"]}, False),
        ({"above": {"EUR": 999}}, True),
        ({"above": {"EUR": 1_000}}, False),
        ({"above": {"USD": 1}}, False),
        ({"seller_sales_hour": 5}, True),
        ({"seller_sales_hour": 6}, False),
        ({"card_sales_hour": 3}, True),
        ({"card_sales_hour": 4}, False),
        ({"changed_days": 3}, True),
        ({"changed_days": 2}, False),
        ({"joined_days": 11}, True),
        ({"joined_days": 10}, False),
        ({"joined_days": 11, "above": {"EUR": 999}}, True),
        ({"joined_days": 11, "above": {"EUR": 1_000}}, False),
        ({"joined_days": 10, "above": {"EUR": 999}}, False),
    ],
)
def test_all_conditions_have_to_fit(conditions: dict[str, Any], fits: bool) -> None:
    assert rule(**conditions).fits(FACTS) is fits


def test_what_is_not_known() -> None:
    unknown = FACTS._replace(card=None, since_changed_ms=None, since_joined_ms=None)
    assert not rule(cards=["c-1"]).fits(unknown)
    assert not rule(changed_days=365).fits(unknown)
    assert rule(joined_days=1).fits(unknown)  # nobody can say that it is over
    # A sale of before the change, which comes behind it, goes to the new destination as well.
    assert rule(changed_days=1).fits(FACTS._replace(since_changed_ms=-DAY_MS))


def test_sellers_on_one_account_fit_from_so_many_others_on() -> None:
    shared = rule(account_sellers=2)
    assert [shared.fits(FACTS._replace(account_sellers=n)) for n in (0, 1, 2, 8)] == [
        False, False, True, True,
    ]  # fmt: skip


def test_returns_of_the_team_fit_from_such_a_share_on() -> None:
    sent_back = rule(upline_returns=30)
    shares = (0.0, 0.299, 0.3, 1.0)
    fits = [sent_back.fits(FACTS._replace(upline_returns=share)) for share in shares]
    assert fits == [False, False, True, True]


def test_those_that_fit_in_their_order() -> None:
    rules = [rule(reason=name, sellers=[seller]) for name, seller in
             (("a", "s-1"), ("b", "s-2"), ("c", "s-1"))]  # fmt: skip
    assert [one.reason for one in fired(rules, FACTS)] == ["a", "c"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "names no condition"),
        ({"tier": "reject", "sellers": []}, "names no condition"),
        ({"sellers": ["s"], "reason": "No Code"}, "should match pattern"),
        ({"sellers": ["s"], "tier": "instant"}, "'hold' or 'reject'"),
        ({"changed_days": 0}, "greater than or equal to 1"),
        ({"card_sales_hour": 1.5}, "valid integer"),
        ({"account_sellers": 9}, "less than or equal to 8"),
        ({"upline_returns": 101}, "less than or equal to 100"),
        ({"countries": ["de"]}, "should match pattern"),
    ],
)
def test_a_mistake_is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        rule(**fields)


def test_facts_are_read_off_the_sale_its_vector_and_the_profile() -> None:
    at = "2026-11-23T10:00:00Z"
    fields = {"id": "e", "version": 1, "occurred_at": at, "seller_id": "s", "sale_id": "x",
              "currency": "EUR", "amount_minor": 500}  # fmt: skip
    bare = SaleCompleted.model_validate({"type": "sale.completed", **fields})
    row, _ = observe({}, bare, None)
    assert row is not None
    assert facts_of(bare, row, None) == Facts("s", None, None, None, "EUR", 500, 0, 0, None, None)
    full = bare.model_copy(update={"instrument_ref": "c", "device_ref": "d", "country": "FR"})
    states: dict[str, str | None] = {}
    for _ in range(3):
        row, changed = observe(states, full, None)
        states |= changed
    assert row is not None
    at_ms = full.occurred_ms
    profile = Profile(
        "DE", joined_ms=at_ms - 5, payout_changed_ms=at_ms - 7, accounts=("b:1",), upline="u:up"
    )
    for seller in ("p", "q", "s"):
        row, changed = observe(states, full.model_copy(update={"seller_id": seller}), profile)
        states |= changed
    assert row is not None
    facts = facts_of(full, row, profile)
    assert facts[:6] == ("s", "c", "d", "FR", "EUR", 500)
    assert facts.seller_sales == pytest.approx(3)
    assert facts.card_sales == pytest.approx(5)
    assert facts[8:] == (7, 5, 2, 0.0)
    assert facts_of(bare, row, profile).country == "DE"
    assert len(row) == len(FEATURES)
