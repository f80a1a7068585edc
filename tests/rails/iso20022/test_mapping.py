"""Every word of the standard's that is mapped, and what they come to together."""

import itertools
import json
import uuid

import pytest

from models.payouts import FailureCategory, PayoutState
from rails.iso20022.mapping import (
    DUPLICATES,
    FAMILIES,
    NOT_FOUND,
    REASONS,
    STATES,
    Payment,
    category_of,
    destination_refusal,
    folded,
    payment_id,
    payment_of,
)
from rails.iso20022.reports import CREDITED, DEBITED, OTHER, RETURNED, Report
from rails.rail import Instruction

S = PayoutState
F = FailureCategory
PAYMENT = Payment("2a" + "0" * 30, "2a", 1050, "EUR")


def report(word: str, reason: str = "", amount_minor: int | None = None) -> Report:
    currency = "EUR" if amount_minor is not None else None
    return Report((PAYMENT.id,), word, reason, amount_minor, currency)


def state(*words: str) -> PayoutState | None:
    outcome = folded(PAYMENT, [report(word) for word in words])
    return outcome.state if outcome is not None else None


@pytest.mark.parametrize("word", STATES)
def test_each_word_alone(word: str) -> None:
    expected = {
        "RCVD": S.ACCEPTED, "ACTC": S.ACCEPTED, "ACCP": S.ACCEPTED, "ACWC": S.ACCEPTED,
        "PDNG": S.ACCEPTED, "ACSP": S.ACCEPTED, "ACSC": S.SETTLED, "ACWP": S.SETTLED,
        "ACCC": S.DELIVERED, "RJCT": S.FAILED, DEBITED: S.SETTLED, RETURNED: S.RETURNED,
    }  # fmt: skip
    assert state(word) is expected[word]


@pytest.mark.parametrize("word", ["PART", "QUAR", "CANC", "acsc", "", CREDITED, OTHER])
def test_a_word_nobody_knows_is_unknown_until_a_known_one_settles_it(word: str) -> None:
    assert state(word) is S.UNKNOWN
    assert state("ACSP", word) is S.UNKNOWN
    assert state(word, "ACSC") is S.SETTLED
    assert state(word, "RJCT") is S.FAILED


def test_nothing_said_is_nothing() -> None:
    assert folded(PAYMENT, []) is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ACCP", "ACSC"), S.SETTLED),
        (("ACSP", "ACSC", "ACCC"), S.DELIVERED),
        (("ACCP", "RJCT"), S.FAILED),
        (("ACSC", RETURNED), S.RETURNED),
        (("ACCC", RETURNED, DEBITED), S.RETURNED),
        (("RJCT", "ACSC"), S.UNKNOWN),
        (("RJCT", "ACCC"), S.UNKNOWN),
        (("RJCT", DEBITED), S.UNKNOWN),
    ],
)
def test_the_order_in_which_it_came_says_nothing(
    words: tuple[str, ...], expected: PayoutState
) -> None:
    for ordered in itertools.permutations(words):
        assert state(*ordered) is expected


def test_rejected_and_settled_is_never_failed() -> None:
    outcome = folded(PAYMENT, [report("RJCT", "AC04"), report("ACSC")])
    assert outcome is not None
    assert outcome.reason == "rejected_and_settled"


@pytest.mark.parametrize("code", sorted(DUPLICATES | NOT_FOUND))
def test_a_rejected_repeat_and_one_not_found_say_nothing_of_the_first(code: str) -> None:
    assert folded(PAYMENT, [report("RJCT", code)]) is None
    outcome = folded(PAYMENT, [report("ACSC"), report("RJCT", code)])
    assert outcome is not None
    assert outcome.state is S.SETTLED


@pytest.mark.parametrize(
    ("codes", "category"),
    [
        ("AC01 AC03 AC04 AC06 AC14 AG01 AG03 MD07 RC01 AC99 MD01 RC04 BE01 CNOR", F.METHOD),
        ("AM04 AM23 AC02 AC05 RC03 DNOR DS0H", F.TREASURY),
        ("AM02 AM03 FF01 MS02 MS03 RR04 ZZ99 AM99 NARR", F.RECIPIENT),
        ("AB05 AB06 AB07 AB08 AB09 AB10 ED05 TM01", F.RETRYABLE),
    ],
)
def test_reasons(codes: str, category: FailureCategory) -> None:
    for code in codes.split():
        assert category_of(code) is category, code
        assert category_of(code.lower()) is category, code
        outcome = folded(PAYMENT, [report("ACCP"), report("RJCT", code)])
        assert outcome is not None
        assert (outcome.state, outcome.category, outcome.reason) == (
            S.FAILED,
            category,
            code.lower(),
        )


def test_a_rejection_without_a_reason_is_shown_to_a_person() -> None:
    outcome = folded(PAYMENT, [report("RJCT")])
    assert outcome is not None
    assert (outcome.category, outcome.reason) == (F.RECIPIENT, "no_reason")


def test_tables_hold_codes_of_the_standards_form() -> None:
    assert all(len(code) == 4 and code == code.upper() for code in REASONS)
    assert all(len(family) == 2 for family in FAMILIES)
    assert not set(REASONS) & (DUPLICATES | NOT_FOUND)


@pytest.mark.parametrize("word", ["ACSC", "ACCP", "RJCT", RETURNED, DEBITED])
def test_another_amount_is_unknown(word: str) -> None:
    outcome = folded(PAYMENT, [report("ACSC"), report(word, amount_minor=1049)])
    assert outcome is not None
    assert (outcome.state, outcome.reason) == (S.UNKNOWN, "amount_mismatch")
    assert folded(PAYMENT, [report("ACSC", amount_minor=1050)]) == folded(PAYMENT, [report("ACSC")])


def test_ids_fit_the_standard_and_tell_attempts_apart() -> None:
    payout_id = str(uuid.uuid4())
    bare = payout_id.replace("-", "")
    assert payment_id(payout_id) == bare
    assert payment_id(f"{payout_id}.1") == f"{bare}.1"
    assert payment_id(f"{payout_id}.99") == f"{bare}.99"
    ids = [payment_id(f"{payout_id}.{number}") for number in range(1, 300)]
    ids += [payment_id(text) for text in (payout_id, "p" * 63, "2a", "2a.1", payout_id.upper())]
    assert len(set(ids)) == len(ids)
    assert max(map(len, ids)) <= 35


def test_a_payment_is_of_its_attempt() -> None:
    payout_id = str(uuid.uuid4())
    one = Instruction(payout_id, 1050, "EUR", "", "seller-1", attempt=2)
    assert payment_of(one).attempt_id == f"{payout_id}.2"
    assert payment_of(one).id == payout_id.replace("-", "") + ".2"


@pytest.mark.parametrize(
    ("destination", "refusal"),
    [
        ({"kind": "iban", "iban": "DE89370400440532013000", "holder": "Anna"}, None),
        ({"kind": "iban", "iban": "DE88370400440532013000", "holder": "Anna"},
         "iban_check_digits_invalid"),
        ({"kind": "uk", "sort_code": "123456", "account": "12345678", "holder": "Anna"},
         "destination_not_iban"),
        ({"kind": "iban", "iban": "DE89370400440532013000", "holder": "李"},
         "holder_not_writable"),
        ("anna@example.com", "destination_invalid"),
    ],
)  # fmt: skip
def test_destinations(destination: object, refusal: str | None) -> None:
    text = destination if isinstance(destination, str) else json.dumps(destination)
    assert destination_refusal(text) == refusal
