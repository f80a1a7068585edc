"""Between our words and Circle's: every row of every table, and words nobody knows."""

import json
import re
import uuid
from random import Random
from typing import Any

import pytest

from models.payouts import FailureCategory, PayoutState
from rails.addresses import CryptoAddress
from rails.circle import mapping
from rails.circle.mapping import (
    Recipient,
    found_recipient,
    idempotency_key,
    payout_read,
    recipient_read,
    recipient_refused,
    submitted,
)
from rails.circle.settings import CircleSettings
from rails.rail import Instruction
from tests.rails import specs

F = FailureCategory
ID = "b8627ae8-732b-4d25-b947-1df8f4007a29"
OTHER_ID = "54c1cbab-c419-450f-ad23-906fa03af7f0"
ADDRESS = CryptoAddress("ETH", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "Anna", "DE")
STELLAR = CryptoAddress("XLM", "G" + "A" * 55, "Anna", "DE", "4711")
MISMATCH = "reference_mismatch"
PAYOUT = Instruction(
    payout_id="01-5e",
    amount_minor=1050,
    currency="USD",
    destination="secret",
    seller_ref="S-1",
)


def payout(**fields: object) -> dict[str, Any]:
    amount = {"amount": "10.50", "currency": "USD"}
    return {"id": ID, "amount": amount, "status": "pending", **fields}


def entry(**fields: object) -> dict[str, Any]:
    plain = {"id": ID, "chain": "ETH", "address": ADDRESS.address.lower(), "status": "active"}
    return {**plain, **fields}


def test_keys_are_of_version_4_by_form_and_always_the_same() -> None:
    key = idempotency_key("payout", "01-5e")
    # Another one after an update would let a repeat execute a second time.
    assert key == "5983cf35-8e67-4ad7-90f4-671d7c464129"
    assert uuid.UUID(key).version == 4
    assert uuid.UUID(key).variant == uuid.RFC_4122
    assert key == idempotency_key("payout", "01-5e")
    names = [(purpose, f"01-{at}") for purpose in ("payout", "recipient") for at in range(500)]
    keys = {idempotency_key(*name) for name in names}
    assert len(keys) == len(names)
    form = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(form.fullmatch(key) for key in keys)


@specs.needs(specs.CIRCLE)
def test_every_word_of_the_document_has_a_row() -> None:
    schemas = specs.document(specs.CIRCLE)["components"]["schemas"]
    assert set(mapping.STATES) == set(schemas["PayoutStatus"]["enum"])
    codes = set(schemas["PayoutErrorCode"]["enum"])
    assert {*mapping.REASONS, mapping.RETURNED} == codes
    standings = schemas["AddressBookRecipient"]["properties"]["status"]["enum"]
    assert set(mapping.RECIPIENT_STANDINGS) == set(standings)


@pytest.mark.parametrize("error", mapping.REASONS)
def test_every_failure_has_its_category(error: str) -> None:
    outcome = payout_read(PAYOUT, payout(status="failed", errorCode=error))
    assert (outcome.state, outcome.category) == (PayoutState.FAILED, mapping.REASONS[error])
    assert outcome.reason == error


@pytest.mark.parametrize(
    ("fields", "state", "reason"),
    [
        ({"status": " complete "}, PayoutState.SETTLED, "complete"),
        ({"status": "COMPLETE"}, PayoutState.UNKNOWN, "complete"),
        ({"status": "quarantined"}, PayoutState.UNKNOWN, "quarantined"),
        ({"status": "anna@example.com"}, PayoutState.UNKNOWN, "unreadable"),
        ({"status": None}, PayoutState.UNKNOWN, "unreadable"),
        ({"status": "failed", "errorCode": "new_word"}, PayoutState.FAILED, "new_word"),
        ({"status": "failed", "errorCode": 5}, PayoutState.FAILED, "failed"),
        (
            {"status": "failed", "errorCode": "transaction_returned"},
            PayoutState.RETURNED,
            "transaction_returned",
        ),
        ({"id": "no id"}, PayoutState.UNKNOWN, "answer_without_reference"),
        (
            {"amount": {"amount": "10.51", "currency": "USD"}},
            PayoutState.UNKNOWN,
            MISMATCH,
        ),
        ({"amount": {"amount": "10.500000", "currency": "USD"}}, PayoutState.ACCEPTED, "pending"),
        ({"amount": {"amount": 1050, "currency": "USD"}}, PayoutState.UNKNOWN, MISMATCH),
        (
            {"amount": {"amount": "10.50", "currency": "EUR"}},
            PayoutState.UNKNOWN,
            MISMATCH,
        ),
    ],
)
def test_what_a_payout_shows(fields: dict[str, object], state: PayoutState, reason: str) -> None:
    outcome = payout_read(PAYOUT, payout(**fields))
    assert (outcome.state, outcome.reason) == (state, reason)


FIELDS = {"code": 2, "errors": [{"error": "invalid_value", "location": "amount.amount"}]}
WHERE = {"code": 2, "errors": [{"error": "invalid_value", "location": "destination.id"}]}


@pytest.mark.parametrize(
    ("status", "body", "first", "again"),
    [
        (400, {"code": 1099, "message": "No"}, F.RECIPIENT, None),
        (400, FIELDS, F.RECIPIENT, F.RECIPIENT),
        (400, WHERE, F.METHOD, F.METHOD),
        (400, {"code": 1, "message": "Insufficient funds"}, F.TREASURY, None),
        (400, {"code": -1, "message": "Something went wrong."}, None, None),
        (401, {"code": 401}, F.TREASURY, None),
        (403, None, F.TREASURY, None),
        (404, {"code": 404}, None, None),
        (409, {"code": 409}, None, None),
        (418, None, None, None),
        (429, {"code": 5}, F.RETRYABLE, None),
        (429, {"code": -1}, None, None),
        (500, {"code": -1}, None, None),
        (502, None, None, None),
        (202, {"data": None}, None, None),
    ],
)
def test_an_error_answer(
    status: int, body: object, first: FailureCategory | None, again: FailureCategory | None
) -> None:
    for repeat, category in ((False, first), (True, again)):
        outcome = submitted(PAYOUT, status, body, repeat=repeat)
        state = PayoutState.UNKNOWN if category is None else PayoutState.FAILED
        assert (outcome.state, outcome.category) == (state, category)


def test_an_answer_to_a_submission() -> None:
    for status in (200, 201):
        outcome = submitted(PAYOUT, status, {"data": payout()}, repeat=False)
        assert (outcome.state, outcome.provider_ref) == (PayoutState.ACCEPTED, ID)
    assert submitted(PAYOUT, 201, None, repeat=False).state is PayoutState.UNKNOWN


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        ("active", None),
        ("pending", (F.RETRYABLE, "recipient_pending")),
        ("inactive", (F.RETRYABLE, "recipient_inactive")),
        ("denied", (F.METHOD, "recipient_denied")),
        ("frozen", (F.RECIPIENT, "recipient_status_unknown")),
        ("", (F.RECIPIENT, "recipient_status_unknown")),
    ],
)
def test_how_an_entry_stands(status: str, refusal: object) -> None:
    assert Recipient(ID, status).refusal == refusal


def test_the_entry_for_an_address_is_found_among_others() -> None:
    others = [
        entry(id=OTHER_ID, address="0x" + "1" * 40),
        entry(id=OTHER_ID, chain="BASE"),
        entry(id="no id"),
        entry(id=OTHER_ID, addressTag="x"),
        entry(id=OTHER_ID, address=None),
        None,
    ]
    assert found_recipient(ADDRESS, {"data": others}) is None
    assert found_recipient(ADDRESS, {"data": [*others, entry()]}) == Recipient(ID, "active")
    assert found_recipient(ADDRESS, {"data": "x"}) is None
    # Of two, the one that can be paid.
    two = [entry(id=OTHER_ID, status="denied"), entry()]
    assert found_recipient(ADDRESS, {"data": two}) == Recipient(ID, "active")
    assert recipient_read(ADDRESS, {"data": entry(status="new")}) == Recipient(ID, "new")


def test_a_tag_is_part_of_an_address() -> None:
    shown = {"id": ID, "chain": "XLM", "address": STELLAR.address, "status": "active"}
    assert recipient_read(STELLAR, {"data": shown}) is None
    assert recipient_read(STELLAR, {"data": {**shown, "addressTag": "4712"}}) is None
    assert recipient_read(STELLAR, {"data": {**shown, "addressTag": "4711"}}) is not None


@pytest.mark.parametrize(
    ("status", "body", "refusal"),
    [
        (400, {"code": 2}, (F.METHOD, "recipient_code_2")),
        (400, {"code": -1}, (F.RETRYABLE, "recipient_transient")),
        (401, None, (F.TREASURY, "recipient_http_401")),
        (409, {"code": 10**12}, (F.RETRYABLE, "recipient_http_409")),
        (500, {"code": True}, (F.RETRYABLE, "recipient_http_500")),
    ],
)
def test_a_call_about_the_address_book_that_failed(
    status: int, body: object, refusal: object
) -> None:
    assert recipient_refused(status, body) == refusal


def test_no_answer_raises() -> None:
    random = Random(3)
    words = ["data", "id", ID, "status", "failed", "code", -1, "errors", "location", "amount", None]

    def drawn(depth: int) -> object:
        kind = random.randrange(3) if depth else 2
        if kind == 0:
            return {str(random.choice(words)): drawn(depth - 1) for _ in range(3)}
        return [drawn(depth - 1) for _ in range(2)] if kind == 1 else random.choice(words)

    for _ in range(3_000):
        body = drawn(4)
        json.dumps(body)
        for repeat in (False, True):
            submitted(PAYOUT, random.choice([200, 201, 400, 429, 500]), body, repeat=repeat)
        found_recipient(ADDRESS, body)
        recipient_read(ADDRESS, body)
        recipient_refused(400, body)


SENDER = {
    "sender_name": "Sellers Inc",
    "sender_street": "1 Street",
    "sender_city": "Boston",
    "sender_district": "MA",
    "sender_postal_code": "01234",
    "sender_country": "US",
}


@specs.needs(specs.CIRCLE)
def test_the_sender_fits_the_document() -> None:
    schema = specs.document(specs.CIRCLE)["components"]["schemas"]["Identity"]
    identity = CircleSettings.model_validate(SENDER).identity
    assert specs.problems(specs.CIRCLE, schema, identity) == []
    assert CircleSettings().identity is None


@pytest.mark.parametrize("name", SENDER)
def test_a_sender_is_set_as_a_whole(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is missing"):
        CircleSettings.model_validate({**SENDER, name: ""})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sender_country", "us"),
        ("booked_in", "SG"),
        ("webhook_cert_prefixes", "https://example.com"),
        ("topic_arn", "topic"),
    ],
)
def test_settings_it_cannot_work_with(field: str, value: str) -> None:
    with pytest.raises(ValueError):
        CircleSettings.model_validate({**SENDER, field: value})
