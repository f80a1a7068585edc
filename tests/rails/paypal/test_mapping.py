"""Every row of every table, the row for the unknown, and answers nobody would send."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.payouts import FailureCategory, PayoutState
from rails.paypal import mapping
from rails.paypal.capabilities import PAYPAL
from rails.rail import Instruction, Outcome
from tests.rails import specs

ID = "7b0b2f9e-2f4e-5c57-9f0a-0d6b0c1f3e55"
REF = "5UXD2E8A7EBQJ"
INSTRUCTION = Instruction(
    payout_id=ID,
    amount_minor=1050,
    currency="EUR",
    destination="anna@example.com",
    seller_ref="s-1",
    note="Thank\nyou  Anna",
)


def _item(status: object = "SUCCESS", error: str | None = None, **changes: object) -> Any:
    item: dict[str, object] = {
        "payout_item_id": "I1",
        "payout_batch_id": REF,
        "transaction_status": status,
        "payout_item": {
            "amount": {"currency": "EUR", "value": "10.50"},
            "receiver": "anna@example.com",
            "sender_item_id": ID,
        },
    }
    if error:
        item["errors"] = {"name": error, "message": "m", "debug_id": "d"}
    return {**item, **changes}


def _batch(*items: object, status: object = "SUCCESS", sender_batch_id: str = ID) -> Any:
    header = {
        "payout_batch_id": REF,
        "batch_status": status,
        "sender_batch_header": {"sender_batch_id": sender_batch_id},
    }
    return {"batch_header": header, "items": list(items)}


def _read(body: object, status: int = 200) -> Outcome:
    return mapping.batch_read(INSTRUCTION, REF, status, body).outcome


class TestRecipients:
    @pytest.mark.parametrize(
        ("destination", "kind"),
        [
            ("anna@example.com", "EMAIL"),
            ("unclaimed+anna@sub.example.co", "EMAIL"),
            ("+4915112345678", "PHONE"),
            ("G83JXTJ5EHCQ2", "PAYPAL_ID"),
        ],
    )
    def test_kind(self, destination: str, kind: str) -> None:
        assert mapping.recipient_type(destination) == kind

    @pytest.mark.parametrize(
        "destination",
        [
            "",
            "anna",
            "anna@",
            "@example.com",
            "a b@example.com",
            "a@b@c",
            "a@example.com\n",
            "+0123456789",
            "015112345678",
            "+49",
            "g83jxtj5ehcq2",
            "a@" + "x" * 130,
            "a@.com",
            '"a"@example.com',
            "<a@example.com>",
            "a@b.c,d@e.f",
            "a\x00@example.com",
        ],
    )
    def test_none(self, destination: str) -> None:
        with pytest.raises(mapping.DestinationInvalid) as caught:
            mapping.recipient_type(destination)
        assert not destination or destination not in str(caught.value)


class TestRequest:
    def test_body(self) -> None:
        assert mapping.request_body(INSTRUCTION, "You have a payout") == {
            "sender_batch_header": {"sender_batch_id": ID, "email_subject": "You have a payout"},
            "items": [
                {
                    "recipient_type": "EMAIL",
                    "receiver": "anna@example.com",
                    "amount": {"currency": "EUR", "value": "10.50"},
                    "sender_item_id": ID,
                    "note": "Thank you Anna",
                }
            ],
        }

    def test_recorded_limits(self) -> None:
        """Of PayPal's document, for when it is not there."""
        long = Instruction(
            payout_id=ID,
            amount_minor=1,
            currency="JPY",
            destination="a" * 60 + "@" + "b" * 60 + ".com",
            seller_ref="s",
            note="é" * 5_000,
            attempt=99,
        )
        body: Any = mapping.request_body(long, "s" * 255)
        item = body["items"][0]
        assert len(body["sender_batch_header"]["sender_batch_id"]) <= 256
        assert len(body["sender_batch_header"]["email_subject"]) <= 255
        assert len(item["sender_item_id"]) <= 63
        assert len(item["receiver"]) <= 127
        assert len(item["note"]) <= 1000
        assert {"amount", "receiver"} <= {*item}

    @specs.needs(specs.PAYPAL)
    @given(
        st.text(max_size=2_000),
        st.integers(1, 10**9),
        st.sampled_from(sorted(PAYPAL.currencies)),
        st.sampled_from(["a@example.com", "+491511234567", "G83JXTJ5EHCQ2"]),
        st.integers(0, 50),
    )
    def test_fits_the_document(
        self, note: str, whole: int, currency: str, destination: str, attempt: int
    ) -> None:
        instruction = Instruction(
            payout_id=ID,
            amount_minor=whole * 100,
            currency=currency,
            destination=destination,
            seller_ref="s",
            note=note,
            attempt=attempt,
        )
        body = mapping.request_body(instruction, "You have a payout")
        path = "/v1/payments/payouts"
        assert specs.request_problems(specs.PAYPAL, "POST", path, body) == []


class TestSubmitted:
    def _of(self, status: int, body: object, *, repeat: bool = False) -> Outcome:
        return mapping.submitted(INSTRUCTION, status, body, repeat=repeat)

    def test_created_is_accepted_and_no_more(self) -> None:
        for word in ("PENDING", "SUCCESS", "DENIED", "ANYTHING"):
            outcome = self._of(201, _batch(status=word))
            assert (outcome.state, outcome.provider_ref) == (PayoutState.ACCEPTED, REF)

    @pytest.mark.parametrize(
        "body",
        [None, [], "x", {}, {"batch_header": 1}, {"batch_header": {"payout_batch_id": 7}}]
        + [{"batch_header": {"payout_batch_id": ref}} for ref in ("", "a/b", "x" * 31, "a?b")],
    )
    def test_created_without_a_reference_is_unknown(self, body: object) -> None:
        assert self._of(201, body).state is PayoutState.UNKNOWN

    @pytest.mark.parametrize(("status", "name"), list(mapping.SUBMIT_REFUSALS))
    def test_each_refusal(self, status: int, name: str) -> None:
        refusal = mapping.SUBMIT_REFUSALS[status, name]
        details = [{"field": "items[0].receiver", "issue": "x"}]
        for spelt in (name, name.lower(), f" {name} "):
            body = {"name": spelt, "details": details}
            first = self._of(status, body)
            assert (first.state, first.category) == (PayoutState.FAILED, refusal.category)
            repeated = self._of(status, body, repeat=True)
            lasting = PayoutState.FAILED if refusal.lasting else PayoutState.UNKNOWN
            assert repeated.state is lasting

    @pytest.mark.parametrize("status", [100, 301, 307, 400, 402, 404, 409, 418, 422, 500, 502, 504])
    @pytest.mark.parametrize("name", ["", "BRAND_NEW", "INSUFFICIENT_FUNDS ", None, 5])
    def test_everything_else_is_unknown(self, status: int, name: object) -> None:
        if (status, str(name).strip()) in mapping.SUBMIT_REFUSALS:
            return
        assert self._of(status, {"name": name}).state is PayoutState.UNKNOWN

    def test_a_server_error_is_never_a_failure(self) -> None:
        for _, name in mapping.SUBMIT_REFUSALS:
            assert self._of(500, {"name": name}).state is PayoutState.UNKNOWN

    def test_an_oauth_error_has_its_own_shape(self) -> None:
        assert self._of(401, {"error": "invalid_token"}).category is FailureCategory.TREASURY

    @pytest.mark.parametrize(
        ("field", "category"),
        [
            ("items[0].receiver", FailureCategory.METHOD),
            ("items[0].recipient_type", FailureCategory.METHOD),
            ("items[0].amount.value", FailureCategory.RECIPIENT),
            (None, FailureCategory.RECIPIENT),
        ],
    )
    def test_only_an_error_about_the_receiver_disables_it(
        self, field: str | None, category: FailureCategory
    ) -> None:
        body = {"name": "VALIDATION_ERROR", "details": [{"field": field, "issue": "x"}]}
        assert self._of(400, body).category is category

    @pytest.mark.parametrize("key", ["link", "links"])
    def test_a_duplicate_is_adopted(self, key: str) -> None:
        href = f"https://evil.example/v1/payments/payouts/{REF}"
        body = {"name": "USER_BUSINESS_ERROR", "details": [{key: [{"href": href}]}]}
        for repeat in (False, True):
            outcome = self._of(400, body, repeat=repeat)
            assert (outcome.state, outcome.provider_ref) == (PayoutState.ACCEPTED, REF)

    @pytest.mark.parametrize(
        "details",
        [
            None,
            [],
            [{"field": "SENDER_BATCH_ID", "issue": "Duplicate batch request"}],
            [{"link": "x"}],
            [{"link": [{"href": "https://x/v1/payments/payouts/../oauth2/token"}]}],
            [{"link": [{"href": 5}]}],
            [5],
        ],
    )
    def test_a_duplicate_without_its_first_is_unknown(self, details: object) -> None:
        outcome = self._of(400, {"name": "USER_BUSINESS_ERROR", "details": details})
        assert outcome.state is PayoutState.UNKNOWN


class TestBatch:
    @pytest.mark.parametrize(("word", "state"), list(mapping.ITEM_STATES.items()))
    def test_each_item_status_whatever_the_batchs(self, word: str, state: PayoutState) -> None:
        for spelt in (word, word.lower(), f" {word}\n"):
            for batch in ("SUCCESS", "DENIED", "PENDING"):
                assert _read(_batch(_item(spelt), status=batch)).state is state

    @pytest.mark.parametrize("word", ["QUARANTINED", "SUCCESSFUL", "SUCCES", "NOT SUCCESS", "0"])
    def test_an_item_status_nobody_knows(self, word: str) -> None:
        assert _read(_batch(_item(word))).state is mapping.ITEM_STATE_OTHERWISE

    @pytest.mark.parametrize(("word", "state"), list(mapping.BATCH_STATES.items()))
    def test_each_batch_status_without_an_item(self, word: str, state: PayoutState) -> None:
        assert _read(_batch(status=word)).state is state
        assert _read(_batch(_item(None), status=word.lower())).state is state

    @pytest.mark.parametrize("word", ["", "NEW", None, 5])
    def test_a_batch_status_nobody_knows(self, word: object) -> None:
        assert _read(_batch(status=word)).state is mapping.BATCH_STATE_OTHERWISE

    def test_a_batch_never_settles_its_item(self) -> None:
        assert PayoutState.SETTLED not in mapping.BATCH_STATES.values()

    @pytest.mark.parametrize(("name", "category"), list(mapping.ITEM_FAILURES.items()))
    def test_each_failure(self, name: str, category: FailureCategory) -> None:
        for spelt in (name, name.lower(), f" {name}"):
            outcome = _read(_batch(_item("FAILED", spelt)))
            assert (outcome.category, outcome.reason) == (category, name.lower())

    @pytest.mark.parametrize(
        "name", ["NEW_REASON", "anna@example.com", "x" * 300, "Dear Anna, no."]
    )
    def test_a_failure_nobody_knows(self, name: str) -> None:
        outcome = _read(_batch(_item("FAILED", name)))
        assert outcome.category is mapping.ITEM_FAILURE_OTHERWISE
        assert outcome.reason is not None
        assert outcome.reason == ("new_reason" if name == "NEW_REASON" else "unreadable")

    def test_an_error_on_what_has_not_failed_is_no_failure(self) -> None:
        outcome = _read(_batch(_item("UNCLAIMED", "RECEIVER_UNREGISTERED")))
        assert outcome.state is PayoutState.UNCLAIMED

    @pytest.mark.parametrize(
        "body",
        [
            _batch(_item(), sender_batch_id="another"),
            _batch(_item(), _item()),
            _batch(_item(payout_item={})),
            _batch(_item(payout_item={"amount": {"currency": "USD", "value": "10.50"}})),
            _batch(
                _item(
                    payout_item={
                        "amount": {"currency": "EUR", "value": "10.51"},
                        "sender_item_id": ID,
                    }
                )
            ),
            _batch(
                _item(
                    payout_item={
                        "amount": {"currency": "EUR", "value": "10.50"},
                        "sender_item_id": "x",
                    }
                )
            ),
        ],
    )
    def test_what_is_not_our_payout(self, body: object) -> None:
        outcome = _read(body)
        assert (outcome.state, outcome.reason) == (PayoutState.UNKNOWN, "reference_mismatch")

    @pytest.mark.parametrize("status", [201, 301, 401, 403, 404, 429, 500, 503])
    def test_no_answer_about_it(self, status: int) -> None:
        outcome = _read(_batch(_item()), status)
        assert (outcome.state, outcome.provider_ref) == (PayoutState.UNKNOWN, REF)


class TestCancelled:
    def test_paypals_word_for_it_is_returned(self) -> None:
        outcome = mapping.cancelled(INSTRUCTION, REF, 200, _item("RETURNED"))
        assert outcome is not None
        assert outcome.state is PayoutState.CANCELLED

    @pytest.mark.parametrize(
        ("status", "body"),
        [(400, _item("RETURNED")), (200, _item("UNCLAIMED")), (200, {}), (200, None)],
    )
    def test_anything_else_must_be_read_again(self, status: int, body: object) -> None:
        assert mapping.cancelled(INSTRUCTION, REF, status, body) is None


class TestWebhook:
    def _event(self, kind: str = "PAYMENT.PAYOUTS-ITEM.SUCCEEDED", **changes: object) -> Any:
        event = {
            "id": "WH-58D329510W468432D-8HN650336L201105X",
            "event_type": kind,
            "create_time": "2026-11-23T10:00:00Z",
            "resource": _item(),
        }
        return {**event, **changes}

    def test_report(self) -> None:
        assert mapping.webhook_report(self._event()) == {
            "id": "WH-58D329510W468432D-8HN650336L201105X",
            "type": "payout.reported",
            "version": 1,
            "occurred_at": "2026-11-23T10:00:00Z",
            "payout_id": ID,
            "attempt": 0,
            "rail": "paypal",
            "state": "settled",
            "reason": "succeeded",
            "provider_ref": REF,
        }

    @pytest.mark.parametrize(("kind", "state"), list(mapping.WEBHOOK_STATES.items()))
    def test_each_kind(self, kind: str, state: PayoutState) -> None:
        for spelt in (kind, kind.lower(), f" {kind} "):
            report = mapping.webhook_report(self._event(spelt))
            assert report is not None
            assert report["state"] == state.value
            assert ("category" in report) == (state is PayoutState.FAILED)

    @pytest.mark.parametrize("kind", ["PAYMENT.PAYOUTSBATCH.SUCCESS", "NEW", "", None, 5])
    def test_others_report_nothing(self, kind: object) -> None:
        assert mapping.webhook_report(self._event(kind)) is None  # type: ignore[arg-type]

    @pytest.mark.parametrize("item_id", [None, "", 5, "x" * 64, "Invoice 7", ".1", "a\n"])
    def test_items_of_other_systems_report_nothing(self, item_id: object) -> None:
        resource = _item(payout_item={"sender_item_id": item_id})
        assert mapping.webhook_report(self._event(resource=resource)) is None
        assert mapping.webhook_report(self._event(resource=None)) is None

    def test_a_later_attempt_reports_its_payout(self) -> None:
        resource = _item(payout_item={"sender_item_id": f"{ID}.3"})
        report = mapping.webhook_report(self._event(resource=resource))
        assert report is not None
        assert report["payout_id"] == ID

    def test_nothing_personal_is_reported(self) -> None:
        text = json.dumps(mapping.webhook_report(self._event()))
        assert "anna" not in text

    @pytest.mark.parametrize(
        "changes",
        [
            {"id": "a b"},
            {"id": None},
            {"create_time": 5},
        ],
    )
    def test_an_event_without_its_ids(self, changes: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="no "):
            mapping.webhook_report(self._event(**changes))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "batch_header",
                    "payout_batch_id",
                    "items",
                    "details",
                    "link",
                    "href",
                    "name",
                    "payout_item",
                    "amount",
                    "currency",
                    "value",
                    "transaction_status",
                    "errors",
                    "sender_batch_header",
                    "sender_batch_id",
                    "event_type",
                    "resource",
                    "id",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.integers(100, 599), JSON, st.booleans())
def test_no_answer_makes_the_mapping_raise(status: int, body: object, repeat: bool) -> None:
    submitted = mapping.submitted(INSTRUCTION, status, body, repeat=repeat)
    assert submitted.state in {PayoutState.ACCEPTED, PayoutState.UNKNOWN, PayoutState.FAILED}
    # What was made up by chance is never believed to have moved money.
    assert _read(body, status).state is PayoutState.UNKNOWN
    assert mapping.cancelled(INSTRUCTION, REF, status, body) is None


@given(JSON)
def test_no_event_makes_the_mapping_raise_but_by_value_error(body: object) -> None:
    try:
        mapping.webhook_report(body)
    except ValueError:
        return


def test_the_tables_speak_the_documents_words() -> None:
    """PayPal's words as recorded, so that a row cannot be lost unnoticed."""
    items = [
        "SUCCESS",
        "FAILED",
        "PENDING",
        "UNCLAIMED",
        "RETURNED",
        "ONHOLD",
        "BLOCKED",
        "REFUNDED",
        "REVERSED",
    ]
    assert {*items} <= {*mapping.ITEM_STATES}
    assert {*mapping.BATCH_STATES} == {"DENIED", "PENDING", "PROCESSING", "SUCCESS", "CANCELED"}
    if specs.available(specs.PAYPAL):
        schemas = specs.document(specs.PAYPAL)["components"]["schemas"]
        assert {*schemas["transaction_enum"]["enum"]} == {*items}
        assert {*schemas["batch_enum"]["enum"]} == {*mapping.BATCH_STATES}


class TestTables:
    """The tables once more, by meaning: what a changed row would cost is written beside it."""

    def test_only_success_settles(self) -> None:
        settled = {word for word, state in mapping.ITEM_STATES.items() if state == "settled"}
        assert settled == {"SUCCESS"}

    def test_only_what_is_over_fails(self) -> None:
        # A failure releases the money to the seller: under review is not over.
        lost = {word for word, state in mapping.ITEM_STATES.items() if state == "failed"}
        assert lost == {"FAILED", "BLOCKED", "DENIED"}
        assert mapping.ITEM_STATES["ONHOLD"] is PayoutState.ACCEPTED
        assert mapping.ITEM_STATES["PENDING"] is PayoutState.ACCEPTED

    def test_money_that_came_back(self) -> None:
        back = {word for word, state in mapping.ITEM_STATES.items() if state == "returned"}
        assert back == {"RETURNED", "REFUNDED", "REVERSED"}

    def test_what_nobody_knows_is_unknown(self) -> None:
        assert mapping.ITEM_STATE_OTHERWISE is PayoutState.UNKNOWN
        assert mapping.BATCH_STATE_OTHERWISE is PayoutState.UNKNOWN
        assert mapping.SUBMIT_REFUSAL_OTHERWISE is None
        assert mapping.WEBHOOK_STATE_OTHERWISE is None

    def test_only_our_own_trouble_pauses_the_rail(self) -> None:
        # A recipient's fault taken for the treasury's would stop everybody's payouts.
        ours = {n for n, c in mapping.ITEM_FAILURES.items() if c is FailureCategory.TREASURY}
        assert not any(name.startswith(("RECEIV", "RISK", "REGULATORY")) for name in ours)
        assert {"INSUFFICIENT_FUNDS", "SENDER_ACCOUNT_LOCKED", "NON_HOLDING_CURRENCY"} <= ours

    def test_only_a_wrong_destination_is_disabled(self) -> None:
        wrong = {n for n, c in mapping.ITEM_FAILURES.items() if c is FailureCategory.METHOD}
        assert {"RECEIVER_ACCOUNT_INVALID", "RECEIVER_ACCOUNT_LOCKED"} <= wrong
        assert {"SELF_PAY_NOT_ALLOWED", "INVALID_EMAIL"} <= wrong
        assert not {"RISK_DECLINE", "RECEIVING_LIMIT_EXCEEDED", "INTERNAL_ERROR"} & wrong

    def test_only_paypals_trouble_is_tried_again(self) -> None:
        again = {n for n, c in mapping.ITEM_FAILURES.items() if c is FailureCategory.RETRYABLE}
        assert again == {"INTERNAL_ERROR", "UNDEFINED"}

    def test_only_a_verdict_on_the_request_itself_is_lasting(self) -> None:
        lasting = {key for key, refusal in mapping.SUBMIT_REFUSALS.items() if refusal.lasting}
        assert {status for status, _ in lasting} == {400}
        assert (400, "USER_BUSINESS_ERROR") not in mapping.SUBMIT_REFUSALS

    def test_no_row_makes_a_failure_of_a_server_error(self) -> None:
        assert all(status < 500 for status, _ in mapping.SUBMIT_REFUSALS)
