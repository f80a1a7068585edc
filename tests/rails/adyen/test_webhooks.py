"""A webhook of Adyen's is believed for its signature alone, and says what its transfer is."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from rails.adyen.settings import AdyenSettings
from rails.adyen.webhooks import AdyenVerifier, adyen_verifier
from rails.webhooks import BODY_BYTES_MAX, WebhookRefused
from tests.rails import specs

KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
NOW_S = 1_790_000_000
AT = "2026-09-21T13:46:40+02:00"


def event(**data: object) -> dict[str, Any]:
    return {
        "type": "balancePlatform.transfer.updated",
        "environment": "test",
        "timestamp": AT,
        "data": {
            "id": "1W1UG35U8A9J5ZLG",
            "amount": {"value": 1050, "currency": "EUR"},
            "category": "bank",
            "direction": "outgoing",
            "reference": "2a0f-payout",
            "sequenceNumber": 3,
            "status": "booked",
            "reason": "approved",
            **data,
        },
    }


def signature(body: bytes, key: str = KEY) -> dict[str, str]:
    made = hmac.new(bytes.fromhex(key), body, hashlib.sha256).digest()
    return {"HmacSignature": base64.b64encode(made).decode()}


def verifier() -> AdyenVerifier:
    return AdyenVerifier(KEY, now_s=lambda: NOW_S)


async def reports(**data: object) -> list[dict[str, object]]:
    body = json.dumps(event(**data)).encode()
    return (await verifier().verify(signature(body), body)).reports


async def test_what_is_signed_is_read() -> None:
    body = json.dumps(event()).encode()
    call = await verifier().verify(signature(body), body)
    assert call.transmission_id == "1W1UG35U8A9J5ZLG-3"
    assert call.reports == [
        {
            "id": "1W1UG35U8A9J5ZLG-3",
            "type": "payout.reported",
            "version": 1,
            "occurred_at": AT,
            "attempt": 0,
            "payout_id": "2a0f-payout",
            "rail": "adyen",
            "state": "settled",
            "reason": "booked",
            "provider_ref": "1W1UG35U8A9J5ZLG",
        }
    ]


@specs.needs(specs.ADYEN_WEBHOOKS)
def test_the_event_fits_adyens_document() -> None:
    schemas = specs.document(specs.ADYEN_WEBHOOKS)["components"]["schemas"]
    schema = schemas["TransferNotificationRequest"]
    assert specs.problems(specs.ADYEN_WEBHOOKS, schema, event()) == []


@pytest.mark.parametrize(
    ("data", "state", "category"),
    [
        ({"status": "received"}, "accepted", None),
        ({"status": "authorised"}, "accepted", None),
        ({"tracking": {"type": "confirmation", "status": "credited"}}, "delivered", None),
        ({"tracking": {"type": "confirmation", "status": "accepted"}}, "settled", None),
        ({"status": "refused", "reason": "notEnoughBalance"}, "failed", "treasury"),
        ({"status": "failed", "reason": "counterpartyAccountClosed"}, "failed", "method"),
        ({"status": "failed", "reason": "somethingNew"}, "failed", "recipient"),
        ({"status": "failed", "events": [{"status": "booked"}]}, "returned", None),
        ({"status": "returned"}, "returned", None),
        ({"reference": "2a0f-payout.2"}, "settled", None),
    ],
)
async def test_a_status_is_a_state(
    data: dict[str, object], state: str, category: str | None
) -> None:
    [report] = await reports(**data)
    assert (report["state"], report.get("category")) == (state, category)
    assert report["payout_id"] == "2a0f-payout"


@pytest.mark.parametrize(
    "data",
    [
        {"reference": "your reference"},
        {"reference": None},
        {"direction": "incoming"},
        {"status": "quarantined"},
    ],
)
async def test_what_is_about_no_payout_of_ours_is_acknowledged(data: dict[str, object]) -> None:
    assert await reports(**data) == []


async def test_another_event_is_acknowledged() -> None:
    body = json.dumps({**event(), "type": "balancePlatform.payment.created"}).encode()
    assert (await verifier().verify(signature(body), body)).reports == []


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "signature_refused"),
        ({"HmacSignature": "é"}, "signature_unreadable"),
        ({"HmacSignature": base64.b64encode(b"x" * 32).decode()}, "signature_refused"),
        (signature(json.dumps(event()).encode(), "ab" * 32), "signature_refused"),
        (signature(json.dumps(event(status="failed")).encode()), "signature_refused"),
    ],
)
async def test_what_is_not_signed_is_refused(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(WebhookRefused) as caught:
        await verifier().verify(headers, json.dumps(event()).encode())
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        json.dumps(event(sequenceNumber=0)).encode(),
        json.dumps(event(sequenceNumber=True)).encode(),
        json.dumps(event(id="no id!")).encode(),
        json.dumps({**event(), "timestamp": None}).encode(),
    ],
)
async def test_what_is_signed_and_unreadable_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookRefused) as caught:
        await verifier().verify(signature(body), body)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("moment", ["2026-07-01T00:00:00Z", "2026-10-01T00:00:00Z"])
async def test_what_is_too_old_or_of_the_future_is_refused(moment: str) -> None:
    body = json.dumps({**event(), "timestamp": moment}).encode()
    with pytest.raises(WebhookRefused) as caught:
        await verifier().verify(signature(body), body)
    assert caught.value.reason == "time_refused"


@pytest.mark.parametrize("moment", ["yesterday", "2026-09-21T13:46:40"])
async def test_a_time_that_is_none_is_refused(moment: str) -> None:
    body = json.dumps({**event(), "timestamp": moment}).encode()
    with pytest.raises(WebhookRefused) as caught:
        await verifier().verify(signature(body), body)
    assert caught.value.reason == "time_unreadable"


async def test_a_body_that_is_too_large_is_refused_unread() -> None:
    body = b" " * (BODY_BYTES_MAX + 1)
    with pytest.raises(WebhookRefused) as caught:
        await verifier().verify(signature(body), body)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("key", ["", "abcd", "not hexadecimal"])
def test_a_key_that_is_none_is_refused_at_start(key: str) -> None:
    with pytest.raises(ValueError):
        adyen_verifier(AdyenSettings.model_validate({"webhook_key": key}))
