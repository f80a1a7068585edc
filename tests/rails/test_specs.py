"""The checks against providers' documents can fail."""

from typing import Any

import pytest

from tests.rails import specs

paypal = specs.needs(specs.PAYPAL)
marqeta = specs.needs(specs.MARQETA)

PATH = "/v1/payments/payouts"


def _request(**item: object) -> Any:
    plain = {"amount": {"currency": "EUR", "value": "1.00"}, "receiver": "a@example.com"}
    return {"sender_batch_header": {"sender_batch_id": "x"}, "items": [{**plain, **item}]}


@paypal
def test_a_good_request_has_no_problems() -> None:
    assert specs.request_problems(specs.PAYPAL, "POST", PATH, _request()) == []


@paypal
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"sender_batch_header": {}, "items": []},
        _request(amount={"currency": "EUR", "value": 1.0}),
        _request(amount={"currency": "EUR"}),
        _request(sender_item_id="x" * 64),
        _request(note="two\nlines\n"),
        _request(reciever="a@example.com"),
        _request(amount={"currency": "EUR", "value": "1.00", "scale": "2"}),
        _request(purpose="BRIBES"),
    ],
)
def test_a_bad_request_has(body: object) -> None:
    assert specs.request_problems(specs.PAYPAL, "POST", PATH, body)


@paypal
def test_an_answer_with_an_unknown_word_has_problems() -> None:
    header = {"payout_batch_id": "X", "sender_batch_header": {"sender_batch_id": "x"}}
    for word, fine in (("PENDING", True), ("QUEUED", False)):
        body = {
            "batch_header": {**header, "batch_status": word},
            "links": [{"href": "h", "rel": "r"}],
        }
        assert (specs.answer_problems(specs.PAYPAL, "POST", PATH, 201, body) == []) is fine


@paypal
def test_a_path_that_does_not_exist() -> None:
    with pytest.raises(KeyError):
        specs.operation(specs.PAYPAL, "GET", "/v1/payments/payout")


ORDER = {"amount": 10.5, "currency_code": "EUR", "funding_source_token": "f", "user_token": "u"}


@marqeta
@pytest.mark.parametrize(
    ("changes", "fine"),
    [
        ({}, True),
        ({"amount": "10.50"}, False),
        ({"token": "x" * 36}, True),
        ({"token": "x" * 37}, False),
        ({"usertoken": "u"}, False),
        ({"memo": ""}, False),
    ],
)
def test_a_request_by_a_swagger_document(changes: dict[str, object], fine: bool) -> None:
    body = {**ORDER, **changes}
    assert (specs.request_problems(specs.MARQETA, "POST", "/gpaorders", body) == []) is fine


@marqeta
@pytest.mark.parametrize(
    ("changes", "fine"),
    [
        ({}, True),
        ({"amount": "10.50"}, True),  # as the client reads it, from a number
        ({"state": None}, False),
        ({"response": {"code": "0000"}}, False),
        ({"transaction": "t"}, False),
    ],
)
def test_an_answer_by_a_swagger_document(changes: dict[str, object], fine: bool) -> None:
    at = "2026-09-21T13:46:40Z"
    source = {
        "token": "f",
        "type": "program",
        "active": True,
        "is_default_account": False,
        "created_time": at,
        "last_modified_time": at,
    }
    body = {
        **ORDER,
        "token": "t",
        "created_time": at,
        "last_modified_time": at,
        "transaction_token": "x",
        "state": "COMPLETION",
        "response": {"code": "0000", "memo": "fine"},
        "funding": {"source": source},
        **changes,
    }
    path = "/gpaorders/t"
    assert (specs.answer_problems(specs.MARQETA, "GET", path, 200, body) == []) is fine
