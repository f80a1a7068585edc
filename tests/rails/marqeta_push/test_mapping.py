"""Every row of every table, the row for the unknown, and answers nobody would send."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.payouts import FailureCategory, PayoutState
from rails.marqeta_push import mapping
from rails.rail import Instruction

F, S = FailureCategory, PayoutState
ID = "2a0f6f3e-8d0c-5e1b-9c55-0123456789ab"
CARD = json.dumps({"kind": "marqeta_card", "token": "card-1", "expires": "03/2099"})
INSTRUCTION = Instruction(ID, 1050, "USD", CARD, "seller-1")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["token", "status", "amount", "payment_instrument_token"])
            | st.text(max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def disbursement(**changes: object) -> dict[str, Any]:
    whole = {"token": ID, "payment_instrument_token": "card-1", "currency_code": "USD"}
    return {**whole, "amount": "10.50", "status": "success", **changes}


STATUSES = [
    *mapping.STATUSES,
    *("failed", "error", "not success", "success!", "-success-", "successful", "completion", ""),
    *(None, 7, True, ["success"]),
]


@pytest.mark.parametrize("status", STATUSES)
def test_every_status(status: object) -> None:
    outcome = mapping.disbursement_read(INSTRUCTION, disbursement(status=status))
    expected = mapping.STATUSES.get(status, S.UNKNOWN) if isinstance(status, str) else S.UNKNOWN
    assert outcome.state is expected
    assert outcome.category is (F.RECIPIENT if expected is S.FAILED else None)
    assert outcome.provider_ref == ID
    assert outcome.reason


@pytest.mark.parametrize("status", ["SUCCESS", "Success", " success "])
def test_capitals_and_blanks_around_a_status_are_none(status: str) -> None:
    outcome = mapping.disbursement_read(INSTRUCTION, disbursement(status=status))
    assert (outcome.state, outcome.reason) == (S.SETTLED, "success")


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"amount": 10}, S.UNKNOWN),
        ({"amount": "10.5"}, S.SETTLED),
        ({"amount": "10.51"}, S.UNKNOWN),
        ({"amount": None}, S.UNKNOWN),
        ({"currency_code": "CAD"}, S.UNKNOWN),
        ({"currency_code": None}, S.UNKNOWN),
        ({"token": "another"}, S.UNKNOWN),
        ({"payment_instrument_token": "card-2"}, S.UNKNOWN),
    ],
)
def test_another_payout_is_not_believed(changes: dict[str, object], state: S) -> None:
    outcome = mapping.disbursement_read(INSTRUCTION, disbursement(**changes))
    assert outcome.state is state
    if state is S.UNKNOWN:
        assert outcome.reason == "reference_mismatch"


@pytest.mark.parametrize("status", ["success", "declined"])
def test_nor_any_once_the_destination_is_no_card(status: str) -> None:
    changed = replace(INSTRUCTION, destination="card-1")
    outcome = mapping.disbursement_read(changed, disbursement(status=status))
    assert outcome.state is S.UNKNOWN


@pytest.mark.parametrize(
    ("status", "message", "category"),
    [
        (400, "", F.RECIPIENT),
        (400, "payment_instrument_token does not exist", F.METHOD),
        (400, "Amount exceeds the limit of the card", F.RECIPIENT),
        (422, "Payment instrument is not active", F.METHOD),
        (422, "", F.METHOD),
        (422, "Not sufficient funds", F.TREASURY),
        (422, "Push-to-card reserve is too low", F.TREASURY),
        (401, "card", F.TREASURY),
        (403, "", F.TREASURY),
        (429, "limit", F.RETRYABLE),
        (404, "card", None),
        (409, "Token already associated with a different payload", None),
        (412, "", None),
        (500, "", None),
        (503, "", None),
        (302, "", None),
    ],
)
def test_a_refused_submission(status: int, message: str, category: F | None) -> None:
    body = {"error_code": f"{status}001", "error_message": message}
    outcome = mapping.submitted(INSTRUCTION, status, body)
    assert outcome.category is category
    assert (outcome.state is S.FAILED) is (category is not None)
    assert outcome.reason == f"error_{status}001"


def test_what_is_created_need_not_be_paid() -> None:
    for status, expected in mapping.STATUSES.items():
        assert mapping.submitted(INSTRUCTION, 201, disbursement(status=status)).state is expected
    assert mapping.submitted(INSTRUCTION, 201, None).state is S.UNKNOWN


@pytest.mark.parametrize(
    ("destination", "refusal"),
    [
        (CARD, None),
        (CARD.replace("card-1", "x" * 37), "card_token_invalid"),
        (CARD.replace("03/", "00/"), "card_expiry_invalid"),
        ("card-1", "destination_invalid"),
        (
            '{"kind":"card","holder":"A","number":"4111111111111111","expires":"03/2099"}',
            "destination_invalid",
        ),
    ],
)
def test_a_destination_is_a_card_that_marqeta_keeps(destination: str, refusal: str | None) -> None:
    assert mapping.destination_refusal(destination) == refusal


@given(st.integers(100, 599), JSON)
def test_no_answer_raises(status: int, body: object) -> None:
    assert mapping.submitted(INSTRUCTION, status, body).state is not S.SETTLED
    assert mapping.disbursement_read(INSTRUCTION, body).state is S.UNKNOWN
