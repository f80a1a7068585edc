"""The words between host and rail."""

import pytest

from models.payouts import FailureCategory, PayoutState
from rails.rail import Capabilities, Instruction, Outcome, failed, payout_of, unknown


def _instruction(**changes: object) -> Instruction:
    fields = {
        "payout_id": "p-1",
        "amount_minor": 100,
        "currency": "EUR",
        "destination": "anna@example.com",
        "seller_ref": "s-1",
        "note": "for Anna",
    }
    return Instruction(**{**fields, **changes})  # type: ignore[arg-type]


def test_an_instruction_shows_neither_destination_nor_note() -> None:
    shown = repr(_instruction())
    assert "anna" not in shown.lower()
    assert "p-1" in shown


@pytest.mark.parametrize(("attempt", "attempt_id"), [(0, "p-1"), (1, "p-1.1"), (12, "p-1.12")])
def test_attempts_have_their_own_ids_of_one_payout(attempt: int, attempt_id: str) -> None:
    instruction = _instruction(attempt=attempt)
    assert instruction.attempt_id == attempt_id
    assert payout_of(attempt_id) == "p-1"


@pytest.mark.parametrize("state", list(PayoutState))
def test_exactly_a_failure_has_a_category(state: PayoutState) -> None:
    category = FailureCategory.METHOD
    wrong = None if state is PayoutState.FAILED else category
    with pytest.raises(ValueError, match=str(state)):
        Outcome(state, category=wrong)
    right = category if state is PayoutState.FAILED else None
    assert Outcome(state, category=right).category is right


def test_short_forms() -> None:
    assert unknown("silence", "R1") == Outcome(PayoutState.UNKNOWN, "R1", None, "silence")
    assert failed(FailureCategory.METHOD, "closed").category is FailureCategory.METHOD


CAPABILITIES = Capabilities(
    kind="wallet",
    currencies=frozenset({"EUR", "HUF"}),
    destinations=frozenset({"email"}),
    countries=frozenset({"DE", "HU", "CU"}),
    countries_excluded=frozenset({"CU"}),
    amount_minor_min={"EUR": 100},
    amount_minor_max={"EUR": 1000},
    amount_minor_step={"HUF": 100},
)


@pytest.mark.parametrize(
    ("currency", "amount_minor", "country", "refusal"),
    [
        ("USD", 500, "DE", "currency_not_carried"),
        ("EUR", 500, "FR", "country_not_carried"),
        ("EUR", 500, "CU", "country_not_carried"),
        ("EUR", 99, "DE", "amount_below_minimum"),
        ("EUR", 100, "DE", None),
        ("EUR", 1000, "DE", None),
        ("EUR", 1001, "DE", "amount_above_maximum"),
        ("EUR", 500, None, None),
        ("HUF", 0, "HU", "amount_below_minimum"),
        ("HUF", 100, "HU", None),
        ("HUF", 101, "HU", "amount_not_representable"),
        ("HUF", 10**12, "HU", None),
        # Precedence: what cannot be helped first.
        ("USD", 0, "FR", "currency_not_carried"),
        ("EUR", 0, "FR", "country_not_carried"),
    ],
)
def test_refusals_by_precedence(
    currency: str, amount_minor: int, country: str | None, refusal: str | None
) -> None:
    assert CAPABILITIES.refusal(currency, amount_minor, country) == refusal
