"""Every row of every table, the row for the unknown, and answers nobody would send."""

import re
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.payouts import FailureCategory, PayoutState
from rails.rail import Instruction, Outcome, failed, unknown
from rails.visa import mapping
from rails.visa.settings import VisaSettings

F, S = FailureCategory, PayoutState
ID = "2a0f6f3e-8d0c-5e1b-9c55-0123456789ab"
NUMBER = "381228649430015"
INSTRUCTION = Instruction(ID, 1050, "EUR", "{}", "seller-1")
TRACE = mapping.trace_of(ID)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["statusCode", "actionCode", "statusIdentifier", "responseStatus"])
            | st.sampled_from(["transactionIdentifier", "transactionType"])
            | st.text(max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def pushed(action: object = "00", **changes: object) -> dict[str, Any]:
    return {"transactionIdentifier": int(NUMBER), "actionCode": action, **changes}


def record(status: str = "COMPLETED", action: str = "00", **changes: object) -> dict[str, Any]:
    return {
        "transactionType": "CRED VOUCHER",
        "statusCode": status,
        "actionCode": action,
        "transactionIdentifier": NUMBER,
        "systemsTraceAuditNumber": TRACE.stan,
        "retrievalReferenceNumber": TRACE.rrn,
        **changes,
    }


def read(*records: object) -> Outcome | None:
    return mapping.query_read(INSTRUCTION, list(records))


class TestTrace:
    def test_it_follows_from_the_attempts_id(self) -> None:
        assert mapping.trace_of(ID) == TRACE
        assert TRACE == ("517990", "912410557802")

    def test_it_has_visas_form(self) -> None:
        for number in range(2_000):
            stan, rrn = mapping.trace_of(f"{ID}.{number}")
            assert re.fullmatch(r"[0-9]{6}", stan)
            assert stan != "000000"
            assert re.fullmatch(r"[0-9]{12}", rrn)
            assert 1 <= int(rrn[1:4]) <= 365
            assert int(rrn[4:6]) < 24

    def test_attempts_differ(self) -> None:
        ids = [str(uuid.uuid4()) for _ in range(20_000)]
        assert len({mapping.trace_of(one) for one in ids}) == len(ids)


class TestPush:
    @pytest.mark.parametrize("action", sorted(mapping.DECLINES))
    def test_every_decline(self, action: str) -> None:
        category, reason = mapping.DECLINES[action]
        outcome = mapping.submitted(200, pushed(action))
        assert outcome == failed(category, reason, NUMBER)

    @pytest.mark.parametrize("action", ["06", "10", "11", "68", "85", "91", "94", "96", "7Q"])
    def test_a_code_that_proves_nothing(self, action: str) -> None:
        assert mapping.submitted(200, pushed(action)) == unknown(f"action_{action.lower()}", NUMBER)

    @pytest.mark.parametrize("action", [None, "", "0", "000", 0, "é!", ["00"]])
    def test_what_is_no_code(self, action: object) -> None:
        assert mapping.submitted(200, pushed(action)).reason == "action_unreadable"

    def test_approved(self) -> None:
        for number in (int(NUMBER), NUMBER):
            outcome = mapping.submitted(200, pushed(transactionIdentifier=number))
            assert outcome == Outcome(S.SETTLED, NUMBER, None, "approved")

    @pytest.mark.parametrize("number", [None, "", "x", 1.5, -1, True, [1]])
    def test_approved_without_a_number_is_asked_about(self, number: object) -> None:
        outcome = mapping.submitted(200, pushed(transactionIdentifier=number))
        assert outcome == unknown("answer_without_reference")

    def test_it_goes_on(self) -> None:
        outcome = mapping.submitted(202, {"statusIdentifier": "1_2_VDP"})
        assert outcome == Outcome(S.ACCEPTED, "status:1_2_VDP", None, "in_progress")
        assert mapping.status_of(outcome.provider_ref) == "1_2_VDP"
        assert mapping.transaction_of(outcome.provider_ref) is None

    @pytest.mark.parametrize("given", [None, "", 7, "a/b", "x" * 101, "a\n"])
    def test_it_goes_on_and_cannot_be_asked_about(self, given: object) -> None:
        outcome = mapping.submitted(202, {"statusIdentifier": given})
        assert outcome == unknown("answer_without_reference")

    @pytest.mark.parametrize(
        ("status", "category"),
        [
            (400, F.RECIPIENT),
            (401, F.TREASURY),
            (403, F.TREASURY),
            (429, F.RETRYABLE),
            (303, None),
            (404, None),
            (422, None),
            (500, None),
            (503, None),
            (504, None),
            (201, None),
        ],
    )
    def test_errors(self, status: int, category: F | None) -> None:
        outcome = mapping.submitted(status, {"responseStatus": {"code": "3001"}})
        assert (outcome.category, outcome.reason) == (category, "error_3001")
        assert mapping.submitted(status, None).reason == f"http_{status}"
        assert mapping.submitted(status, {"errorMessage": "<secret>"}).reason == f"http_{status}"


class TestRecords:
    @pytest.mark.parametrize(
        ("status", "action", "state", "category"),
        [
            ("COMPLETED", "00", S.SETTLED, None),
            ("COMPLETED", "14", S.FAILED, F.METHOD),
            ("COMPLETED", "91", S.UNKNOWN, None),
            ("IN_PROGRESS", "", S.ACCEPTED, None),
            ("FAILED", "14", S.FAILED, F.METHOD),
            ("FAILED", "91", S.FAILED, F.RETRYABLE),
            ("FAILED", "96", S.FAILED, F.RETRYABLE),
            ("FAILED", "", S.FAILED, F.RETRYABLE),
            ("FAILED", "00", S.UNKNOWN, None),
            ("completed", "00", S.UNKNOWN, None),
            ("PARKED", "00", S.UNKNOWN, None),
            ("", "00", S.UNKNOWN, None),
        ],
    )
    def test_every_status(self, status: str, action: str, state: S, category: F | None) -> None:
        for found in (read(record(status, action)), self.single(record(status, action))):
            assert found is not None
            assert (found.state, found.category) == (state, category)
            assert found.provider_ref == NUMBER

    @staticmethod
    def single(one: object) -> Outcome | None:
        return mapping.query_read(INSTRUCTION, one)

    @pytest.mark.parametrize("body", [[], {}, None, {"errorMessage": "No transactions"}, ["x"]])
    def test_none(self, body: object) -> None:
        assert mapping.query_read(INSTRUCTION, body) is None

    @pytest.mark.parametrize(
        "changes",
        [
            {"systemsTraceAuditNumber": "000001"},
            {"retrievalReferenceNumber": "000000000001"},
            {"retrievalReferenceNumber": None},
            {"amountInTransactionCurrency": "10.51"},
            {"amountInTransactionCurrency": "much"},
            {"transactionCurrencyCode": "840"},
            {"transactionCurrencyCode": "USD"},
        ],
    )
    def test_another_payout_is_not_believed(self, changes: dict[str, object]) -> None:
        found = read(record(**changes))
        assert found is not None
        assert (found.state, found.reason) == (S.UNKNOWN, "reference_mismatch")

    @pytest.mark.parametrize(
        "changes",
        [
            {"systemsTraceAuditNumber": int(TRACE.stan)},
            {"retrievalReferenceNumber": int(TRACE.rrn)},
            {"amountInTransactionCurrency": "10.5", "transactionCurrencyCode": "978"},
            {"amountInTransactionCurrency": "10.50", "transactionCurrencyCode": "EUR"},
            {"transactionCurrencyCode": 978},
        ],
    )
    def test_ours_written_otherwise(self, changes: dict[str, object]) -> None:
        found = read(record(**changes))
        assert found is not None
        assert found.state is S.SETTLED

    @pytest.mark.parametrize(
        ("kind", "action", "state"),
        [
            ("CRED REVERSAL", "00", S.RETURNED),
            ("cred reversal", "00", S.RETURNED),
            ("CRED REVERSAL", "94", S.UNKNOWN),
            ("CRED CHGBK", "00", S.UNKNOWN),
            ("CRED CHGBK REVERSAL", "00", S.UNKNOWN),
            ("SALES REVERSAL", "00", S.UNKNOWN),
        ],
    )
    def test_what_came_after(self, kind: str, action: str, state: S) -> None:
        found = read(record(), record(action=action, transactionType=kind))
        assert found is not None
        assert found.state is state

    def test_two_pushes_are_nobodys_guess(self) -> None:
        found = read(record(), record(action="14"))
        assert found is not None
        assert found.reason == "reference_ambiguous"

    def test_a_currency_that_is_none(self) -> None:
        odd = Instruction(ID, 1050, "???", "{}", "seller-1")
        found = mapping.query_read(odd, record(transactionCurrencyCode="978"))
        assert found is not None
        assert found.state is S.UNKNOWN

    def test_what_is_asked(self) -> None:
        settings = VisaSettings(acquiring_bin="408999")
        ours = mapping.query_of(ID, settings, None)
        assert (ours["stan"], ours["rrn"], ours["acquiringBIN"]) == (*TRACE, "408999")
        theirs = mapping.query_of(ID, settings, NUMBER)
        assert theirs["transactionIdentifier"] == NUMBER
        assert "rrn" not in theirs


SETTLED = Outcome(S.SETTLED, NUMBER, None, "approved")
DECLINED = failed(F.METHOD, "closed_account", NUMBER)
PENDING = Outcome(S.ACCEPTED, NUMBER, None, "in_progress")
RETURNED = Outcome(S.RETURNED, NUMBER, None, "reversed")
UNCLEAR = unknown("action_91", NUMBER)
MISMATCH = unknown("reference_mismatch", NUMBER)
AFTERWARDS = unknown("life_unclear", NUMBER)
DEAF = unknown("http_500", NUMBER)


@pytest.mark.parametrize(
    ("told", "recorded", "expected"),
    [
        (SETTLED, None, SETTLED),
        (SETTLED, SETTLED, SETTLED),
        (SETTLED, PENDING, SETTLED),
        (SETTLED, DEAF, SETTLED),
        (SETTLED, RETURNED, RETURNED),
        (SETTLED, MISMATCH, MISMATCH),
        (SETTLED, AFTERWARDS, AFTERWARDS),
        (SETTLED, DECLINED, unknown("answers_contradict", NUMBER)),
        (DECLINED, None, DECLINED),
        (DECLINED, DECLINED, DECLINED),
        (DECLINED, DEAF, DECLINED),
        (DECLINED, MISMATCH, MISMATCH),
        (DECLINED, SETTLED, unknown("answers_contradict", NUMBER)),
        (DECLINED, RETURNED, unknown("answers_contradict", NUMBER)),
        (UNCLEAR, None, UNCLEAR),
        (UNCLEAR, SETTLED, SETTLED),
        (UNCLEAR, DECLINED, DECLINED),
        (UNCLEAR, DEAF, DEAF),
    ],
)
def test_two_answers(told: Outcome, recorded: Outcome | None, expected: Outcome) -> None:
    assert mapping.agreed(told, recorded) == expected


@pytest.mark.parametrize(
    ("told", "final"),
    [(SETTLED, True), (DECLINED, True), (UNCLEAR, True), (PENDING, False), (DEAF, False)],
)
def test_what_is_final(told: Outcome, final: bool) -> None:
    assert mapping.is_final(told) is final


@pytest.mark.parametrize(
    ("destination", "refusal"),
    [
        ("", "destination_invalid"),
        ("4957030420210496", "destination_invalid"),
        ('{"kind":"iban","holder":"A","iban":"DE89370400440532013000"}', "destination_invalid"),
        (
            '{"kind":"card","holder":"A","number":"4957030420210497","expires":"03/2099"}',
            "card_check_digit_invalid",
        ),
        ('{"kind":"card","holder":"A","number":"4957030420210496","expires":"03/2099"}', None),
    ],
)
def test_a_destination_is_a_card(destination: str, refusal: str | None) -> None:
    assert mapping.destination_refusal(destination) == refusal


@given(st.integers(100, 599), JSON)
def test_no_answer_raises(status: int, body: object) -> None:
    assert mapping.submitted(status, body).state is not S.SETTLED or status == 200
    found = mapping.query_read(INSTRUCTION, body)
    assert found is None or found.state is S.UNKNOWN
