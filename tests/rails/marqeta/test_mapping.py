"""Every row of every table, the row for the unknown, and answers nobody would send."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.payouts import FailureCategory, PayoutState
from rails.marqeta import mapping
from rails.rail import Instruction

F, S = FailureCategory, PayoutState
ID = "2a0f6f3e-8d0c-5e1b-9c55-0123456789ab"
INSTRUCTION = Instruction(ID, 1050, "EUR", "anna", "seller-1")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["token", "state", "amount", "response", "code", "transactions"])
            | st.text(max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def order(**changes: object) -> dict[str, Any]:
    whole = {"token": ID, "user_token": "anna", "currency_code": "EUR", "amount": "10.50"}
    return {**whole, "state": "COMPLETION", "response": {"code": "0000"}, **changes}


@pytest.mark.parametrize("state", [*mapping.STATES, "ESCHEATED", "completion", " ", ""])
def test_every_state(state: str) -> None:
    outcome = mapping.order_read(INSTRUCTION, order(state=state))
    assert outcome.state is mapping.STATES.get(state, S.UNKNOWN)
    assert outcome.provider_ref == ID


def test_blanks_around_a_state_are_none() -> None:
    assert mapping.order_read(INSTRUCTION, order(state=" PENDING ")).state is S.ACCEPTED


@pytest.mark.parametrize("response", [*mapping.DECLINES, "0000", "9999", "x", "", None, 1016])
def test_every_decline(response: object) -> None:
    outcome = mapping.order_read(INSTRUCTION, order(state="DECLINED", response={"code": response}))
    category, reason = mapping.DECLINES.get(str(response), (F.RECIPIENT, ""))
    if not isinstance(response, str):
        category, reason = F.RECIPIENT, "declined"
    assert (outcome.state, outcome.category) == (S.FAILED, category)
    assert outcome.reason in {reason or "declined", f"declined_{response}"}


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"amount": 10}, S.UNKNOWN),
        ({"amount": "10.5"}, S.SETTLED),
        ({"amount": "1.05E+1"}, S.SETTLED),
        ({"amount": "10.51"}, S.UNKNOWN),
        ({"currency_code": "USD"}, S.UNKNOWN),
        ({"token": "another"}, S.UNKNOWN),
        ({"user_token": "bert"}, S.UNKNOWN),
    ],
)
def test_another_payout_is_not_believed(changes: dict[str, object], state: S) -> None:
    outcome = mapping.order_read(INSTRUCTION, order(**changes))
    assert outcome.state is state
    if state is S.UNKNOWN:
        assert outcome.reason == "reference_mismatch"


@pytest.mark.parametrize(
    ("status", "message", "category"),
    [
        (400, "", F.RECIPIENT),
        (400, "user_token does not exist", F.METHOD),
        (400, "Cardholder is not active", F.METHOD),
        (400, "Funding source is inactive", F.TREASURY),
        (422, "Velocity exceeded for the account", F.RECIPIENT),
        (422, "Declined by the funding source", F.TREASURY),
        (422, "Not sufficient funds", F.TREASURY),
        (422, "Something else", F.RECIPIENT),
        (401, "user", F.TREASURY),
        (403, "", F.TREASURY),
        (429, "limit", F.RETRYABLE),
        (404, "user", None),
        (409, "", None),
        (412, "", None),
        (500, "", None),
        (503, "", None),
        (302, "", None),
    ],
)
def test_a_refused_submission(status: int, message: str, category: F | None) -> None:
    body = {"error_code": f"{status}001", "error_message": message}
    outcome = mapping.submitted(INSTRUCTION, status, body, repeat=False)
    assert outcome.category is category
    assert (outcome.state is S.FAILED) is (category is not None)
    assert outcome.reason == f"error_{status}001"
    # Of a repeat, none of them says anything about the first.
    again = mapping.submitted(INSTRUCTION, status, body, repeat=True)
    assert again.state is S.UNKNOWN


def test_what_is_created_need_not_be_paid() -> None:
    made = {"COMPLETION": S.SETTLED, "DECLINED": S.FAILED, "PENDING": S.ACCEPTED}
    for state, expected in made.items():
        for repeat in (False, True):
            outcome = mapping.submitted(INSTRUCTION, 201, order(state=state), repeat=repeat)
            assert outcome.state is expected
    assert mapping.submitted(INSTRUCTION, 201, None, repeat=False).state is S.UNKNOWN


@pytest.mark.parametrize(
    ("attempt_id", "token"),
    [
        (ID, ID),
        (f"{ID}.1", "2a0f6f3e8d0c5e1b9c550123456789ab.1"),
        (f"{ID}.999", "2a0f6f3e8d0c5e1b9c550123456789ab.999"),
        (f"{ID}.1000", None),
        ("2a" + "0" * 32, "2a" + "0" * 32),
        ("2a" + "0" * 35, None),
    ],
)
def test_a_token_fits(attempt_id: str, token: str | None) -> None:
    assert mapping.token_of(attempt_id) == token


@pytest.mark.parametrize(
    ("destination", "fine"),
    [
        ("7c1d8a52-55f7-4f43-8a5a-4a3a6d3d8a11", True),
        ("anna", True),
        ("x" * 36, True),
        ("x" * 37, False),
        ("", False),
        ("anna@example.com", False),
        ("../users", False),
        ("anna\n", False),
        ('{"kind": "card"}', False),
    ],
)
def test_a_destination_is_a_users_token(destination: str, fine: bool) -> None:
    expected = None if fine else "destination_invalid"
    assert mapping.destination_refusal(destination) == expected


@given(st.integers(100, 599), JSON, st.booleans())
def test_no_answer_raises(status: int, body: object, repeat: bool) -> None:
    outcome = mapping.submitted(INSTRUCTION, status, body, repeat=repeat)
    assert outcome.state is not S.SETTLED
    if repeat:
        assert outcome.state is S.UNKNOWN
    assert mapping.order_read(INSTRUCTION, body).state is S.UNKNOWN


@given(JSON)
def test_no_event_is_believed_by_chance(event: object) -> None:
    assert mapping.webhook_reports(event) == []
