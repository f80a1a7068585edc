"""The checks against providers' documents can fail."""

from typing import Any

import pytest

from tests.rails import specs

pytestmark = specs.needs(specs.PAYPAL)

PATH = "/v1/payments/payouts"


def _request(**item: object) -> Any:
    plain = {"amount": {"currency": "EUR", "value": "1.00"}, "receiver": "a@example.com"}
    return {"sender_batch_header": {"sender_batch_id": "x"}, "items": [{**plain, **item}]}


def test_a_good_request_has_no_problems() -> None:
    assert specs.request_problems(specs.PAYPAL, "POST", PATH, _request()) == []


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


def test_an_answer_with_an_unknown_word_has_problems() -> None:
    header = {"payout_batch_id": "X", "sender_batch_header": {"sender_batch_id": "x"}}
    for word, fine in (("PENDING", True), ("QUEUED", False)):
        body = {
            "batch_header": {**header, "batch_status": word},
            "links": [{"href": "h", "rel": "r"}],
        }
        assert (specs.answer_problems(specs.PAYPAL, "POST", PATH, 201, body) == []) is fine


def test_a_path_that_does_not_exist() -> None:
    with pytest.raises(KeyError):
        specs.operation(specs.PAYPAL, "GET", "/v1/payments/payout")
