"""What Adyen's words mean."""

import pytest

from models.payouts import PayoutState
from rails.adyen.mapping import STATES, transfer_read
from rails.rail import Instruction

S = PayoutState
INSTRUCTION = Instruction("2a0f-payout", 1050, "EUR", "{}", "seller-1")


def transfer(status: str) -> dict[str, object]:
    return {
        "id": "1W1UG35U8A9J5ZLG",
        "amount": {"value": 1050, "currency": "EUR"},
        "reference": "2a0f-payout",
        "status": status,
    }


@pytest.mark.parametrize("status", [*STATES, "quarantined", ""])
def test_every_status(status: str) -> None:
    outcome = transfer_read(INSTRUCTION, transfer(status))
    assert outcome.state is STATES.get(status, S.UNKNOWN)
    assert outcome.provider_ref == "1W1UG35U8A9J5ZLG"


def test_an_error_of_adyens_own_proves_nothing() -> None:
    for more in ({}, {"reason": "notEnoughBalance"}, {"events": [{"status": "booked"}]}):
        outcome = transfer_read(INSTRUCTION, {**transfer("error"), **more})
        assert (outcome.state, outcome.category) == (S.UNKNOWN, None)


def test_failures_have_a_row_and_nothing_else_has() -> None:
    failing = {status for status, state in STATES.items() if state is S.FAILED}
    assert failing == {"refused", "rejected", "expired", "failed"}
